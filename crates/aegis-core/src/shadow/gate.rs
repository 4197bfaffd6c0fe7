//! The promotion gate: what has to be seen of a candidate before it may decide.

use serde::{Deserialize, Serialize};

use super::report::Report;

/// What is asked of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Requirements {
    /// Days on which calls were compared.
    pub days: u32,
    /// Calls that were compared.
    pub calls: u64,
    /// Whether it may hold back what passes now.
    pub allow_new_blocks: bool,
    /// Whether it may let pass what is held back now.
    pub allow_new_allows: bool,
}

impl Default for Requirements {
    fn default() -> Self {
        Self { days: 7, calls: 100, allow_new_blocks: false, allow_new_allows: false }
    }
}

/// The points that aren't met, each as a sentence; empty means that the candidate may be promoted.
///
/// `report` is what was seen of this candidate beside the version that is in force now. A call that it could not be
/// evaluated on is never allowed for.
pub fn unmet(report: &Report, asked: &Requirements) -> Vec<String> {
    let mut unmet = Vec::new();
    if report.days < u64::from(asked.days) {
        unmet.push(format!("it was watched on {} of {} days (--days {})", report.days, asked.days, asked.days));
    }
    if report.calls < asked.calls {
        unmet.push(format!("{} of {} calls were compared (--calls {})", report.calls, asked.calls, asked.calls));
    }
    let calls = |n: u64| if n == 1 { "1 call".to_owned() } else { format!("{n} calls") };
    if report.failed > 0 {
        unmet.push(format!("it could not be evaluated on {}", calls(report.failed)));
    }
    if report.stricter > 0 && !asked.allow_new_blocks {
        unmet.push(format!("it would newly hold back {} (--allow-new-blocks)", calls(report.stricter)));
    }
    if report.looser > 0 && !asked.allow_new_allows {
        unmet.push(format!("it would newly let {} pass (--allow-new-allows)", calls(report.looser)));
    }
    unmet
}
