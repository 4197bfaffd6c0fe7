use std::io::Write as _;

use proptest::prelude::*;
use serde_json::json;

use super::digest::canonical;
use super::{Archive, ArchiveError, BundleError, Publication, Risk, portable};
use crate::agent::Agent;
use crate::call::{Companion, Effect, Environment, Payload, Shape, ToolCall};
use crate::policy::{Asked, Engine, Mode, Options, PolicySet, Source};

const POLICY: &str = "agent: deployer\nactions:\n  - name: scale\n    allowed_environments: [staging]\n    \
                      approval_needed: env == \"production\"\n    max_replicas: 50\n";

fn source(file: &str, text: &str) -> Source {
    Source { file: file.to_owned(), text: text.to_owned() }
}

fn set(text: &str) -> PolicySet {
    PolicySet::load(&[source("p.yaml", text)], Options::default()).expect("it loads")
}

fn publication() -> Publication {
    Publication {
        author: "ann".to_owned(),
        at: "2026-11-22T20:00:00Z".parse().expect("a time"),
        note: "fewer <replicas>".to_owned(),
        risk: Risk::High,
    }
}

fn call(env: &str, replicas: u64) -> ToolCall {
    ToolCall {
        tool: "kubernetes".to_owned(),
        action: "scale".to_owned(),
        classes: ["deploy".to_owned()].into(),
        effect: Effect::Write,
        environment: Environment::named(env),
        target: std::collections::BTreeMap::new(),
        params: [("replicas".to_owned(), json!(replicas))].into_iter().collect(),
        shape: Shape::Open,
        images: Vec::new(),
        frozen: false,
        companion: Companion::No,
        destination: None,
        metering: crate::cost::Metering::default(),
        payload: Payload::Caller,
    }
}

fn agree(a: &PolicySet, b: &PolicySet) {
    let agent = Agent::named("deployer");
    for (env, replicas) in [("staging", 50), ("staging", 51), ("production", 1), ("test", 1)] {
        let call = call(env, replicas);
        assert_eq!(a.evaluate(Asked::of(&agent, &call)), b.evaluate(Asked::of(&agent, &call)), "{env} {replicas}");
    }
}

fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        // Names as they come, also those that the builder would refuse.
        header.as_gnu_mut().expect("gnu").name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, *content).expect("written");
    }
    tar.into_inner().expect("tar").finish().expect("gzip")
}

#[test]
fn a_bundle_comes_back_as_the_policies_that_it_was_made_of() {
    let set = set(POLICY);
    let bytes = set.bundle(Some(&publication()));
    let (back, found) = PolicySet::from_bundle(&bytes, Options::default()).expect("it is taken");
    assert_eq!(found, Some(publication()));
    assert_eq!(back.publication(), Some(&publication()));
    assert!(!back.is_rego_only());
    assert_eq!(back.version(), set.version());
    assert_eq!(back.bundle(found.as_ref()), bytes, "and is the same bundle again");
    agree(&set, &back);
    assert_eq!(PolicySet::from_bundle(&set.bundle(None), Options::default()).expect("taken").1, None);
}

#[test]
fn equal_policies_are_equal_bytes_wherever_they_lay() {
    let two = |folder: &str| {
        let a = source(&format!("{folder}a.yaml"), POLICY);
        let b = source(&format!("{folder}more/b.yaml"), "agent: x\nactions: [{name: read}]\n");
        let there = PolicySet::load(&[a.clone(), b.clone()], Options::default()).expect("loads").bundle(None);
        assert_eq!(there, PolicySet::load(&[b, a], Options::default()).expect("loads").bundle(None));
        there
    };
    assert_eq!(two("/home/ann/policies/"), two("policies/"));
    assert_eq!(two(""), two("/"));
    assert_ne!(set(POLICY).bundle(None), set(POLICY).bundle(Some(&publication())));
    assert_eq!(set(POLICY).bundle(Some(&publication())), set(POLICY).bundle(Some(&publication())));
}

