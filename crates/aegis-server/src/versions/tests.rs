//! Versions over a real store and a folder in memory.

use std::sync::Mutex as Shared;

use aegis_core::policy::Mode;
use aegis_store::Durability;

use super::*;

/// A data directory and a folder, over which gateways start one after the other.
struct World {
    dir: tempfile::TempDir,
    folder: Arc<Shared<Result<Vec<Source>, Vec<Diagnostic>>>>,
    mode: Mode,
}

struct Running {
    versions: Versions,
    store: Store,
}

fn source(file: &str, text: &str) -> Source {
    Source { file: file.to_owned(), text: text.to_owned() }
}

/// A policy that differs from others in its maximum.
fn max(replicas: u32) -> Vec<Source> {
    vec![source("p.yaml", &format!("agent: a\nactions: [{{name: deploy, max_replicas: {replicas}}}]\n"))]
}

fn bad() -> Vec<Source> {
    vec![source("p.yaml", "agnet: a\n")]
}

fn publishing(sources: Vec<Source>, activate: bool) -> Publish {
    Publish { sources, author: "alice".to_owned(), note: "why".to_owned(), risk: None, activate }
}

impl World {
    fn new(sources: Vec<Source>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        Self { dir, folder: Arc::new(Shared::new(Ok(sources))), mode: Mode::Enforce }
    }

    fn edit(&self, sources: Vec<Source>) {
        *self.folder.lock().expect("whole") = Ok(sources);
    }

    async fn open(&self) -> Running {
        let store = Store::open(self.dir.path(), Durability::Buffered).expect("a store");
        let events = Events::new(&crate::events::Settings::default()).expect("events");
        let (folder, mode) = (Arc::clone(&self.folder), self.mode);
        let settings = Settings {
            store: store.clone(),
            events,
            compile: Arc::new(move |content| content.compile(Options { mode, ..Options::default() })),
            folder: Some(Arc::new(move || folder.lock().expect("whole").clone())),
        };
        Running { versions: Versions::open(settings).await.expect("opens"), store }
    }

    async fn start(&self) -> Running {
        let running = self.open().await;
        running.versions.start(None).await.expect("starts");
        running
    }

    async fn restart(&self, running: Running) -> Running {
        running.store.close().await;
        self.start().await
    }
}

impl Running {
    fn version(&self) -> String {
        self.versions.status().active.expect("in force").version().to_owned()
    }

    fn activation(&self) -> Activation {
        self.versions.status().state.active.expect("an activation")
    }

    async fn publish(&self, replicas: u32) -> String {
        let publish = publishing(max(replicas), true);
        let changed = self.versions.publish(publish, "operator").await.expect("published");
        changed.policies.version().to_owned()
    }

    fn metrics(&self) -> String {
        self.versions.events().metrics().expect("text")
    }
}

#[tokio::test]
async fn what_was_published_survives_a_restart_until_the_folder_is_edited() {
    let world = World::new(max(1));
    let running = world.start().await;
    let folder = running.version();
    assert_eq!(running.activation().origin, Origin::Folder);
    let published = running.publish(2).await;
    assert_ne!(published, folder);
    let running = world.restart(running).await;
    assert_eq!(running.version(), published);
    let Activation { origin, by, note, .. } = running.activation();
    assert_eq!((origin, by.as_str(), note.as_str()), (Origin::Published, "operator", "why"));
    assert!(running.versions.take_folder_if_edited().await.expect("reads").is_none(), "unchanged is no activation");

    world.edit(max(3));
    let running = world.restart(running).await;
    assert_eq!(running.activation().origin, Origin::Folder);
    assert_ne!(running.version(), published);
    assert_eq!(running.versions.status().state.previous, Some(published));
}

#[tokio::test]
async fn a_bad_folder_leaves_the_last_good_version_over_a_restart() {
    let world = World::new(max(1));
    let running = world.start().await;
    let good = running.version();
    world.edit(bad());
    let refused = running.versions.take_folder_if_edited().await.map(drop).expect_err("refused");
    assert!(matches!(refused, ChangeError::Invalid(errors) if !errors.is_empty()));
    assert!(running.versions.is_refused() && running.metrics().contains("aegis_policy_refused 1"));
    assert!(running.metrics().contains(&format!("aegis_policy_info{{version=\"{good}\",origin=\"folder\"}} 1")));
    assert!(running.metrics().contains("aegis_policy_reloads_total{outcome=\"refused\"} 1"));

    let running = world.restart(running).await;
    assert_eq!(running.version(), good);
    assert!(running.versions.is_refused() && running.versions.in_force());
    let records = running.store.tail(0, 100).await.expect("reads");
    let told = serde_json::to_string(&records).expect("JSON");
    assert!(told.contains("\"refused\"") && told.contains("p.yaml:1:1"), "{told}");

    world.edit(max(1));
    assert!(running.versions.take_folder_if_edited().await.expect("fine").is_none(), "as it was last taken");
    assert!(!running.versions.is_refused() && running.version() == good);
}

