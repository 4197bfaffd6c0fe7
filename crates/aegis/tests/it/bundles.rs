//! Bundles end to end: a real OPA takes them from Aegis, and Aegis from another Aegis and from bad sources.

mod opa;
mod origin;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use aegis_core::agent::Agent;
use aegis_core::call::{
    ActionName, Companion, Destination, Effect, Environment, Image, Payload, Presence, Shape, ToolCall,
};
use aegis_core::document::parse;
use aegis_core::policy::{Archive, Asked, Evaluation, Mode, Options, PolicySet, Publication, Risk, Source};
use aegis_server::bundle::{SigningKey, sign};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::process::{Folder, Gateway, eventually, stderr, text};
use crate::tools::tool;
use opa::{From, Opa};
use origin::{Origin, Says};

const POLICY: &str = "agent: deployer\nactions:\n  - name: kubernetes/scale\n    max_replicas: 50\n";

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// One request on a connection of its own; `None` when nobody answers.
fn http(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n");
    stream.write_all(format!("{head}{headers}\r\n").as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..at]).to_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head, body: answer[at + 4..].to_vec() })
}

fn operator(gateway: &Gateway) -> String {
    std::fs::read_to_string(gateway.folder.path("aegis-data/operator.token")).expect("a token").trim().to_owned()
}

