mod rules;

use serde_json::{Value, json};

use super::*;
use crate::approval::ApprovalTerms;
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
    let asked = Asked::of(agent, call);
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
    call.shape = Shape::Defined(
        [("replicas", Presence::Partial), ("images", Presence::Required)].map(|(k, v)| (k.to_owned(), v)).into(),
    );
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

#[test]
fn errors_have_their_place_and_the_nearest_key() {
    let bad =
        "agent: a\nmoed: shadow\nactions:\n  - name: scale\n    max_replicas: \"50\"\n    allowed_enviroments: [x]\n";
    assert_eq!(
        refused(bad),
        [
            "p.yaml:2:1: moed: unknown key; did you mean `mode`?",
            "p.yaml:5:19: actions[0].max_replicas: expected a number, found text; write 50 without quotes",
            "p.yaml:6:5: actions[0].allowed_enviroments: unknown key; did you mean `allowed_environments`?",
        ]
    );
    assert_eq!(refused("actions: []\n"), ["p.yaml:1:1: agent: `agent` is missing: name the agent, or `groups`"]);
    assert_eq!(
        refused("agent: a b\n")[0],
        "p.yaml:1:8: agent: \"a b\" can't be an agent's name: letters, digits and ._-@/ only, or `*`"
    );
    assert_eq!(
        refused("agent: a\nname: x\n---\nagent: b\nname: x\n")[0],
        "p.yaml:4:1: name: \"x\" is already the name of a policy, at p.yaml:1"
    );
    assert_eq!(
        refused("apiVersion: aegis/v2\nagent: a\n")[0],
        "p.yaml:1:13: apiVersion: unknown version \"aegis/v2\"; this version reads aegis/v1"
    );
    assert!(refused("[1]\n")[0].contains("expected a mapping, found a list"));
    assert!(refused("agent: [\n")[0].contains("not YAML"));
}

#[test]
fn what_cannot_be_enforced_yet_refuses_the_file() {
    let errors = refused("agent: a\nactions:\n  - {name: pay, approval: {scope: session}}\n");
    let later = "the scope `session` is known to aegis/v1, but this version can't enforce it yet";
    assert_eq!(errors, [format!("p.yaml:3:35: actions[0].approval.scope: {later}")]);
    for key in ["required_params: [x]", "max_replicas: 5", "sanitize: {detect: [pii]}", "allowed_images: []"] {
        let errors = refused(&format!("agent: a\n{key}\n"));
        assert_eq!(errors.len(), 1, "{key}: {errors:?}");
        assert!(errors[0].contains("belongs into an entry of `actions`"), "{errors:?}");
    }
}

#[test]
fn values_that_could_be_misread_are_refused() {
    let entry = |line: &str| refused(&format!("agent: a\nactions:\n  - name: x\n    {line}\n")).join("; ");
    assert!(entry("allowed_images: [{digest: \"sha256:…\"}]").contains("placeholder"));
    assert!(entry(&format!("allowed_images: [{{digest: \"{}\"}}]", DIGEST.to_uppercase())).contains("sha256: and 64"));
    assert!(entry("allowed_images: [{digest: \"sha256:abc\"}]").contains("this has 3 of them"));
    assert!(entry(&format!("allowed_images: [{{digest: \"sha256:{}Z\"}}]", "a".repeat(63))).contains("this has 'Z'"));
    assert!(entry("allowed_images: [{repository: nginx}]").contains("`digest` is missing"));
    assert!(entry(&format!("allowed_images: [{{repository: \"nginx:1\", digest: \"{DIGEST}\"}}]")).contains("no tag"));
    assert!(entry("max_x: 9007199254740992").contains("beyond 2^53"));
    assert!(entry("max_x: 1e300").contains("beyond 2^53"));
    assert!(entry("max_: 1").contains("name is missing"));
    assert!(entry("rate: {limit: 0, per: 1s}").contains("expected 1 to"));
    assert!(entry("rate: {limit: 1, per: 10}").contains("needs a unit"));
    assert!(entry("rate: {limit: 1, per: 1y}").contains("no duration"));
    assert!(entry("rate: {limit: 1}").contains("`per` is missing"));
    assert!(entry("on_violation: {max_replicas: approval_needed}").contains("the entry has no such rule"));
    assert!(entry("max_replicas: 1\n    on_violation: {max_replica: deny}").contains("did you mean `max_replicas`?"));
    assert!(
        entry("max_replicas: 1\n    on_violation: {max_replicas: allow}")
            .contains("expected `approval_needed` or `deny`")
    );
    assert!(entry("tools: [\"kube*\"]").contains("named in full"));
    for name in ["unknown", "*", "a/b/c", "/x", "x/", "\"a b\"", "\"\""] {
        assert!(!refused(&format!("agent: a\nactions: [{{name: {name}}}]\n")).is_empty(), "{name}");
    }
    for host in [
        "\"*\"",
        "\"a.*.com\"",
        "\"https://x.com\"",
        "\"x.com:0\"",
        "\"x.com:99999\"",
        "\"127.1\"",
        "\"0x7f.1\"",
        "\"a..b\"",
        "\"u@h\"",
        "\"\"",
    ] {
        assert!(!refused(&format!("agent: a\negress: {{allow: [{host}]}}\n")).is_empty(), "{host}");
    }
}

