//! An approval from the first ask to its one use.

use aegis_core::approval::{Refused, State};
use aegis_core::audit::{Event, Outcome};
use aegis_core::decide::Decision;
use aegis_core::problem::Code;
use aegis_store::{Query, Store, StoreError};
use jiff::{SignedDuration, Timestamp};

use crate::calls::{AGENT, asking, in_production, passage, policies, policies_with};
use crate::{opened, reopened};

/// What happened to approvals, in order.
async fn changes(store: &Store) -> Vec<(String, Option<String>)> {
    let query = Query { event: Some("approval".into()), limit: 1000, ..Query::default() };
    let change = |event| match event {
        Event::Approval { change, by, .. } => (change, by),
        other => panic!("not an approval: {other:?}"),
    };
    store.query(query).await.expect("reads").into_iter().map(|record| change(record.event)).collect()
}

#[tokio::test]
async fn an_approval_is_asked_for_decided_and_spent_once() {
    let (dir, store) = opened().await;
    let policies = policies();

    let (explanation, first) =
        store.ask(asking(in_production(&policies, "dec_1", 3, None)), 0.1).await.expect("a human can be asked");
    assert_eq!(explanation.approval.as_ref().map(|info| info.status.as_str()), Some("pending"));
    let (_, second) = store.ask(asking(in_production(&policies, "dec_2", 3, None)), 0.1).await.expect("asked");
    assert_eq!((second.id.as_str(), second.asked), (first.id.as_str(), 2), "identical pending requests are one");
    let (_, other) = store.ask(asking(in_production(&policies, "dec_3", 4, None)), 0.1).await.expect("asked");
    assert_ne!(other.id, first.id);

    let own = store.approve(&first.id, AGENT, None).await.expect_err("the asker can't decide");
    assert!(matches!(own, StoreError::Approval(Refused::OwnRequest(_))), "{own}");
    let (approved, token) = store.approve(&first.id, "alice", Some("go".into())).await.expect("approves");
    let token = token.expect("nobody else is asked");
    assert!(token.starts_with("ovr_") && token.len() == 4 + 43);
    assert!(matches!(store.approve(&first.id, "bob", None).await, Err(StoreError::Approval(Refused::Final(_)))));

    // All of it survives a restart.
    let store = reopened(&dir, store).await;
    let at_hand = store.override_matches(&token).expect("the token is known");
    assert_eq!(at_hand, approved);
    assert_eq!(store.override_matches(&format!("{token}x")), None);
    let digest = &approved.request.call_digest;
    assert_eq!(store.approval_for(AGENT, digest), Some(approved.clone()));
    assert_eq!(store.approval_for("somebody", digest), None);

    let admitted =
        store.admit(passage(in_production(&policies, "dec_4", 3, Some(&at_hand))), 0.1).await.expect("admitted");
    let (_, receipt) = admitted.redeem();
    store
        .settle(receipt, Outcome { result: "forwarded".into(), error: None, ..Outcome::unknown("") })
        .await
        .expect("settles");
    let late = passage(in_production(&policies, "dec_5", 3, Some(&at_hand)));
    let denial = store.admit(late, 0.1).await.expect_err("it holds once");
    assert_eq!(denial.explanation().reason, "approval: already_spent");
    assert_eq!(denial.explanation().code, Some(Code::PolicyViolation));
    assert_eq!(store.approval(&first.id).await.expect("kept").state, State::Spent);

    let by = |name: &str| Some(name.to_owned());
    let expected = [("requested", None), ("requested", None), ("approved", by("alice")), ("spent", None)];
    assert_eq!(changes(&store).await, expected.map(|(change, by)| (change.to_owned(), by)));
    let pending = store.approvals(Some(State::Pending), 10).await.expect("lists");
    assert_eq!(pending.iter().map(|approval| &approval.id).collect::<Vec<_>>(), [&other.id]);
    assert_eq!(store.approvals(None, 10).await.expect("lists").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_spends_at_once_exactly_one_wins() {
    let (_dir, store) = opened().await;
    let policies = policies();
    let (_, asked) = store.ask(asking(in_production(&policies, "dec_0", 3, None)), 0.1).await.expect("asked");
    let (approved, _) = store.approve(&asked.id, "alice", None).await.expect("approves");
    let tasks: Vec<_> = (1..=10_000)
        .map(|n| {
            let passage = passage(in_production(&policies, &format!("dec_{n}"), 3, Some(&approved)));
            let store = store.clone();
            tokio::spawn(async move { store.admit(passage, 0.1).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.expect("no panic") {
            Ok(_) => won += 1,
            Err(denial) => assert_eq!(denial.explanation().reason, "approval: already_spent"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(changes(&store).await.iter().filter(|(change, _)| change == "spent").count(), 1);
}

#[tokio::test]
async fn a_no_holds_until_its_time_and_is_not_asked_around() {
    let (_dir, store) = opened().await;
    let policies = policies();
    let early = asking(in_production(&policies, "dec_2", 3, None));
    let (_, asked) = store.ask(asking(in_production(&policies, "dec_1", 3, None)), 0.1).await.expect("asked");
    let rejected = store.reject(&asked.id, "alice", Some("not today".into())).await.expect("rejects");
    let decision = in_production(&policies, "dec_3", 3, Some(&rejected));
    assert!(matches!(&decision, Decision::Deny(denial) if denial.explanation().code == Some(Code::ApprovalRejected)));
    // A call that was decided before the no came in opens no second request.
    let (_, found) = store.ask(early, 0.1).await.expect("answered");
    assert_eq!((found.id, found.state), (asked.id, State::Rejected));
}

#[tokio::test]
async fn what_runs_out_is_recorded_told_once_and_can_be_asked_again() {
    let (dir, store) = opened().await;
    let policies = policies();
    let ask = |id: &str, replicas| asking(in_production(&policies, id, replicas, None));
    let (_, pending) = store.ask(ask("dec_1", 3), 0.1).await.expect("asked");
    let (_, to_lapse) = store.ask(ask("dec_2", 4), 0.1).await.expect("asked");
    store.approve(&to_lapse.id, "alice", None).await.expect("approves");
    assert!(store.sweep(Timestamp::now()).await.expect("sweeps").is_empty(), "nothing is overdue yet");

    let later = pending.request.expires_at.max(to_lapse.request.expires_at);
    let over = store.sweep(later).await.expect("sweeps");
    assert_eq!(over.iter().map(|approval| approval.state).collect::<Vec<_>>(), [State::Expired, State::Lapsed]);
    let store = reopened(&dir, store).await;
    let expired = store.approval_for(AGENT, &pending.request.call_digest).expect("its agent hasn't been told");
    let refusal = match in_production(&policies, "dec_3", 3, Some(&expired)) {
        Decision::Deny(denial) => denial,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal.explanation().code, Some(Code::ApprovalExpired));
    store.deny(&refusal, 0.1).await.expect("records");
    let told = store.approval_for(AGENT, &pending.request.call_digest).expect("still in memory");
    assert!(told.told);
    let (_, anew) = store.ask(asking(in_production(&policies, "dec_4", 3, Some(&told))), 0.1).await.expect("asked");
    assert_ne!(anew.id, pending.id);
    assert_eq!(store.approval_for(AGENT, &pending.request.call_digest).map(|approval| approval.id), Some(anew.id));

    let much_later = later.saturating_add(SignedDuration::from_hours(25)).expect("in range");
    store.sweep(much_later).await.expect("sweeps");
    assert_eq!(store.approval_for(AGENT, &pending.request.call_digest), None, "memory doesn't grow for ever");
}

#[tokio::test]
async fn when_the_policy_asks_others_they_are_asked_anew() {
    let (_dir, store) = opened().await;
    let (weak, strict) = (policies(), policies_with("approval: {approvers: [\"operator:bob\"]}"));
    for decided in [false, true] {
        let replicas = if decided { 3 } else { 4 };
        let (_, first) = store.ask(asking(in_production(&weak, "dec_1", replicas, None)), 0.1).await.expect("asked");
        if decided {
            store.approve(&first.id, "alice", None).await.expect("approves");
        }
        let at_hand = store.approval_for(AGENT, &first.request.call_digest);
        let (_, second) =
            store.ask(asking(in_production(&strict, "dec_2", replicas, at_hand.as_ref())), 0.1).await.expect("asked");
        assert_ne!(second.id, first.id);
        assert_eq!(store.approval(&first.id).await.expect("kept").state, State::Cancelled);
        let own = store.approve(&second.id, "alice", None).await.expect_err("bob is asked");
        assert!(matches!(own, StoreError::Approval(Refused::NotAsked(_))), "{own}");
        store.approve(&second.id, "bob", None).await.expect("approves");
        let at_hand = store.approval_for(AGENT, &first.request.call_digest);
        let spending = passage(in_production(&strict, "dec_3", replicas, at_hand.as_ref()));
        drop(store.admit(spending, 0.1).await.expect("admitted"));
    }
}

#[tokio::test]
async fn removing_an_agent_withdraws_what_it_asked_for() {
    let (_dir, store) = opened().await;
    let policies = policies();
    let (_, asked) = store.ask(asking(in_production(&policies, "dec_1", 3, None)), 0.1).await.expect("asked");
    let (approved, _) = store.approve(&asked.id, "alice", None).await.expect("approves");
    let spending = passage(in_production(&policies, "dec_2", 3, Some(&approved)));
    store.remove_agent(AGENT, "operator").await.expect("removes");
    store.add_agent(AGENT, Vec::new(), "operator").await.expect("another of that name");
    let denial = store.admit(spending, 0.1).await.expect_err("not the other's to spend");
    assert_eq!(denial.explanation().code, Some(Code::ApprovalCancelled));
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    let (_dir, store) = opened().await;
    for error in [
        store.approve("apr_0", "alice", None).await.map(drop).expect_err("not there"),
        store.cancel("apr_0", "alice", None).await.map(drop).expect_err("not there"),
        store.approval("apr_0").await.map(drop).expect_err("not there"),
    ] {
        assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    }
}
