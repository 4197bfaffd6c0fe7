use aegis_core::policy::Options;

use super::*;

fn set(mode: aegis_core::policy::Mode) -> Arc<PolicySet> {
    Arc::new(PolicySet::load(&[], Options { mode, ..Options::default() }).expect("an empty set"))
}

/// Two sets with different versions, one of them a canary.
fn governing(of: CanaryOf) -> Governing {
    let policies = set(aegis_core::policy::Mode::Shadow);
    Governing { canary: Some(Canary { policies, of }), ..Governing::by(set(aegis_core::policy::Mode::Enforce)) }
}

fn judged_by_canary(governing: &Governing, agent: &Agent) -> bool {
    let canary = governing.canary.as_ref().expect("a canary");
    governing.judge_of(agent).version() == canary.policies.version()
}

#[test]
fn named_agents_and_groups_are_tried_and_nobody_else() {
    let named = |agents: &[&str], groups: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        governing(CanaryOf::Named { agents: owned(agents), groups: owned(groups) })
    };
    let member = Agent { groups: vec!["beta".to_owned()], ..Agent::named("b") };
    let governing = named(&["a"], &["beta"]);
    assert!(judged_by_canary(&governing, &Agent::named("a")) && judged_by_canary(&governing, &member));
    assert!(!judged_by_canary(&governing, &Agent::named("b")));
    assert!(!judged_by_canary(&named(&[], &[]), &member));
}

#[test]
fn an_agent_keeps_its_side_and_the_share_is_kept() {
    let key = "0123456789abcdef".to_owned();
    let by_agent = governing(CanaryOf::ShareOfAgents { share: 0.05, key: key.clone() });
    let agents: Vec<Agent> = (0..10_000).map(|n| Agent::named(format!("agent-{n}"))).collect();
    let drawn: Vec<bool> = agents.iter().map(|agent| judged_by_canary(&by_agent, agent)).collect();
    let again: Vec<bool> = agents.iter().map(|agent| judged_by_canary(&by_agent, agent)).collect();
    assert_eq!(drawn, again);
    let count = drawn.iter().filter(|drawn| **drawn).count();
    assert!((400..=600).contains(&count), "{count} of 10000 at 5 %");

    let wider = governing(CanaryOf::ShareOfAgents { share: 0.2, key });
    let stay = |(agent, drawn): (&Agent, &bool)| !drawn || judged_by_canary(&wider, agent);
    assert!(agents.iter().zip(&drawn).all(stay), "a wider share keeps those that were drawn");
}

#[test]
fn nothing_and_everything_are_exact() {
    for of in [(|share| CanaryOf::ShareOfCalls { share }) as fn(f64) -> CanaryOf, |share| CanaryOf::ShareOfAgents {
        share,
        key: "k".to_owned(),
    }] {
        for n in 0..1000 {
            let agent = Agent::named(format!("agent-{n}"));
            assert!(!judged_by_canary(&governing(of(0.0)), &agent) && judged_by_canary(&governing(of(1.0)), &agent));
        }
    }
}

#[test]
fn where_nothing_is_in_force_a_guard_denies() {
    let empty = set(aegis_core::policy::Mode::Enforce);
    let guard = Governing::withheld(Arc::clone(&empty)).guard().expect("a violation");
    assert_eq!((guard.rule.as_str(), guard.reason.as_str()), ("policy", "none_in_force"));
    assert!(Governing::by(empty).guard().is_none());
}
