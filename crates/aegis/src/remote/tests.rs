use std::time::Duration;

use aegis_core::policy::Source;
use aegis_server::bundle::{SigningKey, SourceSettings, VerifyingKey, sign};
use aegis_server::events;
use aegis_server::versions::{Content, Settings};
use aegis_store::{Durability, Store};

use super::*;

/// A source that nobody asks, and what puts its bundles in force.
async fn world(folder: &Path) -> (Remote, Versions, Store, Events, Bytes) {
    let key = SigningKey::open(folder).expect("a key");
    let settings = SourceSettings {
        url: "http://127.0.0.1:1/b".parse().expect("a URL"),
        keys: vec![VerifyingKey::from_pem(key.public_pem().as_bytes()).expect("a key")],
        token: None,
        roots: Default::default(),
        poll: Duration::from_secs(30),
        long_poll: true,
        allow_rollback: false,
    };
    let store = Store::open(&folder.join("data"), Durability::Buffered).expect("a store");
    let events = Events::new(&events::Settings::default()).expect("events");
    let versions = Versions::open(Settings {
        store: store.clone(),
        events: events.clone(),
        compile: Arc::new(|content: &Content| content.compile(Options::default())),
        folder: None,
    });
    let source = Source { file: "p.yaml".to_owned(), text: "agent: a\nactions: [{name: deploy}]\n".to_owned() };
    let policies = PolicySet::load(&[source], Options::default()).expect("loads");
    let bundle = sign(policies.archive(None), &key, Timestamp::now()).expect("signed").write();
    let status = SourceStatus { url: String::new(), answered_at: None, stale_since: None, problem: None };
    let remote = Remote {
        source: BundleSource::new(settings).expect("a source"),
        path: folder.join(KEPT),
        kept: None,
        status: watch::Sender::new(status),
        poke: Arc::default(),
    };
    (remote, versions.await.expect("opens"), store, events, Bytes::from(bundle))
}

#[tokio::test]
async fn a_good_bundle_that_cannot_be_stored_now_is_asked_for_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut remote, versions, store, events, bundle) = world(folder.path()).await;
    let taken = remote.source.kept(bundle).expect("it is signed");
    store.close().await;
    remote.take(taken, &versions, &events).await;
    assert!(!versions.in_force() && !remote.path.exists());
    assert_eq!(remote.source.rejected(), None, "the bundle is good, and not given up");
    assert!(remote.status.borrow().problem.is_some(), "that it is not in force is told");
    assert!(remote.source.pause() > Duration::ZERO, "not at once");
}

#[tokio::test]
async fn a_bundle_that_does_not_load_is_not_asked_for_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut remote, versions, store, events, bundle) = world(folder.path()).await;
    let taken = remote.source.kept(bundle.clone()).expect("it is signed");
    let bad = Settings {
        store,
        events: events.clone(),
        compile: Arc::new(|_: &Content| Err(vec![Diagnostic::error("p", START, "", "bad".to_owned())])),
        folder: None,
    };
    drop(versions);
    let versions = Versions::open(bad).await.expect("opens");
    remote.take(taken, &versions, &events).await;
    assert!(remote.source.rejected().is_some() && remote.status.borrow().problem.is_some());
}
