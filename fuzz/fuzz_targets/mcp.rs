//! Any bytes as an MCP message: read, described, written and read again, without a panic and with the same meaning.
#![no_main]

use std::sync::LazyLock;

use aegis_core::call::{Body, HttpRequest};
use aegis_core::describe::Catalogue;
use aegis_core::mcp::answers;
use aegis_core::mcp::tools::Definition;
use aegis_core::mcp::{Mapping, Message, Server, headers};
use aegis_core::sanitize::{Answers, Detector};
use libfuzzer_sys::fuzz_target;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::load(&[], None).expect("the built-in catalogue"));
static SERVER: LazyLock<Server> = LazyLock::new(|| Server {
    name: "files".to_owned(),
    map: vec![Mapping {
        tool: "scale".to_owned(),
        as_tool: "kubernetes".to_owned(),
        as_action: "scale".to_owned(),
        params: vec![("replicas".to_owned(), "/spec/*/count".to_owned())],
        target: vec![("kind".to_owned(), "deployments".to_owned())],
    }],
    programs: Vec::new(),
});
static DETECTED: LazyLock<Answers> =
    LazyLock::new(|| Answers::new([(Detector::new(Detector::all_names()).into(), None)]));

fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut answer) = answers::read(bytes) {
        Definition::read(&answer);
        answers::filter(&mut answer, |_, item| Definition::read(item).is_some());
        answers::redact(&mut answer, &DETECTED);
    }
    let Ok(message) = Message::read(bytes) else { return };
    let again = Message::read(&message.to_bytes()).expect("what is written can be read");
    assert_eq!(message, again);
    // Nothing is checked here but that it doesn't panic.
    let _ = headers::check(&http::HeaderMap::new(), &message, None);
    let request = HttpRequest {
        method: http::Method::POST,
        target: http::uri::PathAndQuery::from_static("/mcp"),
        headers: http::HeaderMap::new(),
        body: Body::Whole(bytes.to_vec().into()),
    };
    let described = |message| CATALOGUE.describe_mcp(&SERVER, Some(message), request.clone(), None).ok();
    let (one, other) = (described(message), described(again));
    assert_eq!(one.map(|call| call.digest()), other.map(|call| call.digest()));
});
