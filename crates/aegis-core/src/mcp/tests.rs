use http::{HeaderMap, HeaderName, HeaderValue, Method, uri::PathAndQuery};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::answers::{self, Listed};
use super::headers::{self, Mirror};
use super::tools::Definition;
use super::*;
use crate::call::{Body, HttpRequest, Payload, Shape, ToolCall};
use crate::describe::Catalogue;
use crate::sanitize::{Answers, Detector};

fn read(value: &Value) -> Message {
    Message::of(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

fn server(map: Vec<Mapping>) -> Server {
    Server { name: "files".to_owned(), map, programs: Vec::new() }
}

fn describe_on(server: &Server, message: &Value) -> Result<ToolCall, Unreadable> {
    // A property is tried hundreds of times.
    static CATALOGUE: std::sync::LazyLock<Catalogue> = std::sync::LazyLock::new(|| {
        let map = "[{match: {tool: files, param: {env: prod}}, env: production}, {match: {tool: files}, env: staging}]";
        let document = crate::document::parse("aegis.yaml", map).expect("YAML");
        Catalogue::load(&[], document.first().map(|node| ("aegis.yaml", node))).expect("a catalogue")
    });
    let request = HttpRequest {
        method: Method::POST,
        target: PathAndQuery::from_static("/mcp"),
        headers: HeaderMap::new(),
        body: Body::Whole(message.to_string().into()),
    };
    CATALOGUE.describe_mcp(server, Some(read(message)), request, None)
}

fn describe(message: &Value) -> ToolCall {
    describe_on(&server(Vec::new()), message).expect("described")
}

fn call(id: u64, tool: &str, arguments: Value, meta: Value) -> Value {
    let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
}

#[test]
fn messages_are_what_they_are_and_nothing_else() {
    let kinds = [
        (json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}), Kind::Request),
        (json!({"jsonrpc": "2.0", "id": "a", "method": "ping", "params": {}}), Kind::Request),
        (json!({"jsonrpc": "2.0", "method": "notifications/initialized"}), Kind::Notification),
        (json!({"jsonrpc": "2.0", "id": 1, "result": {}}), Kind::Answer),
        (json!({"jsonrpc": "2.0", "id": null, "error": {"code": 1, "message": "m"}}), Kind::Answer),
    ];
    for (message, kind) in kinds {
        assert_eq!(read(&message).kind(), kind, "{message}");
    }
    for (text, reason) in [
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, "mcp_batch"),
        (r#"7"#, "mcp_message"),
        (r#"{"jsonrpc":"2.0","id":1}"#, "mcp_message"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","result":1}"#, "mcp_message"),
        (r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#, "mcp_message"),
        (r#"{"id":1,"method":"ping"}"#, "mcp_jsonrpc"),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, "mcp_id"),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, "mcp_id"),
        (r#"{"jsonrpc":"2.0","id":{},"result":1}"#, "mcp_id"),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, "mcp_method"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a\u0000b"}"#, "mcp_method"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, "mcp_params"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#, "mcp_name"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":[]}}"#, "mcp_arguments"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","METHOD":"tools/call"}"#, "json_key_case"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}"#, "json_key_case"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","argumentſ":{}}}"#, "json_key_case"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}"#, "json_duplicate_key"),
    ] {
        let refused = Message::read(text.as_bytes()).expect_err(text);
        assert_eq!(refused.reason, reason, "{text}");
    }
}

#[test]
fn a_call_is_an_action_of_its_server_and_its_arguments_are_the_parameters() {
    let described = describe(&call(1, "write_file", json!({"path": "a", "env": "prod"}), json!({})));
    assert_eq!((described.tool.as_str(), described.action.as_str()), ("files", "write_file"));
    assert_eq!(described.params, json!({"path": "a", "env": "prod"}).as_object().cloned().expect("an object"));
    assert_eq!((described.environment.name.as_str(), &described.shape), ("production", &Shape::Open));
    let around = describe(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"cursor": "c"}}));
    assert_eq!((around.action.as_str(), around.params.len()), ("tools.list", 0));
    let uri = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": "file:///a", "_meta": {"x": 1}}});
    let resource = describe(&uri);
    assert_eq!((resource.action.as_str(), resource.params.get("uri")), ("resources.read", Some(&json!("file:///a"))));
    assert!(!resource.params.contains_key("_meta"));
    for unknown in ["resources.read", "tools.call", "a/b", "a b", "ping"] {
        assert_eq!(describe(&call(1, unknown, json!({}), json!({}))).action, ToolCall::UNKNOWN, "{unknown}");
    }
    assert_eq!(describe(&json!({"jsonrpc": "2.0", "id": 1, "method": "vendor/drop"})).action, ToolCall::UNKNOWN);
}

fn scale(params: &[(&str, &str)]) -> Mapping {
    Mapping {
        tool: "scale".to_owned(),
        as_tool: "kubernetes".to_owned(),
        as_action: "scale".to_owned(),
        params: params.iter().map(|(name, at)| ((*name).to_owned(), (*at).to_owned())).collect(),
        target: vec![("kind".to_owned(), "deployments".to_owned()), ("cluster".to_owned(), "main".to_owned())],
    }
}

#[test]
fn a_mapped_tool_is_the_action_and_hides_none_of_its_arguments() {
    let server = server(vec![scale(&[("replicas", "/spec/count"), ("namespace", "/ns")])]);
    let arguments = json!({"ns": "shop", "spec": {"count": 3}, "force": true});
    let described = describe_on(&server, &call(1, "scale", arguments, json!({}))).expect("described");
    assert_eq!((described.tool.as_str(), described.action.as_str()), ("kubernetes", "scale"));
    assert!(described.classes.contains("deploy") && described.classes.contains("scale"));
    assert_eq!(described.target.get("namespace").map(String::as_str), Some("shop"));
    assert_eq!(described.params.get("replicas"), Some(&json!(3)));
    let Shape::Defined(shape) = &described.shape else { panic!("defined") };
    // A rule on an argument that the definition doesn't have holds all the same.
    assert!(shape.contains_key("force") && shape.contains_key("replicas"), "{shape:?}");
    // An argument that has the name of a parameter which is read elsewhere could be meant by either.
    let twice = json!({"ns": "shop", "spec": {"count": 300}, "replicas": 1});
    let refused = describe_on(&server, &call(1, "scale", twice, json!({}))).expect_err("refused");
    assert_eq!(refused.reason, "mcp_map_conflict");
    let cased = json!({"NS": "shop", "spec": {"count": 3}});
    assert_eq!(describe_on(&server, &call(1, "scale", cased, json!({}))).expect_err("refused").reason, "json_key_case");
}

#[test]
fn a_name_that_stands_for_several_actions_is_one_only_where_the_target_says_which() {
    let catalogue = Catalogue::load(&[], None).expect("a catalogue");
    let named = |action: &str, params: Value| {
        let params = params.as_object().cloned().unwrap_or_default();
        catalogue.describe_function("kubernetes", action, params)
    };
    let scaled = named("scale", json!({"namespace": "shop", "kind": "deployments", "name": "web", "replicas": 2}));
    assert_eq!((scaled.action.as_str(), scaled.target.get("name").map(String::as_str)), ("scale", Some("web")));
    // An object that runs something is deployed by it; another isn't.
    let workload = named("apply", json!({"kind": "deployments", "group": "apps", "namespace": "shop", "name": "web"}));
    assert!(workload.action == "unknown" || workload.classes.contains("deploy"), "{workload:?}");
    assert_eq!(named("apply", json!({"name": "web"})).action, ToolCall::UNKNOWN);
    assert_eq!(named("no_such_action", json!({})).action, ToolCall::UNKNOWN);
    let function =
        catalogue.describe_function("deploy", "run", json!({"env": "x"}).as_object().cloned().expect("an object"));
    assert_eq!((function.action.as_str(), &function.shape), ("run", &Shape::Open));
}

#[test]
fn the_digest_is_of_what_is_meant() {
    let digest = |message: Value| describe(&message).digest().expect("a digest");
    let first = digest(call(1, "drop", json!({"n": 1}), json!({"progressToken": 1, "traceparent": "00-a"})));
    assert_eq!(first, digest(call(2, "drop", json!({"n": 1}), json!({"progressToken": 2}))));
    assert_eq!(
        first,
        digest(
            json!({"jsonrpc": "2.0", "id": "x", "method": "tools/call", "params": {"arguments": {"n": 1}, "name": "drop"}})
        )
    );
    for other in [
        call(1, "drop", json!({"n": 2}), json!({})),
        call(1, "drop", json!({"n": 1}), json!({"vendor/dry-run": false})),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "drop", "arguments": {"n": 1}, "task": {"ttl": 1}}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "extra": 1, "params": {"name": "drop", "arguments": {"n": 1}}}),
    ] {
        assert_ne!(first, digest(other.clone()), "{other}");
    }
}

