use aegis_core::shadow::report::{Counted, ValueShare};
use aegis_core::shadow::sighting::Offending;

use super::draw::{bar, distribution, grouped, percent};
use super::{days, names};
use crate::style::Style;

#[test]
fn days_are_whole() {
    for (since, wanted) in
        [("7d", Some(7)), ("36h", Some(2)), ("1h", Some(1)), ("0d", None), ("7", None), ("week", None)]
    {
        assert_eq!(days(since).ok(), wanted, "{since}");
    }
}

#[test]
fn bars_are_as_long_as_their_share_and_something_is_never_nothing() {
    assert_eq!(bar(10, 10, 4), "████");
    assert_eq!(bar(1, 2, 3), "█▌");
    assert_eq!(bar(1, 1000, 4), "▏");
    assert_eq!((bar(0, 10, 4), bar(0, 0, 4)), (String::new(), String::new()));
}

#[test]
fn numbers_are_read_at_a_glance() {
    for (number, shown) in [
        ("999", "999"),
        ("9999", "9999"),
        ("10000", "10 000"),
        ("-1234567.5", "-1 234 567.5"),
        ("0.12", "0.12"),
        ("x", "x"),
    ] {
        assert_eq!(grouped(number), shown);
    }
    assert_eq!((percent(0.0), percent(0.0004), percent(0.256)), ("0.0 %".into(), "<0.1 %".into(), "25.6 %".into()));
}

#[test]
fn a_distribution_has_few_rows_however_many_values() {
    let number = |n: u64| ValueShare { value: Offending::Number(n.to_string()), calls: 2 };
    let many: Vec<ValueShare> = (1..=95).map(number).collect();
    let drawn = distribution(&many, Style::plain());
    assert_eq!(drawn.lines().count(), 10, "{drawn}");
    assert!(drawn.contains("1 to 10  20  █") && drawn.contains("91 to 95  10  █"), "{drawn}");
    let named = |n: u32| ValueShare { value: Offending::Named(format!("h{n}.example:443")), calls: 1 };
    let mut many: Vec<ValueShare> = (0..30).map(named).collect();
    many.push(ValueShare { value: Offending::Named("\u{1b}[31m".repeat(20)), calls: 9 });
    let drawn = distribution(&many, Style::plain());
    assert!(drawn.lines().count() == 11 && drawn.contains("21 more") && !drawn.contains('\u{1b}'), "{drawn}");
    assert_eq!(distribution(&[], Style::plain()), "");
}

#[test]
fn the_first_few_names_are_told() {
    let of =
        |names: &[&str]| names.iter().map(|name| Counted { name: (*name).to_owned(), calls: 2 }).collect::<Vec<_>>();
    assert_eq!(names(&of(&["a"])), "a");
    assert_eq!(names(&of(&["a", "b", "c", "d", "e"])), "a 2, b 2, c 2 and 2 more");
}
