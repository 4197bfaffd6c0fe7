//! Any text as a policy: loaded or refused with places; what loads says the same by both engines about a call.
#![no_main]

use aegis_core::agent::Agent;
use aegis_core::policy::{Asked, Engine, Options, PolicySet, Source};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let source = Source { file: "fuzz".to_owned(), text: text.to_owned() };
    let Ok(set) = PolicySet::load(&[source], Options::default()) else { return };
    let catalogue = aegis_core::describe::Catalogue::load(&[], None).expect("the built-in tools load");
    let raw = b"PATCH /apis/apps/v1/namespaces/a/deployments/web/scale HTTP/1.1\r\nHost: k\r\n\
        Content-Type: application/merge-patch+json\r\nContent-Length: 24\r\n\r\n{\"spec\":{\"replicas\":200}}";
    let Ok(call) = catalogue.match_raw(raw, None) else { return };
    let agent = Agent::named("a");
    let asked = Asked::of(&agent, &call);
    assert_eq!(set.evaluate_with(Engine::Native, asked), set.evaluate_with(Engine::Rego, asked));
});
