//! The counts, read: how much would have been held back, by which rule, policy and agent, and where a limit would have to be.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Change;
use super::sighting::{Offending, Source};
use crate::decide::Verdict;
use crate::policy::FindingEffect;

/// Fewer days of data than this say little: a week has its own rhythm.
pub const ENOUGH_DAYS: u64 = 7;

/// The share of the offending calls that a threshold is told for.
const SHARE: f64 = 0.95;

/// What was counted, row by row, as it is kept.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Calls.
    pub calls: Vec<CallCount>,
    /// What each policy alone would have done.
    pub policies: Vec<PolicyCount>,
    /// Rules that were broken.
    pub rules: Vec<RuleCount>,
    /// What broke them.
    pub values: Vec<ValueCount>,
    /// Some decisions to look at, newest first.
    pub examples: Vec<Example>,
}

/// Calls of one day that went alike.
#[derive(Debug, Clone)]
pub struct CallCount {
    /// The day (UTC).
    pub day: Date,
    /// Who.
    pub agent: String,
    /// What counted.
    pub decision: Verdict,
    /// What the watcher would have done.
    pub would: Verdict,
    /// How that differs.
    pub change: Change,
    /// How many.
    pub calls: u64,
}

/// What one policy would have done.
#[derive(Debug, Clone)]
pub struct PolicyCount {
    /// Its id; empty for the default deny.
    pub policy: String,
    /// What it would have done.
    pub would: Verdict,
    /// How often.
    pub calls: u64,
}

/// Which rule a count is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleKey {
    /// The policy's id; empty for the default deny.
    pub policy: String,
    /// The entry, as `policy/entry`; empty for rules of a whole policy.
    pub entry: String,
    /// The rule's key.
    pub rule: String,
    /// Why it isn't kept.
    pub reason: String,
    /// The difference that it makes.
    pub change: Change,
}

/// How often a rule was broken on one day, by whom and how.
#[derive(Debug, Clone)]
pub struct RuleCount {
    /// The rule.
    pub key: RuleKey,
    /// The day (UTC).
    pub day: Date,
    /// What follows from it.
    pub effect: FindingEffect,
    /// Who.
    pub agent: String,
    /// What: `tool/action`.
    pub action: String,
    /// How often.
    pub calls: u64,
}

/// How often one value broke a rule.
#[derive(Debug, Clone)]
pub struct ValueCount {
    /// The rule.
    pub key: RuleKey,
    /// The value, redacted.
    pub value: Offending,
    /// How often.
    pub calls: u64,
}

/// A decision to look at.
#[derive(Debug, Clone)]
pub struct Example {
    /// The rule.
    pub key: RuleKey,
    /// The decision.
    pub decision_id: String,
}

/// What was watched, over some days.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Who was watching.
    pub source: Source,
    /// The first day with calls (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_day: Option<Date>,
    /// The last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_day: Option<Date>,
    /// Days with calls.
    pub days: u64,
    /// Calls that were watched.
    pub calls: u64,
    /// Of these: let pass, and would have been refused.
    pub would_deny: u64,
    /// Let pass, and a human would have been asked.
    pub would_ask: u64,
    /// Let pass as they were, and parts would have been redacted.
    pub would_sanitize: u64,
    /// The watcher would have held back more.
    pub stricter: u64,
    /// It would have let more pass.
    pub looser: u64,
    /// It would have done the same, but only for shadow mode.
    pub observed: u64,
    /// It could not be evaluated.
    pub failed: u64,
    /// The rules that make the difference, most calls first.
    pub rules: Vec<RuleReport>,
    /// The policies that watched, most calls held back first.
    pub policies: Vec<PolicyReport>,
    /// The agents, most calls held back first.
    pub agents: Vec<AgentReport>,
    /// What to keep in mind when reading this.
    pub warnings: Vec<String>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleReport {
    /// Which.
    #[serde(flatten)]
    pub key: RuleKey,
    /// What follows from it.
    pub effect: FindingEffect,
    /// Calls that broke it.
    pub calls: u64,
    /// Of all that were watched, 0 to 1.
    pub share: f64,
    /// Days on which it was broken.
    pub days: u64,
    /// Who broke it, most often first.
    pub agents: Vec<Counted>,
    /// By what, as `tool/action`, most often first.
    pub actions: Vec<Counted>,
    /// The values that broke it, redacted: numbers ascending, others most often first.
    pub values: Vec<ValueShare>,
    /// For a number that is held back: the limit that would have let 95 % of these calls through, rounded up (a minimum: down).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<String>,
    /// Decisions to look at.
    pub examples: Vec<String>,
}

