//! Budgets: how much an agent may spend in a window, and what one call costs.
//!
//! Amounts are whole numbers: of money in its smallest part, of all else as they are. What can't be read exactly is unknown, and
//! unknown is never zero. What is spent is state, so it isn't here: whoever keeps the count asks [`PolicySet::budgets`] what to
//! reserve.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Number, Value};

use super::param::{Param, Place};
use super::{Asked, Mode, PolicySet, native};
use crate::call::{Presence, ToolCall};
use crate::money::{AMOUNT, CURRENCY, Currency};

/// The unit of which each call costs one.
pub(super) const REQUESTS: &str = "requests";
/// The largest whole number that every JSON reader agrees on.
const SAFE: u64 = (1 << 53) - 1;

/// How long a budget is for. Calendar windows, in UTC; where they begin is said by whoever keeps the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// An hour.
    Hourly,
    /// A day.
    Daily,
    /// A week, from Monday.
    Weekly,
    /// A month.
    Monthly,
}

impl Window {
    /// Every window, by its key under `budget`.
    pub const ALL: [Self; 4] = [Self::Hourly, Self::Daily, Self::Weekly, Self::Monthly];

    /// The wire form, and the key under `budget`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }
}

/// A budget that a call spends from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetLimit {
    /// What it counts: policy id, entry (or none), agent, window and unit. Equal keys share one count.
    pub key: String,
    /// The policy that says so.
    pub policy: String,
    /// The key that says so: `budget`, or its short form `daily_budget`.
    pub rule: String,
    /// How much may be spent in a window, in the unit's smallest part.
    pub limit: u64,
    /// A currency's letters, `requests`, or the name of a parameter.
    pub unit: String,
    /// The window.
    pub window: Window,
    /// Whether it refuses, or only observes.
    pub mode: Mode,
    /// What this call spends.
    pub cost: Cost,
}

/// What a call spends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// In the unit's smallest part.
    Known(u64),
    /// It can't be read.
    Unknown {
        /// The parameter that doesn't say it.
        param: String,
    },
}

impl BudgetLimit {
    /// An amount of the budget's unit in words: `499.99 USD`, `30 replicas`.
    pub fn shown(&self, amount: u64) -> String {
        match Currency::of(&self.unit).filter(|currency| currency.code() == self.unit) {
            Some(currency) => currency.shown(amount),
            None => format!("{amount} {}", self.unit),
        }
    }
}

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
                let (window, unit) = (budget.window, budget.unit.name());
                limits.push(BudgetLimit {
                    key: format!("{}|{entry}|{agent}|{}|{unit}", policy.id, window.as_str()),
                    policy: policy.id.clone(),
                    rule: budget.rule.to_owned(),
                    limit: budget.limit,
                    unit: unit.to_owned(),
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
