//! That a call brings a credential for the tool where none may come from the agent: what `intercept` found, and the guard against it.

use aegis_core::problem::Violation;

/// An extension of a request's head: the place of the credential that it brings.
#[derive(Debug, Clone)]
pub(crate) struct Foreign(pub(crate) String);

impl Foreign {
    /// The guard against it. It holds in shadow mode too.
    pub(super) fn guard(&self) -> Violation {
        let message = format!(
            "the call brings a credential of its own ({}): here only Aegis proves itself to the tool; send it without",
            self.0
        );
        Violation::of_gateway("foreign_credential", "not_allowed", message)
    }
}
