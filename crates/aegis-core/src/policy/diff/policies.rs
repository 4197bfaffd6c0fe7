//! Whole policies, before and after: whom they are for, whether they decide, what they say of all calls.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::agents::{self, Selectors};
use super::rules::{self, Rule, Rules};
use super::values::{self, listed};
use super::{Change, Direction, entries};
use crate::policy::Mode;
use crate::policy::tables::{Entry, Policy, Tables};

/// One of the two sets.
pub(super) struct Side<'a> {
    tables: &'a Tables,
    who: Vec<Selectors>,
}

/// Both sets.
pub(super) struct Scene<'a> {
    before: Side<'a>,
    after: Side<'a>,
}

/// Whether something is only there after, or only before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Comes,
    Goes,
}

/// Whom a change is about, and by which policy.
pub(super) struct Whom<'a> {
    policy: &'a str,
    agents: &'a Selectors,
    mode: Mode,
}

impl Turn {
    /// `coming`, or its reverse for what goes.
    pub(super) fn direction(self, coming: Direction) -> Direction {
        match self {
            Self::Comes => coming,
            Self::Goes => coming.reversed(),
        }
    }

    /// Before and after.
    pub(super) fn values(self, value: Value) -> (Value, Value) {
        match self {
            Self::Comes => (Value::Null, value),
            Self::Goes => (value, Value::Null),
        }
    }
}

impl Whom<'_> {
    pub(super) fn words(&self) -> String {
        let names = self.agents.iter().map(|selector| match selector {
            agents::Selector::Glob(glob) if glob == "*" => "every agent".to_owned(),
            agents::Selector::Group(group) => format!("group {group}"),
            selector => selector.to_string(),
        });
        listed(names, "nobody")
    }

    /// Who, and in which way: the start of a sentence.
    pub(super) fn does(&self, direction: Direction) -> String {
        let what = match direction {
            Direction::More => "may do more",
            Direction::Less => "may do less",
            Direction::Different => "is judged differently",
        };
        format!("{} {what}", self.words())
    }

    pub(super) fn entry_name<'e>(&self, entry: &'e Entry) -> &'e str {
        entry.label.strip_prefix(self.policy).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&entry.label)
    }

    pub(super) fn change(
        &self,
        entry: Option<&Entry>,
        rule: &str,
        direction: Direction,
        (before, after): (Value, Value),
        sentence: String,
    ) -> Change {
        let observed = if self.mode == Mode::Shadow { " (only observed)" } else { "" };
        Change {
            agents: self.agents.iter().map(ToString::to_string).collect(),
            policy: self.policy.to_owned(),
            entry: entry.map(|entry| entry.label.clone()),
            rule: rule.to_owned(),
            direction,
            mode: self.mode,
            before,
            after,
            sentence: format!("{sentence}{observed}"),
        }
    }

    pub(super) fn rule_changed(
        &self,
        entry: Option<&Entry>,
        key: &str,
        direction: Direction,
        was: Option<&Rule>,
        is: Option<&Rule>,
    ) -> Change {
        let words = |rule: Option<&Rule>| rule.map(|rule| rule.words(key));
        let detail = match (words(was), words(is)) {
            (Some(was), Some(is)) => format!("{is}; until now {was}"),
            (None, Some(is)) => format!("{is}; until now without {key}"),
            (Some(was), None) => format!("no {key} any more; until now {was}"),
            (None, None) => key.to_owned(),
        };
        let place = entry.map_or_else(String::new, |entry| format!(" in `{}`", self.entry_name(entry)));
        let sentence = format!("{}{place}: {detail}", self.does(direction));
        let value = |rule: Option<&Rule>| rule.map_or(Value::Null, Rule::value);
        self.change(entry, key, direction, (value(was), value(is)), sentence)
    }
}

impl<'a> Side<'a> {
    fn of(tables: &'a Tables) -> Self {
        Self { tables, who: agents::of_all(tables) }
    }

    fn policies(&self) -> impl Iterator<Item = (usize, &'a Policy, &Selectors)> {
        self.tables.policies.iter().zip(&self.who).enumerate().map(|(at, (policy, who))| (at, policy, who))
    }