#[test]
fn names_in_a_bundle_start_where_the_files_part() {
    let names = |files: &[&str]| -> Vec<String> {
        let sources: Vec<Source> = files.iter().map(|file| source(file, "")).collect();
        portable(&sources).into_iter().map(|source| source.file).collect()
    };
    assert_eq!(names(&["/etc/aegis/p.yaml"]), ["p.yaml"]);
    assert_eq!(names(&["/etc/aegis/b.yaml", "/etc/aegis/a.yaml"]), ["a.yaml", "b.yaml"]);
    assert_eq!(names(&["/etc/aegis/a.yaml", "/etc/agents/a.yaml"]), ["aegis/a.yaml", "agents/a.yaml"]);
    assert_eq!(names(&["a.yaml", "/b.yaml"]), ["/b.yaml", "a.yaml"]);
    assert_eq!(names(&["é/a", "è/a"]), ["è/a", "é/a"]);
    assert!(names(&[]).is_empty());
}

#[test]
fn what_the_compiler_did_not_write_is_evaluated_as_rego() {
    let set = set(POLICY);
    let mut edited = set.archive(None).file("aegis/gate.rego").expect("there").to_vec();
    edited.extend_from_slice(b"\n# edited\n");
    let archive = set.archive(Some(&publication())).with("aegis/gate.rego", edited);
    let (back, found) = PolicySet::from_bundle(&archive.write(), Options::default()).expect("it is taken");
    assert!(back.is_rego_only());
    assert_eq!((found, back.len()), (Some(publication()), 1));
    assert_eq!(back.ids().collect::<Vec<_>>(), ["deployer"]);
    assert_ne!(back.version(), set.version());
    assert!(back.warnings()[0].message.contains("not what its sources compile to"), "{:?}", back.warnings());
    agree(&set, &back);
    // Whatever engine is asked for, it is that Rego.
    let (agent, call) = (Agent::named("deployer"), call("staging", 50));
    for engine in [Engine::Native, Engine::Rego] {
        assert!(back.evaluate_with(engine, Asked::of(&agent, &call)).findings.is_empty());
    }
    assert_eq!(back.other_engine(), Engine::Rego);
    // And passed on, it is the same again.
    let again = PolicySet::from_bundle(&back.bundle(None), Options::default()).expect("it is taken").0;
    assert_eq!((again.version(), again.is_rego_only()), (back.version(), true));
}

#[test]
fn rego_that_says_something_else_is_obeyed_and_not_the_sources_beside_it() {
    let set = set(POLICY);
    let deny = b"package aegis.gate\n\nevaluation := {\"matched\": [], \"findings\": [{\"policy\": \"mine\", \
        \"entry\": null, \"rule\": \"egress\", \"reason\": \"not_allowed\", \"effect\": \"deny\", \"mode\": \"enforce\"}]}\n";
    let archive = set.archive(None).with("aegis/gate.rego", deny.to_vec());
    let (back, _) = PolicySet::from_archive(&archive, Options::default()).expect("it is taken");
    let (agent, call) = (Agent::named("deployer"), call("staging", 1));
    let asked = Asked::of(&agent, &call);
    let found = back.evaluate(asked);
    assert_eq!(found.findings[0].policy, "mine");
    assert!(!back.may_reach(asked));
    assert!(back.violation(&found.findings[0], asked).message.contains("egress"));
    assert!(back.rates(asked).is_empty());
}

#[test]
fn an_answer_of_another_shape_denies() {
    let odd = b"package aegis.gate\n\nevaluation := {\"allow\": true}\n";
    let archive = set(POLICY).archive(None).with("aegis/gate.rego", odd.to_vec());
    let (back, _) = PolicySet::from_archive(&archive, Options::default()).expect("it is taken");
    let (agent, call) = (Agent::named("deployer"), call("staging", 1));
    let asked = Asked::of(&agent, &call);
    assert_eq!(back.evaluate(asked).findings[0].rule, "engine");
    assert!(!back.may_reach(asked));
}

/// A rate that only the gateway counts would be dropped without a word.
#[test]
fn rego_only_with_what_rego_can_not_enforce_is_refused() {
    for (extra, key) in [
        ("    rate: {limit: 1, per: 1m}\n", "rate"),
        ("    approval: {expires: 5m}\n", "terms"),
        ("    daily_budget: 5 requests\n", "budgets"),
        ("    sanitize: {detect: [pii]}\n", "sanitize"),
    ] {
        let archive = set(&format!("{POLICY}{extra}")).archive(None);
        assert!(PolicySet::from_archive(&archive, Options::default()).is_ok());
        let mut gate = archive.file("aegis/gate.rego").expect("there").to_vec();
        gate.push(b'\n');
        let error = PolicySet::from_archive(&archive.with("aegis/gate.rego", gate), Options::default());
        let error = error.expect_err("refused").to_string();
        assert!(error.contains(&format!("`{key}`")) && error.contains("nothing would enforce"), "{error}");
    }
}