/// A name and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The name.
    pub name: String,
    /// How often.
    pub calls: u64,
}

/// A value and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValueShare {
    /// The value, redacted.
    #[serde(flatten)]
    pub value: Offending,
    /// How often.
    pub calls: u64,
}

/// One policy that watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// Its id; empty for the default deny.
    pub policy: String,
    /// Calls that it watched.
    pub calls: u64,
    /// Those that it would have refused.
    pub would_deny: u64,
    /// Those that it would have asked a human about.
    pub would_ask: u64,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentReport {
    /// Its name.
    pub agent: String,
    /// Its calls.
    pub calls: u64,
    /// Let pass, and would have been refused.
    pub would_deny: u64,
    /// Let pass, and a human would have been asked.
    pub would_ask: u64,
    /// The watcher would have held back more.
    pub stricter: u64,
    /// It would have let more pass.
    pub looser: u64,
}

impl Report {
    /// Reads a tally.
    pub fn of(source: Source, tally: Tally) -> Self {
        let days: BTreeSet<Date> = tally.calls.iter().map(|count| count.day).collect();
        let sum = |wanted: &dyn Fn(&CallCount) -> bool| -> u64 {
            tally.calls.iter().filter(|count| wanted(count)).map(|count| count.calls).sum()
        };
        let calls = sum(&|_| true);
        let would = |verdict: Verdict| sum(&|count| count.would == verdict && count.decision < verdict);
        let changed = |change: Change| sum(&|count| count.change == change);
        let mut report = Self {
            first_day: days.first().copied(),
            last_day: days.last().copied(),
            days: days.len() as u64,
            calls,
            would_deny: would(Verdict::Deny),
            would_ask: would(Verdict::ApprovalNeeded),
            would_sanitize: would(Verdict::Sanitize),
            stricter: changed(Change::Stricter),
            looser: changed(Change::Looser),
            observed: changed(Change::Observed),
            failed: changed(Change::Failed),
            agents: agents(&tally.calls),
            policies: policies(&tally.policies),
            rules: Vec::new(),
            warnings: Vec::new(),
            source,
        };
        report.rules = rules(tally, calls);
        report.warn();
        report
    }

    /// Only what is about this policy. The calls that were watched stay those of all.
    #[must_use]
    pub fn about(mut self, policy: &str) -> Self {
        self.rules.retain(|rule| rule.key.policy == policy);
        self.policies.retain(|report| report.policy == policy);
        self
    }

    fn warn(&mut self) {
        let days = self.days;
        if self.calls > 0 && days < ENOUGH_DAYS {
            let days = if days == 1 { "1 day".to_owned() } else { format!("{days} days") };
            self.warnings.push(format!(
                "only {days} of data: fewer than {ENOUGH_DAYS} miss what comes once a week, such as releases and weekends"
            ));
        }
        if self.failed > 0 {
            self.warnings.push(format!("{} calls could not be evaluated: the gateway's log says why", self.failed));
        }
    }
}

fn agents(counts: &[CallCount]) -> Vec<AgentReport> {
    let mut found: BTreeMap<&str, AgentReport> = BTreeMap::new();
    for count in counts {
        let report = found.entry(&count.agent).or_insert_with(|| AgentReport {
            agent: count.agent.clone(),
            calls: 0,
            would_deny: 0,
            would_ask: 0,
            stricter: 0,
            looser: 0,
        });
        report.calls += count.calls;
        if count.decision < count.would {
            match count.would {
                Verdict::Deny => report.would_deny += count.calls,
                Verdict::ApprovalNeeded => report.would_ask += count.calls,
                Verdict::Sanitize | Verdict::Allow => {}
            }
        }
        match count.change {
            Change::Stricter => report.stricter += count.calls,
            Change::Looser => report.looser += count.calls,
            Change::Same | Change::Observed | Change::Failed => {}
        }
    }
    let mut list: Vec<AgentReport> = found.into_values().collect();
    list.sort_by_key(|report| std::cmp::Reverse((report.stricter + report.looser, report.calls)));
    list
}

fn policies(counts: &[PolicyCount]) -> Vec<PolicyReport> {
    let mut found: BTreeMap<&str, PolicyReport> = BTreeMap::new();
    for count in counts {
        let report = found.entry(&count.policy).or_insert_with(|| PolicyReport {
            policy: count.policy.clone(),
            calls: 0,
            would_deny: 0,
            would_ask: 0,
        });
        report.calls += count.calls;
        match count.would {
            Verdict::Deny => report.would_deny += count.calls,
            Verdict::ApprovalNeeded => report.would_ask += count.calls,
            Verdict::Sanitize | Verdict::Allow => {}
        }
    }
    let mut list: Vec<PolicyReport> = found.into_values().collect();
    list.sort_by_key(|report| std::cmp::Reverse((report.would_deny, report.would_ask, report.calls)));
    list
}

