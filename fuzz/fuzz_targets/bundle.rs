//! Any bytes as a bundle: read within bounds or refused; what is taken says the same about a call when it is passed on.
//! Bytes that are no gzip are packed as one, and as the files of one, so that the fuzzer gets past the checksum.
#![no_main]

use aegis_core::agent::Agent;
use aegis_core::policy::{Archive, Asked, Options, PolicySet, Source};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = PolicySet::from_bundle(bytes, Options::default());
    let source =
        Source { file: "p.yaml".to_owned(), text: "agent: a\nactions: [{name: scale, max_replicas: 5}]\n".to_owned() };
    let set = PolicySet::load(&[source], Options::default()).expect("it loads");
    let names =
        [".manifest", "data.json", "aegis/sources.json", "aegis/condition.rego", "x/data.json", ".signatures.json"];
    let Some((which, content)) = bytes.split_first() else { return };
    let name = names[usize::from(*which) % names.len()];
    let archive = set.archive(None).with(name, content.to_vec());
    let _ = archive.digests();
    let again = Archive::read(&archive.write()).expect("what was written is read");
    assert_eq!(again, archive);
    let Ok((taken, publication)) = PolicySet::from_archive(&archive, Options::default()) else { return };
    let raw = b"PATCH /apis/apps/v1/namespaces/a/deployments/web/scale HTTP/1.1\r\nHost: k\r\n\
        Content-Type: application/merge-patch+json\r\nContent-Length: 24\r\n\r\n{\"spec\":{\"replicas\":200}}";
    let catalogue = aegis_core::describe::Catalogue::load(&[], None).expect("the built-in tools load");
    let Ok(call) = catalogue.match_raw(raw, None) else { return };
    let agent = Agent::named("a");
    let asked = Asked::of(&agent, &call);
    let (passed_on, _) = PolicySet::from_bundle(&taken.bundle(publication.as_ref()), Options::default())
        .expect("what was taken is taken");
    assert_eq!(taken.evaluate(asked), passed_on.evaluate(asked));
});
