//! Money: the currencies of ISO 4217, and amounts as whole numbers of a currency's smallest part.
//!
//! Nothing is rounded: an amount with more decimals than its currency has is no amount of it.
//!
//! Deliberately absent: exchange rates (what one currency is in another is never guessed), negative amounts.

use std::fmt;

use serde_json::Number;

/// The parameter that money is in, where a call has one.
pub const AMOUNT: &str = "amount";
/// The parameter beside an amount that says in which currency it is.
pub const CURRENCY: &str = "currency";
/// The largest amount, in the smallest part: 15 digits, which a JSON reader's double tells apart wherever the point stands.
const MOST: u64 = 999_999_999_999_999;

/// A currency that has a smallest part; gold and the like have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency {
    iso: iso_currency::Currency,
    exponent: u32,
}

/// Why a text is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAmount {
    /// It isn't digits, and digits behind a point.
    #[error("the amount is no plain number, such as 500 or 499.99")]
    NoNumber,
    /// It has a part smaller than the currency's smallest.
    #[error("{currency} has {} decimals, so this amount can't be paid", .currency.exponent)]
    TooFine {
        /// Whose decimals.
        currency: Currency,
    },
    /// It has more digits than every JSON reader can hold.
    #[error("the amount has more than 15 digits, decimals included, where JSON readers stop agreeing")]
    TooLarge,
}

impl Currency {
    /// The currency with these three letters, in any case.
    pub fn of(code: &str) -> Option<Self> {
        let iso = iso_currency::Currency::from_code(&code.to_ascii_uppercase())?;
        Some(Self { iso, exponent: u32::from(iso.exponent()?) })
    }

    /// Its three letters, in upper case.
    pub fn code(self) -> &'static str {
        self.iso.code()
    }

    /// How many decimals it has: 2 for most, 0 for JPY, 3 for KWD.
    pub fn exponent(self) -> u32 {
        self.exponent
    }

    /// Whether payment services agree on what its smallest part is. Some count MGA, MRU, ISK and UGX in other parts than ISO 4217
    /// does; of IQD, LYD and units of account none says how it counts them.
    pub fn is_counted_alike(self) -> bool {
        !["MGA", "MRU", "ISK", "UGX", "IQD", "LYD", "CLF", "UYI", "UYW"].contains(&self.code())
    }

    /// An amount as people write it (`499.99`), in the smallest part.
    ///
    /// # Errors
    /// What keeps the text from being an amount of this currency.
    pub fn parse(self, text: &str) -> Result<u64, NoAmount> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(NoAmount::NoNumber);
        }
        let fraction = fraction.trim_end_matches('0');
        let missing =
            (self.exponent as usize).checked_sub(fraction.len()).ok_or(NoAmount::TooFine { currency: self })?;
        let minor = format!("{whole}{fraction}{}", "0".repeat(missing)).parse().map_err(|_| NoAmount::TooLarge)?;
        if minor > MOST { Err(NoAmount::TooLarge) } else { Ok(minor) }
    }

    /// An amount of the whole unit, as a call has it, in the smallest part; `None` for what can't be paid exactly.
    pub fn minor(self, major: &Number) -> Option<u64> {
        match major.as_u64() {
            Some(whole) => whole.checked_mul(10_u64.checked_pow(self.exponent)?).filter(|minor| *minor <= MOST),
            // Without an exponent, and with as many digits as tell the number from all others.
            None => self.parse(&major.as_f64()?.to_string()).ok(),
        }
    }

    /// An amount of the smallest part in the whole unit, as a number that a call may have.
    pub fn major(self, minor: u64) -> Option<Number> {
        if minor > MOST {
            return None;
        }
        match minor % 10_u64.saturating_pow(self.exponent) {
            0 => Some(Number::from(minor / 10_u64.saturating_pow(self.exponent))),
            // By Rust's reader, which is right to the last digit; serde_json's is only nearly so.
            _ => Number::from_f64(self.digits(minor).parse().ok()?),
        }
    }

    /// An amount of the smallest part in words: `499.99 USD`.
    pub fn shown(self, minor: u64) -> String {
        format!("{} {self}", self.digits(minor))
    }

    fn digits(self, minor: u64) -> String {
        let one = 10_u64.saturating_pow(self.exponent);
        match (minor / one, minor % one) {
            (whole, 0) => whole.to_string(),
            (whole, part) => format!("{whole}.{part:0width$}", width = self.exponent as usize),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests;