fn rules(tally: Tally, calls: u64) -> Vec<RuleReport> {
    let mut by_rule: BTreeMap<RuleKey, Vec<RuleCount>> = BTreeMap::new();
    for count in tally.rules {
        by_rule.entry(count.key.clone()).or_default().push(count);
    }
    let mut values: BTreeMap<RuleKey, Vec<ValueShare>> = BTreeMap::new();
    for ValueCount { key, value, calls } in tally.values {
        values.entry(key).or_default().push(ValueShare { value, calls });
    }
    let mut list: Vec<RuleReport> = by_rule
        .into_iter()
        .map(|(key, counts)| {
            let of_rule: u64 = counts.iter().map(|count| count.calls).sum();
            let mut values = values.remove(&key).unwrap_or_default();
            sort(&mut values);
            let examples = tally.examples.iter().filter(|example| example.key == key);
            RuleReport {
                effect: counts.iter().map(|count| count.effect).max().unwrap_or(FindingEffect::Deny),
                calls: of_rule,
                share: if calls == 0 { 0.0 } else { of_rule as f64 / calls as f64 },
                days: counts.iter().map(|count| count.day).collect::<BTreeSet<_>>().len() as u64,
                agents: counted(counts.iter().map(|count| (count.agent.as_str(), count.calls))),
                actions: counted(counts.iter().map(|count| (count.action.as_str(), count.calls))),
                threshold: threshold(&values, &key),
                values,
                examples: examples.map(|example| example.decision_id.clone()).collect(),
                key,
            }
        })
        .collect();
    list.sort_by(|a, b| b.calls.cmp(&a.calls).then_with(|| a.key.cmp(&b.key)));
    list
}

fn counted<'a>(pairs: impl Iterator<Item = (&'a str, u64)>) -> Vec<Counted> {
    let mut found: BTreeMap<&str, u64> = BTreeMap::new();
    pairs.for_each(|(name, calls)| *found.entry(name).or_default() += calls);
    let mut list: Vec<Counted> =
        found.into_iter().map(|(name, calls)| Counted { name: name.to_owned(), calls }).collect();
    list.sort_by_key(|counted| std::cmp::Reverse(counted.calls));
    list
}

fn sort(values: &mut [ValueShare]) {
    values.sort_by(|a, b| match (a.value.number(), b.value.number()) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => b.calls.cmp(&a.calls).then_with(|| a.value.cmp(&b.value)),
    });
}

/// The limit that would have let [`SHARE`] of these calls through; `values` are sorted. `None` where there is no limit to move,
/// or too many calls of which the number isn't known any more.
fn threshold(values: &[ValueShare], key: &RuleKey) -> Option<String> {
    let minimum = match key.reason.as_str() {
        _ if key.change == Change::Looser => return None,
        "above_maximum" => false,
        "below_minimum" => true,
        _ => return None,
    };
    let all: u64 = values.iter().map(|value| value.calls).sum();
    let numbers = values.iter().filter_map(|share| match &share.value {
        Offending::Number(text) => Some((text, share.calls)),
        _ => None,
    });
    let numbers: Vec<_> = if minimum { numbers.rev().collect() } else { numbers.collect() };
    let mut through = 0;
    numbers.into_iter().find_map(|(text, calls)| {
        through += calls;
        (through as f64 >= all as f64 * SHARE).then(|| text.clone())
    })
}

/// The values, most frequent first, that make up [`SHARE`] of the calls whose value is still known: the rest is rare, and what is
/// rare may be what a rule is for.
pub fn frequent(values: &[ValueShare]) -> Vec<&ValueShare> {
    let known = || values.iter().filter(|share| share.value != Offending::Other);
    let all: u64 = known().map(|share| share.calls).sum();
    let mut sorted: Vec<&ValueShare> = known().collect();
    sorted.sort_by(|a, b| b.calls.cmp(&a.calls).then_with(|| a.value.cmp(&b.value)));
    let mut through = 0;
    let more = |share: &&ValueShare| {
        let wanted = (through as f64) < all as f64 * SHARE;
        through += share.calls;
        wanted
    };
    sorted.into_iter().take_while(more).collect()
}
