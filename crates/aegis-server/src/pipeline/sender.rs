//! Step 2: who asks.

use aegis_core::agent::Agent;
use aegis_core::decide::Denial;
use aegis_core::describe::Unreadable;

use super::Pipeline;
use super::case::{Case, Refused};
use super::incoming::{Headless, Way};
use crate::identify::{Credential, Rejected};

impl Pipeline {
    /// The agent that a credential proves. Of a request whose head can't be read nobody is known to be the sender.
    pub(super) fn sender(
        &self,
        case: &Case,
        way: &Result<Way, Unreadable>,
        head: &http::request::Parts,
        credential: &Credential,
    ) -> Result<Agent, Box<Denial>> {
        if let (Some(Headless), Err(unreadable)) = (head.extensions.get(), way) {
            self.0.events.malformed(&unreadable.reason);
            return Err(Box::new(case.unread(None, unreadable.clone().into())));
        }
        let identified = self.0.identify.verify(credential, case.now);
        identified.map_err(|Rejected(reason)| {
            let caller = self.0.identify.caller(credential, case.now);
            Box::new(case.unread(caller.as_ref(), Refused::identity(reason)))
        })
    }
}