    /// The other enforcing policies that may be for some of these agents.
    fn enforcing(&self, whom: &Selectors, except: Option<&str>) -> impl Iterator<Item = &'a Policy> {
        self.policies()
            .filter(move |(_, policy, who)| {
                policy.mode == Mode::Enforce && except != Some(policy.id.as_str()) && agents::meet(who, whom)
            })
            .map(|(_, policy, _)| policy)
    }

    /// Whether each of these agents surely has another policy that decides.
    fn surely_decided(&self, whom: &Selectors, except: Option<&str>) -> bool {
        whom.iter().all(|selector| {
            let one = BTreeSet::from([selector.clone()]);
            let mut enforcing = self.policies().filter(|(_, policy, _)| policy.mode == Mode::Enforce);
            enforcing.any(|(_, policy, who)| except != Some(policy.id.as_str()) && agents::covers(who, &one))
        })
    }

    /// Whether some of these agents may pass with everything, because nothing that is for them decides.
    fn may_only_observe(&self, whom: &Selectors, except: Option<&str>) -> bool {
        let shadow =
            |(_, policy, who): (usize, &Policy, &Selectors)| policy.mode == Mode::Shadow && agents::meet(who, whom);
        !self.surely_decided(whom, except) && (self.tables.mode == Mode::Shadow || self.policies().any(shadow))
    }
}

impl Scene<'_> {
    /// The side that hasn't what turns.
    fn other(&self, turn: Turn) -> &Side<'_> {
        match turn {
            Turn::Comes => &self.before,
            Turn::Goes => &self.after,
        }
    }

    /// Whether another policy of these agents may grant what the entry is for, on the side that hasn't the entry.
    pub(super) fn grants_elsewhere(&self, turn: Turn, whom: &Whom<'_>, own: &Policy, entry: &Entry) -> bool {
        self.other(turn).enforcing(whom.agents, Some(&own.id)).any(|policy| entries::may_grant(policy, entry))
    }
}

/// Everything that changes.
pub(super) fn compare(before: &Tables, after: &Tables) -> Vec<Change> {
    let scene = Scene { before: Side::of(before), after: Side::of(after) };
    let mut out = Vec::new();
    if before.mode != after.mode {
        out.push(default_mode(before.mode, after.mode));
    }
    let (pairs, gone, come) = pair(&scene);
    for (old, new) in pairs {
        both(&scene, old, new, &mut out);
    }
    for (turn, side, positions) in [(Turn::Goes, &scene.before, gone), (Turn::Comes, &scene.after, come)] {
        for (position, policy, who) in side.policies() {
            if positions.contains(&position) {
                turns(&scene, turn, policy, who, None, &mut out);
            }
        }
    }
    out
}

fn default_mode(before: Mode, after: Mode) -> Change {
    let everybody = BTreeSet::from([agents::Selector::Glob("*".to_owned())]);
    let whom = Whom { policy: "", agents: &everybody, mode: Mode::Enforce };
    let (direction, what) = match after {
        Mode::Shadow => (Direction::More, "passes with everything, only observed; until now everything was refused"),
        Mode::Enforce => (Direction::Less, "is refused everything; until now everything passed, only observed"),
    };
    let sentence = format!("an agent without a policy {what}");
    whom.change(None, "mode", direction, (json!(before), json!(after)), sentence)
}

/// All that is compiled of a policy but its names, and whom it is for.
fn content(policy: &Policy, who: &Selectors) -> Value {
    let mut content = json!(policy);
    if let Some(fields) = content.as_object_mut() {
        fields.remove("id");
        if let Some(entries) = fields.get_mut("entries").and_then(Value::as_array_mut) {
            entries.iter_mut().filter_map(Value::as_object_mut).for_each(|entry| drop(entry.remove("label")));
            entries.sort_by_cached_key(Value::to_string);
        }
    }
    json!([content, who.iter().map(ToString::to_string).collect::<Vec<_>>()])
}

type Paired = (Vec<(usize, usize)>, BTreeSet<usize>, BTreeSet<usize>);

