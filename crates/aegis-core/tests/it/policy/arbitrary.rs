//! Random policies, conditions and calls over a small vocabulary, so that they meet; and odd values, so that they fail to.

mod rules;

use std::collections::{BTreeMap, BTreeSet};

use aegis_core::agent::Agent;
use aegis_core::call::{Destination, Image, Presence};
use aegis_core::session::Session;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::cel::{self, condition};
use super::{Call, Question};

const ENVS: [&str; 4] = ["staging", "production", "qa", "unknown"];
const TOOLS: [&str; 6] = ["kubernetes", "kubernetes", "kubernetes", "argocd", "http", "sdk"];
const CLASSES: [&str; 4] = ["deploy", "scale", "read", "pay"];
const ACTIONS: [&str; 10] =
    ["scale", "scale", "scale", "scale", "apply", "apply", "get", "unknown", "request", "connect"];
const PARAMS: [&str; 4] = ["replicas", "amount", "name", "flag"];
const HOSTS: [&str; 5] = ["api.example.com", "x.y.example.com", "example.com", "10.0.0.1", "::1"];

fn digest() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "c"]).prop_map(|digit| format!("sha256:{}", digit.repeat(64)))
}

fn repository() -> impl Strategy<Value = String> {
    select(vec!["docker.io/library/nginx", "registry.example.com/app"]).prop_map(str::to_owned)
}

fn some_of(words: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    subsequence(words, 0..=words.len()).prop_map(|list| list.into_iter().map(str::to_owned).collect())
}

pub(crate) fn agent() -> impl Strategy<Value = (String, Vec<String>)> {
    let id = select(vec!["ci-build", "ci-build", "ci-build/eu", "deploy-manager", "other"]).prop_map(str::to_owned);
    (id, some_of(&["sre", "dev"]))
}

