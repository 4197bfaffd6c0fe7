//! What a replay comes to: counts, by whom and which rule, with decisions to look at.

use std::collections::BTreeMap;

use aegis_core::call::recorded::RecordedCall;
use aegis_core::decide::Verdict;
use aegis_core::replay::{Broken, Replay, Replayed};
use serde_json::{Value, json};

use crate::style::Style;
use crate::table;

/// How many decisions of a kind are named.
const EXAMPLES: usize = 3;
/// How many kinds a person is shown.
const SHOWN: usize = 40;

/// What an answer newly is: `Allowed` is any laxer one than it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Allowed,
    Denied,
    Asked,
    Sanitized,
}

/// Changes of one kind: who, by which rule of which policy, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    change: Change,
    agent: String,
    broken: Broken,
}

#[derive(Debug, Default)]
struct Found {
    calls: u64,
    decisions: Vec<String>,
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    same: u64,
    undecidable: u64,
    changes: BTreeMap<Change, u64>,
    kinds: BTreeMap<Kind, Found>,
    /// Places that were cut, of calls that can't be judged.
    cut: BTreeMap<String, u64>,
    /// Versions that the calls were recorded under.
    versions: BTreeMap<String, u64>,
}

impl Change {
    const ALL: [Self; 4] = [Self::Allowed, Self::Denied, Self::Asked, Self::Sanitized];

    fn of(before: Verdict, after: Verdict) -> Self {
        match after {
            _ if after < before => Self::Allowed,
            Verdict::ApprovalNeeded => Self::Asked,
            Verdict::Sanitize => Self::Sanitized,
            Verdict::Allow | Verdict::Deny => Self::Denied,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "newly_allowed",
            Self::Denied => "newly_denied",
            Self::Asked => "newly_asked",
            Self::Sanitized => "newly_sanitized",
        }
    }
}

impl Tally {
    /// Judges a call again and counts what comes of it.
    pub(super) fn add(&mut self, call: RecordedCall, replay: &Replay<'_>) {
        let agent = call.agent.id.clone();
        let decision = call.decided.as_ref().map(|decided| decided.decision_id.clone());
        *self.versions.entry(call.answer.policy_version.clone()).or_default() += 1;
        match replay.judge(call) {
            Replayed::Same => self.same += 1,
            Replayed::Undecidable { cut } => {
                self.undecidable += 1;
                cut.into_iter().for_each(|place| *self.cut.entry(place).or_default() += 1);
            }
            Replayed::Changed { before, after, because } => {
                let change = Change::of(before, after);
                *self.changes.entry(change).or_default() += 1;
                for broken in because {
                    let kind = Kind { change, agent: agent.clone(), broken };
                    let found = self.kinds.entry(kind).or_default();
                    found.calls += 1;
                    if found.decisions.len() < EXAMPLES {
                        found.decisions.extend(decision.clone());
                    }
                }
            }
        }
    }

    pub(super) fn calls(&self) -> u64 {
        self.same + self.not_same()
    }

    pub(super) fn not_same(&self) -> u64 {
        self.undecidable + self.changes.values().sum::<u64>()
    }

    pub(super) fn newly_allowed(&self) -> u64 {
        self.count(Change::Allowed)
    }

    pub(super) fn newly_denied(&self) -> u64 {
        self.count(Change::Denied)
    }

    fn count(&self, change: Change) -> u64 {
        self.changes.get(&change).copied().unwrap_or(0)
    }

    /// The kinds, those of most calls first.
    fn sorted(&self) -> Vec<(&Kind, &Found)> {
        let mut kinds: Vec<(&Kind, &Found)> = self.kinds.iter().collect();
        kinds.sort_by_key(|(_, found)| std::cmp::Reverse(found.calls));
        kinds
    }

    /// For machines.
    pub(super) fn document(&self, candidate: &str) -> Value {
        let kinds = self.sorted().into_iter().map(|(kind, found)| {
            json!({
                "change": kind.change.as_str(), "agent": kind.agent, "policy": kind.broken.policy,
                "rule": kind.broken.rule, "reason": kind.broken.reason, "calls": found.calls, "decisions": found.decisions,
            })
        });
        let mut document = json!({
            "candidate": candidate, "recorded_under": self.versions, "calls": self.calls(), "same": self.same,
            "undecidable": self.undecidable, "cut": self.cut, "changes": kinds.collect::<Vec<_>>(),
        });
        if let Some(fields) = document.as_object_mut() {
            fields.extend(Change::ALL.map(|change| (change.as_str().to_owned(), self.count(change).into())));
        }
        document
    }

    /// For people.
    pub(super) fn text(&self, candidate: &str, style: Style) -> String {
        if self.calls() == 0 {
            return String::new();
        }
        let versions = self.versions.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let mut text = format!("{} calls recorded under {versions}, replayed under {candidate}\n", self.calls());
        let mut line = |count: u64, what: &str, colour: &dyn Fn(&str) -> String| {
            let what = if count > 0 { colour(what) } else { style.dim(what) };
            text.push_str(&format!("{count:>9}  {what}\n"));
        };
        line(self.same, "same answer", &|what| style.green(what));
        line(self.count(Change::Allowed), "newly allowed: a laxer answer than it was", &|what| style.red(what));
        line(self.count(Change::Denied), "newly denied", &|what| style.yellow(what));
        line(self.count(Change::Asked), "newly asked: a human would have to approve", &|what| style.yellow(what));
        line(self.count(Change::Sanitized), "newly sanitized", &|what| style.yellow(what));
        line(self.undecidable, "undecidable: what the candidate looks at was cut when it was recorded", &|what| {
            style.yellow(what)
        });
        if !self.kinds.is_empty() {
            text.push('\n');
            text.push_str(&self.table(style));
        }
        text
    }

    fn table(&self, style: Style) -> String {
        let kinds = self.sorted();
        let cells = |(kind, found): &(&Kind, &Found)| {
            let cell = |text: &str| table::cell(&Value::from(text), "");
            let change = kind.change.as_str().replace('_', " ");
            let rule = format!("{}: {}", kind.broken.rule, kind.broken.reason);
            let decisions = found.decisions.join(" ");
            [
                found.calls.to_string(),
                change,
                cell(&kind.agent),
                cell(&kind.broken.policy),
                cell(&rule),
                cell(&decisions),
            ]
            .to_vec()
        };
        let rows: Vec<Vec<String>> = kinds.iter().take(SHOWN).map(cells).collect();
        let mut text = table::render(&["CALLS", "CHANGE", "AGENT", "POLICY", "RULE", "SUCH AS"], &rows, style);
        if kinds.len() > SHOWN {
            text.push_str(&format!("… and {} more kinds: --json has all\n", kinds.len() - SHOWN));
        }
        text
    }
}
