//! What is told of policy versions: which one is in force, how often that changed, whether something was refused.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Events;

/// The metrics of policy versions.
#[derive(Debug, Default)]
pub(super) struct PolicyMetrics {
    info: Family<InfoLabels, Gauge>,
    reloads: Family<ReloadLabels, Counter>,
    refused: Gauge,
}

/// One series at a time, so that it stays bounded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InfoLabels {
    version: String,
    origin: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    outcome: &'static str,
}

impl PolicyMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("aegis_policy_info", "The policy version in force", metrics.info.clone());
        registry.register("aegis_policy_reloads", "Policies that were to come into force", metrics.reloads.clone());
        let help = "Whether the policies that were last to come into force were refused (1) or not (0)";
        registry.register("aegis_policy_refused", help, metrics.refused.clone());
        metrics
    }
}

impl Events {
    /// This version is in force, from there; or none is.
    pub fn policies_in_force(&self, version: Option<(&str, &'static str)>) {
        let info = &self.inner.metrics.policies.info;
        info.clear();
        if let Some((version, origin)) = version {
            info.get_or_create(&InfoLabels { version: version.to_owned(), origin }).set(1);
        }
    }

    /// Policies were to come into force: `activated`, `unchanged` or `refused`.
    pub fn policies_reloaded(&self, outcome: &'static str) {
        self.inner.metrics.policies.reloads.get_or_create(&ReloadLabels { outcome }).inc();
    }

    /// Whether what was last to come into force was refused.
    pub fn policies_refused(&self, refused: bool) {
        self.inner.metrics.policies.refused.set(i64::from(refused));
    }
}
