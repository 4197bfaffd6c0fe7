//! The rules of an entry or a policy: which there are, and which way each changes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Number, Value, json};

use super::Direction;
use super::values::{self, duration, listed};
use crate::policy::budget::Budget;
use crate::policy::condition::Condition;
use crate::policy::egress::EgressPattern;
use crate::policy::param::Param;
use crate::policy::tables::{self, AllowedImage, Bound, Check, Entry, Label, List, Policy, Rate, Shared, Side, Unit};
use crate::policy::terms::{ApprovalRule, DEFAULT_TTL_S};

/// One rule. What there is none of is laxer, but for [`Rule::Lifetime`] and [`Rule::Approvers`]: there is always some.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rule {
    /// Only these; a longer list is more.
    Only(BTreeSet<String>),
    /// None of what is listed may be missing or, in a redaction, stay; a longer list is less.
    All(BTreeSet<String>),
    /// Only these images; a longer list is more, and so is one that names no repository.
    Images(Vec<AllowedImage>),
    /// Only these destinations. One that comes also lets a destination be named at all.
    Reach(Vec<EgressPattern>),
    /// Up to this, or from this on.
    Within { param: String, side: Side, limit: Number, unit: Value, text: String },
    /// One of these values, or none of them.
    Listed { param: String, allowed: bool, kinds: [bool; 3], values: BTreeSet<String>, shown: Vec<Value> },
    /// The whole text matches.
    Matches { param: String, text: String },
    /// Asks a human. `compiled` is what is compared, because a condition can be written in many ways.
    Asks { text: String, compiled: Value, lifts: bool },
    /// Refuses where one of these is true; by what is compiled, with the texts.
    Refuses(BTreeMap<String, String>),
    /// So many calls.
    Calls(Rate),
    /// So much in a window.
    Spends { limit: u64, unit: String, window: &'static str, shown: String },
    /// Who may approve (nobody named is anybody), and how many of them have to.
    Approvers { approvers: BTreeSet<String>, count: u32 },
    /// How long an approval holds, in seconds; a longer time is more.
    Lifetime(i64),
    /// What is looked for, in which parameters (`None` is all).
    Redacts { detect: BTreeSet<String>, params: Option<BTreeSet<String>> },
    /// What its calls leave in the session: labels, by what leaves them. Other conditions may ask for them, either way.
    Leaves(BTreeMap<String, (String, Value)>),
    /// What this module has no words for.
    Other(Value),
}

/// Rules by their keys, and the parameters that each declares.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) by_key: BTreeMap<String, Rule>,
    /// A declared parameter isn't looked through for what undeclared ones must not hold: a rule that lets texts through and
    /// declares its parameter also lifts something.
    lifts: BTreeMap<String, BTreeSet<String>>,
}

/// What has words of its own here; everything else of what is compiled is [`Rule::Other`].
const ENTRY_KEYS: [&str; 16] = [
    "name",
    "label",
    "tools",
    "environments",
    "approval",
    "terms",
    "deny",
    "images",
    "rules",
    "egress",
    "sanitize",
    "asks",
    "rate",
    "budgets",
    "origin",
    "labels",
];
const POLICY_KEYS: [&str; 8] = ["id", "mode", "tools", "egress", "rate", "budgets", "deny", "entries"];