#[test]
fn what_probably_isn_t_meant_is_a_warning() {
    let warnings = |text: &str| set(text).warnings().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(warnings("# nothing\n"), ["p.yaml:1:1: the file holds no policy"]);
    assert!(warnings("agent: a\n")[0].contains("allows nothing"));
    assert!(warnings("agent: a\nactions: [{name: x, tools: []}]\n")[0].contains("actions[0].tools: an empty list"));
    assert!(warnings(&mission()).is_empty());
}

#[test]
fn a_refused_condition_is_shown_where_it_stands() {
    let plain = "agent: a\nactions:\n  - name: x\n    approval_needed: replicas > 5 && null < x\n";
    assert_eq!(refused(plain), ["p.yaml:4:43: actions[0].approval_needed: null has no order; compare with == or !="]);
    let folded = "agent: a\nactions:\n  - name: x\n    approval_needed: >-\n      replicas > 5\n      && null < x\n";
    assert!(refused(folded)[0].ends_with("or != (at character 22 of the condition)"), "{:?}", refused(folded));
}

#[test]
fn a_violation_says_limit_and_value() {
    let set = set(&mission());
    let agent = Agent::named("deploy-manager");
    let call = scale("production", json!([1, 200, 51]));
    let asked = Asked::of(&agent, &call);
    let said: Vec<Violation> =
        set.evaluate(asked).findings.iter().map(|finding| set.violation(finding, asked)).collect();
    assert_eq!(said[0].message, "the policy asks a human where env == \"production\"");
    assert_eq!(said[1].message, "replicas 200 is above max_replicas 50");
    assert_eq!((said[1].limit.clone(), said[1].actual.clone()), (Some(json!(50)), Some(json!(200))));
    assert_eq!((said[1].param.as_deref(), said[1].policy.as_str()), (Some("replicas"), "deploy-manager"));
    let text = scale("staging", json!("hunter2"));
    let asked = Asked::of(&agent, &text);
    let said = set.violation(&set.evaluate(asked).findings[0], asked);
    assert_eq!(said.message, "replicas is text, but max_replicas 50 needs a number");
    let foreign = Finding { policy: "gone".to_owned(), ..set.evaluate(asked).findings[0].clone() };
    assert_eq!(set.violation(&foreign, asked).message, "\"max_replicas\" is not kept: wrong_type");
}

#[test]
fn rates_and_approvals_come_from_what_applies() {
    let set = set("agent: a\nrate: {limit: 10, per: 1s, burst: 20}\nactions:\n\
                   \x20 - {name: scale, rate: {limit: 3, per: 1h}, approval_needed: true, approval: {expires: 30m}}\n\
                   \x20 - {name: deploy, approval_needed: true, approval: {expires: 10m}}\n\
                   \x20 - {name: read, rate: {limit: 1, per: 500ms}}\n");
    let agent = Agent::named("a");
    let call = scale("staging", json!(1));
    let asked = Asked::of(&agent, &call);
    let rates: Vec<_> = set.rates(asked).into_iter().map(|r| (r.key, r.limit, r.per_ms, r.burst)).collect();
    assert_eq!(rates, [("a||a".to_owned(), 10, 1000, 20), ("a|0|a".to_owned(), 3, 3_600_000, 3)]);
    assert_eq!(set.approval_terms(&set.evaluate(asked).findings).ttl_s, 600);
    assert_eq!(set.approval_terms(&[]), ApprovalTerms { ttl_s: 1800, requirements: Vec::new() });
}

#[test]
fn a_destination_is_reached_only_where_it_is_listed() {
    let text = "agent: a\negress: {allow: [\"example.com:443\"]}\n";
    let to = |host: &str| {
        let mut call = scale("staging", json!(1));
        call.destination = Some(Destination { scheme: "tunnel".into(), host: host.into(), port: 443 });
        call
    };
    let may = |set: &PolicySet, agent: &str, host: &str| set.may_reach(Asked::of(&Agent::named(agent), &to(host)));
    let enforced = set(text);
    assert!(may(&enforced, "a", "example.com"));
    assert!(!may(&enforced, "a", "evil.example"));
    assert!(!may(&enforced, "b", "example.com"));
    let source = Source { file: "p".to_owned(), text: text.to_owned() };
    let options = Options { mode: Mode::Shadow, ..Options::default() };
    let shadow = PolicySet::load(&[source], options).expect("loads");
    assert!(may(&shadow, "a", "evil.example") && may(&shadow, "b", "example.com"));
}

