//! What `diff` says of two sets holds for random calls: whose changes are all *less* is answered no laxer, and so on.

use aegis_core::agent::Agent;
use aegis_core::call::ToolCall;
use aegis_core::decide::Verdict;
use aegis_core::policy::{Asked, Change, Direction, Mode, Options, PolicySet, Source, diff};
use aegis_core::replay::Answer;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use super::{agent, arbitrary, load};

fn documents(text: &str) -> Vec<Value> {
    text.split("---\n")
        .filter(|part| !part.trim().is_empty())
        .map(|part| serde_json::from_str(part).expect("JSON"))
        .collect()
}

fn text(documents: &[Value]) -> String {
    documents.iter().map(|document| format!("---\n{document}\n")).collect()
}

fn loads(text: &str) -> bool {
    let source = Source { file: "policy.yaml".to_owned(), text: text.to_owned() };
    PolicySet::load(&[source], Options::default()).is_ok()
}

/// `base` with some of its parts exchanged for those of `other`: sets that differ a little are the ones that people compare.
fn crossed(base: &[Value], other: &[Value], choices: &[prop::sample::Index]) -> Vec<Value> {
    let mut mixed = base.to_vec();
    for pair in choices.chunks_exact(4) {
        let [policy, key, entry, kind] = pair else { continue };
        if mixed.is_empty() || other.is_empty() {
            continue;
        }
        let at = policy.index(mixed.len());
        let donor = other[policy.index(other.len())].clone();
        match kind.index(8) {
            0 => drop(mixed.remove(at)),
            1 => mixed.push(donor),
            2 | 3 => exchange(&mut mixed[at], &donor, key),
            _ => {
                let entries = donor["actions"].as_array().cloned().unwrap_or_default();
                let Some(own) = mixed[at]["actions"].as_array_mut() else { continue };
                if own.is_empty() || entries.is_empty() {
                    continue;
                }
                let own_at = entry.index(own.len());
                let given = entries[entry.index(entries.len())].clone();
                match key.index(8) {
                    0 => drop(own.remove(own_at)),
                    1 => own.push(given),
                    _ => exchange(&mut own[own_at], &given, key),
                }
            }
        }
    }
    mixed
}

/// Takes one key from `donor`, or takes it away where the donor hasn't it.
fn exchange(target: &mut Value, donor: &Value, key: &prop::sample::Index) {
    let (Some(target), Some(donor)) = (target.as_object_mut(), donor.as_object()) else { return };
    let mut keys: Vec<String> = target.keys().chain(donor.keys()).cloned().collect();
    keys.retain(|key| !["name", "actions", "on_violation"].contains(&key.as_str()));
    if keys.is_empty() {
        return;
    }
    let key = keys[key.index(keys.len())].clone();
    match donor.get(&key) {
        Some(value) => drop(target.insert(key, value.clone())),
        None => drop(target.remove(&key)),
    }
    let in_groups = target.get("groups").and_then(Value::as_array).is_some_and(|groups| !groups.is_empty());
    if target.contains_key("actions") && !in_groups {
        target.entry("agent").or_insert_with(|| "other".into());
    }
    if let Some(asks) = target.get("on_violation").and_then(Value::as_object).cloned() {
        let kept = asks.into_iter().filter(|(rule, _)| target.contains_key(rule)).collect();
        target.insert("on_violation".to_owned(), Value::Object(kept));
    }
}

/// The enforced answer.
fn strictness(set: &PolicySet, agent: &Agent, call: &ToolCall) -> Verdict {
    Answer::of(set, Asked::of(agent, call), call.clone()).decision
}

type Case = ((String, String), (bool, bool), Vec<((String, Vec<String>), super::Call)>);

fn case() -> impl Strategy<Value = Case> {
    let choices = prop::collection::vec(any::<prop::sample::Index>(), 4..16);
    let sets =
        (arbitrary::policies(), arbitrary::policies(), choices, 0..10).prop_map(|(base, other, choices, wild)| {
            let (base, other) = (documents(&base), documents(&other));
            let mixed = crossed(&base, &other, &choices);
            // What was mixed may contradict itself, such as two bounds in different units.
            let after = if wild == 0 || !loads(&text(&mixed)) { other } else { mixed };
            (text(&base), text(&after))
        });
    let calls = prop::collection::vec((arbitrary::agent(), arbitrary::call()), 4..24);
    (sets, prop_oneof![8 => Just((false, false)), 1 => any::<(bool, bool)>()], calls)
}

/// What is claimed of one agent's calls, checked with one call; the claim's name when it was put to a test.
fn check(changes: &[Change], sets: (&PolicySet, &PolicySet), who: &Agent, call: &ToolCall) -> Option<&'static str> {
    let mine: Vec<&Change> = changes.iter().filter(|change| change.is_about(&who.id, &who.groups)).collect();
    let (was, is) = (strictness(sets.0, who, call), strictness(sets.1, who, call));
    let all = |direction: Direction| mine.iter().all(|change| change.direction == direction);
    let told = || mine.iter().map(|change| format!("{:?} {}\n", change.direction, change.sentence)).collect::<String>();
    if mine.is_empty() {
        assert_eq!(was, is, "nothing changes for {who:?}, but its call is answered otherwise: {call:?}");
        return Some("same");
    }
    if all(Direction::Less) {
        assert!(is >= was, "{who:?} may only do less, but {call:?} went from {was:?} to {is:?}\n{}", told());
        return (is > was).then_some("less");
    }
    if all(Direction::More) {
        assert!(is <= was, "{who:?} may only do more, but {call:?} went from {was:?} to {is:?}\n{}", told());
        return (is < was).then_some("more");
    }
    None
}

fn sets(texts: &(String, String), shadow: (bool, bool)) -> (PolicySet, PolicySet) {
    let mode = |shadow: bool| if shadow { Mode::Shadow } else { Mode::Enforce };
    (load(&texts.0, mode(shadow.0)), load(&texts.1, mode(shadow.1)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn directions_hold((texts, shadow, calls) in case()) {
        let (before, after) = sets(&texts, shadow);
        let changes = diff(&before, &after);
        for ((id, groups), call) in calls {
            check(&changes, (&before, &after), &agent(&id, &groups), &call.describe());
        }
    }

    #[test]
    fn equal_sets_have_no_changes_and_others_have_some((texts, shadow, _calls) in case()) {
        let (before, after) = sets(&texts, shadow);
        prop_assert_eq!(diff(&before, &before), vec![]);
        let mut turned = documents(&texts.0);
        turned.reverse();
        prop_assert_eq!(diff(&before, &load(&text(&turned), before.mode())), vec![]);
        let (there, back) = (diff(&before, &after), diff(&after, &before));
        prop_assert_eq!(there.len(), back.len());
        let count = |changes: &[Change], direction| changes.iter().filter(|change| change.direction == direction).count();
        prop_assert_eq!(count(&there, Direction::More), count(&back, Direction::Less));
    }
}

/// Claims that are never put to a test would prove nothing.
#[test]
fn every_claim_is_put_to_a_test() {
    let mut runner = TestRunner::deterministic();
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for _ in 0..150 {
        let (texts, shadow, calls) = case().new_tree(&mut runner).expect("a case").current();
        let (before, after) = sets(&texts, shadow);
        let changes = diff(&before, &after);
        for ((id, groups), call) in calls {
            if let Some(claim) = check(&changes, (&before, &after), &agent(&id, &groups), &call.describe()) {
                *counts.entry(claim).or_default() += 1;
            }
        }
    }
    assert!(counts.len() == 3 && counts.values().all(|count| *count >= 8), "{counts:?}");
}
