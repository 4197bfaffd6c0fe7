//! Policy files come from outside: whatever they hold, loading answers.

use aegis_core::policy::{Options, PolicySet, Source};
use proptest::prelude::*;
use serde_json::json;

use super::arbitrary;

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
    fn any_pattern_is_answered(pattern in any::<String>(), like in arbitrary::nearly_pattern()) {
        for text in [pattern, like] {
            let text = text.replace('"', "/");
            load(json!({"agent": "a", "actions": [{"name": "x", "approval_needed": format!("x.matches(r\"{text}\")")}]}).to_string());
        }
    }

    #[test]
    fn any_host_is_answered(host in any::<String>(), like in "[a-z0-9.*:\\[\\]-]{0,24}") {
        load(json!({"agent": "a", "egress": {"allow": [host, like]}}).to_string());
    }
}
