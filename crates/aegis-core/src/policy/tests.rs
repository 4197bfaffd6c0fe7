use serde_json::{Value, json};

use super::*;
use crate::call::tests::scale;
use crate::call::{Companion, Destination, Image, Presence, Shape};

const DIGEST: &str = "sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945";

/// The policy of mission row 7, with a real digest.
fn mission() -> String {
    format!(
        "agent: deploy-manager\n\
         actions:\n\
         \x20 - name: deploy\n\
         \x20   allowed_environments: [\"staging\"]\n\
         \x20   approval_needed: env == \"production\"\n\
         \x20   allowed_images:\n\
         \x20     - digest: \"{DIGEST}\"\n\
         \x20   max_replicas: 50\n"
    )
}

fn set(text: &str) -> PolicySet {
    let source = Source { file: "p.yaml".to_owned(), text: text.to_owned() };
    match PolicySet::load(&[source], Options::default()) {
        Ok(set) => set,
        Err(errors) => panic!("{}", errors.iter().map(|e| format!("{e}\n")).collect::<String>()),
    }
}

fn refused(text: &str) -> Vec<String> {
    let source = Source { file: "p.yaml".to_owned(), text: text.to_owned() };
    let errors = PolicySet::load(&[source], Options::default()).expect_err("refused");
    errors.iter().map(ToString::to_string).collect()
}

/// `rule reason effect` of each finding, after both engines have said the same.
fn judge(set: &PolicySet, agent: &Agent, call: &ToolCall) -> Vec<String> {
    let asked = Asked { agent, call };
    let evaluation = set.evaluate_with(Engine::Native, asked);
    assert_eq!(evaluation, set.evaluate_with(Engine::Rego, asked), "the engines differ");
    let json = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |finding: &Finding| {
        let finding = serde_json::to_value(finding).expect("json");
        [json(&finding["rule"]), json(&finding["reason"]), json(&finding["effect"])].join(" ")
    };
    evaluation.findings.iter().map(line).collect()
}

fn apply(env: &str, replicas: Option<Value>, digest: Option<&str>) -> ToolCall {
    let mut call = scale(env, json!(1));
    call.action = "apply".to_owned();
    call.shape = Shape::Defined([("replicas", Presence::Partial), ("images", Presence::Required)].map(|(k, v)| (k.to_owned(), v)).into());
    call.params = replicas.map(|value| ("replicas".to_owned(), value)).into_iter().collect();
    call.images = vec![Image {
        reference: "nginx".to_owned(),
        repository: Some("docker.io/library/nginx".to_owned()),
        digest: digest.map(str::to_owned),
    }];
    call
}

#[test]
fn the_policy_of_the_mission_works_as_written() {
    let set = set(&mission());
    let agent = Agent::named("deploy-manager");
    let said = |call: &ToolCall| judge(&set, &agent, call);
    let none: [&str; 0] = [];
    assert_eq!(said(&scale("staging", json!(50))), none);
    assert_eq!(said(&apply("staging", None, Some(DIGEST))), none);
    assert_eq!(said(&scale("production", json!(50))), ["approval_needed approval_condition ask"]);
    assert_eq!(said(&scale("qa", json!(50))), ["allowed_environments not_allowed deny"]);
    assert_eq!(said(&scale("staging", json!(51))), ["max_replicas above_maximum deny"]);
    assert_eq!(said(&scale("staging", json!("50"))), ["max_replicas wrong_type deny"]);
    assert_eq!(said(&scale("staging", Value::Null)), ["max_replicas wrong_type deny"]);
    assert_eq!(said(&apply("staging", None, None)), ["allowed_images no_digest deny"]);
    let other = DIGEST.replace("4f", "00");
    let found = said(&apply("production", Some(json!(200)), Some(&other)));
    let all = [
        "allowed_images not_allowed deny",
        "approval_needed approval_condition ask",
        "max_replicas above_maximum deny",
    ];
    assert_eq!(found, all);
    let mut absent = apply("staging", None, None);
    absent.images.clear();
    assert_eq!(said(&absent), ["allowed_images missing deny"]);
    assert_eq!(judge(&set, &Agent::named("other"), &scale("staging", json!(1))), ["default_deny no_policy deny"]);
    let mut unknown = scale("staging", json!(1));
    unknown.action = "unknown".to_owned();
    assert_eq!(said(&unknown), ["default_deny no_entry deny"]);
}
