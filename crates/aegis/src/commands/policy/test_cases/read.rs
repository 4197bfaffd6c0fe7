//! `*.test.yaml` → cases, or everything that is wrong with the file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aegis_core::agent::Agent;
use aegis_core::decide::Verdict;
use aegis_core::document::{self, Diagnostic, Fields, Node, Place, Value};
use aegis_core::session::Session;
use jiff::Timestamp;

use super::super::written::{WrittenCall, texts, wrong};
use crate::config::START;

/// One case.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// Its file, and where it stands there.
    pub(super) file: String,
    pub(super) place: Place,
    pub(super) name: String,
    pub(super) agent: Agent,
    pub(super) what: What,
    /// The Unix epoch where the case doesn't say.
    pub(super) now: Timestamp,
    pub(super) session: Session,
    /// Whether a human has said yes to exactly this call.
    pub(super) approved: bool,
    /// What was spent of budgets before, in their units, by rule; by rule and window (`budget.daily`) where there are several.
    pub(super) spent: BTreeMap<String, f64>,
    pub(super) expect: Expect,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// A call, as written.
    Call(WrittenCall),
    /// A raw HTTP/1.1 request, and the route that it comes by.
    Request { raw: Vec<u8>, tool: Option<String>, cluster: Option<String>, env: Option<String> },
}

/// What is to be decided. What isn't said isn't compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expect {
    pub(super) decision: Verdict,
    /// In shadow mode: what would have been decided.
    pub(super) would_decision: Option<Verdict>,
    /// All rules that aren't kept.
    pub(super) rules: Option<BTreeSet<String>>,
    /// All their reasons.
    pub(super) reasons: Option<BTreeSet<String>>,
    /// All labels that the call leaves in the agent's session.
    pub(super) labels: Option<BTreeSet<String>>,
}

/// Reads a file.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn file(path: &Path) -> Result<Vec<Case>, Vec<Diagnostic>> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| vec![Diagnostic::error(&name, START, "", format!("the file can't be read: {error}"))])?;
    parse(&name, &text, path.parent().unwrap_or(Path::new(".")))
}

/// Reads the text of a file; the requests that it names are relative to `folder`.
pub(super) fn parse(file: &str, text: &str, folder: &Path) -> Result<Vec<Case>, Vec<Diagnostic>> {
    let documents = document::parse(file, text).map_err(|error| vec![error])?;
    let mut errors = Vec::new();
    let mut cases = Vec::new();
    for root in &documents {
        let Some(mut fields) = Fields::of(file, "", root, &mut errors) else { continue };
        fields.required("cases");
        fields.list("cases");
        fields.finish();
        let Some(Node { value: Value::List(items), .. }) = root.get("cases") else { continue };
        for (index, item) in items.iter().enumerate() {
            cases.extend(case(file, &format!("cases[{index}]"), item, folder, &mut errors));
        }
    }
    unique(&cases, &mut errors);
    if errors.is_empty() { Ok(cases) } else { Err(errors) }
}

fn unique(cases: &[Case], errors: &mut Vec<Diagnostic>) {
    let mut seen = BTreeMap::new();
    for case in cases {
        if let Some(line) = seen.insert(case.name.as_str(), case.place.line) {
            let message = format!("{:?} is already the name of the case at line {line}", case.name);
            errors.push(Diagnostic::error(&case.file, case.place, "case", message));
        }
    }
}

fn case(file: &str, path: &str, node: &Node, folder: &Path, errors: &mut Vec<Diagnostic>) -> Option<Case> {
    let mut fields = Fields::of(file, path, node, errors)?;
    let name = fields.required_text("case");
    let agent = fields.required_text("agent");
    let groups = texts(&mut fields, "groups");
    let what = read_what(&mut fields, folder);
    let now = read_now(&mut fields);
    let session = read_session(&mut fields);
    let approved = fields.bool("approved").unwrap_or(false);
    let spent = read_spent(&mut fields);
    fields.required("expect");
    let expect = fields.map("expect").and_then(read_expect);
    fields.finish();
    let agent = Agent { groups, ..Agent::named(agent?) };
    let (file, place) = (file.to_owned(), node.place);
    Some(Case { file, place, name: name?, agent, what: what?, now, session, approved, spent, expect: expect? })
}

