//! `budget`, and its short form `daily_budget`.

use super::super::budget::{Budget, BudgetUnit, REQUESTS};
use super::super::param::Param;
use super::values;
use crate::budget::Window;
use crate::document::{Fields, Node, Value};
use crate::money::Currency;

/// The largest whole number that every JSON reader agrees on.
const SAFE: u64 = (1 << 53) - 1;

/// The windows, by their keys.
const WINDOWS: [(&str, Window); 4] =
    [("hourly", Window::Hourly), ("daily", Window::Daily), ("weekly", Window::Weekly), ("monthly", Window::Monthly)];

/// Reads both forms.
pub(super) fn read(fields: &mut Fields<'_>) -> Vec<Budget> {
    let mut budgets = Vec::new();
    if let Some(mut inner) = fields.map("budget") {
        let mut empty = true;
        for (key, window) in WINDOWS {
            let Some(node) = inner.node(key) else { continue };
            empty = false;
            budgets.extend(budget(&mut inner, key, node, "budget", window));
        }
        if empty {
            let place = inner.place();
            let suggestion = Some("write budget: {daily: 50 USD}".to_owned());
            inner.error_at("daily", place, "a budget needs a window: hourly, daily, weekly or monthly", suggestion);
        }
        inner.finish();
    }
    if let Some(node) = fields.node("daily_budget") {
        if budgets.iter().any(|budget| budget.window == Window::Daily) {
            let message = "`budget` has a daily one already, and `daily_budget` is its short form";
            fields.error_at("daily_budget", node.place, message, None);
        }
        budgets.extend(budget(fields, "daily_budget", node, "daily_budget", Window::Daily));
    }
    budgets
}

fn budget(fields: &mut Fields<'_>, key: &str, node: &Node, rule: &'static str, window: Window) -> Option<Budget> {
    match quantity(node) {
        Ok((limit, unit)) => Some(Budget { rule, window, limit, unit }),
        Err((message, suggestion)) => {
            fields.error_at(key, node.place, message, suggestion);
            None
        }
    }
}

fn quantity(node: &Node) -> Result<(u64, BudgetUnit), (String, Option<String>)> {
    let bare = |number: &dyn std::fmt::Display| {
        let suggestion = format!("write its unit: {number} USD, {number} {REQUESTS} or {number} tokens");
        ("a budget without a unit".to_owned(), Some(suggestion))
    };
    let text = match &node.value {
        Value::Text(text) => text.trim(),
        Value::Int(number) => return Err(bare(number)),
        Value::Float(number) => return Err(bare(number)),
        other => return Err((format!("expected an amount such as 50 USD, found {}", other.kind()), None)),
    };
    if text.parse::<f64>().is_ok() {
        return Err(bare(&text));
    }
    let no_amount = || (format!("{text:?} is no amount"), Some("write a number and a unit, such as 50 USD".to_owned()));
    let (number, unit) = values::quantity(text).ok_or_else(no_amount)?;
    if unit.len() == 3 && (Currency::of(unit).is_some() || unit.bytes().all(|byte| byte.is_ascii_uppercase())) {
        let (currency, minor) = values::money(number, unit)?;
        return positive(minor).map(|minor| (minor, BudgetUnit::Money(currency)));
    }
    let whole = number.parse::<u64>().ok().filter(|whole| *whole <= SAFE && !number.starts_with('+'));
    let Some(whole) = whole else {
        let message = format!("{number:?} is no whole number up to 2^53, which an amount of {unit} has to be");
        return Err((message, None));
    };
    if !unit.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(no_amount());
    }
    let unit = match unit {
        REQUESTS => BudgetUnit::Requests,
        "request" | "call" | "calls" => {
            return Err((format!("unknown unit {unit:?}"), Some(format!("write {number} {REQUESTS}"))));
        }
        _ => BudgetUnit::Param(Param::parse(unit).map_err(|message| (message, None))?),
    };
    positive(whole).map(|whole| (whole, unit))
}

fn positive(amount: u64) -> Result<u64, (String, Option<String>)> {
    match amount {
        0 => Err(("a budget of nothing allows nothing: leave the entry out instead".to_owned(), None)),
        amount => Ok(amount),
    }
}
