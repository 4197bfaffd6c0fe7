//! Budgets: never overshot, given back where nothing was done, kept over a restart.

use aegis_core::audit::Outcome;
use aegis_core::budget::{BudgetLimit, Cost, Unit, Window};
use aegis_core::decide::{Decision, Passage};
use aegis_core::policy::Mode;
use aegis_core::problem::Code;
use aegis_store::Store;
use jiff::Timestamp;

use crate::calls::{passage, spending};
use crate::{opened, reopened};

/// A budget of 50 replicas a month (so that no test runs over a window's end), of which a call takes `cost`.
fn replicas(key: &str, cost: u64, mode: Mode) -> BudgetLimit {
    BudgetLimit {
        key: key.to_owned(),
        policy: "deploy-manager".to_owned(),
        rule: "budget".to_owned(),
        limit: 50,
        unit: Unit { name: "replicas".to_owned(), decimals: 0 },
        window: Window::Monthly,
        mode,
        cost: Cost::Known(cost),
    }
}

fn spent(store: &Store, key: &str) -> u64 {
    store.spends(vec![replicas(key, 0, Mode::Enforce)], Timestamp::now()).first().map_or(0, |spend| spend.spent)
}

/// A call decided while nothing was spent yet: what many at once look like.
fn at_once(id: &str, key: &str, cost: u64, mode: Mode) -> Decision {
    let limit = replicas(key, cost, mode);
    spending(id, vec![aegis_core::budget::Spend { limit, spent: 0 }])
}

fn outcome(result: &str, status: Option<u16>) -> Outcome {
    Outcome { result: result.into(), status, error: None, ..Outcome::unknown("") }
}

#[tokio::test]
async fn a_hundred_calls_at_once_spend_exactly_what_there_is() {
    let (dir, store) = opened().await;
    let calls = (0..100).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            match store.admit(passage(at_once(&format!("dec_{n}"), "k", 3, Mode::Enforce)), 0.1).await {
                Ok(admitted) => {
                    let (_, receipt) = admitted.redeem();
                    store.settle(receipt, outcome("forwarded", Some(200))).await.expect("settles");
                    true
                }
                Err(denial) => {
                    assert_eq!(denial.explanation().code, Some(Code::BudgetExceeded));
                    false
                }
            }
        })
    });
    let mut admitted = 0;
    for call in calls.collect::<Vec<_>>() {
        admitted += u64::from(call.await.expect("ends"));
    }
    assert_eq!((admitted, spent(&store, "k")), (16, 48), "16 times 3 fit into 50");
    let store = reopened(&dir, store).await;
    assert_eq!(spent(&store, "k"), 48);
    assert!(store.admit(passage(at_once("dec_more", "k", 3, Mode::Enforce)), 0.1).await.is_err());
    drop(store.admit(passage(at_once("dec_last", "k", 2, Mode::Enforce)), 0.1).await.expect("the last two fit"));
}

#[tokio::test]
async fn what_reached_no_tool_or_was_refused_by_it_is_given_back_and_what_is_unknown_is_not() {
    let (dir, store) = opened().await;
    let cases = [
        (outcome("forwarded", Some(200)), 10),
        (outcome("not_sent", None), 0),
        (outcome("forwarded", Some(403)), 0),
        (outcome("forwarded", Some(408)), 10),
        (outcome("forwarded", Some(500)), 10),
        (outcome("failed", None), 10),
        (Outcome::unknown("lost"), 10),
    ];
    for (n, (outcome, left)) in cases.into_iter().enumerate() {
        let key = format!("k{n}");
        let admitted = store.admit(passage(at_once(&format!("dec_{n}"), &key, 10, Mode::Enforce)), 0.1).await;
        let (_, receipt) = admitted.expect("fits").redeem();
        assert_eq!(spent(&store, &key), 10, "reserved with the record");
        store.settle(receipt, outcome.clone()).await.expect("settles");
        assert_eq!(spent(&store, &key), left, "{outcome:?}");
    }
    // In flight when the process ends: nobody knows, so it stays spent.
    let admitted = store.admit(passage(at_once("dec_lost", "lost", 10, Mode::Enforce)), 0.1).await.expect("fits");
    let (_, receipt) = admitted.redeem();
    std::mem::forget(receipt);
    let store = reopened(&dir, store).await;
    assert_eq!(spent(&store, "lost"), 10);
    // Never taken out: it can't have reached anybody.
    drop(store.admit(passage(at_once("dec_dropped", "dropped", 10, Mode::Enforce)), 0.1).await.expect("fits"));
    store.add_agent("other", Vec::new(), "operator").await.expect("after the drop's own write");
    assert_eq!(spent(&store, "dropped"), 0);
}

#[tokio::test]
async fn a_budget_that_is_only_watched_counts_and_refuses_nothing() {
    let (_dir, store) = opened().await;
    for n in 0..3 {
        let limit = replicas("shadow", 30, Mode::Shadow);
        let spends = store.spends(vec![limit], Timestamp::now());
        let decision = spending(&format!("dec_{n}"), spends);
        let passage = match decision {
            Decision::Allow(permit) => Passage::Permit(permit),
            Decision::Observe(observed) => Passage::Observed(observed),
            other => panic!("refused: {other:?}"),
        };
        assert_eq!(matches!(passage, Passage::Observed(_)), n > 0, "would have been refused from the second on");
        let (_, receipt) = store.admit(passage, 0.1).await.expect("passes").redeem();
        store.settle(receipt, outcome("forwarded", Some(200))).await.expect("settles");
    }
    assert_eq!(spent(&store, "shadow"), 90);
}
