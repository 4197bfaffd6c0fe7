//! The walk-through is true: every command in it runs, in its order, and prints what stands below it.

use serde_json::Value;

use crate::guide::Guide;
use crate::upstream::Upstream;

#[test]
fn the_life_of_a_policy_goes_as_the_page_tells_it() {
    let tool = Upstream::start(None);
    let mut guide = Guide::open("walkthrough.md").instead_of("127.0.0.1:8001", tool.address);
    guide.follow();

    // What the page tells besides, from the record: nothing was held back in shadow mode, then what was enforced was, by the
    // version that `list` says is in force, and what was refused did not reach the tool.
    let decisions = guide.decisions();
    let did = |record: &Value| record["decision"].as_str().expect("a decision").to_owned();
    assert_eq!(decisions.len(), 49, "{decisions:#?}");
    let (watched, enforced) = decisions.split_at(45);
    assert!(watched.iter().all(|record| record["mode"] == "shadow" && did(record) == "allow"), "{watched:#?}");
    assert_eq!(watched.iter().filter(|record| record["would_decision"] == "deny").count(), 5);
    let answers: Vec<String> = enforced.iter().map(did).collect();
    assert_eq!(answers, ["allow", "deny", "allow", "deny"], "60, 200, 200 of the slip, 200 after going back");
    assert_eq!(enforced[3]["policy_version"], enforced[1]["policy_version"], "the old version decides again");
    assert_ne!(enforced[3]["policy_version"], enforced[2]["policy_version"]);
    let approvals = guide.json("aegis approvals list --json");
    assert_eq!(approvals, [Value::Array(Vec::new())], "nobody was asked");
    let reached = tool.seen();
    assert_eq!(reached.matches("\"replicas\": 60}").count() + reached.matches("\"replicas\":60}").count(), 6);
    assert_eq!(reached.matches("\"replicas\": 200}").count() + reached.matches("\"replicas\":200}").count(), 1);
}