#[test]
fn headers_have_to_say_what_the_body_says() {
    let message = read(&call(1, "größe", json!({"a": {"b": 42}, "s": null}), json!({PROTOCOL_VERSION: STATELESS})));
    let mirrors = vec![
        Mirror { header: "b".to_owned(), path: vec!["a".to_owned(), "b".to_owned()] },
        Mirror { header: "s".to_owned(), path: vec!["s".to_owned()] },
    ];
    let check = |pairs: &[(&str, &str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::try_from(*name).expect("a name");
            map.append(name, HeaderValue::try_from(*value).expect("a value"));
        }
        headers::check(&map, &message, Some(&mirrors)).map_err(|error| error.reason)
    };
    let version = ("mcp-protocol-version", STATELESS);
    let (method, name) = (("mcp-method", "tools/call"), ("mcp-name", "=?base64?Z3LDtsOfZQ==?="));
    let mismatch = Err(headers::MISMATCH.to_owned());
    assert_eq!(check(&[version, method, name, ("mcp-param-b", "42")]), Ok(()));
    assert_eq!(check(&[version, method, name, ("mcp-param-b", "42.0")]), Ok(()), "numbers are compared as numbers");
    for bad in [
        &[method, name, ("mcp-param-b", "42")][..],
        &[version, name, ("mcp-param-b", "42")],
        &[version, method, ("mcp-param-b", "42")],
        &[version, method, name],
        &[version, method, name, ("mcp-param-b", "43")],
        &[version, method, name, ("mcp-param-b", "42"), ("mcp-param-s", "x")],
        &[version, method, name, name, ("mcp-param-b", "42")],
        &[version, method, ("mcp-name", "=?base64?!!?="), ("mcp-param-b", "42")],
        &[("mcp-protocol-version", "2025-11-25"), method, name, ("mcp-param-b", "42")],
    ] {
        assert_eq!(check(bad), mismatch, "{bad:?}");
    }
}

