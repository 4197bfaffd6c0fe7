//! What the pipeline is made of, and what of it can be exchanged while it runs.

use std::sync::Arc;

use aegis_core::agent::Agent;
use aegis_core::describe::Catalogue;
use aegis_core::policy::PolicySet;
use aegis_store::Store;
use arc_swap::ArcSwap;

use super::rates::Rates;
use super::retire::retire;
use super::room::Room;
use super::{Governing, Pipeline};
use crate::enforce::Enforcer;
use crate::events::Events;
use crate::identify::Identify;
use crate::unproven::Unproven;

/// What the pipeline is made of.
pub struct Parts {
    /// Checks credentials.
    pub identify: Arc<Identify>,
    /// Describes requests.
    pub catalogue: Catalogue,
    /// The policies in force.
    pub governing: Governing,
    /// Records.
    pub store: Store,
    /// Forwards.
    pub enforcer: Enforcer,
    /// Tells.
    pub events: Events,
    /// The largest body that is read, in bytes.
    pub body_limit: usize,
    /// The share of calls, 0 to 1, that both engines decide.
    pub engine_check: f64,
}

pub(super) struct Inner {
    pub(super) identify: Arc<Identify>,
    pub(super) catalogue: ArcSwap<Catalogue>,
    pub(super) governing: ArcSwap<Governing>,
    pub(super) store: Store,
    pub(super) enforcer: Enforcer,
    pub(super) events: Events,
    pub(super) rates: Rates,
    /// Of the candidate: it must not use up what agents have under the policies in force.
    pub(super) candidate_rates: Rates,
    pub(super) room: Room,
    pub(super) unproven: Unproven,
    pub(super) body_limit: usize,
    pub(super) engine_check: f64,
}

impl Pipeline {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts { identify, catalogue, governing, store, enforcer, events, body_limit, engine_check } = parts;
        let (catalogue, governing) = (ArcSwap::from_pointee(catalogue), ArcSwap::from_pointee(governing));
        let (rates, candidate_rates, room) = (Rates::default(), Rates::default(), Room::new(body_limit));
        let unproven = Unproven::new(store.clone(), events.clone());
        Self(Arc::new(Inner {
            identify,
            catalogue,
            governing,
            store,
            enforcer,
            events,
            rates,
            candidate_rates,
            room,
            unproven,
            body_limit,
            engine_check,
        }))
    }

    /// Puts other policies in force, from the next call on.
    pub fn govern(&self, governing: Governing) {
        let before = self.0.governing.swap(Arc::new(governing));
        retire(before.sets());
    }

    /// What governs calls now.
    pub fn governing(&self) -> Arc<Governing> {
        self.0.governing.load_full()
    }

    /// Whether it can decide and record: policies are in force, and the store takes records.
    pub async fn ready(&self) -> bool {
        !self.governing().withheld && self.0.store.health().await.is_ok()
    }

    /// Whether these policies still judge this agent: none others are in force for it, and none are withheld.
    pub(crate) fn still_judges(&self, agent: &Agent, version: &str) -> bool {
        let governing = self.governing();
        governing.guard().is_none() && governing.judge_of(agent).version() == version
    }

    /// Whether a proxy's operator may say that this tool is behind it.
    pub fn has_tool(&self, name: &str) -> bool {
        self.0.catalogue.load().has_tool(name)
    }

    /// The policies in force.
    pub fn policies(&self) -> Arc<PolicySet> {
        Arc::clone(&self.governing().active)
    }
}
