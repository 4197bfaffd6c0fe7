//! Policy files come from outside: whatever they hold, loading answers.

use aegis_core::policy::{Options, PolicySet, Source};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::cel;

fn load(text: String) {
    let loaded = PolicySet::load(&[Source { file: "p.yaml".to_owned(), text }], Options::default());
    for error in loaded.err().into_iter().flatten() {
        assert!(error.line >= 1 && error.column >= 1 && !error.message.is_empty(), "{error}");
    }
}

/// Text that is nearly a condition: its tokens, and anything, in any order.
fn nearly_cel() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "a",
        "env",
        "params",
        ".",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "==",
        "!",
        "&&",
        "||",
        "?",
        ":",
        ",",
        "in",
        "has(",
        "size(",
        ".matches(",
        "\"",
        "'",
        "\\",
        "1",
        "0x",
        "1e",
        "9223372036854775808",
        "1u",
        "b'",
        "r'",
        "-",
        "+",
        "/",
        "null",
        "true",
        "`",
        "\n",
        "//",
        "😀",
        "all(x,",
        "\\u{",
        "for",
        "\u{0}",
        "(?i)",
        "[[:",
    ]);
    let part = prop_oneof![8 => token.prop_map(str::to_owned), 1 => any::<String>()];
    prop::collection::vec(part, 0..24).prop_map(|parts| parts.join(""))
}

/// What could stand under a key of an entry: amounts, durations, lists, mappings, and nearly that.
fn nearly_a_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        3 => "[0-9]{0,18}(\\.[0-9]{0,4})? ?(USD|JPY|KWD|usd|XAU|requests|replicas|ms|s|m|h|d|)",
        1 => "([0-9]{1,4}(ms|s|m|h|d)){1,4}",
        1 => "(slack|teams|operator|group|user|):[a-zA-Z0-9 ]{0,6}",
        1 => any::<String>(),
    ];
    let leaf = prop_oneof![
        6 => text.prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    let key = prop::sample::select(vec![
        "daily",
        "hourly",
        "approvers",
        "count",
        "expires",
        "scope",
        "detect",
        "params",
        "allow",
        "x",
    ]);
    leaf.prop_recursive(2, 8, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        load(text);
    }

    #[test]
    fn any_condition_is_answered(condition in nearly_cel()) {
        load(json!({"agent": "a", "actions": [{"name": "x", "approval_needed": condition}]}).to_string());
    }

    #[test]
    fn any_pattern_is_answered(pattern in any::<String>(), like in cel::nearly_pattern()) {
        for text in [pattern, like] {
            let text = text.replace('"', "/");
            load(json!({"agent": "a", "actions": [{"name": "x", "approval_needed": format!("x.matches(r\"{text}\")")}]}).to_string());
        }
    }

    #[test]
    fn any_rule_is_answered(
        family in "(min_|max_|allowed_|denied_|pattern_)([a-z.]{0,8}|[a-z]{1,3}\\.[a-z]{1,3})|required_params|deny_if|budget|daily_budget|approval|sanitize|egress|[a-z_A-Z-]{1,16}",
        value in nearly_a_value(),
        other in nearly_a_value(),
    ) {
        let entry = json!({"name": "x", "max_x": other, family: value});
        load(json!({"agent": "a", "actions": [entry]}).to_string());
    }

    #[test]
    fn any_host_is_answered(host in any::<String>(), like in "[a-z0-9.*:\\[\\]-]{0,24}") {
        load(json!({"agent": "a", "egress": {"allow": [host, like]}}).to_string());
    }
}