/// The rules of an entry, `tools` among them, without `on_violation`.
pub(super) fn of_entry(entry: &Entry) -> Rules {
    let mut rules = Rules { by_key: others(entry, &ENTRY_KEYS), lifts: BTreeMap::new() };
    rules.add("tools", entry.tools.clone().map(Rule::Only));
    rules.add("allowed_environments", entry.environments.clone().map(Rule::Only));
    let lifts = entry.environments.is_some();
    rules.add("approval_needed", entry.approval.as_ref().and_then(|condition| asks(condition, lifts)));
    rules.terms(entry.terms.as_ref());
    rules.add("deny_if", refuses(&entry.deny));
    for images in &entry.images {
        rules.add(&images.rule, Some(Rule::Images(images.allowed.clone())));
    }
    entry.rules.iter().for_each(|rule| rules.on_param(rule));
    rules.add("egress", entry.egress.clone().map(Rule::Reach));
    rules.add("labels", leaves(&entry.labels));
    if let Some(sanitize) = &entry.sanitize {
        let params = sanitize.params.as_ref();
        let detect = sanitize.detect.names.iter().cloned();
        let answers = sanitize.results.names.iter().map(|kind| format!("{kind} of answers"));
        let detect = detect.chain(answers).collect();
        let more = sanitize.more.as_ref().map(|more| Rule::Other(json!(more)));
        rules.add("sanitize.more", more);
        params.into_iter().flatten().for_each(|param| rules.lift("sanitize", param));
        let params = params.map(|params| params.iter().map(|param| param.name.clone()).collect());
        rules.add("sanitize", Some(Rule::Redacts { detect, params }));
    }
    rules.add("rate", entry.rate.map(Rule::Calls));
    rules.budgets(&entry.budgets);
    rules
}

/// The rules of a whole policy, without its egress, which grants as well.
pub(super) fn of_policy(policy: &Policy) -> Rules {
    let mut rules = Rules { by_key: others(policy, &POLICY_KEYS), lifts: BTreeMap::new() };
    rules.add("tools", policy.tools.clone().map(Rule::Only));
    rules.add("rate", policy.rate.map(Rule::Calls));
    rules.add("deny_if", refuses(&policy.deny));
    rules.budgets(&policy.budgets);
    rules
}

fn others(compiled: &impl Serialize, known: &[&str]) -> BTreeMap<String, Rule> {
    // What can't be written as JSON was never compiled.
    let Ok(Value::Object(fields)) = serde_json::to_value(compiled) else { return BTreeMap::new() };
    let unknown =
        fields.into_iter().filter(|(key, value)| !known.contains(&key.as_str()) && !values::is_nothing(value));
    unknown.map(|(key, value)| (key, Rule::Other(value))).collect()
}

fn asks(condition: &Condition, lifts: bool) -> Option<Rule> {
    let compiled = json!(condition);
    (condition.text != "false").then(|| Rule::Asks { text: condition.text.clone(), compiled, lifts })
}

fn refuses(conditions: &[Shared<Condition>]) -> Option<Rule> {
    let by_form = |condition: &Shared<Condition>| (json!(condition).to_string(), condition.text.clone());
    (!conditions.is_empty()).then(|| Rule::Refuses(conditions.iter().map(by_form).collect()))
}

fn leaves(labels: &[Label]) -> Option<Rule> {
    let each = |label: &Label| (label.name.clone(), (label.when.text.clone(), json!(label.when)));
    (!labels.is_empty()).then(|| Rule::Leaves(labels.iter().map(each).collect()))
}

impl Rules {
    fn add(&mut self, key: &str, rule: Option<Rule>) {
        self.by_key.extend(rule.map(|rule| (key.to_owned(), rule)));
    }

    fn lift(&mut self, key: &str, param: &Param) {
        let first = param.path().into_iter().next().unwrap_or_else(|| param.name.clone());
        self.lifts.entry(key.to_owned()).or_default().extend([param.name.clone(), first]);
    }

    fn terms(&mut self, terms: Option<&ApprovalRule>) {
        let lifetime = terms.and_then(|terms| terms.expires_s).unwrap_or(DEFAULT_TTL_S);
        let requirement = terms.map(|terms| &terms.requirement);
        let approvers = requirement.map(|one| one.approvers.iter().cloned().collect()).unwrap_or_default();
        let count = requirement.map_or(1, |one| one.count);
        self.add("approval.expires", Some(Rule::Lifetime(lifetime)));
        self.add("approval.approvers", Some(Rule::Approvers { approvers, count }));
    }

    fn budgets(&mut self, budgets: &[Budget]) {
        for budget in budgets {
            let (unit, window) = (budget.unit.name().to_owned(), budget.window.as_str());
            let shown = budget.shown();
            self.add(&format!("budget.{window}"), Some(Rule::Spends { limit: budget.limit, unit, window, shown }));
        }
    }

