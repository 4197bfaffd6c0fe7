//! Parameters that nobody has declared: neither a tool's definition nor a rule of the policies speaks of them, so nobody has
//! thought about what they may hold. In a function's call such a field must not carry what is only ever there to reach further
//! than the function: an SSH endpoint, a blob that hides what it is, something for a shell. Naming the parameter in a rule
//! (`required_params`, `pattern_<param>`, …) declares it. Declared or not, no two names may be the same but for case.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::Regex;
use serde_json::{Map, Value};

use crate::call::{Shape, ToolCall};
use crate::describe::fold;
use crate::problem::Violation;

/// `ssh://…` and its like anywhere; `user@host` and `user@host:path` where they are a word.
static ENDPOINT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(?:git\+)?(?:ssh|sftp|scp|rsync|telnet)(?:\+[a-z]+)?://|(?:^|[^a-z0-9_.+/@-])[a-z0-9_][a-z0-9_.+-]*@[a-z0-9\[]")
        .expect("a pattern that a test compiles")
});
/// What a POSIX shell would act upon (XCU 2.2): lists, pipes, substitutions, redirections.
static SHELL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[;|`<>]|&&|\$[({]|\$IFS|(?:^|\s)&|&(?:$|\s)").expect("a pattern that a test compiles"));
/// Runs of base64's letters that are longer than any digest in hexadecimal, or full lines of them (RFC 2045, RFC 7468).
static BLOB: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:[A-Za-z0-9+/_-]{60,76}\s+){2,}|[A-Za-z0-9+/_-]{129,}={0,2}").expect("a pattern that a test compiles"));

/// What undeclared parameters of a function's call hold and must not, and image references that are none.
/// `declared` is asked only where it matters.
pub(super) fn check(call: &ToolCall, declared: impl FnOnce() -> BTreeSet<String>) -> Vec<Violation> {
    if call.shape != Shape::Open || call.tool == ToolCall::HTTP {
        return Vec::new();
    }
    let declared = declared();
    let mut found: Vec<Violation> = ambiguous(&call.params).map(in_two_cases).into_iter().collect();
    for (name, value) in call.params.iter().filter(|(name, _)| !declared.contains(*name)) {
        let mut reasons: Reasons = reasons_of(name).collect();
        look(value, &mut reasons);
        found.extend(reasons.into_iter().map(|(reason, what)| {
            let message = format!("the parameter {name:?} holds {what}, and no rule declares it");
            Violation { param: Some(name.clone()), ..Violation::of_gateway("undeclared_params", reason, message) }
        }));
    }
    let malformed = call.images.iter().any(|image| image.repository.is_none() && image.digest.is_none());
    found.extend(malformed.then(|| {
        let message = "an image reference or digest is malformed";
        Violation {
            param: Some("images".to_owned()),
            ..Violation::of_gateway("undeclared_params", "malformed_image", message)
        }
    }));
    found
}

/// A name beside which, in the same mapping at any depth, another stands that is the same but for case. Some readers take one for
/// the other, so that a rule would be kept by the one and the other be meant.
fn ambiguous(map: &Map<String, Value>) -> Option<&str> {
    let mut names = BTreeSet::new();
    let twice = map.keys().find(|name| !names.insert(fold(name)));
    twice.map(String::as_str).or_else(|| map.values().find_map(ambiguous_in))
}

fn ambiguous_in(value: &Value) -> Option<&str> {
    match value {
        Value::Object(map) => ambiguous(map),
        Value::Array(items) => items.iter().find_map(ambiguous_in),
        _ => None,
    }
}

fn in_two_cases(name: &str) -> Violation {
    let message = format!("a parameter stands here twice, the same as {name:?} but for case");
    Violation {
        param: Some(name.to_owned()),
        ..Violation::of_gateway("undeclared_params", "ambiguous_name", message)
    }
}

type Reasons = BTreeSet<(&'static str, &'static str)>;

fn look(value: &Value, reasons: &mut Reasons) {
    match value {
        Value::String(text) => reasons.extend(reasons_of(text)),
        Value::Array(items) => items.iter().for_each(|item| look(item, reasons)),
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            reasons.extend(reasons_of(name));
            look(value, reasons);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn reasons_of(text: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let is_blob = |hit: regex::Match<'_>| {
        if hit.as_str().contains(char::is_whitespace) && hit.as_str().split_whitespace().all(is_hexadecimal) {
            return false;
        }
        let hit: String = hit.as_str().split_whitespace().collect();
        let hit = hit.trim_end_matches('=');
        // A length of 4n + 1 is no base64 at all; the last letters may be another word's.
        let whole = hit.get(..hit.len() - hit.len() % 4).unwrap_or_default();
        STANDARD_NO_PAD.decode(whole).is_ok() || URL_SAFE_NO_PAD.decode(whole).is_ok()
    };
    let tests = [
        (ENDPOINT.is_match(text), ("ssh_endpoint", "an SSH endpoint")),
        (SHELL.is_match(text), ("shell_metacharacters", "something for a shell")),
        (BLOB.find_iter(text).any(is_blob), ("base64_blob", "a base64 blob")),
    ];
    tests.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason)
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::tests::scale;
    use serde_json::json;

    fn reasons(value: Value) -> Vec<String> {
        let call = ToolCall { shape: Shape::Open, ..scale("staging", value) };
        check(&call, BTreeSet::new).into_iter().map(|one| one.reason).collect()
    }

    #[test]
    fn what_reaches_further_than_the_function_is_found_anywhere() {
        for text in ["ssh://h", "see git+ssh://h/x", "root@10.0.0.1", "git@github.com:acme/app.git", "sftp://h"] {
            assert_eq!(reasons(json!(text)), ["ssh_endpoint"], "{text}");
        }
        for text in ["a; b", "a | b", "$(id)", "`id`", "x && y", "a > b", "${HOME}", "sleep 1 &"] {
            assert_eq!(reasons(json!({"deep": [text]})), ["shell_metacharacters"], "{text}");
            assert_eq!(reasons(json!({text: 1})), ["shell_metacharacters"], "a key: {text}");
        }
        assert_eq!(reasons(json!("QUJD".repeat(40))), ["base64_blob"]);
    }

    #[test]
    fn a_blob_in_lines_a_quote_or_a_bracket_hides_nothing() {
        let lines = "QUJDREVGR0hJSktMTU5P".repeat(20);
        let lines: Vec<&str> = (0..lines.len()).step_by(76).filter_map(|at| lines.get(at..at + 76)).collect();
        assert_eq!(reasons(json!(lines.join("\n"))), ["base64_blob"]);
        for text in ["'git@github.com:acme/app.git'", "(root@10.0.0.1)", "a,root@h", "root@h/x", "root@[::1]:x", "1st@h", "a+b@h"] {
            assert_eq!(reasons(json!(text)), ["ssh_endpoint"], "{text}");
        }
        for text in ["sleep 1& id", "a &id", "a $IFS b"] {
            assert_eq!(reasons(json!(text)), ["shell_metacharacters"], "{text}");
        }
        let digests = format!("{} {}", "0a".repeat(32), "1b".repeat(32));
        for text in [&digests, "see registry.acme.io/app@sha256:0a", "price: $5, US$ 3"] {
            assert_eq!(reasons(json!(text)), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn the_name_of_a_parameter_is_looked_at_too() {
        let mut call = ToolCall { shape: Shape::Open, ..scale("staging", json!(1)) };
        call.params.insert("a; id".to_owned(), json!(1));
        let found: Vec<String> = check(&call, BTreeSet::new).into_iter().map(|one| one.reason).collect();
        assert_eq!(found, ["shell_metacharacters"]);
    }

    #[test]
    fn two_names_that_differ_in_case_only_are_refused() {
        let found = |params: Value| {
            let Value::Object(params) = params else { panic!("a mapping") };
            let call = ToolCall { shape: Shape::Open, params, ..scale("staging", json!(1)) };
            let declared = || ["replicas".to_owned(), "spec".to_owned()].into();
            check(&call, declared).into_iter().map(|one| one.reason).collect::<Vec<_>>()
        };
        for params in [
            json!({"replicas": 1, "Replicas": 500}),
            json!({"replicas": 1, "replica\u{17f}": 500}),
            json!({"spec": [{"replicas": 1, "REPLICAS": 500}]}),
        ] {
            assert_eq!(found(params.clone()), ["ambiguous_name"], "{params}");
        }
        assert!(found(json!({"replicas": 1, "spec": {"Replicas": 1}})).is_empty());
    }

    #[test]
    fn plain_values_pass() {
        let digest = format!("sha256:{}", "0a".repeat(64));
        for text in ["web-1", "https://example.org/a?b=1&c=2", "50%", "v1.2.3", "a, b (c)", "R&D", "10:30", &digest] {
            assert_eq!(reasons(json!(text)), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn declared_parameters_and_described_calls_pass() {
        let call = ToolCall { shape: Shape::Open, ..scale("staging", json!("a; b")) };
        assert!(check(&call, || ["replicas".to_owned()].into()).is_empty());
        assert!(check(&scale("staging", json!("a; b")), BTreeSet::new).is_empty());
    }
}