#[test]
fn definitions_are_told_apart_by_all_that_a_model_reads() {
    let hash = |tool: Value| Definition::read(&tool).expect("a tool").hash;
    let tool = |description: &str| json!({"name": "a", "description": description, "inputSchema": {"type": "object"}});
    assert_eq!(
        hash(tool("x")),
        hash(json!({"inputSchema": {"type": "object"}, "description": "x", "name": "a", "_meta": {"n": 1}}))
    );
    let mut annotated = tool("x");
    annotated["annotations"] = json!({"readOnlyHint": true});
    assert!(hash(tool("x")) != hash(tool("y")) && hash(tool("x")) != hash(annotated));
    let hides = |text: &str| Definition::read(&tool(text)).expect("a tool").hides;
    assert_eq!(hides("plain, größer 日本\n\ttext"), None);
    for hidden in ["a\u{200b}b", "\u{1b}[8mx", "\u{202e}x", "\u{e0041}\u{e0042}", "a\u{7}b"] {
        assert!(hides(hidden).is_some(), "{hidden:?}");
    }
    let deep = json!({"name": "a", "inputSchema": {"properties": {"x": {"properties": {"y": {"x-mcp-header": "Y"}}}, "é\u{feff}": {}}}});
    let deep = Definition::read(&deep).expect("a tool");
    assert_eq!(deep.mirrors, [Mirror { header: "y".to_owned(), path: vec!["x".to_owned(), "y".to_owned()] }]);
    assert!(deep.hides.is_some(), "the name of a field hides it as well");
    assert_eq!(Definition::read(&json!({"name": 7})), None);
}