    fn on_param(&mut self, rule: &tables::Rule) {
        let param = rule.param.name.clone();
        let is_path = rule.param.path().len() > 1;
        let (own, lets_text_through) = match &rule.check {
            Check::Bound(Bound { side, limit, unit, currency, text }) => {
                let unit = json!([unit, currency.map(|currency| currency.code())]);
                (Rule::Within { param, side: *side, limit: limit.clone(), unit, text: text.clone() }, is_path)
            }
            Check::Allowed(list) => (of_list(param, true, list), is_path || !list.globs.is_empty()),
            Check::Denied(list) => (of_list(param, false, list), true),
            Check::Pattern { text, .. } => (Rule::Matches { param, text: text.clone() }, true),
            Check::Required => {
                if let Rule::All(names) =
                    self.by_key.entry(rule.rule.clone()).or_insert_with(|| Rule::All(BTreeSet::new()))
                {
                    names.insert(param);
                }
                return self.lift(&rule.rule, &rule.param);
            }
        };
        if lets_text_through {
            self.lift(&rule.rule, &rule.param);
        }
        self.add(&rule.rule, Some(own));
    }

    /// Which way the rule `key` changes from these to `after`; `None` when it doesn't.
    pub(super) fn direction(&self, after: &Self, key: &str) -> Option<Direction> {
        let direction = direction(self.by_key.get(key), after.by_key.get(key))?;
        let declares = |rules: &Self| rules.lifts.get(key).cloned().unwrap_or_default();
        Some(if declares(self) == declares(after) { direction } else { Direction::Different })
    }
}

fn of_list(param: String, allowed: bool, list: &List) -> Rule {
    let kinds = [!list.texts.is_empty() || !list.globs.is_empty(), !list.numbers.is_empty(), !list.bools.is_empty()];
    let numbers = list.numbers.iter().map(|number| format!("{:?}", number.as_f64()));
    let texts = list.texts.iter().map(|text| json!(text).to_string());
    let globs = list.globs.iter().map(|glob| format!("/{}/", glob.as_str()));
    let values = texts.chain(numbers).chain(globs).chain(list.bools.iter().map(bool::to_string)).collect();
    Rule::Listed { param, allowed, kinds, values, shown: list.shown.clone() }
}

impl Rule {
    /// Whether calls can break it.
    pub(super) fn restricts(&self) -> bool {
        !matches!(self, Self::Lifetime(_) | Self::Approvers { .. } | Self::Leaves(_))
    }

    /// As an author would write it.
    pub(super) fn value(&self) -> Value {
        match self {
            Self::Only(list) | Self::All(list) => json!(list),
            Self::Images(list) => list.iter().map(image).collect(),
            Self::Reach(list) => values::egress(list),
            Self::Within { limit, unit, text, .. } => {
                if *unit == json!([Unit::Number, null]) {
                    Value::Number(limit.clone())
                } else {
                    json!(text)
                }
            }
            Self::Listed { shown, .. } => json!(shown),
            Self::Matches { text, .. } | Self::Asks { text, .. } => json!(text),
            Self::Refuses(conditions) => conditions.values().cloned().collect(),
            Self::Calls(rate) => json!({"limit": rate.limit, "per": duration(rate.per_ms), "burst": rate.burst}),
            Self::Spends { shown, .. } => json!(shown),
            Self::Approvers { approvers, count } => json!({"approvers": approvers, "count": count}),
            Self::Lifetime(seconds) => json!(duration(seconds.unsigned_abs().saturating_mul(1000))),
            Self::Redacts { detect, params } => json!({"detect": detect, "params": params}),
            Self::Leaves(labels) => labels.iter().map(|(name, (when, _))| (name.clone(), json!(when))).collect(),
            Self::Other(value) => value.clone(),
        }
    }

