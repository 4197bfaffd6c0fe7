//! `units.parse_bytes`, exactly: amounts of memory as Kubernetes and others write them. regorus rounds where OPA cuts off.

use regorus::Value;

use super::{Answer, MAX_WHOLE, NoAnswer};

/// Most digits of an amount, and of its exponent's worth: all that i128 holds exactly.
const MAX_DIGITS: usize = 18;

/// Digits with perhaps a fraction, perhaps an exponent, and perhaps a unit; quotation marks don't count.
pub(super) fn parse_bytes(args: &[Value]) -> Answer {
    let [Value::String(text)] = args else { return Ok(Value::Undefined) };
    let bytes = exact(&text.replace('"', "").to_ascii_lowercase()).ok_or(NoAnswer)?;
    let bytes = i64::try_from(bytes).map_err(|_| NoAnswer)?;
    if bytes > MAX_WHOLE { Err(NoAnswer) } else { Ok(Value::from(bytes)) }
}

/// The amount, cut off to whole bytes; `None` for anything that isn't plainly one.
fn exact(text: &str) -> Option<i128> {
    let digits_end = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (whole, rest) = text.split_at(digits_end(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits_end(rest)),
        None => ("", rest),
    };
    // An `e` before a digit or a sign is an exponent's, any other is the unit's.
    let (exponent, unit) = match rest.strip_prefix('e') {
        Some(after) if after.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c)) => {
            let sign = usize::from(after.starts_with(['+', '-']));
            let (exponent, unit) = after.split_at(sign + digits_end(after.get(sign..)?));
            (exponent.parse::<i32>().ok()?, unit)
        }
        _ => (0, rest),
    };
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return None;
    }
    let shift = exponent - i32::try_from(fraction.len()).ok()?;
    if shift.unsigned_abs() as usize > MAX_DIGITS {
        return None;
    }
    let amount = digits.parse::<i128>().ok()?.checked_mul(factor(unit)?)?;
    let power = 10_i128.pow(shift.unsigned_abs());
    if shift < 0 { Some(amount / power) } else { amount.checked_mul(power) }
}

/// Bytes of a unit, in lower case.
fn factor(unit: &str) -> Option<i128> {
    let unit = unit.strip_suffix('b').unwrap_or(unit);
    let (letter, base) = match unit.strip_suffix('i') {
        Some(letter) => (letter, 1024_i128),
        None => (unit, 1000),
    };
    let power = match letter {
        "" if base == 1000 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        "e" => 6,
        _ => return None,
    };
    base.checked_pow(power)
}
