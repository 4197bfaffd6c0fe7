//! The page's example: tools of GitHub's MCP server as actions of the catalogue, so that one policy covers the server and the API.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Client;
use super::server::{Server, tool};
use crate::authzen::corpus;
use crate::process::{Gateway, raw};
use crate::upstream::Upstream;

const TOOLS: [&str; 4] = ["create_or_update_file", "create_pull_request", "merge_pull_request", "delete_file"];

/// The blocks of YAML in the page's section on GitHub: configuration and policy.
fn blocks() -> [String; 2] {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/mcp.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let section = page.split("## 7. ").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the section");
    let mut blocks = section.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next());
    [(); 2].map(|()| blocks.next().expect("a block").to_owned())
}

#[test]
fn tools_of_githubs_server_and_its_api_are_under_one_policy() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let tools = TOOLS.iter().map(|name| tool(name, "does what its name says")).collect();
    let (server, address) = runtime.block_on(Server::start(tools));
    let api = Upstream::start(None);
    let [config, policy] = blocks();
    // These tests' client speaks to a server of this name.
    let config = config.replace("127.0.0.1:9001", &address.to_string()).replace("name: forge", "name: files");
    let config = format!(
        "{config}routes: [{{name: api, tool: github, upstream: \"http://{}\"}}]\nlimits: {{hold: 1ms}}\n",
        api.address
    );
    let gateway = Gateway::start(&config, &[("coder.yaml", &policy)]);
    let token = gateway.folder.agent("coder");
    let at = gateway.address("proxy");
    let client = Client { at, token: token.clone(), session: None }.opened();
    let file = |branch: &str, path: &str| json!({"owner": "acme", "repo": "shop", "path": path, "branch": branch, "message": "m", "content": "hello"});
    let by_server =
        |name: &str, arguments: Value| client.call(name, arguments).header("aegis-decision").expect("a decision");
    let by_api = |method: &str, path: &str, body: Value| {
        let body = body.to_string();
        let head = format!(
            "{method} /r/api/repos/acme/shop/{path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = raw(at, &head).to_ascii_lowercase();
        let decision = answer.lines().find_map(|line| line.strip_prefix("aegis-decision: ")).expect("a decision");
        decision.to_owned()
    };
    for (branch, path, decision) in [
        ("agent/fix", "src/main.rs", "allow"),
        ("main", "src/main.rs", "deny"),
        ("agent/fix", ".github/workflows/ci.yml", "deny"),
    ] {
        assert_eq!(by_server("create_or_update_file", file(branch, path)), decision, "{branch} {path}");
        let body = json!({"branch": branch, "message": "m", "content": "aGVsbG8="});
        assert_eq!(by_api("PUT", &format!("contents/{path}"), body), decision, "{branch} {path}");
    }
    let pull = json!({"owner": "acme", "repo": "shop", "title": "t", "base": "main", "head": "agent/fix"});
    assert_eq!(by_server("create_pull_request", pull.clone()), "allow");
    let elsewhere = json!({"owner": "other", "repo": "shop", "title": "t", "base": "main", "head": "agent/fix"});
    assert_eq!(by_server("create_pull_request", elsewhere), "deny");
    assert_eq!(by_api("POST", "pulls", pull), "allow");
    let merge = json!({"owner": "acme", "repo": "shop", "pullNumber": 7, "merge_method": "squash"});
    assert_eq!(by_server("merge_pull_request", merge), "approval_needed");
    assert_eq!(by_api("PUT", "pulls/7/merge", json!({"merge_method": "squash"})), "approval_needed");
    assert_eq!(by_server("delete_file", file("agent/fix", "a")), "deny");
    assert_eq!(server.seen("tools/call").len(), 2);
}

#[test]
fn the_tools_that_the_page_maps_are_those_of_githubs_server() {
    let Some(text) = corpus("../github-mcp-tools/tools.json") else { return };
    let tools: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let [config, _] = blocks();
    for name in &TOOLS[..3] {
        let tool = tools.iter().find(|tool| tool["name"] == **name).unwrap_or_else(|| panic!("{name} is no tool"));
        let entry = config.split("{tool: ").find(|entry| entry.starts_with(name)).expect("it is mapped");
        for pointer in entry.split(": /").skip(1).filter_map(|rest| rest.split([',', '}']).next()) {
            assert!(tool["inputSchema"]["properties"][pointer].is_object(), "{name} has no argument {pointer}");
        }
    }
}