fn text() -> impl Strategy<Value = String> {
    let odd = vec!["", "a", "abc", "prod-1", "50", "false", "😀", "é", "e\u{301}", "a\nb", "a/b", "\u{0}", "ＡＢ", "٣"];
    prop_oneof![3 => select(odd).prop_map(str::to_owned), 1 => any::<String>()]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => select(vec![-1i64, 0, 1, 2, 5, 49, 50, 51]).prop_map(Value::from),
        1 => (-60i64..=60).prop_map(Value::from),
        2 => select(vec![0.0, -0.0, 0.1, 0.5, 50.0, 50.5, 49.999_999_999_999_99, 1e300, -1e300, 5e-324]).prop_map(Value::from),
        1 => select(vec![9_007_199_254_740_990, 9_007_199_254_740_991, 9_007_199_254_740_992, 9_007_199_254_740_993, i64::MAX, i64::MIN])
            .prop_map(Value::from),
        1 => Just(Value::from(u64::MAX)),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => number(),
        3 => text().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(select(vec!["a", "b", "name", "0"]).prop_map(str::to_owned), inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn images() -> impl Strategy<Value = Vec<Image>> {
    let image = (prop::option::weighted(0.8, repository()), prop::option::weighted(0.8, digest()))
        .prop_map(|(repository, digest)| Image { reference: "x".to_owned(), repository, digest });
    prop::collection::vec(image, 0..3)
}

fn destination() -> impl Strategy<Value = Destination> {
    (select(&HOSTS), select(vec!["http", "https", "tunnel"]), select(vec![80u16, 443, 8443]))
        .prop_map(|(host, scheme, port)| Destination { scheme: scheme.to_owned(), host: host.to_owned(), port })
}

pub(crate) fn call() -> impl Strategy<Value = Call> {
    let presence = prop_oneof![Just(Presence::Required), Just(Presence::Partial)];
    let shape_names = select(vec!["replicas", "amount", "images", "name", "timeout", "spec", "spec.replicas", "flag"]);
    let shape_names = shape_names.prop_map(str::to_owned);
    let shape = prop::option::of(prop::collection::btree_map(shape_names, presence, 0..5));
    let mostly_number = || prop::option::weighted(0.8, prop_oneof![3 => number(), 1 => value()]);
    let any_value = || prop::option::weighted(0.75, prop_oneof![1 => text().prop_map(Value::from), 2 => value()]);
    let params = (mostly_number(), mostly_number(), any_value(), any_value());
    let companion = prop_oneof![
        6 => Just((false, BTreeMap::new())),
        1 => Just((true, BTreeMap::new())),
        1 => (select(&ACTIONS), some_of(&CLASSES)).prop_map(|(a, c)| (false, BTreeMap::from([(a.to_owned(), c)]))),
    ];
    (
        (select(&TOOLS), select(&ACTIONS), some_of(&CLASSES), select(&ENVS)),
        (params, rules::params(), shape, images(), companion, prop::option::of(destination())),
    )
        .prop_map(|((tool, action, classes, env), (params, more, shape, images, companion, destination))| Call {
            tool: tool.to_owned(),
            action: action.to_owned(),
            classes,
            env: env.to_owned(),
            params: PARAMS
                .iter()
                .zip([params.0, params.1, params.2, params.3])
                .filter_map(|(name, value)| Some(((*name).to_owned(), value?)))
                .chain(more)
                .collect(),
            shape,
            images,
            companion_of_tool: companion.0,
            companion_of: companion.1,
            // One in some of those that come with a tool: which, follows from what is drawn already.
            companion_of_tools: match companion.0 && env == ENVS[0] {
                true => BTreeSet::from([TOOLS[0].to_owned(), TOOLS[1].to_owned()]),
                false => BTreeSet::new(),
            },
            destination,
        })
}

/// A call with all that it is judged by.
pub(crate) fn question() -> impl Strategy<Value = Question> {
    let chain = prop::collection::vec(select(vec!["root", "ci-build", "a", "😀"]).prop_map(str::to_owned), 0..4);
    let labels = prop::collection::btree_set(select(vec!["private", "touched", "a"]).prop_map(str::to_owned), 0..3);
    let count = prop_oneof![6 => 0u64..6, 1 => select(vec![9_007_199_254_740_991, 9_007_199_254_740_992, u64::MAX])];
    let counted = select(vec!["deploy", "scale", "kubernetes/scale"]).prop_map(str::to_owned);
    let session = (labels, prop::collection::btree_map(counted, count, 0..3))
        .prop_map(|(labels, counts)| Session { counts, labels });
    (agent(), chain, call(), moment(), session).prop_map(|((id, groups), chain, call, now, session)| Question {
        agent: Agent { chain, ..super::agent(&id, &groups) },
        call: call.describe(),
        now,
        session,
    })
}

/// The edges of the freezes and of days, when clocks change, and any second from 1970 to 2100.
fn moment() -> impl Strategy<Value = Timestamp> {
    let edges = vec![
        "2026-12-19T22:59:59.999Z",
        "2026-12-19T23:00:00Z",
        "2026-12-20T00:00:00Z",
        "2027-01-02T22:59:59Z",
        "2027-01-02T23:00:00Z",
        "2026-06-01T12:00:00Z",
        "2026-03-29T00:59:59Z",
        "2026-03-29T01:00:00Z",
        "2026-10-25T00:30:00Z",
        "2026-10-25T01:30:00Z",
        "2028-02-29T23:30:00Z",
        "1970-01-01T00:00:00Z",
    ];
    let any = (0i64..4_102_444_800).prop_map(|second| Timestamp::from_second(second).expect("before 2100"));
    prop_oneof![2 => select(edges).prop_map(|text| text.parse().expect("a time")), 1 => any]
}

fn entry() -> impl Strategy<Value = Value> {
    let name = select(vec![
        "deploy",
        "scale",
        "read",
        "apply",
        "kubernetes/scale",
        "kubernetes/*",
        "*/*",
        "*/get",
        "k*s/a*",
        "kubernetes/unknown",
        "http/request",
        "http/connect",
        "http/*",
        "request",
    ]);
    let image = prop_oneof![
        digest().prop_map(|digest| json!({"digest": digest})),
        (repository(), digest()).prop_map(|(repository, digest)| json!({"repository": repository, "digest": digest})),
    ];
    let approval = prop_oneof![1 => any::<bool>().prop_map(Value::from), 4 => condition().prop_map(Value::from)];
    let images = prop::collection::vec(image, 0..3);
    let digests = prop::collection::vec(digest(), 0..2);
    (
        name,
        prop::option::weighted(0.3, some_of(&TOOLS)),
        prop::option::weighted(0.5, some_of(&ENVS)),
        prop::option::weighted(0.4, approval),
        prop::option::weighted(0.3, images),
        prop::option::weighted(0.2, digests),
        rules::rules(),
        any::<[bool; 3]>(),
    )
        .prop_map(|(name, tools, envs, approval, images, digests, mut entry, asks)| {
            let may_ask = entry.keys().filter(|rule| asks[2] && rules::may_ask(rule));
            let mut on_violation: serde_json::Map<String, Value> =
                may_ask.map(|rule| (rule.clone(), "approval_needed".into())).collect();
            entry.insert("name".to_owned(), name.into());
            let rules = [
                ("allowed_environments", envs.map(Value::from), asks[0]),
                ("allowed_images", images.map(Value::from), asks[1]),
                ("allowed_image_digests", digests.map(Value::from), false),
            ];
            for (rule, value, asks) in rules {
                let Some(value) = value else { continue };
                entry.insert(rule.to_owned(), value);
                if asks {
                    on_violation.insert(rule.to_owned(), "approval_needed".into());
                }
            }
            entry.extend(tools.map(|tools| ("tools".to_owned(), tools.into())));
            entry.extend(approval.map(|approval| ("approval_needed".to_owned(), approval)));
            entry.insert("on_violation".to_owned(), on_violation.into());
            Value::Object(entry)
        })
}

fn policy() -> impl Strategy<Value = Value> {
    let who = select(vec!["ci-build", "ci-*", "ci-*", "*", "*", "deploy-manager", "*/eu"]);
    let pattern = select(vec![
        "api.example.com",
        "*.example.com",
        "*.example.com:8443",
        "example.com:443",
        "10.0.0.1",
        "[::1]:8443",
        "API.Example.com.:80",
    ]);
    (
        prop::option::weighted(0.8, who),
        some_of(&["sre", "dev"]),
        prop::option::weighted(0.4, select(vec!["enforce", "shadow"])),
        prop::option::weighted(0.1, some_of(&TOOLS)),
        prop::option::weighted(0.5, prop::collection::vec(pattern, 0..3)),
        prop::option::weighted(0.1, condition()),
        prop::collection::vec(entry(), 0..6),
        select(&cel::ZONES),
    )
        .prop_map(|(who, groups, mode, tools, egress, deny, entries, zone)| {
            let mut policy = json!({"groups": groups, "actions": entries, "freezes": cel::freezes()});
            policy["timezone"] = zone.into();
            if who.is_some() || groups.is_empty() {
                policy["agent"] = who.unwrap_or("*").into();
            }
            if let Some(mode) = mode {
                policy["mode"] = mode.into();
            }
            if let Some(deny) = deny {
                policy["deny_if"] = deny.into();
                policy["budget"] = json!({"weekly": "500 USD"});
            }
            if let Some(tools) = tools {
                policy["tools"] = tools.into();
            }
            if let Some(egress) = egress {
                policy["egress"] = json!({"allow": egress});
            }
            policy
        })
}

/// Several policies in one file, as JSON documents.
pub(crate) fn policies() -> impl Strategy<Value = String> {
    prop_oneof![1 => prop::collection::vec(policy(), 0..1), 20 => prop::collection::vec(policy(), 1..5)]
        .prop_map(|policies| policies.iter().map(|policy| format!("---\n{policy}\n")).collect::<String>())
}
