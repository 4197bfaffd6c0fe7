//! `conformance/ways/*.yaml`: one table, every case by every way in, with the same decision, reasons and record.
//!
//! A real gateway for each file, and a tool on loopback that keeps what reaches it.

mod carry;
mod data;
mod world;

use std::collections::BTreeMap;

use carry::WAYS;
use data::{Case, Expect};
use serde_json::{Value, json};
use world::World;

/// What of a record has to be the same by every way. Not among it: ids, times, the way itself, and what the destination and the
/// exact payload add to the digest of a call that came by the proxy.
fn essence(record: &Value) -> Value {
    let of = |key: &str| record[key].clone();
    let mut call = BTreeMap::from(
        ["tool", "action", "effect", "env", "params_digest"].map(|key| (key, record["call"][key].clone())),
    );
    if call["tool"] == "http" {
        // Scheme and port are parameters of a plain request, and differ with the way.
        call.remove("params_digest");
    }
    json!({
        "decision": of("decision"), "would_decision": of("would_decision"), "mode": of("mode"), "code": of("code"),
        "reason": of("reason"), "matched": of("matched"), "violations": of("violations"), "redactions": of("redactions"),
        "approval": record["approval"]["status"], "policy_version": of("policy_version"),
        "call": if record["call"].is_null() { Value::Null } else { call.into_iter().collect() },
    })
}

fn check(place: &str, expect: &Expect, record: &Value) {
    assert_eq!(record["decision"], expect.decision.as_str(), "{place}: {record}");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    assert_eq!(text(&record["code"]), expect.code, "{place}: {record}");
    if let Some(reason) = &expect.reason {
        assert_eq!(record["reason"], reason.as_str(), "{place}: {record}");
    }
    let violations = record["violations"].as_array().cloned().unwrap_or_default();
    let found: Vec<Value> = violations.iter().map(|v| json!([v["rule"], v["reason"], v["param"]])).collect();
    if expect.decision != "sanitize" {
        assert_eq!(json!(found), json!(expect.violations), "{place}: {record}");
    }
    for (key, wanted) in [("tool", &expect.tool), ("action", &expect.action), ("env", &expect.env)] {
        assert_eq!(&text(&record["call"][key]), wanted, "{place}: {key}: {record}");
    }
}

/// One call by one way: its record, which is as expected; and what reached the tool.
fn ask(world: &World, way: &carry::Way, case: &Case, expect: &Expect) -> Value {
    let place = format!("{} by {}", case.case, way.name);
    let before = world.tool.requests();
    let id = (way.carry)(world, way, case).unwrap_or_else(|why| panic!("{place}: {why}\n{}", world.gateway.log()));
    let record = world.record(way, &id);
    check(&place, expect, &record);
    assert_eq!(record["via"], way.via, "{place}");
    let reached = world.tool.since(before);
    let passes = matches!(expect.decision.as_str(), "allow" | "sanitize");
    assert_eq!(reached.len(), usize::from(passes && way.forwards), "{place}: what reached the tool: {reached:?}");
    if let Some(request) = reached.first() {
        let sent = case.request.body.clone().unwrap_or_default();
        (way.reached)(request, case, case.reaches.as_ref().unwrap_or(&sent));
    }
    essence(&record)
}

#[test]
fn every_case_gets_the_same_by_every_way() {
    for (name, file) in data::files() {
        let world = World::start(&file);
        for case in &file.cases {
            let mut first: Option<(&str, Vec<Value>)> = None;
            for way in WAYS.iter().filter(|way| way.carries(&world, case)) {
                let expect = way.instead(case).unwrap_or_else(|| case.expect.clone());
                let mut seen = vec![ask(&world, way, case, &expect)];
                if let Some(approved) = case.approved.as_ref().filter(|_| expect.decision == "approval_needed") {
                    world.approve(way);
                    seen.push(ask(&world, way, case, approved));
                    seen.push(ask(&world, way, case, &case.expect));
                    world.cancel(way);
                }
                if way.instead(case).is_some() {
                    continue;
                }
                match &first {
                    Some((other, same)) => assert_eq!(same, &seen, "{name}: {}: {other} and {}", case.case, way.name),
                    None => first = Some((way.name, seen)),
                }
            }
            assert!(first.is_some(), "{name}: {}: no way carries it", case.case);
        }
    }
}
