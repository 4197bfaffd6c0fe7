//! Before a call that may pass is admitted: that there is an address to send it to, and a credential to send it with. What is
//! missing here costs no approval and no budget.

use aegis_core::decide::{Denial, Passage};
use aegis_core::problem::{Code, Violation};

use super::{Fits, Pipeline};
use crate::enforce::{Live, Toward};

/// Where a call would go, and the live connection that would feed it.
pub(super) struct Wire {
    /// `None` while the name that the agent gave hasn't been resolved.
    pub(super) toward: Option<Toward>,
    pub(super) live: Live,
    /// What a caller that enforces can do.
    pub(super) fits: Option<Fits>,
}

impl Pipeline {
    /// Where the call goes.
    ///
    /// # Errors
    /// The passage, turned down.
    pub(super) async fn launch(
        &self,
        toward: Option<Toward>,
        passage: Passage,
    ) -> Result<(Toward, Passage), Box<Denial>> {
        let toward = match self.toward(toward, passage.call()).await {
            Ok(toward) => toward,
            Err(Violation { rule, reason, message, .. }) => {
                return Err(Box::new(passage.refuse(Code::PolicyViolation, &format!("{rule}: {reason}"), message)));
            }
        };
        if let Err(why) = self.0.enforcer.can_prove(&toward, passage.call().destination.as_ref()).await {
            tracing::error!(%why, "Aegis has no credential to prove itself with");
            let detail = "Aegis has no credential for the tool now: tell the operator";
            return Err(Box::new(passage.refuse(Code::GatewayUnavailable, "credential: unavailable", detail)));
        }
        Ok((toward, passage))
    }
}
