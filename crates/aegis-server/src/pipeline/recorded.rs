//! Step 5 where nothing is forwarded from here: handed to a caller that enforces, put before a human, or refused.
//!
//! Invariant: each ends on record, or as a refusal.

use aegis_core::decide::{Ask, Denial, Passage};
use aegis_core::problem::Code;

use super::case::Case;
use super::{Fits, Handled, Pipeline};

impl Pipeline {
    /// Steps 5 and 6 of a call that its caller enforces.
    pub(super) async fn hand_over(&self, case: &Case, passage: Passage, fits: Option<Fits>) -> Handled {
        if let Some(Err(why)) = fits.map(|fits| fits(&passage)) {
            let denial = passage.refuse(Code::PolicyViolation, "sanitize: not_enforceable", why);
            return self.refuse(case, denial).await;
        }
        let latency = case.latency();
        match self.0.store.hand_over(passage, case.noted(latency)).await {
            Ok((call, explanation)) => {
                self.0.events.decided(&explanation, &case.trace, latency);
                Handled::Admitted { explanation: Box::new(explanation), call: Box::new(call) }
            }
            Err(denial) => self.refuse(case, denial).await,
        }
    }

    /// The other step 5: a human is asked, and that is on record.
    pub(super) async fn ask(&self, case: &Case, ask: Ask) -> Handled {
        let latency = case.latency();
        match self.0.store.ask(ask, case.noted(latency)).await {
            Ok((explanation, _)) => {
                self.0.events.decided(&explanation, &case.trace, latency);
                case.refused(explanation)
            }
            Err(denial) => self.refuse(case, denial).await,
        }
    }

    /// The last step 5: refused, and that is on record. It stays refused if that fails.
    pub(super) async fn refuse(&self, case: &Case, denial: Denial) -> Handled {
        let latency = case.latency();
        if denial.explanation().agent.is_none() {
            let (explanation, recorded) = self.0.unproven.record(case.client, denial, case.noted(latency)).await;
            if recorded {
                self.0.events.decided(&explanation, &case.trace, latency);
            } else {
                self.0.events.counted(&explanation, latency);
            }
            return case.refused(explanation);
        }
        if let Err(error) = self.0.store.deny(&denial, case.noted(latency)).await {
            self.0.events.alarm("a denial could not be recorded", &error.to_string());
        }
        let explanation = denial.into_explanation();
        if explanation.engines_differ {
            self.0.events.alarm("the two policy engines disagree", &explanation.decision_id);
        }
        self.0.events.decided(&explanation, &case.trace, latency);
        case.refused(explanation)
    }
}
