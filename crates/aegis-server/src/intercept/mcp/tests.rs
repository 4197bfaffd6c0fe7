use std::collections::BTreeMap;
use std::sync::Arc;

use aegis_core::agent::Agent;
use aegis_core::decide::{Denial, Facts};
use aegis_core::describe::DenyShape;
use aegis_core::mcp::{Message, Server};
use aegis_core::problem::{ApprovalInfo, Code};
use aegis_store::{Durability, Store};
use http::header::ORIGIN;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Context, check_origin, hold};
use crate::answer::Form;
use crate::mcp::{McpServer, McpSettings};
use crate::pipeline::{Handled, McpWay};

#[test]
fn a_page_of_this_machine_may_ask_and_others_only_where_they_are_listed() {
    let listed = vec!["https://chat.example.com".to_owned()];
    let check = |origin: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::try_from(origin).expect("a value"));
        check_origin(&headers, &listed).is_ok()
    };
    for good in ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:8443", "https://chat.example.com"] {
        assert!(check(good), "{good}");
    }
    for bad in [
        "http://evil.example",
        "http://localhost.evil.example",
        "null",
        "http://192.168.0.1",
        "https://chat.example.com.evil",
    ] {
        assert!(!check(bad), "{bad}");
    }
    assert!(check_origin(&HeaderMap::new(), &[]).is_ok());
}

/// A call that waits for an approval that a page decides.
fn waiting(url: Option<&str>) -> Handled {
    let facts = Facts::new(Timestamp::UNIX_EPOCH, "dec_1", "pol_1");
    let agent = Agent::named("bot");
    let denial = Denial::unread(&facts, Some(&agent), Code::ApprovalNeeded, "approval_needed", "a human".to_owned());
    let mut explanation = denial.into_explanation();
    explanation.approval = Some(ApprovalInfo {
        id: "apr_1".to_owned(),
        status: "pending".to_owned(),
        expires_at: Timestamp::UNIX_EPOCH,
        url: url.map(str::to_owned),
    });
    let form = Form { shape: DenyShape::Problem, proxied: false, head_only: false };
    Handled::Refused { explanation: Box::new(explanation), form }
}

async fn told(capabilities: Value, url: Option<&str>) -> Value {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), Durability::Buffered).expect("opened");
    let server = Server { name: "files".to_owned(), map: Vec::new(), programs: Vec::new() };
    let settings = McpSettings {
        server,
        route: Some("mcp files".to_owned()),
        path: PathAndQuery::from_static("/mcp"),
        credential: false,
        pinned: BTreeMap::new(),
        origins: Vec::new(),
    };
    let way = McpWay {
        server: McpServer::new(settings, store.clone()),
        session: None,
        seen: Arc::default(),
        state: Arc::default(),
    };
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": capabilities});
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "drop", "_meta": meta}});
    way.seen.get_or_init(|| Message::of(call).expect("a message"));
    let context = Context { way: Some(way), method: Method::POST, metadata: String::new() };
    let response = hold::pending(waiting(url), &context);
    assert_eq!(response.headers().get("aegis-decision-id").and_then(|id| id.to_str().ok()), Some("dec_1"));
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    let answer: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(answer["id"], 7);
    if let Some(state) = answer["result"]["requestState"].as_str() {
        let way = context.way.as_ref().expect("there");
        let message = way.seen.get().expect("there");
        assert!(way.server.state_key().holds(state, "bot", message, Timestamp::now()));
    }
    store.close().await;
    answer["result"].clone()
}

#[tokio::test]
async fn a_client_that_can_is_asked_to_open_the_page_where_the_approval_is_decided() {
    let can = json!({"elicitation": {"url": {}}});
    let asked = told(can.clone(), Some("https://aegis.example/approvals/apr_1")).await;
    assert_eq!(asked["resultType"], "input_required");
    let input = &asked["inputRequests"]["aegis_approval"];
    assert_eq!((&input["method"], &input["params"]["mode"]), (&json!("elicitation/create"), &json!("url")));
    assert_eq!(input["params"]["url"], "https://aegis.example/approvals/apr_1");
    assert!(asked["requestState"].as_str().is_some_and(|state| state.starts_with("aegis.")));
    // A form is filled in by the agent's own client: it is never asked for.
    for (capabilities, url) in [
        (json!({"elicitation": {"form": {}}}), Some("https://a.example")),
        (json!({}), Some("https://a.example")),
        (can, None),
    ] {
        let result = told(capabilities, url).await;
        assert_eq!((&result["isError"], &result["resultType"]), (&json!(true), &json!("complete")), "{result}");
        assert!(result["content"][0]["text"].as_str().is_some_and(|text| text.contains("apr_1")), "{result}");
    }
}