#[test]
fn lists_lose_what_isnt_shown_and_are_private() {
    let mut message = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "a"}, {"name": "b"}], "nextCursor": "n", "cacheScope": "public"}});
    assert!(answers::filter(&mut message, |listed, item| listed == Listed::Tools && item["name"] == "a"));
    assert_eq!(message["result"], json!({"tools": [{"name": "a"}], "nextCursor": "n", "cacheScope": "private"}));
    assert!(!answers::filter(&mut message, |_, _| true), "nothing more to do");
    let mut other = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": []}});
    assert!(!answers::filter(&mut other, |_, _| false));
}

#[test]
fn answers_are_redacted_wherever_a_text_stands_and_pictures_are_left_alone() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let mail = "a.b@example.com";
    let picture = STANDARD.encode([&b"\x89PNG\r\n\x1a\n\0\0\0"[..], mail.as_bytes()].concat());
    let file = STANDARD.encode(format!("write to {mail}"));
    let mut message = json!({"jsonrpc": "2.0", "id": mail, "result": {
        "content": [{"type": "text", "text": format!("to {mail}")}, {"type": "image", "mimeType": "image/png", "data": picture}],
        "structuredContent": {"to": [mail], "blob": mail}, "contents": [{"uri": "x", "blob": file}, {"uri": "y", "blob": picture}]}});
    let found = answers::redact(&mut message, &Answers::new([(std::sync::Arc::new(Detector::new(["pii"])), None)]));
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["email"]);
    let result = &message["result"];
    assert_eq!(result["content"][0]["text"], "to [REDACTED:email]");
    assert_eq!(result["structuredContent"]["to"][0], "[REDACTED:email]");
    assert_eq!(result["structuredContent"]["blob"], "[REDACTED:email]");
    assert_eq!(result["contents"][0]["blob"], STANDARD.encode("write to [REDACTED:email]"));
    assert_eq!(
        (&result["content"][1]["data"], &result["contents"][1]["blob"], &message["id"]),
        (&json!(picture), &json!(picture), &json!(mail))
    );
    assert!(answers::redact(&mut message, &Answers::default()).is_empty());
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-1000..1000_i64).prop_map(Value::from),
        "[a-zäß ]{0,8}".prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,5}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn reading_what_was_written_describes_the_same_call(
        tool in "[a-z][a-z0-9_.-]{0,12}",
        arguments in prop::collection::btree_map("[a-z]{1,6}", value(), 0..5),
        id in any::<u32>(),
        extra in value(),
    ) {
        let mut message = call(u64::from(id), &tool, json!(arguments), json!({}));
        message["vendor"] = extra;
        let first = describe(&message);
        let Payload::Mcp(mcp) = &first.payload else { panic!("MCP") };
        let written = mcp.message.as_ref().expect("a message").to_bytes();
        let again = Message::read(&written).expect("what we write can be read");
        prop_assert_eq!(&again, mcp.message.as_ref().expect("a message"));
        let second = describe(&serde_json::from_slice(&written).expect("JSON"));
        prop_assert_eq!((first.digest(), &first.action, &first.params), (second.digest(), &second.action, &second.params));
    }

    #[test]
    fn no_bytes_make_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = Message::read(&bytes) {
            prop_assert!(Message::read(&message.to_bytes()).is_ok());
        }
    }
}