    /// In words, to follow what may be done.
    pub(super) fn words(&self, key: &str) -> String {
        match self {
            Self::Only(list) if key == "tools" => format!("of {}", listed(list, "no tool")),
            Self::Only(list) => format!("in {}", listed(list, "no environment")),
            Self::All(list) => format!("with {}", listed(list, "nothing")),
            Self::Images(list) if list.len() == 1 => "only 1 listed image".to_owned(),
            Self::Images(list) => format!("only {} listed images", list.len()),
            Self::Reach(list) => format!("reaching only {}", values::texts(&values::egress(list), "no destination")),
            Self::Within { param, side: Side::Max, text, .. } => format!("{param} up to {text}"),
            Self::Within { param, side: Side::Min, text, .. } => format!("{param} from {text} on"),
            Self::Listed { param, allowed, shown, .. } => {
                let word = if *allowed { "one of" } else { "none of" };
                format!("{param} {word} {}", Value::Array(shown.clone()))
            }
            Self::Matches { param, text } => format!("{param} matching {text}"),
            Self::Asks { text, .. } if text == "true" => "after asking a human".to_owned(),
            Self::Asks { text, .. } => format!("after asking a human where {text}"),
            Self::Refuses(conditions) => format!("not where {}", listed(conditions.values(), "nothing")),
            Self::Calls(Rate { limit, per_ms, burst }) => {
                let burst = if burst == limit { String::new() } else { format!(", {burst} at once") };
                format!("{limit} calls per {}{burst}", duration(*per_ms))
            }
            Self::Spends { window, shown, .. } => format!("{shown} {window}"),
            Self::Approvers { approvers, count: 1 } => format!("approved by {}", listed(approvers, "anybody")),
            Self::Approvers { approvers, count } => format!("approved by {count} of {}", listed(approvers, "anybody")),
            Self::Lifetime(_) => format!("approvals hold {}", self.value().as_str().unwrap_or_default()),
            Self::Redacts { detect, params } => {
                let place =
                    params.as_ref().map_or_else(|| "all parameters".to_owned(), |params| listed(params, "nothing"));
                format!("without {} in {place}", listed(detect, "anything"))
            }
            Self::Leaves(labels) => {
                let each = labels.iter().map(|(name, (when, _))| match when.as_str() {
                    "true" => name.clone(),
                    when => format!("{name} where {when}"),
                });
                format!("leaving the label {}", listed(each, "nothing"))
            }
            Self::Other(value) => format!("{key} {value}"),
        }
    }
}

fn direction(before: Option<&Rule>, after: Option<&Rule>) -> Option<Direction> {
    match (before, after) {
        (before, after) if before == after => None,
        (Some(before), None) => Some(comes(before).reversed()),
        (None, Some(after)) => Some(comes(after)),
        (Some(before), Some(after)) => between(before, after),
        (None, None) => None,
    }
}

fn comes(rule: &Rule) -> Direction {
    match rule {
        // One asks about what was allowed, and lifts a refusal of what wasn't; the other lets a destination be named at all.
        Rule::Asks { lifts: true, .. } | Rule::Reach(_) | Rule::Leaves(_) | Rule::Other(_) => Direction::Different,
        _ => Direction::Less,
    }
}

