//! Everything that is told to the outside about what happens: spans, log lines, counters. Each event is named once, here.

use std::time::Duration;

use aegis_core::audit::Outcome;
use aegis_core::decide::Explanation;

use crate::trace::TraceContext;

/// Where events go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Events {}

impl Events {
    /// A call was decided: span `aegis.decision` in the caller's trace, one log line. Returns the id of the span that the
    /// forwarded request names as its parent.
    pub fn decided(&self, explanation: &Explanation, trace: &TraceContext, latency: Duration) -> [u8; 8] {
        let _ = (explanation, trace, latency);
        todo!()
    }

    /// An admitted call ended: the CLIENT span beside the decision's, one log line.
    pub fn settled(&self, explanation: &Explanation, trace: &TraceContext, span_id: [u8; 8], outcome: &Outcome) {
        let _ = (explanation, trace, span_id, outcome);
        todo!()
    }

    /// Something that an operator must look at: engines that differ, a record that can't be written.
    pub fn alarm(&self, what: &str, detail: &str) {
        let _ = (what, detail);
        todo!()
    }
}
