//! Rows under headings, in columns as wide as what is in them.

use std::fmt::Write as _;

use serde_json::Value;

use crate::style::Style;

/// Renders `rows`; cells may not hold colours, since their width counts.
pub(crate) fn render(headings: &[&str], rows: &[Vec<String>], style: Style) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(headings.get(column).map(|heading| heading.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &[String]| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            // Writing to a String can't fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        line.trim_end().to_owned()
    };
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let mut out = style.dim(&line(&headings));
    out.push('\n');
    for row in rows {
        out.push_str(&line(row));
        out.push('\n');
    }
    out
}

/// What stands at `pointer` of `value`, as a cell: text as it is, lists and mappings joined, nothing as `-`.
pub(crate) fn cell(value: &Value, pointer: &str) -> String {
    let text = match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(", "),
        Some(Value::Object(fields)) => {
            let words = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            fields.iter().map(|(name, value)| format!("{name}: {}", words(value))).collect::<Vec<_>>().join(", ")
        }
        Some(other) => other.to_string(),
    };
    let text = plain(&text);
    if text.is_empty() { "-".to_owned() } else { text }
}

/// Text from outside, which must not move the cursor.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() || misleads(letter) { '\u{fffd}' } else { letter }).collect()
}

/// Whether it changes how its neighbours look (direction, joining, nothing to see): an approver must see what will run.
fn misleads(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The time at `pointer` of `value`, as a cell: to the second.
pub(crate) fn time(value: &Value, pointer: &str) -> String {
    let text = cell(value, pointer);
    text.split_once('.').map_or_else(|| text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{cell, render, time};
    use crate::style::Style;

    #[test]
    fn columns_are_aligned() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["long name".to_owned(), "2".to_owned()]];
        assert_eq!(render(&["NAME", "N"], &rows, Style::plain()), "NAME       N\na          1\nlong name  2\n");
    }

    #[test]
    fn cells_are_plain() {
        assert_eq!(time(&json!({"at": "2026-01-31T12:00:00.123Z"}), "/at"), "2026-01-31T12:00:00Z");
        let value = json!({"a": ["x", 1], "b": null, "c": "\u{1b}[31mred"});
        assert_eq!(cell(&value, "/a"), "x, 1");
        assert_eq!(cell(&value, "/b"), "-");
        assert_eq!(cell(&value, "/c"), "\u{fffd}[31mred");
        assert_eq!(cell(&json!({"a": "x\u{202e}y\u{200b}z"}), "/a"), "x\u{fffd}y\u{fffd}z");
    }
}
