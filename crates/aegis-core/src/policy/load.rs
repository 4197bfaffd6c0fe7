//! Policy files → [`Tables`], or everything that is wrong with them.

mod budgets;
mod cache;
mod conditions;
mod entry;
mod images;
mod keys;
mod labels;
mod rules;
mod sanitize;
mod terms;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use cache::Cache;
use jiff::Timestamp;

use super::budget::Budget;
use super::calendar::{self, Calendar};
use super::condition::{Condition, Shape};
use super::custom::{self, Custom};
use super::egress::EgressPattern;
use super::lint::EMPTY;
use super::tables::{Entry, Origin, Policy, Shared, Tables, Whom};
use super::{Mode, Options, Source};
use crate::agent::valid_name;
use crate::document::{self, Diagnostic, Fields, Node, Place, Value};

/// Largest policy file, in bytes.
const MAX_FILE: usize = 1 << 20;
/// Most entries of a policy.
const MAX_ENTRIES: usize = 1_000;
/// Longest list anywhere in a policy.
const MAX_LIST: usize = 10_000;
/// Most shapes of conditions in all policies: each is a Rego rule, and engines try them one by one.
const MAX_SHAPES: usize = 200;
/// What was loaded.
pub(super) struct Loaded {
    pub(super) tables: Tables,
    /// The generated Rego rules, by id.
    pub(super) shapes: BTreeSet<Shape>,
    /// The custom modules.
    pub(super) modules: Vec<Custom>,
    pub(super) warnings: Vec<Diagnostic>,
    /// Every freeze, and when it is over.
    pub(super) freezes: Vec<(Timestamp, Diagnostic)>,
}

/// A policy before it has its id.
struct Draft {
    origin: Origin,
    file: String,
    place: Place,
    name: Option<String>,
    agent: Option<String>,
    groups: Vec<String>,
    mode: Mode,
    tools: Option<BTreeSet<String>>,
    egress: Option<Vec<EgressPattern>>,
    rate: Option<super::tables::Rate>,
    budgets: Vec<Budget>,
    calendar: Calendar,
    deny: Vec<Shared<Condition>>,
    entries: Vec<(String, Entry)>,
}

