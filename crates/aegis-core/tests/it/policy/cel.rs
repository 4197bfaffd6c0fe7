//! Random conditions, over every form that is supported.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// The zones of random policies.
pub(crate) const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Chatham"];

/// The freezes of random policies.
pub(crate) fn freezes() -> Value {
    json!([
        {"name": "year-end", "from": "2026-12-20", "until": "2027-01-03"},
        {"name": "long", "from": "2026-06-01T12:00:00Z", "until": "2028-12-01T00:00:00+02:00"},
    ])
}

/// Where in a condition: outside, or on an element called `x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Outside,
    Element,
}

fn path(at: At) -> impl Strategy<Value = String> {
    let mut paths = vec![
        "replicas",
        "params.amount",
        "name",
        "flag",
        "name.a",
        "params.name[\"b\"]",
        "replicas[0]",
        "amount.a.b",
        "env",
        "tool",
        "action",
        "agent.id",
        "agent.groups[0]",
        "agent.parent",
        "chain[1]",
        "destination.host",
        "destination.port",
        "time.weekday",
        "time.hour",
        "time.minute",
        "time.day",
        "time.month",
        "time.year",
        "time.date",
        "time.unix",
        "session.count[\"deploy\"]",
        "session.count[\"kubernetes/scale\"]",
    ];
    if at == At::Element {
        paths = [vec!["x", "x", "x", "x", "x", "x.a", "x.b", "x[0]"], vec!["replicas", "env", "time.hour"]].concat();
    }
    select(paths).prop_map(str::to_owned)
}

fn operand(at: At) -> impl Strategy<Value = String> {
    let number = vec!["0", "5", "-1", "50", "0.5", "50.0", "9007199254740991", "12", "2026", "1797807600"];
    let text = vec![
        "\"\"",
        "\"a\"",
        "\"staging\"",
        "\"50\"",
        "\"😀\"",
        "\"é\"",
        "\"kubernetes\"",
        "\"Fri\"",
        "\"2026-12-20\"",
    ];
    let sizes = vec![
        "size(name)",
        "replicas.size()",
        "size(agent.groups)",
        "size(chain)",
        "size(session.labels)",
        "size(env)",
        "size(params)",
        "size(name.a)",
        "size(agent.parent)",
    ];
    let counted = vec!["replicas", "amount", "5", "time.hour", "-7", "session.count[\"deploy\"]"];
    let by = vec!["amount", "3", "9007199254740991", "0", "-2", "replicas"];
    prop_oneof![
        6 => path(at),
        3 => select(number).prop_map(str::to_owned),
        3 => select(text).prop_map(str::to_owned),
        1 => select(vec!["true", "false", "null"]).prop_map(str::to_owned),
        2 => select(sizes).prop_map(str::to_owned),
        2 => (select(counted), select(vec!["+", "-", "*", "/", "%"]), select(by))
            .prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
        1 => select(vec!["-replicas", "-(amount % 3)"]).prop_map(str::to_owned),
    ]
}

fn leaf(at: At) -> impl Strategy<Value = String> {
    let relation = select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let list = select(vec![
        "[1, 2, 50]",
        "[\"staging\", \"a\", \"50\"]",
        "[true]",
        "[\"Fri\", \"Sat\"]",
        "name",
        "replicas",
        "params",
        "agent.groups",
        "chain",
        "session.labels",
    ]);
    let test = select(vec!["startsWith", "endsWith", "contains"]);
    let pattern = select(vec!["^a", "\\\\d+", "\\\\w$", "[^a-c]", "(a|b){1,3}", ".", "\\\\s", "^$", "é"]);
    let whole = vec![
        "flag",
        "true",
        "false",
        "name.a",
        "has(flag)",
        "has(name.a)",
        "has(params.amount)",
        "has(destination.host)",
        "has(agent.parent)",
        "\"year-end\" in time.freezes",
        "\"long\" in time.freezes",
        "size(time.freezes) > 0",
        "size(time.freezes) == 0",
    ];
    let whole = if at == At::Element { vec!["x", "has(x.a)", "has(x.b)"] } else { whole };
    prop_oneof![
        5 => (operand(at), relation, operand(at)).prop_map(|(left, relation, right)| format!("{left} {relation} {right}")),
        2 => (operand(at), list).prop_map(|(value, list)| format!("{value} in {list}")),
        2 => (operand(at), test, operand(at)).prop_map(|(left, test, right)| format!("{left}.{test}({right})")),
        2 => (operand(at), pattern).prop_map(|(text, pattern)| format!("{text}.matches(\"{pattern}\")")),
        2 => select(whole).prop_map(str::to_owned),
    ]
}

fn combined(leaf: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
        ]
    })
}

fn quantified() -> impl Strategy<Value = String> {
    let list = vec![
        "name",
        "name",
        "replicas",
        "params.amount",
        "name.a",
        "chain",
        "agent.groups",
        "session.labels",
        "params",
    ];
    let inner = combined(leaf(At::Element).boxed())
        .prop_filter("refused inside", |text| accepts(&format!("name.all(x, {text})")));
    (select(list), select(vec!["all", "exists"]), inner)
        .prop_map(|(list, what, inner)| format!("{list}.{what}(x, {inner})"))
}

/// Conditions that are accepted; what compares text with numbers and the like is refused, and drawn again.
pub(crate) fn condition() -> impl Strategy<Value = String> {
    let one =
        prop_oneof![5 => leaf(At::Outside), 2 => quantified()].prop_filter("refused when loaded", |text| accepts(text));
    combined(one.boxed()).prop_filter("too deep or long", |text| accepts(text))
}

/// Text that is nearly a pattern.
pub(crate) fn nearly_pattern() -> impl Strategy<Value = String> {
    let part = select(vec![
        "a", "b", "c", "é", "😀", "-", "&", "~", "#", " ", "/", ".", "*", "+", "?", "|", "(", ")", "(?:", "[", "[^",
        "]", "{2}", "{1,3}", "{,2}", "{", "}", "^", "$", "\\d", "\\D", "\\w", "\\W", "\\s", "\\S", "\\.", "\\-", "\\]",
        "\\n", "\\t", "\\a", "\\v", "\\A", "\\z", "\\Q", "\\E", "\\1", "a-c", "\\/", "\\_", "\\<", "\\x41",
    ]);
    prop::collection::vec(part, 1..8).prop_map(|parts| parts.concat())
}

/// Conditions on patterns that are accepted.
pub(crate) fn pattern_condition() -> impl Strategy<Value = String> {
    nearly_pattern()
        .prop_map(|pattern| format!("name.matches(r\"{pattern}\")"))
        .prop_filter("refused when loaded", |text| accepts(text))
}

/// One policy that asks for every condition, of every call but what nobody described.
pub(crate) fn policy(zone: &str, conditions: &[String]) -> String {
    let entries: Vec<Value> = conditions.iter().map(|text| json!({"name": "*/*", "approval_needed": text})).collect();
    json!({"agent": "*", "timezone": zone, "freezes": freezes(), "actions": entries}).to_string()
}

fn accepts(condition: &str) -> bool {
    let text = policy("UTC", &[condition.to_owned()]);
    let source = aegis_core::policy::Source { file: "p".to_owned(), text };
    aegis_core::policy::PolicySet::load(&[source], aegis_core::policy::Options::default()).is_ok()
}
