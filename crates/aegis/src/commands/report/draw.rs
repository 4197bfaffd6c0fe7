//! Numbers and bars in a terminal.

use std::fmt::Write as _;

use aegis_core::shadow::report::ValueShare;

use super::value;
use crate::style::Style;

/// The longest bar, in columns.
pub(super) const WIDTH: usize = 24;
/// The most rows of a distribution.
const MOST_ROWS: usize = 10;
/// The longest label, in columns: a digest, cut.
const MOST_LABEL: usize = 28;
/// Eighths of a column (U+2588 and its neighbours).
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// `part` of `whole`, in at most `width` columns; something always shows as something.
pub(super) fn bar(part: u64, whole: u64, width: usize) -> String {
    if part == 0 || whole == 0 {
        return String::new();
    }
    let eighths = (part as f64 / whole as f64 * (width * 8) as f64).round();
    let eighths = (eighths as usize).clamp(1, width * 8);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS.get(eighths % 8).copied().unwrap_or_default())
}

/// One row per value or, of many numbers, per range of them.
pub(super) fn distribution(values: &[ValueShare], style: Style) -> String {
    let rows = rows(values);
    let most = rows.iter().map(|(_, calls)| *calls).max().unwrap_or(0);
    let label = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    let count = rows.iter().map(|(_, calls)| grouped(&calls.to_string()).len()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, calls) in rows {
        let bar = style.blue(&bar(calls, most, WIDTH));
        // Writing to a String can't fail.
        let _ = writeln!(out, "      {name:>label$}  {:>count$}  {bar}", grouped(&calls.to_string()));
    }
    out
}

fn rows(values: &[ValueShare]) -> Vec<(String, u64)> {
    let numbers: Vec<&ValueShare> = values.iter().filter(|share| share.value.number().is_some()).collect();
    let others = values.iter().filter(|share| share.value.number().is_none());
    // Values side by side are put together, so that every row holds about as many of them.
    let per_row = numbers.len().div_ceil(MOST_ROWS).max(1);
    let mut rows: Vec<(String, u64)> = numbers
        .chunks(per_row)
        .filter_map(|chunk| {
            let (first, last) = (chunk.first()?, chunk.last()?);
            let calls = chunk.iter().map(|share| share.calls).sum();
            let label = if chunk.len() == 1 {
                value(&last.value)
            } else {
                format!("{} to {}", value(&first.value), value(&last.value))
            };
            Some((label, calls))
        })
        .collect();
    let others: Vec<(String, u64)> = others.map(|share| (cut(&value(&share.value)), share.calls)).collect();
    let shown = others.len().min(MOST_ROWS);
    rows.extend(others.iter().take(shown).cloned());
    let rest: u64 = others.iter().skip(shown).map(|(_, calls)| calls).sum();
    if rest > 0 {
        rows.push((format!("{} more", others.len() - shown), rest));
    }
    rows
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MOST_LABEL {
        return text.to_owned();
    }
    let start: String = text.chars().take(MOST_LABEL - 1).collect();
    format!("{start}…")
}

/// `12345` → `12 345` (a thin separator that nobody takes for a decimal sign).
pub(super) fn grouped(number: &str) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
    if !whole.bytes().all(|byte| byte.is_ascii_digit()) || whole.len() < 5 {
        return number.to_owned();
    }
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    let fraction = fraction.map(|rest| format!(".{rest}")).unwrap_or_default();
    format!("{sign}{out}{fraction}")
}

/// A share of 0 to 1; what isn't nothing doesn't show as nothing.
pub(super) fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.001 { "<0.1 %".to_owned() } else { format!("{:.1} %", share * 100.0) }
}