#[test]
fn a_bundle_without_sources_or_with_more_files_is_rego_only() {
    let without: Vec<(String, Vec<u8>)> = {
        let archive = set(POLICY).archive(None);
        let kept = archive.files().filter(|(name, _)| *name != "aegis/sources.json");
        kept.map(|(name, content)| (name.to_owned(), content.to_vec())).collect()
    };
    let files: Vec<(&str, &[u8])> = without.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    let (back, _) = PolicySet::from_bundle(&packed(&files), Options::default()).expect("taken");
    assert!(back.is_rego_only());
    agree(&back, &set(POLICY));
    let more = set(POLICY).archive(None).with("note.txt", b"hello".to_vec());
    assert!(PolicySet::from_archive(&more, Options::default()).expect("taken").0.is_rego_only());
}

#[test]
fn the_gateways_mode_holds_for_a_bundle_too() {
    let shadow = Options { mode: Mode::Shadow, ..Options::default() };
    let bytes = set(POLICY).bundle(None);
    let (taken, _) = PolicySet::from_bundle(&bytes, shadow.clone()).expect("taken");
    assert_eq!(taken.mode(), Mode::Shadow);
    let local = PolicySet::load(&[source("p.yaml", POLICY)], shadow.clone()).expect("loads");
    assert_eq!(taken.version(), local.version());
    // Rego that was compiled for the other mode can't be changed.
    let archive = set(POLICY).archive(None).with("x.rego", b"package x\n".to_vec());
    let error = PolicySet::from_archive(&archive, shadow).expect_err("refused").to_string();
    assert!(error.contains("mode"), "{error}");
}

