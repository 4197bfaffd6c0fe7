use proptest::prelude::*;
use serde_json::json;

use super::{milliseconds, of_value, seconds, table};

#[test]
fn units_add_up() {
    for (text, ms) in [
        ("90s", Some(90_000)),
        ("1h", Some(3_600_000)),
        ("1h30m", Some(5_400_000)),
        ("1h30m0s", Some(5_400_000)),
        ("500ms", Some(500)),
        ("2d", Some(172_800_000)),
        ("0s", Some(0)),
        ("007s", Some(7_000)),
        ("104249991d", Some(9_007_199_222_400_000)),
        ("104249992d", None),
        ("", None),
        ("90", None),
        ("s", None),
        ("1.5h", None),
        ("-5s", None),
        ("5 s", None),
        ("5S", None),
        ("5s ", None),
        ("5y", None),
        ("٣s", None),
        ("99999999999999999999s", None),
        ("9007199254740992ms", None),
        ("1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s1s", None),
    ] {
        assert_eq!(milliseconds(text), ms, "{text}");
    }
    assert_eq!(seconds(90_000), 90.into());
    assert_eq!(seconds(1_500).to_string(), "1.5");
    assert_eq!(of_value(&json!("1m")), Some(60.0));
    assert_eq!(of_value(&json!(0.5)), Some(0.5));
    assert_eq!(of_value(&json!(["1m"])), None);
}

#[test]
fn the_table_has_every_duration_wherever_it_is() {
    let params = json!({"a": "90s", "b": {"c": ["1m", "x", {"d": "500ms"}]}, "e": 5});
    let found = table(params.as_object().expect("a mapping"));
    assert_eq!(json!(found), json!({"90s": 90, "1m": 60, "500ms": 0.5}));
}

proptest! {
    #[test]
    fn any_text_is_answered(text in any::<String>(), like in "[0-9smhd]{0,40}") {
        for text in [text, like] {
            if let Some(ms) = milliseconds(&text) {
                prop_assert!(seconds(ms).as_f64().is_some_and(|s| s * 1000.0 == ms as f64 || ms % 1000 != 0));
            }
        }
    }
}
