//! Random rules of every kind, and values that they can be about.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

use super::{condition, number, some_of, value};

/// What rules are on; a call may have any of them.
const ON: [&str; 9] = ["replicas", "amount", "name", "flag", "currency", "timeout", "spec", "spec.replicas", "name.a"];

/// Bounds that some value keeps.
fn bounds() -> impl Strategy<Value = Value> {
    select(vec![
        json!({"max_replicas": 50}),
        json!({"max_replicas": 5, "min_replicas": 1}),
        json!({"min_replicas": 0.5}),
        json!({"min_replicas": 9_007_199_254_740_991_i64}),
        json!({"max_amount": "5 USD"}),
        json!({"max_amount": "50.50 USD", "min_amount": "0.5 USD"}),
        json!({"min_amount": "2 JPY"}),
        json!({"max_amount": 0.5}),
        json!({"max_timeout": "90s"}),
        json!({"max_timeout": "1m30s", "min_timeout": "500ms"}),
        json!({"min_name": "1h"}),
        json!({"max_spec.replicas": 5}),
        json!({"max_spec.replicas": "5 USD", "min_spec.replicas": "1 USD"}),
        json!({"max_spec.replicas": "90s"}),
        json!({"min_name.a": 1}),
    ])
}

fn list() -> impl Strategy<Value = Value> {
    let texts = ["a", "abc", "prod-*", "*", "", "50", "USD", "*é*", "90s", "a*b"].map(Value::from);
    let numbers = [json!(50), json!(0), json!(0.5), json!(-1), json!(9_007_199_254_740_991_i64)];
    let bools = [json!(true), json!(false)];
    let all = texts.clone().into_iter().chain(numbers.clone()).chain(bools).collect::<Vec<_>>();
    prop_oneof![
        1 => subsequence(texts.to_vec(), 0..4),
        1 => subsequence(numbers.to_vec(), 0..4),
        3 => subsequence(all, 2..9),
    ]
    .prop_map(Value::from)
}

fn pattern() -> impl Strategy<Value = Value> {
    select(vec!["[a-c]+", "a|abc", "prod-\\d", ".*", "", "\\w*", "(a|b){1,3}", "^a", "USD|EUR", "[^a]", "\\d+s"])
        .prop_map(Value::from)
}

/// Some of an entry's keys, and the rules that may be asked about.
pub(super) fn rules() -> impl Strategy<Value = Map<String, Value>> {
    let family =
        |words: &'static [&'static str]| (select(words), select(&ON)).prop_map(|(word, on)| format!("{word}_{on}"));
    let listed = (family(&["allowed", "denied"]), list());
    let matched = (family(&["pattern"]), pattern());
    let required = subsequence(ON.to_vec(), 0..3).prop_map(Value::from);
    let deny = prop_oneof![
        3 => condition().prop_map(Value::from),
        1 => prop::collection::vec(condition(), 1..3).prop_map(Value::from),
    ];
    let sanitize = subsequence(vec!["pii", "phi", "secrets"], 1..3).prop_map(|kinds| json!({"detect": kinds}));
    let hosts = subsequence(vec!["api.example.com", "*.example.com", "10.0.0.1:443"], 0..2);
    (
        prop::option::weighted(0.5, bounds()),
        prop::collection::vec(listed, 0..2),
        prop::option::weighted(0.2, matched),
        prop::option::weighted(0.2, required),
        prop::option::weighted(0.15, deny),
        prop::option::weighted(0.1, sanitize),
        prop::option::weighted(0.1, hosts.prop_map(|hosts| json!({"allow": hosts}))),
        prop::option::weighted(0.1, some_of(&["slack:U1", "group:sre"])),
    )
        .prop_map(|(bounds, listed, matched, required, deny, sanitize, egress, approvers)| {
            let mut entry = Map::new();
            entry.extend(
                bounds.iter().flat_map(|bounds| bounds.as_object()).flatten().map(|(k, v)| (k.clone(), v.clone())),
            );
            entry.extend(listed.into_iter().chain(matched));
            entry.extend(required.map(|value| ("required_params".to_owned(), value)));
            entry.extend(deny.map(|value| ("deny_if".to_owned(), value)));
            entry.extend(sanitize.map(|value| ("sanitize".to_owned(), value)));
            entry.extend(egress.map(|value| ("egress".to_owned(), value)));
            if let Some(approvers) = approvers.filter(|approvers| !approvers.is_empty()) {
                entry.insert("approval".to_owned(), json!({"approvers": approvers, "expires": "10m"}));
                entry.insert("daily_budget".to_owned(), "30 replicas".into());
            }
            entry
        })
}

/// Whether a violation of this rule can ask a human.
pub(super) fn may_ask(rule: &str) -> bool {
    ["max_", "min_", "allowed_", "denied_", "pattern_"].iter().any(|family| rule.starts_with(family))
        || rule == "egress"
}

/// Values for the parameters that only rules speak of.
pub(super) fn params() -> impl Strategy<Value = Vec<(String, Value)>> {
    let currency = prop_oneof![
        8 => select(vec!["USD", "usd", "EUR", "JPY", "", "uſd", "US", "USD "]).prop_map(Value::from),
        1 => value(),
    ];
    let one_time = || {
        prop_oneof![
            4 => select(vec!["90s", "91s", "1m30s", "500ms", "499ms", "1h", "0s", "5", "-5s", "1.5s"]).prop_map(Value::from),
            3 => select(vec![json!(90), json!(91), json!(0.5), json!(0.499), json!(-1), json!(0)]),
            1 => value(),
        ]
    };
    let time = prop_oneof![5 => one_time(), 1 => prop::collection::vec(one_time(), 0..3).prop_map(Value::from)];
    let inner = || prop_oneof![3 => number(), 1 => one_time(), 1 => value()];
    let spec = prop_oneof![
        5 => (prop::option::weighted(0.8, inner()), prop::option::of(select(vec!["USD", "EUR"]))).prop_map(|(replicas, currency)| {
            let mut spec = Map::new();
            spec.extend(replicas.map(|replicas| ("replicas".to_owned(), replicas)));
            spec.extend(currency.map(|currency| ("currency".to_owned(), currency.into())));
            Value::Object(spec)
        }),
        1 => value(),
    ];
    let names = ["currency", "timeout", "spec", "spec.replicas"];
    let of = |weight: f64, value: BoxedStrategy<Value>| prop::option::weighted(weight, value);
    (of(0.6, currency.boxed()), of(0.6, time.boxed()), of(0.5, spec.boxed()), of(0.1, inner().boxed())).prop_map(
        move |values| {
            let values = [values.0, values.1, values.2, values.3];
            names.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?))).collect()
        },
    )
}
