use jiff::Timestamp;
use proptest::prelude::*;

use super::{BudgetLimit, Cost, Spend, Unit, Window};
use crate::policy::Mode;

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn spend(spent: u64, limit: u64, cost: Cost) -> Spend {
    let unit = Unit { name: "USD".to_owned(), decimals: 2 };
    let limit = BudgetLimit {
        key: "k".to_owned(),
        policy: "p".to_owned(),
        rule: "daily_budget".to_owned(),
        limit,
        unit,
        window: Window::Daily,
        mode: Mode::Enforce,
        cost,
    };
    Spend { limit, spent }
}

#[test]
fn windows_are_the_calendars() {
    let now = time("2026-11-22T21:14:21Z"); // a Sunday
    let around = |window: Window| {
        let (from, until) = window.around(now);
        format!("{from} {until}")
    };
    assert_eq!(around(Window::Hourly), "2026-11-22T21:00:00Z 2026-11-22T22:00:00Z");
    assert_eq!(around(Window::Daily), "2026-11-22T00:00:00Z 2026-11-23T00:00:00Z");
    assert_eq!(around(Window::Weekly), "2026-11-16T00:00:00Z 2026-11-23T00:00:00Z");
    assert_eq!(around(Window::Monthly), "2026-11-01T00:00:00Z 2026-12-01T00:00:00Z");
}

#[test]
fn amounts_are_shown_in_whole_units() {
    let usd = Unit { name: "USD".to_owned(), decimals: 2 };
    assert_eq!(usd.show(5000).to_string(), "50 USD");
    assert_eq!(usd.show(49_905).to_string(), "499.05 USD");
    assert_eq!(Unit { name: "requests".to_owned(), decimals: 0 }.show(7).to_string(), "7 requests");
}

#[test]
fn a_call_fits_up_to_the_limit_and_never_where_its_cost_is_unknown() {
    assert!(spend(40, 50, Cost::Known(10)).fits());
    assert!(!spend(41, 50, Cost::Known(10)).fits());
    assert!(!spend(u64::MAX, u64::MAX, Cost::Known(1)).fits());
    let unknown = spend(0, 50, Cost::Unknown { param: "amount".to_owned() });
    assert!(!unknown.fits());
    assert_eq!(unknown.charge(Timestamp::UNIX_EPOCH), None);
}

proptest! {
    #[test]
    fn every_moment_is_in_its_window_and_windows_meet(second in -60_000_000_000_i64..250_000_000_000) {
        let now = Timestamp::from_second(second).expect("in range");
        for window in Window::ALL {
            let (from, until) = window.around(now);
            prop_assert!(from <= now && now < until, "{window:?} {from} {until}");
            prop_assert_eq!(window.around(until).0, until);
            prop_assert_eq!(window.around(from).0, from);
        }
    }
}