/// As the gateway's operator.
fn get(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Answer {
    let bearer = format!("Bearer {}", operator(gateway));
    let headers = [&[("authorization", bearer.as_str())], headers].concat();
    http(gateway.address("api"), "GET", path, &headers, b"").expect("an answer")
}

fn json_of(gateway: &Gateway, path: &str) -> Value {
    serde_json::from_slice(&get(gateway, path, &[]).body).expect("JSON")
}

fn version(gateway: &Gateway) -> String {
    json_of(gateway, "/v1/policies")["version"].as_str().expect("a version").to_owned()
}

fn problem(gateway: &Gateway) -> String {
    json_of(gateway, "/v1/policies")["source"]["problem"].as_str().unwrap_or_default().to_owned()
}

fn health(gateway: &Gateway) -> Value {
    json_of(gateway, "/healthz")
}

fn public_key(folder: &Folder) -> String {
    folder.json(&["bundle", "key"])["key"].as_str().expect("a key").to_owned()
}

fn load(text: &str, mode: Mode) -> PolicySet {
    let source = Source { file: "policy.yaml".to_owned(), text: text.to_owned() };
    PolicySet::load(&[source], Options { mode, ..Options::default() }).expect("it loads")
}

fn scale(replicas: u64) -> ToolCall {
    ToolCall {
        tool: "kubernetes".to_owned(),
        action: "scale".to_owned(),
        classes: std::iter::once("deploy".to_owned()).collect(),
        effect: Effect::Write,
        environment: Environment::named("staging"),
        target: Default::default(),
        params: std::iter::once(("replicas".to_owned(), json!(replicas))).collect(),
        shape: Shape::Open,
        images: Vec::new(),
        frozen: false,
        companion: Companion::No,
        destination: None,
        metering: aegis_core::cost::Metering::default(),
        payload: Payload::Caller,
    }
}

#[test]
fn a_real_opa_polls_the_gateway_and_follows_a_change_at_once() {
    let opa = tool("opa");
    let gateway = Gateway::start("", &[("p.yaml", POLICY)]);
    let (token, key) = (operator(&gateway), public_key(&gateway.folder));
    let from = From {
        address: gateway.address("api"),
        path: "/v1/bundles/aegis",
        token: &token,
        key_pem: &key,
        long_polling: true,
    };
    let opa = Opa::start(&opa, &from);
    let first = version(&gateway);
    eventually("OPA has the bundle", || opa.revision().as_ref() == Some(&first));
    let (agent, call) = (Agent::named("deployer"), scale(80));
    let input = load(POLICY, Mode::Enforce).input(Asked::of(&agent, &call));
    assert_eq!(opa.ask(&input).expect("an answer")["findings"][0]["rule"], "max_replicas");

    std::fs::write(gateway.folder.path("policies/p.yaml"), POLICY.replace("50", "90")).expect("written");
    eventually("the gateway has another version", || version(&gateway) != first);
    let changed = Instant::now();
    eventually("OPA has it too", || opa.revision().is_some_and(|revision| revision == version(&gateway)));
    // It is asked to wait for 20 seconds; without that it would come once a second at the most.
    assert!(changed.elapsed() < Duration::from_secs(10), "{:?}", changed.elapsed());
    assert_eq!(opa.ask(&input).expect("an answer")["findings"], json!([]));
}

#[test]
fn a_reader_waits_no_longer_than_it_likes_and_not_past_the_end() {
    let gateway = Gateway::start("", &[("p.yaml", POLICY)]);
    let first = get(&gateway, "/v1/bundles/aegis", &[("prefer", "modes=snapshot,delta;wait=1")]);
    assert_eq!(first.status, 200);
    assert!(first.head.contains("application/vnd.openpolicyagent.bundles"), "{}", first.head);
    let etag = first.head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("an etag").replace("w/", "W/");
    let started = Instant::now();
    let waited = get(&gateway, "/v1/bundles/aegis", &[("prefer", "wait=1"), ("if-none-match", &etag)]);
    assert_eq!(waited.status, 304, "{}", waited.head);
    assert!(started.elapsed() >= Duration::from_secs(1));
    let unknown = http(gateway.address("api"), "GET", "/v1/bundles/aegis", &[], b"").expect("an answer");
    assert_eq!(unknown.status, 401);

    let (address, bearer) = (gateway.address("api"), format!("Bearer {}", operator(&gateway)));
    let waiting = std::thread::spawn(move || {
        let headers = [("authorization", bearer.as_str()), ("prefer", "wait=60"), ("if-none-match", etag.as_str())];
        let started = Instant::now();
        (http(address, "GET", "/v1/bundles/aegis", &headers, b""), started.elapsed())
    });
    while !waiting.is_finished() && get(&gateway, "/healthz", &[]).status != 200 {}
    assert!(gateway.stop(), "it ends in time");
    let (answer, took) = waiting.join().expect("it ends");
    assert!(answer.is_none_or(|answer| answer.status == 304) && took < Duration::from_secs(20), "{took:?}");
}

/// A case of `conformance/policy`, as far as it is needed to ask.
#[derive(serde::Deserialize)]
struct Case {
    agent: String,
    #[serde(default)]
    groups: Vec<String>,
    call: Call,
}

#[derive(serde::Deserialize)]
struct Call {
    #[serde(default = "kubernetes")]
    tool: String,
    action: String,
    #[serde(default)]
    classes: Vec<String>,
    #[serde(default = "staging")]
    env: String,
    #[serde(default)]
    params: serde_json::Map<String, Value>,
    #[serde(default)]
    shape: Option<std::collections::BTreeMap<String, Presence>>,
    #[serde(default)]
    images: Vec<Image>,
    #[serde(default)]
    companion_of_tool: bool,
    #[serde(default)]
    companion_of: std::collections::BTreeMap<String, Vec<String>>,
    #[serde(default)]
    destination: Option<Destination>,
}

fn kubernetes() -> String {
    "kubernetes".to_owned()
}

fn staging() -> String {
    "staging".to_owned()
}

impl Call {
    fn describe(&self) -> ToolCall {
        let of = self
            .companion_of
            .iter()
            .map(|(action, classes)| ActionName { action: action.clone(), classes: classes.iter().cloned().collect() });
        let companion = match (self.companion_of_tool, self.companion_of.is_empty()) {
            (true, _) => Companion::OfTool,
            (false, true) => Companion::No,
            (false, false) => Companion::OfActions(of.collect()),
        };
        ToolCall {
            tool: self.tool.clone(),
            action: self.action.clone(),
            classes: self.classes.iter().cloned().collect(),
            environment: Environment::named(self.env.as_str()),
            params: self.params.clone(),
            shape: self.shape.clone().map_or(Shape::Open, Shape::Defined),
            images: self.images.clone(),
            companion,
            destination: self.destination.clone(),
            ..scale(0)
        }
    }
}

#[test]
fn a_real_opa_agrees_on_every_conformance_case_with_the_bundles_that_it_takes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/policy");
    let keys = tempfile::tempdir().expect("a folder");
    let key = SigningKey::open(keys.path()).expect("a key");
    // What Go and we could write differently in the manifest, whose digest is of what it means.
    let publication = Publication {
        author: "ann <ann@acme.example> & co".to_owned(),
        at: Timestamp::now(),
        note: "\u{2028}\u{7f}\t\"é\\😀\"".to_owned(),
        risk: Risk::High,
    };
    let signed =
        |set: &PolicySet| sign(set.archive(Some(&publication)), &key, Timestamp::now()).expect("signed").write();
    let origin = Origin::start(Says::Bundle(signed(&load(POLICY, Mode::Enforce))));
    let from = From { address: origin.address, path: "/b", token: "t", key_pem: key.public_pem(), long_polling: false };
    let opa = Opa::start(&tool("opa"), &from);
    let mut asked = 0;
    for item in std::fs::read_dir(&folder).expect("conformance/policy") {
        let path = item.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("text");
        let nodes = parse("case", &text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = nodes[0].to_json();
        let mode = serde_json::from_value(file["mode"].clone()).unwrap_or_default();
        let set = load(file["policies"].as_str().expect("policies"), mode);
        origin.say(Says::Bundle(signed(&set)));
        eventually("OPA has the bundle", || opa.revision().as_deref() == Some(set.version()));
        for case in file["cases"].as_array().expect("cases") {
            let Case { agent, groups, call } =
                serde_json::from_value(case.clone()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let (agent, call) = (Agent { groups, ..Agent::named(&agent) }, call.describe());
            let asked_of = Asked::of(&agent, &call);
            let said = opa.ask(&set.input(asked_of)).unwrap_or_default();
            let said: Evaluation = serde_json::from_value(said).expect("an evaluation");
            assert_eq!(set.evaluate(asked_of), said, "{}: {case}", path.display());
            asked += 1;
        }
    }
    assert!(asked > 50, "only {asked} cases");
}

#[test]
fn what_was_tampered_with_is_refused_by_opa_and_by_aegis() {
    let keys = tempfile::tempdir().expect("a folder");
    let key = SigningKey::open(keys.path()).expect("a key");
    let good = sign(load(POLICY, Mode::Enforce).archive(None), &key, Timestamp::now()).expect("signed");
    let pem = keys.path().join("public.pem");
    std::fs::write(&pem, key.public_pem()).expect("written");
    let mut data = good.file("data.json").expect("there").to_vec();
    let at = data.windows(2).position(|two| two == b"50").expect("the maximum");
    data[at] = b'9';
    let path = keys.path().join("bundle.tar.gz");
    let pem = pem.to_str().expect("text");
    let verify = |archive: &Archive| {
        std::fs::write(&path, archive.write()).expect("written");
        crate::process::run(&["bundle", "verify", path.to_str().expect("text"), "--key", pem, "--json"])
    };
    let output = verify(&good);
    assert_eq!(crate::process::json(&output)["ok"], true);

    let bad = [
        ("data.json is not what was signed", good.clone().with("data.json", data)),
        ("x.rego was added", good.clone().with("x.rego", b"package x\n".to_vec())),
        ("can't be read", good.clone().with(".signatures.json", b"{\"signatures\": [\"a.b.c\"]}".to_vec())),
        ("can't be read", good.with(".signatures.json", b"{\"signatures\": []}".to_vec())),
    ];
    let origin = Origin::start(Says::Nothing);
    for (what, archive) in bad {
        let output = verify(&archive);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(stderr(&output).contains(what), "{what} isn't in {}", text(&output));

        origin.say(Says::Bundle(archive.write()));
        let from =
            From { address: origin.address, path: "/b", token: "t", key_pem: key.public_pem(), long_polling: false };
        let opa = Opa::start(&tool("opa"), &from);
        let before = origin.asked().len();
        // It asks again and again, since it never takes what it gets.
        eventually("OPA has asked three times", || origin.asked().len() >= before + 3);
        assert_eq!(opa.revision(), None, "{what}");
        let log = opa.log();
        assert!(log.contains("Bundle load failed") || log.contains("error"), "{log}");
    }
}

#[test]
fn what_opa_has_built_and_signed_is_taken_as_the_rego_that_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("source");
    std::fs::create_dir_all(source.join("names")).expect("made");
    let gate = "package aegis.gate\n\nevaluation := {\"matched\": [data.names[\"<a>\"]], \"findings\": []}\n";
    std::fs::write(source.join("gate.rego"), gate).expect("written");
    std::fs::write(source.join("names/data.json"), "{\"<a>\": \"a\\u2028&\", \"n\": [1.50, 1e3]}").expect("written");
    let key = SigningKey::open(folder.path()).expect("a key");
    let out = folder.path().join("bundle.tar.gz");
    let built = std::process::Command::new(tool("opa"))
        .args(["build", "--bundle", "source", "--output", "bundle.tar.gz", "--signing-alg", "ES256", "--signing-key"])
        .args([aegis_server::bundle::SIGNING_KEY_FILE, "--revision", "r1"])
        .current_dir(folder.path())
        .output()
        .expect("opa runs");
    assert!(built.status.success(), "{}", text(&built));
    std::fs::write(folder.path().join("public.pem"), key.public_pem()).expect("written");
    let pem = folder.path().join("public.pem");
    let paths = [out.to_str().expect("text"), "--key", pem.to_str().expect("text"), "--json"];
    let verified = crate::process::json(&crate::process::run(&[&["bundle", "verify"][..], &paths].concat()));
    assert_eq!((&verified["rego_only"], &verified["signed_at"]), (&json!(true), &Value::Null));
}

/// A gateway's configuration that takes its policies from there.
fn follow(folder: &Folder, url: &str, key_pem: &str, more: &str) {
    std::fs::write(folder.path("key.pem"), key_pem).expect("written");
    folder.change("aegis.yaml", |text| {
        let bundle = format!("policies: {{bundle: {{url: \"{url}\", key: key.pem, poll: 1s{more}}}}}\n");
        text.replace("policies: ./policies\n", &bundle)
    });
}

#[test]
fn one_gateway_takes_its_policies_from_another() {
    let publisher = Gateway::start("", &[("p.yaml", POLICY)]);
    let token = publisher.folder.path("reader.token");
    std::fs::write(&token, operator(&publisher)).expect("written");
    let folder = Folder::with("", &[]);
    let url = format!("http://{}/v1/bundles/aegis", publisher.address("api"));
    let more = format!(", token: \"${{file:{}}}\"", token.display());
    follow(&folder, &url, &public_key(&publisher.folder), &more);
    let follower = folder.serve();
    eventually("it has the publisher's version", || version(&follower) == version(&publisher));
    assert_eq!(health(&follower)["policies"], "current");

    // Long polling: it waits at the publisher, and has the next one long before its poll would be due again.
    let first = version(&publisher);
    std::fs::write(publisher.folder.path("policies/p.yaml"), POLICY.replace("50", "40")).expect("written");
    eventually("the publisher has another version", || version(&publisher) != first);
    eventually("it follows", || version(&follower) == version(&publisher));

    let second = version(&publisher);
    let _folder = publisher.folder.clone();
    drop(publisher);
    eventually("it says that it is stale", || health(&follower)["policies"] == "stale");
    assert!(health(&follower)["stale_since"].is_string());
    assert!(problem(&follower).contains("can't be reached"), "{}", problem(&follower));
    assert_eq!(version(&follower), second, "what is in force stays");

    // The last good one survives a crash, without anybody to ask.
    let follower = follower.crash_and_restart();
    assert_eq!(follower.ready["policy_version"], second.as_str());

    // And isn't believed when it was changed on disk.
    let kept = follower.folder.path("aegis-data/bundle.tar.gz");
    drop(follower);
    let archive = Archive::read(&std::fs::read(&kept).expect("there")).expect("an archive");
    std::fs::write(&kept, archive.with("x.rego", b"package x\n".to_vec()).write()).expect("written");
    let output = folder.run(&["serve", "--check"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("x.rego was added"), "{}", text(&output));
}

#[test]
fn a_bad_source_changes_nothing_and_is_told() {
    let keys = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (key, other) =
        (SigningKey::open(keys.0.path()).expect("a key"), SigningKey::open(keys.1.path()).expect("a key"));
    let now = Timestamp::now();
    let at = |seconds: i64| Timestamp::from_second(now.as_second() + seconds).expect("a time");
    let published = |seconds: i64| Publication {
        author: "ann".to_owned(),
        at: at(seconds),
        note: "a change".to_owned(),
        risk: Risk::Low,
    };
    let bundle = |max: &str, published_at: i64, key: &SigningKey, signed_at: i64| {
        let set = load(&POLICY.replace("50", max), Mode::Enforce);
        sign(set.archive(Some(&published(published_at))), key, at(signed_at)).expect("signed")
    };
    let good = bundle("50", 0, &key, 0);
    let in_force = load(POLICY, Mode::Enforce).version().to_owned();

    let folder = Folder::with("", &[]);
    let origin = Origin::start(Says::Bundle(bundle("10", 0, &other, 0).write()));
    follow(&folder, &format!("http://{}/b", origin.address), key.public_pem(), ", long_poll: false");
    let gateway = folder.serve();
    let denies_all = gateway.ready["policy_version"].as_str().expect("a version").to_owned();
    let refused = |words: &str| {
        let what = format!("it says {words:?}");
        eventually(&what, || problem(&gateway).contains(words));
    };
    refused("is signed by key");
    assert_eq!((version(&gateway), health(&gateway)["policies"].clone()), (denies_all, json!("refused")));

    origin.say(Says::Bundle(good.write()));
    eventually("the good one is in force", || health(&gateway)["policies"] == "current");
    assert_eq!(version(&gateway), in_force);

    let mut edited = good.file("aegis/gate.rego").expect("there").to_vec();
    edited.push(b'\n');
    let unfit = load("agent: a\nactions: [{name: deploy, max_replicass: 5}]\n", Mode::Enforce);
    let unfit = sign(unfit.archive(Some(&published(5))), &key, at(5)).expect("signed");
    let redirect = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    for (words, says) in [
        ("is signed by key", Says::Bundle(bundle("10", 9, &other, 9).write())),
        ("not signed", Says::Bundle(load(POLICY, Mode::Enforce).bundle(None))),
        ("was changed", Says::Bundle(good.clone().with("aegis/gate.rego", edited).write())),
        ("being replayed", Says::Bundle(bundle("10", 9, &key, -9).write())),
        ("allow_rollback", Says::Bundle(bundle("10", -9, &key, 9).write())),
        ("max_replicas", Says::Bundle(unfit.write())),
        ("can't be reached", Says::Half(good.write())),
        ("too large", Says::Zeros(51 << 20)),
        ("can't be unpacked", Says::Zeros(1 << 20)),
        ("can't be unpacked", Says::Raw("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")),
        ("can't be reached", Says::Raw("SSH-2.0-OpenSSH_9.9\r\n")),
        ("302", Says::Raw(redirect)),
        ("503", Says::Raw("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")),
        ("too long", Says::Nothing),
    ] {
        origin.say(says);
        refused(words);
        assert_ne!(health(&gateway)["policies"], "current", "{words}");
        assert_eq!(version(&gateway), in_force, "{words}");
    }
    assert!(gateway.log().contains("aegis::alarm"), "{}", gateway.log());

    // And then all is well again.
    origin.say(Says::Bundle(bundle("60", 20, &key, 20).write()));
    eventually("the next one is in force", || health(&gateway)["policies"] == "current");
    assert_eq!(problem(&gateway), "");
    assert_ne!(version(&gateway), in_force);
}

#[test]
fn what_came_from_a_url_is_in_force_after_a_start_only_with_its_signature() {
    let keys = tempfile::tempdir().expect("a folder");
    let key = SigningKey::open(keys.path()).expect("a key");
    let good = sign(load(POLICY, Mode::Enforce).archive(None), &key, Timestamp::now()).expect("signed").write();
    let folder = Folder::with("", &[]);
    let origin = Origin::start(Says::Raw("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"));
    follow(&folder, &format!("http://{}/b", origin.address), key.public_pem(), ", long_poll: false");
    let gateway = folder.serve();
    let denies_all = gateway.ready["policy_version"].clone();
    origin.say(Says::Bundle(good.clone()));
    eventually("it is in force", || version(&gateway) != denies_all);
    let in_force = version(&gateway);
    eventually("it is kept", || gateway.folder.path("aegis-data/bundle.tar.gz").exists());
    drop(gateway);

    origin.say(Says::Raw("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"));
    let gateway = folder.serve();
    assert_eq!(version(&gateway), in_force, "the last good one holds");
    drop(gateway);

    // Whoever no longer believes the key moves the bundle away; the copy in the database is nobody's word.
    std::fs::remove_file(folder.path("aegis-data/bundle.tar.gz")).expect("it was kept");
    let gateway = folder.serve();
    assert_eq!(gateway.ready["policy_version"], denies_all, "everything is denied until a bundle comes");
    let ready = http(gateway.address("api"), "GET", "/readyz", &[], b"").expect("an answer");
    assert_eq!(ready.status, 503);
    origin.say(Says::Bundle(good));
    eventually("it has come again", || version(&gateway) == in_force);
}

#[test]
fn the_configuration_of_a_source_is_checked() {
    let folder = Folder::with("", &[]);
    let keys = tempfile::tempdir().expect("a folder");
    let pem = SigningKey::open(keys.path()).expect("a key").public_pem().to_owned();
    std::fs::write(folder.path("key.pem"), pem).expect("written");
    std::fs::write(folder.path("bad.pem"), "no key").expect("written");
    let url = "url: \"https://aegis.example/v1/bundles/aegis\"";
    for (bundle, words) in [
        (format!("{{bundle: {{{url}, key: key.pem}}}}"), "ready to serve"),
        (format!("{{bundle: {{{url}, key: [key.pem, key.pem], token: x}}}}"), "ready to serve"),
        ("{bundle: {url: \"http://127.0.0.1:1/b\", key: key.pem, token: x}}".to_owned(), "ready to serve"),
        ("{bundle: {url: \"http://aegis.example/b\", key: key.pem}}".to_owned(), "ready to serve"),
        ("{bundle: {url: \"http://aegis.example/b\", key: key.pem, token: x}}".to_owned(), "must be https://"),
        (format!("{{bundle: {{{url}}}}}"), "key"),
        (format!("{{bundle: {{{url}, key: []}}}}"), "key"),
        (format!("{{bundle: {{{url}, key: bad.pem}}}}"), "public key"),
        (format!("{{bundle: {{{url}, key: none.pem}}}}"), "none.pem can't be read"),
        (format!("{{bundle: {{{url}, key: key.pem, poll: 1ms}}}}"), "poll"),
        (format!("{{bundle: {{{url}, key: key.pem, pol: 1s}}}}"), "did you mean `poll`?"),
        ("{bundle: {url: \"https://aegis.example\", key: key.pem}}".to_owned(), "policies.bundle.url"),
        ("{bundle: {key: key.pem}}".to_owned(), "url"),
        ("{bundel: {}}".to_owned(), "bundle"),
        ("{bundle: x}".to_owned(), "bundle"),
    ] {
        let original = std::fs::read_to_string(folder.path("aegis.yaml")).expect("there");
        folder.change("aegis.yaml", |text| text.replace("policies: ./policies\n", &format!("policies: {bundle}\n")));
        let output = folder.run(&["serve", "--check"]);
        assert!(text(&output).contains(words), "{bundle}: {words} isn't in {}", text(&output));
        assert_eq!(output.status.success(), words == "ready to serve", "{bundle}: {}", text(&output));
        std::fs::write(folder.path("aegis.yaml"), original).expect("written");
    }
}

/// The whole way of `engine: wasm`: compiled here, again by a real OPA, signed, served, and what the gateway decides by.
#[cfg(feature = "wasm")]
#[test]
fn a_gateway_decides_by_the_webassembly_of_its_bundle() {
    let maker = Folder::with("", &[("p.yaml", POLICY)]);
    let at = |name: &str| maker.path(name).display().to_string();
    let plain = maker.json(&["policy", "compile", "-o", &at("plain.tar.gz")]);
    let built = std::process::Command::new(tool("opa"))
        .args([
            "build",
            "-t",
            "wasm",
            "-e",
            "aegis/gate/evaluation",
            "-b",
            &at("plain.tar.gz"),
            "-o",
            &at("built.tar.gz"),
        ])
        .output()
        .expect("opa runs");
    assert!(built.status.success(), "{}", text(&built));
    let made = maker.json(&["policy", "compile", "--wasm", &at("built.tar.gz"), "-o", &at("wasm.tar.gz")]);
    assert_ne!(made["version"], plain["version"], "which module decides is part of the version");

    let keys = tempfile::tempdir().expect("a folder");
    let key = SigningKey::open(keys.path()).expect("a key");
    let archive = Archive::read(&std::fs::read(maker.path("wasm.tar.gz")).expect("made")).expect("an archive");
    let origin = Origin::start(Says::Bundle(sign(archive, &key, Timestamp::now()).expect("signed").write()));
    let folder = Folder::with("engine: wasm\nengine_check: 100%\n", &[]);
    follow(&folder, &format!("http://{}/b", origin.address), key.public_pem(), "");
    let gateway = folder.serve();
    eventually("it has the bundle", || version(&gateway) == made["version"].as_str().unwrap_or_default());
    let token = folder.agent("deployer");
    let asked = crate::process::raw(
        gateway.address("proxy"),
        &format!(
            "GET http://127.0.0.1:9/x HTTP/1.1\r\nHost: 127.0.0.1:9\r\nProxy-Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        ),
    );
    assert!(asked.contains("403") && asked.contains("PolicyViolation"), "{asked}");
    assert!(asked.contains(made["version"].as_str().expect("a version")), "{asked}");
    assert!(!asked.contains("engine_check") && !asked.contains("engine_failed"), "both engines say the same: {asked}");

    // It survives a crash: the module is kept with the version.
    let gateway = gateway.crash_and_restart();
    assert_eq!(gateway.ready["policy_version"], made["version"]);
}
