//! Versions that flip under load, and a gateway that is killed while they do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::Client;
use super::{AGENT, policy, started, version_of};
use crate::process::Folder;

/// How often the policies change.
const FLIP: Duration = Duration::from_millis(50);
/// How long all of it goes on.
const LIFE: Duration = Duration::from_secs(6);
const CLIENTS: u32 = 4;

fn operator(folder: &Folder) -> String {
    std::fs::read_to_string(folder.path("aegis-data/operator.token")).expect("a token").trim().to_owned()
}

fn publication(max: u32) -> String {
    json!({"sources": [{"file": "p.yaml", "text": policy(max)}], "note": format!("up to {max}")}).to_string()
}

/// Calls until told to stop; each answer must be the one that its version gives. How often each version answered.
fn calls(
    address: std::net::SocketAddr,
    token: &str,
    max_of: &BTreeMap<String, u32>,
    stop: &AtomicBool,
) -> BTreeMap<u32, u32> {
    let mut client = Client::new(address);
    let mut seen = BTreeMap::new();
    for n in (0..).take_while(|_| !stop.load(Ordering::Relaxed)) {
        let replicas = 5 + 10 * (n % 7);
        let answer = client.scale(token, replicas);
        let max = max_of.get(answer.version()).unwrap_or_else(|| panic!("{} is none of {max_of:?}", answer.version()));
        let expected = if replicas <= *max { 200 } else { 403 };
        assert_eq!(answer.status, expected, "{replicas} replicas, at most {max}: {}", answer.body);
        if expected == 403 {
            let said = format!("replicas {replicas} is above max_replicas {max}");
            assert!(answer.body.contains(&said), "{said} isn't in {}", answer.body);
        }
        *seen.entry(*max).or_default() += 1;
    }
    seen
}

/// Publishes, goes back and edits the folder, one after the other.
fn flip(api: std::net::SocketAddr, folder: &Folder, stop: &AtomicBool) -> u32 {
    let (mut client, token) = (Client::new(api), operator(folder));
    let mut flips = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = match flips % 4 {
            0 => client.send("POST", "/v1/policies", &token, &publication(20)),
            1 => client.send("POST", "/v1/policies", &token, &publication(30)),
            2 => client.send("POST", "/v1/policies/rollback", &token, "{}"),
            _ => client.send("POST", "/v1/policies", &token, &publication(40)),
        };
        // Going back may find that the folder was faster.
        assert!(matches!(answer.status, 200 | 409), "{}", answer.body);
        if flips % 20 == 19 {
            let max = if flips % 40 == 19 { 50 } else { 60 };
            std::fs::write(folder.path("policies/p.yaml"), policy(max)).expect("written");
        }
        if flips % 7 == 0 {
            let bad = json!({"sources": [{"file": "p.yaml", "text": "agnet: x\n"}]}).to_string();
            assert_eq!(client.send("POST", "/v1/policies", &token, &bad).status, 422);
        }
        flips += 1;
        std::thread::sleep(FLIP);
    }
    flips
}

#[test]
fn no_request_is_dropped_and_each_answer_is_of_one_version() {
    let (_tool, gateway) = started(&policy(10));
    let folder = gateway.folder.clone();
    let token = folder.agent(AGENT);
    let max_of: BTreeMap<String, u32> =
        [10, 20, 30, 40, 50, 60].map(|max| (version_of(&folder, "one.yaml", &policy(max)), max)).into();
    let (proxy, api, stop) = (gateway.address("proxy"), gateway.address("api"), AtomicBool::new(false));
    let (seen, flips) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| calls(proxy, &token, &max_of, &stop))).collect();
        let flipping = scope.spawn(|| flip(api, &folder, &stop));
        let end = Instant::now() + LIFE;
        while Instant::now() < end && !flipping.is_finished() && !clients.iter().any(|client| client.is_finished()) {
            std::thread::sleep(FLIP);
        }
        stop.store(true, Ordering::Relaxed);
        let mut seen: BTreeMap<u32, u32> = BTreeMap::new();
        for client in clients {
            client
                .join()
                .expect("every answer was right")
                .into_iter()
                .for_each(|(max, n)| *seen.entry(max).or_default() += n);
        }
        (seen, flips_of(flipping.join()))
    });
    println!("{flips} flips, answers by maximum: {seen:?}");
    assert!(flips > 20, "only {flips} flips");
    for max in [20, 30, 40] {
        assert!(seen.contains_key(&max), "{max} never answered: {seen:?}");
    }
    assert!(seen.contains_key(&50) || seen.contains_key(&60), "the folder never was in force: {seen:?}");
}

fn flips_of(joined: std::thread::Result<u32>) -> u32 {
    joined.expect("every change was answered")
}

/// Publishes as fast as it can until the other side is gone: the last version that was acknowledged, and the one after it.
fn publish_until_gone(api: std::net::SocketAddr, token: &str) -> (Option<u32>, u32) {
    let mut client = Client::new(api);
    let mut acknowledged = None;
    for max in (100..200).cycle() {
        match client.try_send("POST", "/v1/policies", token, &publication(max)) {
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{}", answer.body);
                acknowledged = Some(max);
            }
            Err(_) => return (acknowledged, max),
        }
    }
    unreachable!("a cycle doesn't end")
}

#[test]
fn a_gateway_killed_while_it_publishes_starts_with_the_old_or_the_new_whole() {
    let (_tool, mut gateway) = started(&policy(10));
    let folder = gateway.folder.clone();
    let mut in_force = gateway.ready["policy_version"].as_str().expect("a version").to_owned();
    let mut published = 0;
    for round in 0..8_u64 {
        let (api, token) = (gateway.address("api"), operator(&folder));
        let publishing = std::thread::spawn(move || publish_until_gone(api, &token));
        std::thread::sleep(Duration::from_millis(10 + 23 * round));
        gateway = gateway.crash_and_restart();
        let (old, new) = publishing.join().expect("no panic");
        published += u32::from(old.is_some());
        let old = old.map_or(in_force, |max| version_of(&folder, "one.yaml", &policy(max)));
        let new = version_of(&folder, "one.yaml", &policy(new));
        let found = gateway.ready["policy_version"].as_str().expect("a version").to_owned();
        assert!(found == old || found == new, "{found} is neither {old} nor {new}");
        let shown = folder.json(&["policy", "show", &found, "--source"]);
        assert_eq!(version_of(&folder, "one.yaml", shown["sources"][0]["text"].as_str().expect("text")), found);
        in_force = found;
    }
    assert!(published > 3, "the test tests nothing: {published} rounds published something");
}
