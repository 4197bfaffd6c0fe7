//! Refusals of requests that nobody is known to stand behind: no identity was proved, or the head can't be read.
//!
//! Each is refused and counted, and each is on record; but whoever needs no credential could fill a disk with records. So up
//! to a rate they are recorded one by one, for each client and reason; then one record stands for all that follow in the
//! window, their answers bear its id, and a last one says how many they were.
//!
//! Invariants: nothing here lets a request through; memory is bounded by [`MOST`]; a record that stands for others is written
//! before the first of them is answered. Deliberately absent: anything about requests whose sender is known.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aegis_core::decide::{Denial, Explanation, Facts};
use aegis_core::problem::Code;
use aegis_store::{Noted, Store};
use jiff::Timestamp;

use crate::events::Events;
use crate::pipeline::{decision_id, random};

/// How long refusals are counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// How many of one client, for one reason, are recorded one by one in a window.
const ONE_BY_ONE: u64 = 20;
/// How many clients and reasons are told apart at once. All others are counted together.
const MOST: usize = 512;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Unproven {
    store: Store,
    events: Events,
    windows: Arc<Mutex<HashMap<Key, Window>>>,
    window: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    /// `None`: of anybody.
    client: Option<IpAddr>,
    reason: String,
}

#[derive(Debug, Default)]
struct Window {
    seen: u64,
    /// The record that stands for those beyond [`ONE_BY_ONE`].
    stands: Option<String>,
    counted: u64,
}

/// How one refusal is recorded.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Alone,
    /// It stands for those that follow.
    Stands,
    /// That one stands for it.
    Counted(String),
}

impl Unproven {
    /// Nothing refused yet.
    pub fn new(store: Store, events: Events) -> Self {
        Self { store, events, windows: Arc::default(), window: WINDOW }
    }

    /// Puts a refusal on record, or counts it; answers its explanation, and whether it has a record of its own.
    pub(crate) async fn record(
        &self,
        client: Option<IpAddr>,
        denial: Denial,
        noted: impl Into<Noted>,
    ) -> (Explanation, bool) {
        let found = denial.explanation();
        let (id, version) = (found.decision_id.clone(), found.policy_version.clone());
        let code = found.code.unwrap_or(Code::IdentityRejected);
        let (key, place) = self.place(client, &found.reason, &id);
        let denial = match place {
            Place::Counted(stands) => {
                let mut explanation = denial.into_explanation();
                explanation.decision_id = stands;
                return (explanation, false);
            }
            Place::Alone => denial,
            Place::Stands => {
                self.close_later(key.clone(), id, code, version);
                let seconds = self.window.as_secs();
                denial.noting(&format!("; for {seconds} s more like it are counted, not recorded one by one"))
            }
        };
        if let Err(error) = self.store.deny(&denial, noted).await {
            self.events.alarm("a denial could not be recorded", &error.to_string());
        }
        (denial.into_explanation(), true)
    }

    fn place(&self, client: Option<IpAddr>, reason: &str, id: &str) -> (Key, Place) {
        let mut windows = self.windows();
        let mut key = Key { client: client.map(one_client), reason: reason.to_owned() };
        if !windows.contains_key(&key) && windows.len() >= MOST {
            // One for everybody has always room.
            key = Key { client: None, reason: "of many clients".to_owned() };
        }
        let window = windows.entry(key.clone()).or_default();
        window.seen += 1;
        let place = match &window.stands {
            Some(stands) => {
                window.counted += 1;
                Place::Counted(stands.clone())
            }
            // Its record also closes the window, so that a key is never kept for longer than that.
            None if window.seen > ONE_BY_ONE => {
                window.stands = Some(id.to_owned());
                Place::Stands
            }
            None => Place::Alone,
        };
        if window.seen == 1 {
            self.forget_later(key.clone());
        }
        (key, place)
    }

    /// Forgets a key after its window, unless a record stands for its refusals: that one's end forgets it.
    fn forget_later(&self, key: Key) {
        let (this, window) = (self.clone(), self.window);
        spawn(async move {
            tokio::time::sleep(window).await;
            let mut windows = this.windows();
            if windows.get(&key).is_some_and(|window| window.stands.is_none()) {
                windows.remove(&key);
            }
        });
    }