#[test]
fn the_bundle_is_the_same_whatever_the_order_of_the_files() {
    let one = Source { file: "1.yaml".to_owned(), text: mission() };
    let two = Source { file: "2.yaml".to_owned(), text: "agent: b\nactions: [{name: read}]\n".to_owned() };
    let load = |sources: &[Source]| PolicySet::load(sources, Options::default()).expect("loads");
    let (a, b) = (load(&[one.clone(), two.clone()]), load(&[two, one.clone()]));
    assert_eq!((a.bundle(None), a.version()), (b.bundle(None), b.version()));
    assert!(a.version().starts_with("pol_") && a.version().len() == 16, "{}", a.version());
    assert_ne!(a.version(), load(&[one]).version());
    assert_eq!(a.ids().collect::<Vec<_>>(), ["deploy-manager", "b"]);
}

#[test]
fn the_data_is_sorted_however_it_is_written() {
    let set = set("agent: a\ngroups: [g]\nactions: [{name: x/y*, max_x: 5 USD, allowed_y: [z*]}]\n---\nagent: b*\n");
    let data = serde_json::to_vec(&set.tables).expect("json");
    let sorted = serde_json::from_slice::<Value>(&data).expect("json").to_string();
    assert_eq!(String::from_utf8(data).expect("text"), sorted);
}

#[test]
fn an_engine_that_cannot_answer_denies() {
    let evaluation = rego::failed(&rego::Failure::of_the_call("why"));
    let [finding] = evaluation.findings.as_slice() else { panic!("one finding") };
    assert_eq!(
        (finding.reason, finding.effect, finding.mode),
        (Reason::EngineFailed, FindingEffect::Deny, Mode::Enforce)
    );
    let (set, agent) = (set(""), Agent::named("a"));
    let call = ToolCall { companion: Companion::OfTool, ..scale("staging", json!(1)) };
    assert_eq!(judge(&set, &agent, &call), ["default_deny no_policy deny"]);
}

#[test]
fn what_would_be_too_much_is_refused() {
    assert_eq!(refused(&format!("#{}", " ".repeat(1 << 20))), ["p.yaml:1:1: the file is larger than 1 MiB"]);
    let entries = |count: usize| format!("agent: a\nactions:\n{}", "  - {name: x}\n".repeat(count));
    assert_eq!(set(&entries(1_000)).len(), 1);
    assert!(refused(&entries(1_001))[0].contains("more than 1000 entries"));
    let list = format!("agent: a\nactions: [{{name: x, allowed_environments: [{}]}}]\n", "e,".repeat(10_001));
    assert!(refused(&list)[0].contains("more than 10000 values"));
    let shapes = (1..=201).map(|n| format!("  - {{name: x, approval_needed: {:?}}}\n", vec!["a == 1"; n].join(" || ")));
    let shapes: String = shapes.collect();
    assert!(refused(&format!("agent: a\nactions:\n{shapes}")).join(" ").contains("200 shapes"));
}

#[test]
fn a_set_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<PolicySet>();
}

#[test]
fn a_module_that_asks_for_the_session_has_what_it_asks_for_counted() {
    let yaml = Source { file: "a.yaml".to_owned(), text: "agent: a\nactions: [{name: scale}]\n".to_owned() };
    let load = |rule: &str| {
        let text = format!("package aegis.rules.r\n\nimport rego.v1\n\ndeny contains \"enough\" if {rule}\n");
        let module = Source { file: "r.rego".to_owned(), text };
        PolicySet::load(&[yaml.clone(), module], Options::default()).expect("loads")
    };
    let (agent, call) = (Agent::named("a"), scale("staging", json!(3)));
    let asked = Asked::of(&agent, &call);
    assert!(!load("input.params.replicas > 100").uses_sessions());
    let set = load("input.session.count[\"scale\"] > 1");
    let marks = set.session_marks(asked).expect("marks");
    assert!(marks.counts.contains("scale"), "{marks:?}");
    let mut session = Session::default();
    assert_eq!(set.evaluate(asked).findings, []);
    session.leave(&marks);
    session.leave(&marks);
    assert_eq!(set.evaluate(Asked { session: &session, ..asked }).findings.len(), 1);
}