#[test]
fn what_opa_would_use_and_aegis_can_not_refuses_the_bundle() {
    for (name, content) in [
        ("data.yaml", "a: 1"),
        ("x/data.yml", "a: 1"),
        ("policy.wasm", ""),
        ("patch.json", "{}"),
        ("x/.manifest", "{}"),
        (".manifest", r#"{"rego_version": 0}"#),
        (".manifest", r#"{"file_rego_versions": {"a": 0}}"#),
        (".manifest", r#"{"wasm": [{"entrypoint": "a"}]}"#),
        (".manifest", r#"{"metadata": {"author": "a", "at": "yesterday"}}"#),
        (".manifest", r#"{"metadata": {"author": "a"}}"#),
        (".manifest", "{"),
        ("aegis_tables/data.json", "{}"),
    ] {
        let archive = set(POLICY).archive(None).with(name, content.as_bytes().to_vec());
        let taken = PolicySet::from_archive(&archive, Options::default());
        assert!(taken.is_err(), "{name} {content} is taken");
    }
    for (name, content) in [
        ("aegis/gate.rego", "package aegis.gate\nevaluation := nonsense("),
        ("aegis/gate.rego", "package other\n"),
        ("aegis/condition.rego", "\u{0}"),
        ("data.json", "[]"),
        ("data.json", "{"),
        ("data.json", r#"{"aegis_tables": {"policies": [{}]}}"#),
        ("data.json", r#"{"aegis_tables": {"policies": [7]}}"#),
        ("data.json", r#"{"aegis_tables": {"mode": "x", "policies": []}}"#),
    ] {
        let archive = set(POLICY).archive(None).with(name, content.as_bytes().to_vec());
        let taken = PolicySet::from_archive(&archive, Options::default());
        assert!(matches!(taken, Err(BundleError::RegoOnly { .. })), "{name} {content}: {taken:?}");
    }
}

#[test]
fn nested_data_is_where_its_folder_says() {
    let gate = b"package aegis.gate\n\nevaluation := {\"matched\": [data.a[\"b\\\"c\"].name], \"findings\": []}\n";
    let files: [(&str, &[u8]); 2] = [("gate.rego", gate), ("a/b\"c/data.json", br#"{"name": "here"}"#)];
    let (back, _) = PolicySet::from_bundle(&packed(&files), Options::default()).expect("taken");
    let (agent, call) = (Agent::named("a"), call("staging", 1));
    assert_eq!(back.evaluate(Asked::of(&agent, &call)).matched, ["here"]);
}

#[test]
fn unusual_archives_are_refused() {
    let read = |files: &[(&str, &[u8])]| Archive::read(&packed(files));
    for bad in ["../a", "a/../b", "a//b", "//a", "a\\b", "a\nb", ".", "..", "a/./b", ""] {
        assert!(matches!(read(&[(bad, b"")]), Err(ArchiveError::BadName(_))), "{bad:?}");
    }
    assert!(matches!(read(&[("a", b"1"), ("./a", b"2")]), Err(ArchiveError::Duplicate(name)) if name == "a"));
    assert_eq!(read(&[("/a", b"1")]).expect("read").file("a"), Some(b"1".as_slice()));

    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Char, tar::EntryType::Fifo] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        tar.append_link(&mut header, "a", "/etc/passwd").expect("written");
    }
    let linked = tar.into_inner().expect("tar").finish().expect("gzip");
    assert!(matches!(Archive::read(&linked), Err(ArchiveError::NotAFile(name)) if name == "a"));
}

#[test]
fn what_breaks_off_or_goes_on_is_refused() {
    let whole = set(POLICY).bundle(None);
    for cut in [0, 1, 10, whole.len() / 2, whole.len() - 1] {
        assert!(Archive::read(&whole[..cut]).is_err(), "cut at {cut}");
    }
    let mut more = whole.clone();
    more.extend_from_slice(b"more");
    assert!(Archive::read(&more).is_err());
    let mut changed = whole;
    let at = changed.len() - 6;
    changed[at] ^= 1;
    assert!(Archive::read(&changed).is_err(), "the checksum is compared");
}

#[test]
fn what_unpacks_to_too_much_is_cut_off() {
    let zeros = |length: usize| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let chunk = vec![0_u8; 1 << 20];
        (0..length >> 20).for_each(|_| gzip.write_all(&chunk).expect("written"));
        gzip.finish().expect("gzip")
    };
    // Nothing but the end of an archive, over and over.
    assert!(matches!(Archive::read(&zeros(200 << 20)), Err(ArchiveError::TooLarge)));

    let big = vec![b'x'; 30 << 20];
    assert!(matches!(Archive::read(&packed(&[("a", &big), ("b", &big)])), Err(ArchiveError::TooLarge)));

    // A head that claims more than follows.
    let mut header = tar::Header::new_gnu();
    header.set_path("a").expect("a name");
    header.set_size(u64::MAX >> 1);
    header.set_cksum();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(header.as_bytes()).expect("written");
    assert!(Archive::read(&gzip.finish().expect("gzip")).is_err());

    let names: Vec<String> = (0..10_001).map(|n| format!("f{n}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"".as_slice())).collect();
    assert!(matches!(Archive::read(&packed(&many)), Err(ArchiveError::TooManyFiles)));
}

/// The digests are those of `opa sign` 1.22.2 over these files.
#[test]
fn json_is_digested_for_what_it_means() {
    let data = "{\"aegis_tables\": {\"z<&>\": 1.0, \"a\\u2028\\u0007\\b\": [1E5, true, null, \"é\\u007f\"]}}\n";
    let manifest = "{\"revision\":\"x\", \"roots\":[\"aegis\",\"aegis_tables\"],\"rego_version\":1,\
                    \"metadata\":{\"author\":\"a<b>\"}}\n";
    let files = [
        (".manifest", manifest, "14d8be5f2aaec8c7af181da103ca16c44b2fbd806a7ec23ff8a85fe920a90e25"),
        (
            "aegis/gate.rego",
            "package aegis.gate\nevaluation := {\"matched\": [], \"findings\": []}\n",
            "a40ffae3d31c556be7711a4d81a9bbd98439e94ceecad9e5c5ca08b82f6f39d6",
        ),
        (
            "aegis/sources.json",
            "{\"mode\":   \"enforce\"}\n",
            "d7bac2904d29699cbb4e82bad7ae46112725df7e1cccac450debaafb640576ef",
        ),
        ("data.json", data, "25cb74e19bb30d8903a0e1c548faa2a3a04b085f75030354b307642a33a33e9a"),
    ];
    let archive = files
        .iter()
        .fold(Archive::of(Default::default()), |archive, (name, text, _)| archive.with(name, text.as_bytes().to_vec()));
    let archive = archive.with(".signatures.json", b"{}".to_vec());
    let digests = archive.digests().expect("JSON");
    assert_eq!(digests.len(), files.len(), "the signature is not over itself");
    for (digest, (name, _, hash)) in digests.iter().zip(files) {
        assert_eq!((digest.name.as_str(), digest.hash.as_str()), (name, hash));
    }
    assert!(archive.with("data.json", b"{".to_vec()).digests().is_err());
}

#[test]
fn the_one_form_of_json() {
    let same = |json: &str, text: &str| assert_eq!(canonical(json.as_bytes()).expect("JSON"), text);
    same(" { \"b\" : [ 1.50 , -0 ] , \"a\" : { } } ", r#"{"a":{},"b":[1.50,-0]}"#);
    same(r#"{"a":1,"a":2}"#, r#"{"a":2}"#);
    same(r#""\u0041\/\u00e9\n\u001f""#, "\"A/é\\n\\u001f\"");
    same("[]", "[]");
    same("12345678901234567890123", "12345678901234567890123");
    assert!(canonical(b"{}{}").is_err());
    assert!(canonical("[".repeat(100_000).as_bytes()).is_err(), "too deep is refused, not overflowed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_get_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..2000), compress in any::<bool>()) {
        let bytes = if compress {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&bytes).expect("written");
            gzip.finish().expect("gzip")
        } else {
            bytes
        };
        let _ = PolicySet::from_bundle(&bytes, Options::default());
    }

    /// One changed byte anywhere inside the tar: never taken natively as something else.
    #[test]
    fn a_changed_byte_is_refused_or_seen(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let set = set(POLICY);
        let mut tar = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(set.bundle(None).as_slice()), &mut tar).expect("tar");
        let index = at.index(tar.len());
        tar[index] ^= 1 << bit;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).expect("written");
        if let Ok((back, _)) = PolicySet::from_bundle(&gzip.finish().expect("gzip"), Options::default())
            && !back.is_rego_only()
        {
            assert_eq!(back.version(), set.version());
        }
    }

    #[test]
    fn archives_come_back(files in prop::collection::btree_map("[a-z]{1,8}(/[a-z.]{2,120}x){0,2}", ".{0,50}", 0..8)) {
        let archive = files.iter().fold(Archive::of(Default::default()), |archive, (name, text)| {
            archive.with(name, text.as_bytes().to_vec())
        });
        let bytes = archive.write();
        prop_assert_eq!(&Archive::read(&bytes).expect("read"), &archive);
        prop_assert_eq!(Archive::read(&bytes).expect("read").write(), bytes);
    }
}

/// What an operator has switched goes with the bundle, or whoever takes it would find other files than its sources give.
#[test]
fn switched_modes_are_in_the_bundle_and_those_of_the_taker_win() {
    let text = "name: limits\nagent: a\nactions: [{name: deploy, max_replicas: 5}]\n";
    let with = |mode: Mode| Options { modes: [("limits".to_owned(), mode)].into(), ..Options::default() };
    let switched = PolicySet::load(&[source("p.yaml", text)], with(Mode::Shadow)).expect("loads");
    let plain = PolicySet::load(&[source("p.yaml", text)], Options::default()).expect("loads");
    assert_ne!(switched.version(), plain.version());
    let bytes = switched.bundle(None);
    let (taken, _) = PolicySet::from_bundle(&bytes, Options::default()).expect("taken");
    assert!(!taken.is_rego_only());
    assert_eq!((taken.version(), taken.bundle(None)), (switched.version(), bytes.clone()));
    let (back, _) = PolicySet::from_bundle(&bytes, with(Mode::Enforce)).expect("taken");
    assert_eq!(back.version(), plain.version());
    let (sources, modes) = Archive::read(&bytes).expect("reads").sources().expect("it says");
    assert_eq!((sources[0].text.as_str(), modes), (text, with(Mode::Shadow).modes));
}