/// Policies that are equal belong together whatever they are called; then those of the same name; then, of those that were
/// only numbered, in their order.
fn pair(scene: &Scene<'_>) -> Paired {
    let mut old: Vec<(usize, &Policy, Value)> =
        scene.before.policies().map(|(at, policy, who)| (at, policy, content(policy, who))).collect();
    let mut new: BTreeMap<usize, (&Policy, Value)> =
        scene.after.policies().map(|(at, policy, who)| (at, (policy, content(policy, who)))).collect();
    let mut equal: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, (_, content)) in &new {
        equal.entry(content.to_string()).or_default().push(*at);
    }
    old.retain(|(_, _, content)| match equal.get_mut(&content.to_string()).and_then(Vec::pop) {
        Some(at) => new.remove(&at).is_none(),
        None => true,
    });
    let mut pairs = Vec::new();
    for by in [|id: &str| id.to_owned(), |id: &str| id.split('#').next().unwrap_or(id).to_owned()] {
        old.retain(|(at, policy, _)| {
            let id = by(&policy.id);
            let Some(other) = new.iter().find(|(_, (policy, _))| by(&policy.id) == id).map(|(at, _)| *at) else {
                return true;
            };
            new.remove(&other);
            pairs.push((*at, other));
            false
        });
    }
    (pairs, old.into_iter().map(|(at, ..)| at).collect(), new.into_keys().collect())
}

/// A policy that is there before and after.
fn both(scene: &Scene<'_>, old: usize, new: usize, out: &mut Vec<Change>) {
    let side = |side: &Side<'_>, at: usize| side.who.get(at).cloned().unwrap_or_default();
    let (had, has) = (side(&scene.before, old), side(&scene.after, new));
    let policies = scene.before.tables.policies.get(old).zip(scene.after.tables.policies.get(new));
    let Some((before, after)) = policies else { return };
    let lost: Selectors = had.difference(&has).cloned().collect();
    let gained: Selectors = has.difference(&had).cloned().collect();
    let kept: Selectors = had.intersection(&has).cloned().collect();
    if !lost.is_empty() {
        turns(scene, Turn::Goes, before, &lost, Some(&after.id), out);
    }
    if !gained.is_empty() {
        turns(scene, Turn::Comes, after, &gained, Some(&before.id), out);
    }
    if kept.is_empty() {
        return;
    }
    let whom = Whom { policy: &after.id, agents: &kept, mode: before.mode.min(after.mode) };
    if before.mode != after.mode {
        mode(scene, &whom, before, after, out);
    }
    egress(scene, &whom, before, after, out);
    let (was, is) = (rules::of_policy(before), rules::of_policy(after));
    let keys: BTreeSet<&String> = was.by_key.keys().chain(is.by_key.keys()).collect();
    for key in keys {
        let Some(mut direction) = was.direction(&is, key) else { continue };
        let others = |side: &Side<'_>, own: &Policy| side.enforcing(&kept, Some(&own.id)).next().is_some();
        // Its rules come to calls, or leave them, that other policies grant.
        if key == "tools" && (others(&scene.before, before) || others(&scene.after, after)) {
            direction = Direction::Different;
        }
        out.push(whom.rule_changed(None, key, direction, was.by_key.get(key), is.by_key.get(key)));
    }
    entries::compare(scene, &whom, before, after, out);
}

/// A policy that stops deciding, or starts to.
fn mode(scene: &Scene<'_>, whom: &Whom<'_>, before: &Policy, after: &Policy, out: &mut Vec<Change>) {
    let values = (json!(before.mode), json!(after.mode));
    let (turn, own, what) = match after.mode {
        Mode::Shadow => (Turn::Goes, after, "nothing that the policy says is refused any more, only observed"),
        Mode::Enforce => (Turn::Comes, before, "what the policy says is enforced; until now it was only observed"),
    };
    let direction = turn.direction(Direction::Less);
    let sentence = format!("{}: {what}", whom.does(direction));
    out.push(whom.change(None, "mode", direction, values.clone(), sentence));
    let grants =
        !after.entries.is_empty() || after.egress.is_some() || !before.entries.is_empty() || before.egress.is_some();
    if grants && scene.other(turn).enforcing(whom.agents, Some(&own.id)).next().is_some() {
        let direction = turn.direction(Direction::More);
        let what = match turn {
            Turn::Goes => "what only this policy grants is refused where another policy decides",
            Turn::Comes => "what this policy grants counts, also where another policy decides",
        };
        let sentence = format!("{}: {what}", whom.does(direction));
        out.push(whom.change(None, "mode", direction, values, sentence));
    }
}

fn egress(scene: &Scene<'_>, whom: &Whom<'_>, before: &Policy, after: &Policy, out: &mut Vec<Change>) {
    let value = |policy: &Policy| policy.egress.as_deref().map_or(Value::Null, values::egress);
    match (&before.egress, &after.egress) {
        (Some(old), Some(new)) => {
            let Some(direction) = rules::egress_direction(old, new) else { return };
            let (was, is) = (value(before), value(after));
            let sentence = format!("{}: may reach {}; until now {}", whom.does(direction), words(&is), words(&was));
            out.push(whom.change(None, "egress", direction, (was, is), sentence));
        }
        (Some(_), None) => egress_turns(scene, Turn::Goes, whom, before, &after.id, out),
        (None, Some(_)) => egress_turns(scene, Turn::Comes, whom, after, &before.id, out),
        (None, None) => {}
    }
}

