//! The candidate beside the policies in force: asked about the same live calls, never obeyed.

use std::time::Instant;

use aegis_core::decide::{Facts, opinion};
use aegis_core::policy::Asked;
use aegis_core::problem::Violation;
use aegis_core::shadow::Opinion;

use super::Pipeline;
use super::case::Case;

impl Pipeline {
    /// What the candidate makes of a call, where there is one. Its time isn't the decision's, so not in its latency; its rates
    /// are counted apart, so that it takes nothing from the agent.
    pub(super) fn opinion(&self, case: &mut Case, asked: Asked<'_>, guards: &[Violation]) -> Option<Opinion> {
        let candidate = case.candidate.clone()?;
        let since = Instant::now();
        let facts = Facts {
            over_rate: self.0.candidate_rates.over(candidate.rates(asked)),
            spends: self.0.store.spends(candidate.budgets(asked), case.now),
            guards: guards.to_vec(),
            session: asked.session.clone(),
            ..case.facts()
        };
        let opinion = opinion(&candidate, asked.agent, asked.call, &facts);
        case.waited_since(since);
        Some(opinion)
    }
}
