//! What a call costs: exact amounts of money, finer than a currency's smallest part, and the prices that they are worked out by.
//!
//! Invariants: an amount that isn't known is [`Cost::Unknown`], never zero; nothing is rounded down.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::money::Currency;
use crate::usage::{Dialect, Usage};

/// How many parts of an amount make one whole unit of its currency.
pub const PARTS: u64 = 1_000_000;

/// What something costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Cost {
    /// So many millionths of the currency's whole unit.
    Known(u64, Currency),
    /// Nobody knows.
    Unknown,
}

const UNKNOWN: &str = "unknown";

impl Cost {
    /// An amount of a currency's smallest part.
    pub fn of_minor(minor: u64, currency: Currency) -> Self {
        let parts = PARTS.checked_div(10_u64.saturating_pow(currency.exponent())).filter(|parts| *parts > 0);
        let known = parts.and_then(|parts| minor.checked_mul(parts));
        known.map_or(Self::Unknown, |amount| Self::Known(amount, currency))
    }

    /// In whole units, as near as a float is; `None` where it isn't known.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Known(amount, _) => Some(*amount as f64 / PARTS as f64),
            Self::Unknown => None,
        }
    }
}

impl fmt::Display for Cost {
    /// `0.000092 USD`, or `unknown`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Known(amount, currency) = self else { return f.write_str(UNKNOWN) };
        match (amount / PARTS, amount % PARTS) {
            (whole, 0) => write!(f, "{whole} {currency}"),
            (whole, part) => write!(f, "{whole}.{} {currency}", format!("{part:06}").trim_end_matches('0')),
        }
    }
}

impl From<Cost> for String {
    fn from(cost: Cost) -> Self {
        cost.to_string()
    }
}

/// A text is no amount with a currency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an amount and its currency, such as 0.10 USD")]
pub struct NoCost;

impl FromStr for Cost {
    type Err = NoCost;

    fn from_str(text: &str) -> Result<Self, NoCost> {
        if text == UNKNOWN {
            return Ok(Self::Unknown);
        }
        let (number, code) = text.split_once(' ').ok_or(NoCost)?;
        let currency = Currency::of(code).filter(|currency| currency.code() == code).ok_or(NoCost)?;
        let amount = parts(number).ok_or(NoCost)?;
        Ok(Self::Known(amount, currency))
    }
}

impl TryFrom<String> for Cost {
    type Error = NoCost;

    fn try_from(text: String) -> Result<Self, NoCost> {
        text.parse()
    }
}

/// `0.15` in millionths; `None` for anything finer, or that is no such number.
pub(crate) fn parts(number: &str) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return None;
    }
    format!("{whole}{fraction:0<6}").parse().ok()
}

/// What a model costs by the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// In which currency.
    pub currency: Currency,
    /// For so many tokens…
    pub per: u64,
    /// …that go in, this much, in millionths of the whole unit.
    pub input: u64,
    /// Of those that come from a cache.
    pub cached: u64,
    /// Of those that are written to one.
    pub cache_write: u64,
    /// Of those that come out.
    pub output: u64,
}

impl Price {
    /// The most that a call can cost in which so many tokens go in and come out.
    pub fn at_most(&self, input: u64, output: u64) -> Cost {
        self.sum(&[(input, self.input.max(self.cache_write)), (output, self.output)])
    }

    /// What a call cost that used this.
    pub fn of(&self, usage: &Usage) -> Cost {
        let Usage { input_tokens, output_tokens, cached_tokens, cache_write_tokens } = *usage;
        let Some(fresh) = input_tokens.checked_sub(cached_tokens).and_then(|rest| rest.checked_sub(cache_write_tokens))
        else {
            return Cost::Unknown;
        };
        self.sum(&[
            (fresh, self.input),
            (cached_tokens, self.cached),
            (cache_write_tokens, self.cache_write),
            (output_tokens, self.output),
        ])
    }

    /// Rounded up, once.
    fn sum(&self, parts: &[(u64, u64)]) -> Cost {
        let sum = parts.iter().try_fold(0_u128, |sum, (tokens, price)| {
            sum.checked_add(u128::from(*tokens).checked_mul(u128::from(*price))?)
        });
        let amount = sum.map(|sum| sum.div_ceil(u128::from(self.per.max(1)))).and_then(|sum| u64::try_from(sum).ok());
        amount.map_or(Cost::Unknown, |amount| Cost::Known(amount, self.currency))
    }
}

/// What is known of a call's cost before it is made, and how to know it afterwards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metering {
    /// The most that it can cost; `None` where its definition says nothing of cost.
    pub estimate: Option<Cost>,
    /// Whose words its answer tells the usage in, if it does.
    pub usage: Option<Dialect>,
    /// What the model costs that it names.
    pub price: Option<Price>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_read_back() {
        for text in ["0.000092 USD", "12 JPY", "0.1 USD", "unknown", "7.5 EUR"] {
            assert_eq!(text.parse::<Cost>().unwrap().to_string(), text);
        }
        for text in ["1", "1 usd", "1.0000001 USD", "-1 USD", "1 ABCD", ". USD", "1e3 USD"] {
            assert_eq!(text.parse::<Cost>(), Err(NoCost), "{text}");
        }
        let kwd = Currency::of("KWD").unwrap();
        assert_eq!(Cost::of_minor(1, kwd).to_string(), "0.001 KWD");
        assert_eq!(Cost::of_minor(u64::MAX, kwd), Cost::Unknown);
    }

    #[test]
    fn nothing_is_rounded_down_and_caches_have_their_own_price() {
        let usd = Currency::of("USD").unwrap();
        let price =
            Price { currency: usd, per: 1_000_000, input: 150_000, cached: 75_000, cache_write: 0, output: 600_000 };
        assert_eq!(price.at_most(1, 0), Cost::Known(1, usd));
        assert_eq!(price.at_most(1_000_000, 1_000_000).to_string(), "0.75 USD");
        let usage =
            Usage { input_tokens: 1_000_000, output_tokens: 0, cached_tokens: 1_000_000, cache_write_tokens: 0 };
        assert_eq!(price.of(&usage).to_string(), "0.075 USD");
        assert_eq!(
            price.of(&Usage { cached_tokens: 2_000_000, ..usage }),
            Cost::Unknown,
            "more from the cache than at all"
        );
        assert_eq!(Price { per: 1, ..price }.at_most(u64::MAX, u64::MAX), Cost::Unknown);
    }
}
