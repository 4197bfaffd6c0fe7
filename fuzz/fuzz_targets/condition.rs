//! Any text as a condition: loaded or refused with its place, within bounds; what loads says the same by both engines.
#![no_main]

use aegis_core::agent::Agent;
use aegis_core::policy::{Asked, Engine, Options, PolicySet, Source};
use aegis_core::session::Session;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let policy = serde_json::json!({
        "agent": "a",
        "timezone": "Europe/Berlin",
        "freezes": [{"name": "year-end", "from": "2026-12-20", "until": "2027-01-03"}],
        "actions": [{"name": "scale", "approval_needed": text, "labels": {"seen": text}}],
    });
    let source = Source { file: "fuzz".to_owned(), text: policy.to_string() };
    let set = match PolicySet::load(&[source], Options::default()) {
        Ok(set) => set,
        Err(errors) => return assert!(errors.iter().all(|error| error.line > 0 && !error.message.is_empty())),
    };
    let catalogue = aegis_core::describe::Catalogue::load(&[], None).expect("the built-in tools load");
    let raw = b"PATCH /apis/apps/v1/namespaces/a/deployments/web/scale HTTP/1.1\r\nHost: k\r\n\
        Content-Type: application/merge-patch+json\r\nContent-Length: 24\r\n\r\n{\"spec\":{\"replicas\":200}}";
    let Ok(call) = catalogue.match_raw(raw, None) else { return };
    let agent = Agent { chain: vec!["b".to_owned(), "c".to_owned()], ..Agent::named("a") };
    let session = Session { counts: [("deploy".to_owned(), 2)].into(), labels: ["private".to_owned()].into() };
    let now = "2026-12-24T18:30:00Z".parse().expect("a time");
    let asked = Asked { agent: &agent, call: &call, now, session: &session };
    assert_eq!(set.evaluate_with(Engine::Native, asked), set.evaluate_with(Engine::Rego, asked));
    assert!(set.session_marks(asked).is_some());
});