#[tokio::test]
async fn publishing_over_a_bad_folder_settles_it() {
    let world = World::new(max(1));
    let running = world.start().await;
    world.edit(bad());
    running.versions.take_folder_if_edited().await.map(drop).expect_err("refused");
    let published = running.publish(2).await;
    assert!(!running.versions.is_refused());
    let running = world.restart(running).await;
    assert_eq!(running.version(), published);
    assert!(!running.versions.is_refused(), "the folder is as it was when something else was chosen");
}

#[tokio::test]
async fn an_edit_that_was_not_seen_yet_is_not_lost_to_a_publication() {
    let world = World::new(max(1));
    let running = world.start().await;
    world.edit(max(2));
    let published = running.publish(3).await;
    running.versions.take_folder_if_edited().await.expect("fine").expect("the edit is seen after it");
    assert_ne!(running.version(), published);

    running.store.close().await;
    world.edit(max(4));
    let stopped = world.open().await;
    let published = stopped.publish(5).await;
    assert_eq!(
        world.restart(stopped).await.version(),
        published,
        "nobody was there to see an edit: the publication is later"
    );
}

#[tokio::test]
async fn a_first_start_without_anything_good_denies_until_the_folder_is_corrected() {
    let world = World::new(bad());
    let running = world.open().await;
    running.versions.start(None).await.expect("starts all the same");
    let governing = running.versions.would_govern();
    assert!(governing.withheld && governing.active.is_empty());
    assert!(!running.versions.in_force() && running.versions.is_refused());
    assert!(!running.metrics().contains("aegis_policy_info{"), "{}", running.metrics());
    assert!(matches!(running.versions.rollback(None, String::new(), "o").await, Err(ChangeError::Conflict(_))));
    assert!(matches!(running.versions.set_mode("a", Some(Mode::Shadow), "o").await, Err(ChangeError::Conflict(_))));
    world.edit(max(1));
    running.versions.take_folder_if_edited().await.expect("fine").expect("taken");
    assert!(running.versions.in_force() && !running.versions.is_refused());

    let missing = Diagnostic::error("policies", aegis_core::document::Place { line: 1, column: 1 }, "", "gone");
    *world.folder.lock().expect("whole") = Err(vec![missing]);
    let running = world.restart(running).await;
    assert!(running.versions.in_force() && running.versions.is_refused(), "a folder that is gone is refused too");
}

#[tokio::test]
async fn a_bad_publication_leaves_everything_as_it_is() {
    let world = World::new(max(1));
    let running = world.start().await;
    let before = (running.versions.status().state, running.store.head());
    let refused = running.versions.publish(publishing(bad(), true), "operator").await;
    assert!(matches!(refused, Err(ChangeError::Invalid(_))));
    assert_eq!((running.versions.status().state, running.store.head()), before);
    assert!(!running.versions.is_refused(), "the folder is as good as it was");
    assert_eq!(running.store.policy_versions().await.expect("reads").len(), 1);
}

#[tokio::test]
async fn going_back_goes_to_the_version_before_and_back_again() {
    let world = World::new(max(1));
    let running = world.start().await;
    let (one, two) = (running.version(), running.publish(2).await);
    let back = async |to: Option<&str>| {
        running.versions.rollback(to.map(str::to_owned), "too strict".to_owned(), "operator").await
    };
    back(None).await.expect("back");
    assert_eq!((running.version(), running.activation().origin), (one.clone(), Origin::Rollback));
    back(None).await.expect("and back again");
    assert_eq!(running.version(), two);
    back(Some(&one)).await.expect("by name");
    assert_eq!(running.version(), one);
    assert!(matches!(back(Some(&one)).await, Err(ChangeError::Conflict(_))));
    assert!(matches!(back(Some("pol_none")).await, Err(ChangeError::NotFound(..))));
    assert_eq!(world.restart(running).await.version(), one);
}