/// Diagnostics on the way.
#[derive(Default)]
struct Report {
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

/// Reads all sources; their order doesn't matter.
pub(super) fn load(sources: &[Source], options: &Options) -> Result<Loaded, Vec<Diagnostic>> {
    let mut sorted: Vec<&Source> = sources.iter().collect();
    sorted.sort_by(|a, b| (&a.file, &a.text).cmp(&(&b.file, &b.text)));
    let mut report = Report::default();
    let mut cache = Cache::default();
    let (mut drafts, mut modules) = (Vec::new(), Vec::new());
    for source in sorted {
        if source.file.to_ascii_lowercase().ends_with(".rego") {
            match Custom::load(source, options) {
                Ok(module) => modules.push(module),
                Err(errors) => report.errors.extend(errors),
            }
            continue;
        }
        read_source(source, options, &mut drafts, &mut cache, &mut report);
    }
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    report.errors.extend(custom::together(&modules).err().into_iter().flatten());
    let ids = assign_ids(&drafts, &mut report);
    labels::warn_of_unknown(&drafts, &mut report);
    let freezes = drafts.iter().flat_map(freezes_of).collect();
    let mut tables = index(drafts, ids, options, &mut cache, &mut report);
    for counts in modules.iter().filter_map(|module| module.session.as_ref()) {
        tables.remembers = true;
        tables.counted.extend(counts.iter().cloned());
    }
    let shapes = cache.into_shapes();
    let Report { mut errors, warnings } = report;
    if errors.is_empty() {
        return Ok(Loaded { tables, shapes, modules, warnings, freezes });
    }
    errors.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Err(errors)
}

/// The freezes of a policy, each with what there is to say once it is over.
fn freezes_of(draft: &Draft) -> impl Iterator<Item = (Timestamp, Diagnostic)> {
    draft.calendar.freezes.iter().map(|(name, freeze)| {
        let message = format!("the freeze {name:?} is over since {}", freeze.until);
        (freeze.until, Diagnostic::error(&draft.file, freeze.place, "freezes", message).warning())
    })
}

fn read_source(source: &Source, options: &Options, drafts: &mut Vec<Draft>, cache: &mut Cache, report: &mut Report) {
    let Source { file, text } = source;
    let start = Place { line: 1, column: 1 };
    if text.len() > MAX_FILE {
        let message = format!("the file is larger than {} MiB", MAX_FILE >> 20);
        report.errors.push(Diagnostic::error(file, start, "", message));
        return;
    }
    match document::parse(file, text) {
        Err(error) => report.errors.push(error),
        Ok(nodes) => {
            if nodes.is_empty() {
                report
                    .warnings
                    .push(Diagnostic::error(file, start, "", "the file holds no policy").of(&EMPTY).warning());
            }
            drafts.extend(nodes.iter().filter_map(|node| read_policy(source, node, options, cache, report)));
        }
    }
}

fn read_policy(
    source: &Source,
    node: &Node,
    options: &Options,
    cache: &mut Cache,
    report: &mut Report,
) -> Option<Draft> {
    let file = source.file.as_str();
    let mut fields = Fields::of(file, "", node, &mut report.errors)?;
    if let Some(version) = fields.text("apiVersion")
        && version != "aegis/v1"
    {
        let suggestion = Some("this version reads aegis/v1".to_owned());
        let place = fields.node("apiVersion").map_or(node.place, |node| node.place);
        fields.error_at("apiVersion", place, format!("unknown version {version:?}"), suggestion);
    }
    let name = fields.text("name");
    if let (Some(name), Some(at)) = (&name, node.get("name"))
        && (name.is_empty() || name.len() > 128 || name.contains(|c: char| c.is_control() || "#|".contains(c)))
    {
        fields.error_at("name", at.place, "a policy's name is 1 to 128 characters, without `#` and `|`", None);
    }
    if let Some(at) = node.get("name").filter(|_| name.as_deref().is_some_and(|name| name.starts_with("rego:"))) {
        fields.error_at("name", at.place, "names that begin with `rego:` belong to custom modules", None);
    }
    let agent = fields.text("agent");
    let groups: Vec<String> =
        values::texts(&mut fields, "groups").unwrap_or_default().into_iter().map(|(_, group)| group).collect();
    check_agent(&mut fields, node, agent.as_deref(), groups.is_empty());
    let mode = values::mode(&mut fields).unwrap_or(options.mode);
    let tools = values::tools(&mut fields);
    let rate = values::rate(&mut fields);
    let budgets = budgets::read(&mut fields);
    let egress = values::egress(&mut fields);
    let mut freeze_errors = Vec::new();
    let calendar = calendar::read(file, &mut fields, &mut freeze_errors);
    cache.enter(calendar.clone());
    let deny = conditions::deny_if(source, &mut fields, cache);
    fields.list("actions");
    let actions = match node.get("actions") {
        Some(Node { value: Value::List(items), .. }) => items.as_slice(),
        _ => &[],
    };
    if actions.len() > MAX_ENTRIES {
        fields.error_at("actions", node.place, format!("more than {MAX_ENTRIES} entries in one policy"), None);
    }
    keys::refuse_those_of_entries(&mut fields);
    fields.finish();
    report.errors.append(&mut freeze_errors);
    let entries: Vec<(String, Entry)> = actions
        .iter()
        .take(MAX_ENTRIES)
        .enumerate()
        .filter_map(|(index, item)| entry::read(source, index, item, cache, report))
        .collect();
    if actions.is_empty() && egress.is_none() && deny.is_empty() {
        let message = "the policy allows nothing: it has neither `actions` nor `egress`";
        report.warnings.push(Diagnostic::error(file, node.place, "", message).of(&EMPTY).warning());
    }
    let origin = entry::origin(file, "", name.as_deref().unwrap_or_default(), node);
    let (file, place) = (file.to_owned(), node.place);
    Some(Draft {
        origin,
        file,
        place,
        name,
        agent,
        groups,
        mode,
        tools,
        egress,
        rate,
        budgets,
        calendar,
        deny,
        entries,
    })
}

fn check_agent(fields: &mut Fields<'_>, node: &Node, agent: Option<&str>, no_groups: bool) {
    let at = node.get("agent");
    match (agent, at) {
        (Some(agent), Some(at)) if !valid_name(&agent.replace('*', "a")) => {
            let message = format!("{agent:?} can't be an agent's name: letters, digits and ._-@/ only, or `*`");
            fields.error_at("agent", at.place, message, None);
        }
        (None, None) if no_groups => {
            fields.error_at("agent", node.place, "`agent` is missing: name the agent, or `groups`", None);
        }
        (None, Some(at)) if at.value == Value::Null => {
            fields.error_at("agent", at.place, "expected text, found nothing", None);
        }
        _ => {}
    }
}

/// A policy's id is its name, or its agent (or groups) with `#2`… where several have the same.
fn assign_ids(drafts: &[Draft], report: &mut Report) -> Vec<String> {
    let mut seen: BTreeMap<&str, &Draft> = BTreeMap::new();
    for draft in drafts {
        let Some(name) = draft.name.as_deref() else { continue };
        if let Some(first) = seen.insert(name, draft) {
            let message = format!("{name:?} is already the name of a policy, at {}:{}", first.file, first.place.line);
            report.errors.push(Diagnostic::error(&draft.file, draft.place, "name", message));
        }
    }
    let mut taken: BTreeSet<String> = seen.keys().map(|&name| name.to_owned()).collect();
    let ids = drafts.iter().map(|draft| {
        if let Some(name) = &draft.name {
            return name.clone();
        }
        let base = draft.agent.clone().unwrap_or_else(|| format!("group:{}", draft.groups.join("+")));
        let numbered = (1..=drafts.len() + 1).map(|n| if n == 1 { base.clone() } else { format!("{base}#{n}") });
        let id = numbered.into_iter().find(|id| !taken.contains(id)).unwrap_or(base);
        taken.insert(id.clone());
        id
    });
    ids.collect()
}

fn index(drafts: Vec<Draft>, ids: Vec<String>, options: &Options, cache: &mut Cache, report: &mut Report) -> Tables {
    let mut tables = Tables { mode: options.mode, ..cache.host_keeps() };
    for (position, (draft, id)) in drafts.into_iter().zip(ids).enumerate() {
        let whom = Whom { agent: draft.agent.clone(), groups: draft.groups.iter().cloned().collect() };
        match draft.agent {
            Some(agent) if agent.contains('*') => match cache.glob(&agent, None) {
                Ok(pattern) => tables.globs.add(&agent, pattern, position),
                Err(message) => report.errors.push(Diagnostic::error(&draft.file, draft.place, "agent", message)),
            },
            Some(agent) => tables.exact.entry(agent).or_default().push(position),
            None => {}
        }
        for group in draft.groups {
            tables.groups.entry(group).or_default().push(position);
        }
        let mut labels: BTreeMap<String, usize> = BTreeMap::new();
        let mut entries = Vec::with_capacity(draft.entries.len());
        for (name, mut entry) in draft.entries {
            entry.label = match labels.entry(name.clone()).and_modify(|n| *n += 1).or_insert(1) {
                1 => format!("{id}/{name}"),
                nth => format!("{id}/{name}#{nth}"),
            };
            tables.remembers |= !entry.labels.is_empty();
            entries.push(entry);
        }
        let Draft { origin, mode, tools, egress, rate, budgets, deny, .. } = draft;
        let mode = options.modes.get(&id).copied().unwrap_or(mode);
        tables.policies.push(Policy { origin, whom, id, mode, tools, egress, rate, budgets, deny, entries });
    }
    tables
}
