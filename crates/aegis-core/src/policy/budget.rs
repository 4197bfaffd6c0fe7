//! Budgets: how much an agent may spend in a window, and what one call costs.
//!
//! Amounts are whole numbers: of money in its smallest part, of all else as they are. What can't be read exactly is unknown, and
//! unknown is never zero. What is spent is state, so it isn't here: whoever keeps the count asks [`PolicySet::budgets`] what to
//! reserve.

use serde::{Serialize, Serializer};
use serde_json::{Number, Value};

use super::param::{Param, Place};
use super::{Asked, Mode, PolicySet, native};
use crate::budget::{BudgetLimit, Cost, Unit, Window};
use crate::call::{Presence, ToolCall};
use crate::money::{AMOUNT, CURRENCY, Currency};

/// The unit of which each call costs one.
pub(super) const REQUESTS: &str = "requests";
/// The largest whole number that every JSON reader agrees on.
const SAFE: u64 = (1 << 53) - 1;

/// A budget as a policy or an entry has it.
#[derive(Debug, Serialize)]
pub(super) struct Budget {
    pub(super) rule: &'static str,
    pub(super) window: Window,
    /// In the unit's smallest part.
    pub(super) limit: u64,
    #[serde(serialize_with = "unit_name")]
    pub(super) unit: BudgetUnit,
}

/// What a budget counts.
#[derive(Debug)]
pub(super) enum BudgetUnit {
    Requests,
    Money(Currency),
    /// The parameter of that name.
    Param(Param),
}

impl BudgetUnit {
    fn unit(&self) -> Unit {
        let decimals = match self {
            Self::Money(currency) => u8::try_from(currency.exponent()).unwrap_or(u8::MAX),
            Self::Requests | Self::Param(_) => 0,
        };
        Unit { name: self.name().to_owned(), decimals }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Requests => REQUESTS,
            Self::Money(currency) => currency.code(),
            Self::Param(param) => &param.name,
        }
    }
}

fn unit_name<S: Serializer>(unit: &BudgetUnit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(unit.name())
}

impl PolicySet {
    /// The budgets that a call spends from: those of the agent's policies, and those of the entries that are for it. One on a
    /// parameter that the action doesn't have isn't among them.
    pub fn budgets(&self, asked: Asked<'_>) -> Vec<BudgetLimit> {
        let agent = &asked.agent.id;
        let mut limits = Vec::new();
        for policy in native::policies_of(&self.tables, asked) {
            let mut add = |budget: &Budget, entry: &str| {
                let Some(cost) = cost(&budget.unit, asked.call) else { return };
                let (window, unit) = (budget.window, budget.unit.unit());
                let mode = if policy.mode == Mode::Shadow { "|shadow" } else { "" };
                limits.push(BudgetLimit {
                    key: format!("{}|{entry}|{agent}|{}|{}{mode}", policy.id, window.noun(), unit.name),
                    policy: policy.id.clone(),
                    rule: budget.rule.to_owned(),
                    limit: budget.limit,
                    unit,
                    window,
                    mode: policy.mode,
                    cost,
                });
            };
            policy.budgets.iter().for_each(|budget| add(budget, ""));
            for (index, entry) in policy.entries.iter().enumerate() {
                if !entry.budgets.is_empty() && native::applies(policy, entry, asked.call) {
                    entry.budgets.iter().for_each(|budget| add(budget, &index.to_string()));
                }
            }
        }
        limits
    }
}

/// What a call costs; `None` where it has nothing of that unit.
fn cost(unit: &BudgetUnit, call: &ToolCall) -> Option<Cost> {
    match unit {
        BudgetUnit::Requests => Some(Cost::Known(1)),
        BudgetUnit::Money(currency) => spent(&Param::parse(AMOUNT).ok()?, call, Some(*currency)),
        BudgetUnit::Param(param) => spent(param, call, None),
    }
}

fn spent(param: &Param, call: &ToolCall, currency: Option<Currency>) -> Option<Cost> {
    let unknown = |param: &str| Some(Cost::Unknown { param: param.to_owned() });
    let mut places = param.places(&call.params);
    let (value, beside) = match (places.next(), places.next()) {
        (None, _) if param.presence(&call.shape) == Some(Presence::Required) => return unknown(&param.name),
        (None, _) => return None,
        (Some(Place::Value { value, beside }), None) => (value, beside),
        // Two places of one name may say two prices.
        _ => return unknown(&param.name),
    };
    if let Some(currency) = currency
        && !beside.get(CURRENCY).and_then(Value::as_str).is_some_and(|code| code.eq_ignore_ascii_case(currency.code()))
    {
        return unknown(CURRENCY);
    }
    let values = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let read = |value: &Value| match (value, currency) {
        (Value::Number(number), Some(currency)) => currency.minor(number),
        (Value::Number(number), None) => whole(number),
        _ => None,
    };
    let sum = values.iter().try_fold(0_u64, |sum, value| sum.checked_add(read(value)?).filter(|sum| *sum <= SAFE));
    match sum {
        Some(sum) if !values.is_empty() => Some(Cost::Known(sum)),
        _ => unknown(&param.name),
    }
}

/// A whole number that isn't negative, `50.0` among them.
fn whole(number: &Number) -> Option<u64> {
    let value = number.as_f64().filter(|value| value.fract() == 0.0 && (0.0..=SAFE as f64).contains(value))?;
    number.as_u64().or_else(|| format!("{value:.0}").parse().ok())
}
