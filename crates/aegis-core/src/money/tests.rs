use serde_json::Number;

use super::{Currency, NoAmount};

fn currency(code: &str) -> Currency {
    Currency::of(code).expect(code)
}

#[test]
fn an_amount_is_exact_or_refused() {
    let (usd, jpy, kwd) = (currency("usd"), currency("JPY"), currency("KWD"));
    assert_eq!([usd.exponent(), jpy.exponent(), kwd.exponent()], [2, 0, 3]);
    for (currency, text, minor) in [
        (usd, "500", Ok(50_000)),
        (usd, "499.99", Ok(49_999)),
        (usd, "0.1", Ok(10)),
        (usd, "0.10000", Ok(10)),
        (usd, "0.101", Err(NoAmount::TooFine { currency: usd })),
        (jpy, "500", Ok(500)),
        (jpy, "500.0", Ok(500)),
        (jpy, "500.5", Err(NoAmount::TooFine { currency: jpy })),
        (kwd, "1.234", Ok(1_234)),
        (usd, "", Err(NoAmount::NoNumber)),
        (usd, "-5", Err(NoAmount::NoNumber)),
        (usd, "1e3", Err(NoAmount::NoNumber)),
        (usd, "1,000", Err(NoAmount::NoNumber)),
        (usd, ".5", Err(NoAmount::NoNumber)),
        (usd, "5.", Err(NoAmount::NoNumber)),
        (usd, "٣", Err(NoAmount::NoNumber)),
        (usd, "9999999999999.99", Ok(999_999_999_999_999)),
        (usd, "10000000000000", Err(NoAmount::TooLarge)),
        (usd, "99999999999999999999999", Err(NoAmount::TooLarge)),
    ] {
        assert_eq!(currency.parse(text), minor, "{currency} {text}");
    }
}

#[test]
fn numbers_of_a_call_go_both_ways() {
    let usd = currency("USD");
    let number = |text: &str| text.parse::<Number>().expect(text);
    for (text, minor) in [("499.99", 49_999), ("5", 500), ("5.0", 500), ("0.07", 7), ("1e2", 10_000), ("0", 0)] {
        assert_eq!(usd.minor(&number(text)), Some(minor), "{text}");
    }
    for text in ["499.999", "-1", "-0.5", "1e300", "1e-3", "18446744073709551615"] {
        assert_eq!(usd.minor(&number(text)), None, "{text}");
    }
    for minor in [0, 1, 7, 99, 100, 101, 49_999, 999_999_999_999_999, 899_999_999_999_901] {
        let major = usd.major(minor).expect("an amount");
        assert_eq!(usd.minor(&major), Some(minor), "{major}");
    }
    assert_eq!(usd.major(1_000_000_000_000_000), None);
    assert_eq!([usd.shown(49_999), usd.shown(50_000), usd.shown(7)], ["499.99 USD", "500 USD", "0.07 USD"]);
    assert_eq!(currency("KWD").shown(1_050), "1.050 KWD");
    assert_eq!(currency("JPY").shown(500), "500 JPY");
}

#[test]
fn what_has_no_smallest_part_is_no_currency() {
    for code in ["XAU", "XXX", "US", "USDT", "", "U$D", "ÜSD"] {
        assert_eq!(Currency::of(code), None, "{code}");
    }
    assert!(currency("USD").is_counted_alike() && !currency("MGA").is_counted_alike());
}