#[tokio::test]
async fn a_mode_is_switched_and_carried_to_the_next_version() {
    let sources = |max: u32| {
        vec![source("p.yaml", &format!("name: limits\nagent: a\nactions: [{{name: deploy, max_replicas: {max}}}]\n"))]
    };
    let world = World::new(sources(1));
    let running = world.start().await;
    let first = running.version();
    let switch = async |mode| running.versions.set_mode("limits", mode, "operator").await;
    let shadow = switch(Some(Mode::Shadow)).await.expect("switched").policies.version().to_owned();
    assert_ne!(shadow, first);
    world.edit(sources(2));
    running.versions.take_folder_if_edited().await.expect("taken").expect("edited");
    let modes = running.versions.content(&running.version()).await.expect("kept").modes();
    assert_eq!(modes, BTreeMap::from([("limits".to_owned(), Mode::Shadow)]));
    switch(None).await.expect("cleared");
    world.edit(sources(1));
    running.versions.take_folder_if_edited().await.expect("taken").expect("edited");
    assert_eq!(running.version(), first, "without the switch it is the first version again");
    assert!(matches!(
        running.versions.set_mode("other", Some(Mode::Shadow), "operator").await,
        Err(ChangeError::NotFound(..))
    ));
}

/// A switch must never hit another policy than the one that was meant.
#[tokio::test]
async fn a_switch_is_given_up_where_it_is_not_clear_whose_it_is() {
    let policy =
        |file: &str, max: u32| source(file, &format!("agent: a\nactions: [{{name: deploy, max_replicas: {max}}}]\n"));
    let world = World::new(vec![policy("b.yaml", 1)]);
    let running = world.start().await;
    running.versions.set_mode("a", Some(Mode::Shadow), "operator").await.expect("one policy, no doubt");
    // Now the id `a` belongs to the new file's policy, and the old one is `a#2`.
    world.edit(vec![policy("a.yaml", 2), policy("b.yaml", 1)]);
    running.versions.take_folder_if_edited().await.expect("taken").expect("edited");
    assert!(running.versions.content(&running.version()).await.expect("kept").modes().is_empty());
    for id in ["a", "a#2"] {
        let switched = running.versions.set_mode(id, Some(Mode::Shadow), "operator").await;
        assert!(matches!(switched, Err(ChangeError::Conflict(_))), "{id}");
    }
}

#[tokio::test]
async fn a_canary_survives_a_restart_and_is_promoted_or_stopped() {
    let world = World::new(max(1));
    let running = world.start().await;
    let first = running.version();
    let stored = running.versions.publish(publishing(max(2), false), "operator").await.expect("stored");
    let second = stored.policies.version().to_owned();
    assert_eq!(running.version(), first, "only stored");
    let start = async |share| running.versions.start_canary(&second, Which::ShareOfAgents(share), "operator").await;
    for bad in [0.0, -0.1, 1.1, f64::NAN] {
        assert!(matches!(start(bad).await, Err(ChangeError::Conflict(_))), "{bad}");
    }
    start(0.5).await.expect("started");
    let before = running.versions.would_govern().canary.expect("a canary");
    let running = world.restart(running).await;
    let after = running.versions.would_govern().canary.expect("a canary");
    assert_eq!((after.policies.version(), after.of), (second.as_str(), before.of), "the same agents");

    assert_eq!(running.versions.stop_canary("operator").await.expect("stopped"), second);
    assert!(running.versions.would_govern().canary.is_none());
    assert!(matches!(running.versions.promote_canary("operator").await, Err(ChangeError::Conflict(_))));
    let named = Which::Named { agents: vec!["a".to_owned()], groups: Vec::new() };
    running.versions.start_canary(&second, named, "operator").await.expect("started");
    running.versions.promote_canary("operator").await.expect("promoted");
    assert_eq!((running.version(), running.activation().origin), (second, Origin::Canary));
    assert!(running.versions.status().state.canary.is_none());
}

#[tokio::test]
async fn a_candidate_is_watched_until_it_is_in_force() {
    let world = World::new(max(1));
    let running = world.start().await;
    let stored = running.versions.publish(publishing(max(2), false), "operator").await.expect("stored");
    let second = stored.policies.version().to_owned();
    running.versions.watch_version(&second, "operator").await.expect("watched");
    let running = world.restart(running).await;
    assert_eq!(running.versions.would_govern().candidate.expect("watched").version(), second);
    running.versions.unwatch("operator").await.expect("not any more");
    assert!(running.versions.would_govern().candidate.is_none());
    running.versions.watch(publishing(max(3), false), "operator").await.expect("another");
    let third = running.versions.status().state.candidate.expect("watched");
    assert!(matches!(
        running.versions.promote_candidate(&second, false, String::new(), "o").await,
        Err(ChangeError::Conflict(_))
    ));
    running.versions.promote_candidate(&third, false, "gate passed".to_owned(), "operator").await.expect("promoted");
    assert_eq!((running.version(), running.activation().origin), (third, Origin::Candidate));
    assert!(running.versions.would_govern().candidate.is_none());
}