fn read_what(fields: &mut Fields<'_>, folder: &Path) -> Option<What> {
    let place = fields.place();
    let (call, request) = (fields.node("call"), fields.node("request"));
    match (call, request) {
        (Some(at), None) => {
            let mut inner = fields.map("call")?;
            let call = WrittenCall::read(&mut inner);
            if !call.says_what() {
                inner.error_at("", at.place, "a call is `tool` and `action`, or a `destination`", None);
            }
            inner.finish();
            Some(What::Call(call))
        }
        (None, Some(at)) => {
            let mut inner = fields.map("request")?;
            let file = inner.required_text("file");
            let (tool, cluster, env) = (inner.text("tool"), inner.text("cluster"), inner.text("env"));
            let raw = file.and_then(|file| {
                let path = folder.join(file);
                let read = std::fs::read(&path);
                let said = |error| format!("{} can't be read: {error}", path.display());
                read.map_err(|error| inner.error_at("file", at.place, said(error), None)).ok()
            });
            inner.finish();
            Some(What::Request { raw: raw?, tool, cluster, env })
        }
        _ => {
            fields.error_at("call", place, "a case has one of `call` and `request`", None);
            None
        }
    }
}

fn read_now(fields: &mut Fields<'_>) -> Timestamp {
    let Some(node) = fields.node("now") else { return Timestamp::UNIX_EPOCH };
    match node.text().map(str::parse::<Timestamp>) {
        Some(Ok(now)) => now,
        _ => {
            let hint = Some("write it as in 2026-12-24T18:00:00Z".to_owned());
            fields.error_at("now", node.place, "this is no time (RFC 3339)", hint);
            Timestamp::UNIX_EPOCH
        }
    }
}

fn read_session(fields: &mut Fields<'_>) -> Session {
    let mut session = Session::default();
    let Some(mut inner) = fields.map("session") else { return session };
    session.labels = texts(&mut inner, "labels").into_iter().collect();
    if let Some(node) = inner.node("counts") {
        match serde_json::from_value(node.to_json()) {
            Ok(counts) => session.counts = counts,
            Err(_) => wrong(&mut inner, "counts", node, "a mapping of whole numbers"),
        }
    }
    inner.finish();
    session
}

fn read_spent(fields: &mut Fields<'_>) -> BTreeMap<String, f64> {
    let Some(node) = fields.node("spent") else { return BTreeMap::new() };
    let spent: Option<BTreeMap<String, f64>> = serde_json::from_value(node.to_json()).ok();
    match spent.filter(|spent| spent.values().all(|amount| *amount >= 0.0)) {
        Some(spent) => spent,
        None => {
            let hint = Some("write it as in spent: {daily_budget: 49.50}".to_owned());
            fields.error_at("spent", node.place, "expected a budget's key and an amount in its unit", hint);
            BTreeMap::new()
        }
    }
}

fn read_expect(mut fields: Fields<'_>) -> Option<Expect> {
    fields.required("decision");
    let decision = verdict(&mut fields, "decision");
    let would_decision = verdict(&mut fields, "would_decision");
    let mut set = |key: &str| fields.texts(key).map(|list| list.into_iter().map(|(_, text)| text).collect());
    let (rules, reasons, labels) = (set("rules"), set("reasons"), set("labels"));
    fields.finish();
    Some(Expect { decision: decision?, would_decision, rules, reasons, labels })
}

fn verdict(fields: &mut Fields<'_>, key: &str) -> Option<Verdict> {
    let node = fields.node(key)?;
    let verdict = serde_json::from_value(node.to_json()).ok();
    if verdict.is_none() {
        let hint = Some("allow, sanitize, approval_needed or deny".to_owned());
        fields.error_at(key, node.place, "this is no decision", hint);
    }
    verdict
}
