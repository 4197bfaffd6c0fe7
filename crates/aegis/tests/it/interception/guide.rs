//! The guides go as they tell.

use super::Secured;
use crate::guide::Guide;
use crate::upstream::Upstream;

#[test]
fn the_guide_to_interception_goes_as_it_tells() {
    let (secured, tool) = (Secured::new(), Upstream::start(None));
    let front = secured.front("tool.corp.example", tool.address);
    let mut guide = Guide::open("interception.md").instead_of("127.0.0.1:8443", front);
    std::fs::copy(secured.ca(), guide.folder().join("corp-ca.pem")).expect("copied");
    guide.follow();
    let decisions = guide.decisions();
    let did: Vec<_> = decisions.iter().map(|record| record["decision"].as_str().unwrap_or_default()).collect();
    assert_eq!(did, ["allow", "deny", "deny", "allow"], "{decisions:#?}");
    assert!(decisions.iter().all(|record| record["via"] == "intercepted"), "{decisions:#?}");
    assert_eq!(tool.seen().matches("GET ").count(), 2, "{}", tool.seen());
}

#[test]
fn the_guide_to_egress_goes_as_it_tells() {
    let tool = Upstream::start(None);
    let mut guide = Guide::open("egress.md").instead_of("127.0.0.1:8001", tool.address);
    guide = guide.instead_of("localhost:8001", format!("localhost:{}", tool.address.port()));
    guide.follow();
    assert_eq!(tool.seen().matches("GET ").count(), 2, "{}", tool.seen());
}
