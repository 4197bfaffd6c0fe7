//! How much: budgets in any unit over calendar windows, as data. What was spent is the store's to remember; whether a call
//! still fits is decided here and checked again, exactly, in the transaction that admits it.
//!
//! Amounts are whole numbers of a unit's smallest part (cents of a dollar, one request), so that sums are exact. Windows are
//! the UTC calendar's, so that every node and every restart agrees on when one ends. Deliberately absent: the ledger, prices.

use std::fmt;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

use crate::policy::Mode;

/// What a budget counts in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Unit {
    /// A currency's letters (ISO 4217) in capitals, `requests`, or the name of a parameter.
    pub name: String,
    /// How many decimals its smallest part is away: 2 for a currency with cents.
    pub decimals: u8,
}

/// A calendar window, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// From minute 0 to minute 0.
    Hourly,
    /// From midnight to midnight.
    Daily,
    /// From Monday to Monday (ISO 8601).
    Weekly,
    /// From the first to the first.
    Monthly,
}

/// What a call takes out of a budget.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cost {
    /// So many smallest parts.
    Known(u64),
    /// The parameter that says it is missing, or says nothing that can be counted. It is not nothing: the call is refused.
    Unknown {
        /// Which.
        param: String,
    },
}

/// A budget that applies to a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BudgetLimit {
    /// What it counts: policy, entry (or none), agent, window, unit and mode. Equal keys share one count; what shadow mode
    /// spends is counted apart.
    pub key: String,
    /// The policy that says so.
    pub policy: String,
    /// The key it is written under: `budget`, `daily_budget`.
    pub rule: String,
    /// Most that may be spent in a window, in smallest parts.
    pub limit: u64,
    /// Of what.
    pub unit: Unit,
    /// In which window.
    pub window: Window,
    /// Whether it refuses, or only observes.
    pub mode: Mode,
    /// What this call takes.
    pub cost: Cost,
}

/// A budget, and what was spent of it in the window that is running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spend {
    /// The budget.
    pub limit: BudgetLimit,
    /// Spent and reserved so far, in smallest parts.
    pub spent: u64,
}

/// What an admission takes out of a budget: reserved with the record, given back where nothing was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The budget's key.
    pub key: String,
    /// The policy that the budget stands in.
    pub policy: String,
    /// Start of the window.
    pub from: Timestamp,
    /// Its end.
    pub resets_at: Timestamp,
    /// How much, in smallest parts.
    pub amount: u64,
    /// The most that the window may hold; `None` where the budget only observes.
    pub limit: Option<u64>,
}

impl Unit {
    /// `amount` smallest parts in words: `499.99 USD`, `40 requests`.
    pub fn show(&self, amount: u64) -> impl fmt::Display + '_ {
        Shown { unit: self, amount }
    }
}

struct Shown<'a> {
    unit: &'a Unit,
    amount: u64,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unit: Unit { name, decimals }, amount } = self;
        let one = 10_u64.saturating_pow(u32::from(*decimals));
        match amount % one {
            0 => write!(f, "{} {name}", amount / one),
            rest => write!(f, "{}.{rest:0width$} {name}", amount / one, width = usize::from(*decimals)),
        }
    }
}

impl Window {
    /// The window that `now` is in: its first moment, and the first after it.
    pub fn around(self, now: Timestamp) -> (Timestamp, Timestamp) {
        let hour = 3600;
        let second = now.as_second();
        if self == Self::Hourly {
            let from = second - second.rem_euclid(hour);
            return (at(from), at(from + hour));
        }
        let today = now.to_zoned(TimeZone::UTC).date();
        let (from, until) = match self {
            Self::Hourly | Self::Daily => (today, today.tomorrow().ok()),
            Self::Weekly => {
                let since = i64::from(today.weekday().since(Weekday::Monday));
                let monday = today.saturating_sub(since.days());
                (monday, monday.checked_add(7.days()).ok())
            }
            Self::Monthly => (today.first_of_month(), today.last_of_month().tomorrow().ok()),
        };
        (midnight(from), until.map_or(Timestamp::MAX, midnight))
    }

    /// Every window.
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

    /// `hour`, `day`, `week` or `month`.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Hourly => "hour",
            Self::Daily => "day",
            Self::Weekly => "week",
            Self::Monthly => "month",
        }
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

fn midnight(date: Date) -> Timestamp {
    date.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}

impl Spend {
    /// Whether the call still fits.
    pub fn fits(&self) -> bool {
        match self.limit.cost {
            Cost::Known(cost) => self.spent.checked_add(cost).is_some_and(|sum| sum <= self.limit.limit),
            Cost::Unknown { .. } => false,
        }
    }

    /// What admission takes out of it at `now`; nothing where the cost isn't known, which only shadow mode lets pass.
    pub fn charge(&self, now: Timestamp) -> Option<Charge> {
        let Cost::Known(amount) = self.limit.cost else { return None };
        let BudgetLimit { key, policy, window, mode, limit, .. } = &self.limit;
        let (from, resets_at) = window.around(now);
        let limit = (*mode == Mode::Enforce).then_some(*limit);
        Some(Charge { key: key.clone(), policy: policy.clone(), from, resets_at, amount, limit })
    }
}

#[cfg(test)]
mod tests;