    /// Says, after the window, how many were counted.
    fn close_later(&self, key: Key, stands: String, code: Code, version: String) {
        let this = self.clone();
        spawn(async move {
            tokio::time::sleep(this.window).await;
            let Some(Window { counted, .. }) = this.windows().remove(&key) else { return };
            let now = Timestamp::now();
            let facts = Facts::new(now, decision_id(now, random()), &version);
            let from = key.client.map_or_else(|| "many clients".to_owned(), |client| client.to_string());
            let seconds = this.window.as_secs();
            let reason = format!("{}; {counted} more like {stands} in {seconds} s, from {from}", key.reason);
            let denial = Denial::unread(&facts, None, code, &reason, String::new());
            if let Err(error) = this.store.deny(&denial, 0.0).await {
                this.events.alarm("a denial could not be recorded", &error.to_string());
            }
        });
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<Key, Window>> {
        // Nothing panics while it is held.
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without a runtime there is no time that could pass.
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(task);
    }
}

/// The address that a client is counted under: whoever has an IPv6 address has at least its /64.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use aegis_core::audit::Event;
    use aegis_store::Durability;
    use tempfile::TempDir;

    use super::*;
    use crate::events::Settings;

    fn denial(id: &str, reason: &str) -> Denial {
        let facts = Facts::new(Timestamp::now(), id, "pol_1");
        Denial::unread(&facts, None, Code::IdentityRejected, reason, "not valid here".to_owned())
    }

    async fn records(store: &Store) -> Vec<Explanation> {
        let decision = |event| match event {
            Event::Decision { explanation, .. } => Some(explanation),
            _ => None,
        };
        store.tail(0, 10_000).await.expect("records").into_iter().filter_map(|record| decision(record.event)).collect()
    }

    fn world(window: Duration) -> (Unproven, Store, TempDir) {
        let dir = TempDir::new().expect("a folder");
        let store = Store::open(dir.path(), Durability::Buffered).expect("a store");
        let events = Events::new(&Settings::default()).expect("events");
        (Unproven { window, ..Unproven::new(store.clone(), events) }, store, dir)
    }

    #[tokio::test]
    async fn beyond_a_rate_one_record_stands_for_all_and_the_last_says_how_many() {
        let (unproven, store, _dir) = world(Duration::from_secs(2));
        let client = Some("192.0.2.1".parse().expect("an address"));
        let mut ids = Vec::new();
        for number in 0..500 {
            let (explanation, recorded) =
                unproven.record(client, denial(&format!("dec_{number}"), "identity: missing"), 0.0).await;
            assert_eq!(recorded, number <= ONE_BY_ONE);
            ids.push(explanation.decision_id);
        }
        assert_eq!(ids[20], "dec_20");
        assert!(ids[20..].iter().all(|id| id == "dec_20"));
        let other = unproven.record(client, denial("dec_other", "identity: expired"), 0.0).await;
        assert!(other.1 && other.0.decision_id == "dec_other");
        let written = records(&store).await;
        assert_eq!(written.len(), 22);
        assert!(written[20].reason.contains("more like it are counted"), "{}", written[20].reason);
        let closed = async {
            while records(&store).await.len() < 23 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), closed).await.expect("closed");
        let last = records(&store).await.pop().expect("a record");
        assert_eq!(last.reason, "identity: missing; 479 more like dec_20 in 2 s, from 192.0.2.1");
        let later = async {
            while !unproven.windows().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), later).await.expect("forgotten");
        assert!(unproven.record(client, denial("dec_new", "identity: missing"), 0.0).await.1);
    }

    #[tokio::test]
    async fn many_clients_are_counted_together_in_the_end() {
        let (unproven, store, _dir) = world(WINDOW);
        for number in 0..4000_u32 {
            let client = Some(IpAddr::V4((0x0a00_0000 + number).into()));
            unproven.record(client, denial(&format!("dec_{number}"), "identity: missing"), 0.0).await;
        }
        assert!(unproven.windows().len() <= MOST + 1);
        let written = records(&store).await.len();
        assert!((MOST..=MOST + 1 + ONE_BY_ONE as usize).contains(&written), "{written}");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let one = |text: &str| one_client(text.parse().expect("an address"));
        assert_eq!(one("2001:db8::1"), one("2001:db8::ffff:0:0:1"));
        assert_ne!(one("2001:db8::1"), one("2001:db8:0:1::1"));
        assert_eq!(one("::ffff:192.0.2.1"), one("192.0.2.1"));
    }
}