/// A list of destinations that comes or goes: it grants, and holds what other policies list to itself.
fn egress_turns(scene: &Scene<'_>, turn: Turn, whom: &Whom<'_>, policy: &Policy, twin: &str, out: &mut Vec<Change>) {
    let Some(list) = policy.egress.as_deref().map(values::egress) else { return };
    let (who, hosts) = (whom.words(), words(&list));
    let sentence = match turn {
        Turn::Comes => format!("{who} may reach {hosts}"),
        Turn::Goes => format!("{who} may no longer reach {hosts} by this policy"),
    };
    out.push(whom.change(None, "egress", turn.direction(Direction::More), turn.values(list.clone()), sentence));
    if scene.other(turn).enforcing(whom.agents, Some(twin)).any(|policy| policy.egress.is_some()) {
        let sentence = match turn {
            Turn::Comes => format!("{who} may reach what other policies list only where it is among {hosts}"),
            Turn::Goes => format!("{who} may reach what other policies list, also where it isn't among {hosts}"),
        };
        out.push(whom.change(None, "egress", turn.direction(Direction::Less), turn.values(list), sentence));
    }
}

fn words(list: &Value) -> String {
    values::texts(list, "no destination")
}

/// A policy that comes to these agents, or goes from them. `twin`: its id on the side that hasn't it for them.
fn turns(
    scene: &Scene<'_>,
    turn: Turn,
    policy: &Policy,
    agents: &Selectors,
    twin: Option<&str>,
    out: &mut Vec<Change>,
) {
    let whom = Whom { policy: &policy.id, agents, mode: policy.mode };
    let (other, who) = (scene.other(turn), whom.words());
    let value = || turn.values(json!(agents.iter().map(ToString::to_string).collect::<Vec<_>>()));
    if policy.mode == Mode::Shadow {
        let decided = scene.before.surely_decided(agents, None) || scene.after.surely_decided(agents, None);
        let passes = other.tables.mode == Mode::Enforce && !decided;
        let direction = if passes { turn.direction(Direction::More) } else { Direction::Different };
        let what = match (turn, passes) {
            (Turn::Comes, true) => "passes with everything where no policy decides, only observed",
            (Turn::Goes, true) => {
                "is refused everything where no other policy is for it; until now it passed, observed"
            }
            (Turn::Comes, false) => "is observed by one more policy",
            (Turn::Goes, false) => "is no longer observed by this policy",
        };
        return out.push(whom.change(None, "agent", direction, value(), format!("{who} {what}")));
    }
    if other.may_only_observe(agents, twin) {
        let direction = turn.direction(Direction::Less);
        let what = match turn {
            Turn::Comes => "is held to policy where it was only observed until now",
            Turn::Goes => "may be only observed where this policy decided until now",
        };
        out.push(whom.change(None, "agent", direction, value(), format!("{who} {what}")));
    } else if policy.entries.is_empty() && policy.egress.is_none() {
        let what = match turn {
            Turn::Comes => "gets a policy that grants nothing",
            Turn::Goes => "loses a policy that granted nothing",
        };
        out.push(whom.change(None, "agent", Direction::Different, value(), format!("{who} {what}")));
    }
    egress_turns(scene, turn, &whom, policy, twin.unwrap_or(&policy.id), out);
    let (none, own) = (Rules::default(), rules::of_policy(policy));
    let (was, is) = if turn == Turn::Comes { (none, own) } else { (own, none) };
    let shared = other.enforcing(agents, twin).next().is_some();
    for key in was.by_key.keys().chain(is.by_key.keys()).filter(|key| shared && *key != "tools") {
        let direction = was.direction(&is, key).unwrap_or(Direction::Different);
        out.push(whom.rule_changed(None, key, direction, was.by_key.get(key), is.by_key.get(key)));
    }
    for entry in &policy.entries {
        let elsewhere = other.enforcing(agents, twin).any(|policy| entries::may_grant(policy, entry));
        entries::turns(turn, &whom, entry, elsewhere, out);
    }
}