fn between(before: &Rule, after: &Rule) -> Option<Direction> {
    match (before, after) {
        (Rule::Only(a), Rule::Only(b)) => by(a.is_subset(b), b.is_subset(a)),
        (Rule::All(a), Rule::All(b)) => by(b.is_subset(a), a.is_subset(b)),
        (Rule::Images(a), Rule::Images(b)) => by(all_listed(a, b), all_listed(b, a)),
        (Rule::Reach(a), Rule::Reach(b)) => egress_direction(a, b),
        (Rule::Within { side, limit: a, unit: own, .. }, Rule::Within { limit: b, unit, .. }) => {
            match (a.as_f64(), b.as_f64(), side) {
                (Some(a), Some(b), Side::Max) if own == unit => by(a <= b, b <= a),
                (Some(a), Some(b), Side::Min) if own == unit => by(b <= a, a <= b),
                _ => Some(Direction::Different),
            }
        }
        (Rule::Listed { kinds: own, allowed, values: a, .. }, Rule::Listed { kinds, values: b, .. }) => {
            // What a list has no value of that kind of is of the wrong type, in either sort of list.
            let same_kinds = own == kinds || (*allowed && own.contains(&true) && kinds.contains(&true));
            match (same_kinds, allowed) {
                (true, true) => by(a.is_subset(b), b.is_subset(a)),
                (true, false) => by(b.is_subset(a), a.is_subset(b)),
                (false, _) => Some(Direction::Different),
            }
        }
        (Rule::Calls(a), Rule::Calls(b)) => by(allows_as_many(a, b), allows_as_many(b, a)),
        (Rule::Spends { limit: a, unit: own, .. }, Rule::Spends { limit: b, unit, .. }) if own == unit => {
            by(a <= b, b <= a)
        }
        (Rule::Lifetime(a), Rule::Lifetime(b)) => by(a <= b, b <= a),
        (Rule::Approvers { approvers: a, count: own }, Rule::Approvers { approvers: b, count }) => {
            let among = |a: &BTreeSet<String>, b: &BTreeSet<String>| b.is_empty() || (!a.is_empty() && a.is_subset(b));
            by(among(a, b) && count <= own, among(b, a) && own <= count)
        }
        (Rule::Redacts { detect: a, params: own }, Rule::Redacts { detect: b, params }) => {
            let within = |a: &Option<BTreeSet<String>>, b: &Option<BTreeSet<String>>| match (a, b) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(a), Some(b)) => a.is_subset(b),
            };
            by(b.is_subset(a) && within(params, own), a.is_subset(b) && within(own, params))
        }
        (Rule::Refuses(a), Rule::Refuses(b)) => {
            let all_of =
                |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| a.keys().all(|one| b.contains_key(one));
            by(all_of(b, a), all_of(a, b))
        }
        // The same condition, written differently.
        (Rule::Asks { compiled: a, .. }, Rule::Asks { compiled: b, .. }) if a == b => None,
        _ => Some(Direction::Different),
    }
}

/// From: whether all that the first lets through the second does, and the other way round.
fn by(all_that_was: bool, all_that_will_be: bool) -> Option<Direction> {
    match (all_that_was, all_that_will_be) {
        (true, true) => None,
        (true, false) => Some(Direction::More),
        (false, true) => Some(Direction::Less),
        (false, false) => Some(Direction::Different),
    }
}

fn all_listed(some: &[AllowedImage], list: &[AllowedImage]) -> bool {
    let lists = |own: &AllowedImage, image: &AllowedImage| {
        own.digest == image.digest && (own.repository.is_none() || own.repository == image.repository)
    };
    some.iter().all(|image| list.iter().any(|own| lists(own, image)))
}

fn allows_as_many(a: &Rate, b: &Rate) -> bool {
    let share = |rate: &Rate, other: &Rate| u128::from(rate.limit) * u128::from(other.per_ms);
    share(a, b) <= share(b, a) && a.burst <= b.burst
}

/// Which way a list of destinations changes.
pub(super) fn egress_direction(before: &[EgressPattern], after: &[EgressPattern]) -> Option<Direction> {
    by(all_reachable(before, after), all_reachable(after, before))
}

fn all_reachable(some: &[EgressPattern], list: &[EgressPattern]) -> bool {
    let host = |own: &EgressPattern, other: &EgressPattern| {
        own.host == other.host && own.suffix == other.suffix
            || own.suffix && other.host.ends_with(&own.host) && other.host != own.host
    };
    let reached = |pattern: &EgressPattern, port: u16| {
        list.iter().any(|own| {
            host(own, pattern)
                && match own.port {
                    Some(own) => own == port,
                    None => matches!(port, 80 | 443),
                }
        })
    };
    some.iter().all(|pattern| match pattern.port {
        Some(port) => reached(pattern, port),
        None => reached(pattern, 80) && reached(pattern, 443),
    })
}

fn image(image: &AllowedImage) -> Value {
    let mut fields = Map::new();
    fields.extend(image.repository.as_ref().map(|repository| ("repository".to_owned(), json!(repository))));
    fields.insert("digest".to_owned(), json!(image.digest));
    Value::Object(fields)
}
