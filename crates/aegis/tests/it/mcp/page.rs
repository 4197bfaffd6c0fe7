//! The guide to MCP, followed word by word. The guide's reader has a server; here a small one takes that place.

use super::server::{Server, tool};
use crate::guide::Guide;

#[test]
fn the_guide_to_mcp_goes_as_the_page_tells_it() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let names = ["read_file", "write_file", "delete_file", "run_shell"];
    let tools = names.iter().map(|name| tool(name, "does what its name says")).collect();
    let (server, address) = runtime.block_on(Server::start(tools));
    let mut guide = Guide::open("mcp.md").instead_of("127.0.0.1:9000", address);
    guide.follow();
    let called: Vec<String> =
        server.seen("tools/call").iter().map(|(message, _)| message["params"]["name"].to_string()).collect();
    assert_eq!(called, ["\"write_file\"", "\"read_file\"", "\"delete_file\""]);
    let decided = guide.decisions();
    let count = |decision: &str| decided.iter().filter(|record| record["decision"] == decision).count();
    assert_eq!((count("approval_needed"), count("deny")), (1, 2), "{decided:?}");
}