#[tokio::test]
async fn another_mode_of_the_gateway_compiles_what_is_in_force_anew() {
    let mut world = World::new(max(1));
    let running = world.start().await;
    let published = running.publish(2).await;
    world.mode = Mode::Shadow;
    let running = world.restart(running).await;
    let active = running.versions.status().active.expect("in force");
    assert_eq!(active.mode(), Mode::Shadow);
    assert_ne!(active.version(), published, "another mode is another version");
    assert_eq!(running.activation().origin, Origin::Published);
    running.versions.content(active.version()).await.expect("it is kept");
}

#[tokio::test]
async fn the_bundle_says_who_published_and_is_the_same_bytes_after_a_restart() {
    let world = World::new(max(1));
    let running = world.start().await;
    running.publish(2).await;
    let bundle = |running: &Running| {
        let active = running.versions.status().active.expect("in force");
        let publication = active.publication().expect("it is known");
        assert_eq!((publication.author.as_str(), publication.note.as_str()), ("alice", "why"));
        active.bundle(Some(publication))
    };
    let before = bundle(&running);
    let running = world.restart(running).await;
    assert!(bundle(&running) == before);
}

#[tokio::test]
async fn a_bundle_from_a_url_is_put_in_force_and_a_bad_one_is_not() {
    let world = World::new(max(1));
    let running = world.start().await;
    let modes = BTreeMap::from([("a".to_owned(), Mode::Shadow)]);
    let theirs = PolicySet::load(&max(2), Options { modes: modes.clone(), ..Options::default() }).expect("loads");
    running.versions.take_bundle(theirs.bundle(None)).await.expect("taken");
    assert_eq!((running.version().as_str(), running.activation().origin), (theirs.version(), Origin::BundleUrl));
    assert_eq!(running.versions.content(theirs.version()).await.expect("kept").modes(), modes);

    let refused = running.versions.take_bundle(b"not a bundle".to_vec()).await;
    assert!(matches!(refused, Err(ChangeError::Invalid(_))));
    assert_eq!(running.versions.status().refused.expect("refused").origin, Origin::BundleUrl);
    let running = world.restart(running).await;
    assert_eq!(
        running.activation().origin,
        Origin::Folder,
        "what the configuration names, not what came from elsewhere"
    );

    // One line more than the compiler writes: nothing but its Rego says what it means.
    let archive = aegis_core::policy::Archive::read(&theirs.bundle(None)).expect("reads");
    let mut gate = archive.file("aegis/gate.rego").expect("there").to_vec();
    gate.extend_from_slice(b"\n# edited\n");
    let edited = archive.with("aegis/gate.rego", gate).write();
    running.versions.take_bundle(edited).await.expect("taken");
    let version = running.version();
    assert!(running.versions.status().active.expect("in force").is_rego_only());
    assert!(matches!(running.versions.content(&version).await, Ok(Content::Bundle(_))));
    let switched = running.versions.set_mode("a", Some(Mode::Enforce), "operator").await;
    assert!(matches!(switched, Err(ChangeError::Conflict(_))));
    let running = world.restart(running).await;
    assert_ne!(running.version(), version);
    assert_eq!(running.activation().origin, Origin::Folder);
}

#[tokio::test]
async fn a_name_that_is_kept_for_other_policies_is_refused() {
    let world = World::new(max(1));
    let running = world.start().await;
    let reviewed = running.publish(2).await;
    let (kept, archive) = running.store.policy_version(&reviewed).await.expect("kept");
    // As if somebody had made two that share a name, which is short.
    let version = PolicySet::load(&max(3), Options::default()).expect("loads").version().to_owned();
    let planted = aegis_store::NewVersion { version, created_at: kept.created_at, about: kept.about, archive };
    let state = running.versions.status().state;
    running.store.change_policies(vec![planted], state, Vec::new()).await.expect("kept");
    let refused = running.versions.publish(publishing(max(3), true), "operator").await.map(drop);
    assert!(matches!(refused, Err(ChangeError::Conflict(_))), "{refused:?}");
    assert_eq!(running.version(), reviewed);
    // Written differently, it is the same.
    let same = vec![source("q.yaml", &format!("# once more\n{}", max(2)[0].text))];
    running.versions.publish(publishing(same, true), "operator").await.expect("the same");
    assert_eq!(running.version(), reviewed);
}
