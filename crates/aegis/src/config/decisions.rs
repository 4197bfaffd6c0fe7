//! `decision_api:`: where callers reach it, and which of them may ask for others.

use aegis_core::agent::valid_name;
use aegis_core::document::{Diagnostic, Fields, Node, Place, Value};
use aegis_server::identify::Pep;

/// What a gateway's decision API is told.
#[derive(Debug, Clone, Default)]
pub(crate) struct DecisionApi {
    /// The address that callers reach the API at, where that isn't the listener's.
    pub(crate) public_url: Option<String>,
    /// Who may ask for whom.
    pub(crate) peps: Vec<Pep>,
}

/// Reads and checks `decision_api:`.
pub(super) fn read(file: &str, node: &Node, errors: &mut Vec<Diagnostic>) -> DecisionApi {
    let mut api = DecisionApi::default();
    let Some(mut fields) = Fields::of(file, "decision_api", node, errors) else { return api };
    if let Some(node) = fields.node("public_url") {
        api.public_url = fields.text("public_url");
        if api.public_url.as_deref().is_some_and(|url| !is_base(url)) {
            let message = "expected https://HOST[:PORT][/PATH], without user, query or fragment";
            fields.error_at("public_url", node.place, message, None);
        }
    }
    fields.list("peps"); // says that the key exists and is a list; its elements are read below
    fields.finish();
    if let Some(Value::List(peps)) = node.get("peps").map(|node| &node.value) {
        api.peps = peps.iter().enumerate().filter_map(|(index, node)| pep(file, index, node, errors)).collect();
    }
    api
}

fn pep(file: &str, index: usize, node: &Node, errors: &mut Vec<Diagnostic>) -> Option<Pep> {
    let mut fields = Fields::of(file, &format!("decision_api.peps[{index}]"), node, errors)?;
    let agent = fields.required_text("agent");
    if let (Some(agent), Some(node)) = (&agent, fields.node("agent"))
        && !valid_name(agent)
    {
        fields.error_at("agent", node.place, format!("{agent:?} can't be an agent's name"), None);
    }
    fields.required("subjects");
    let subjects = fields.texts("subjects");
    for (place, subject) in subjects.iter().flatten() {
        check_subject(&mut fields, *place, subject);
    }
    fields.finish();
    Some(Pep { agent: agent?, subjects: subjects?.into_iter().map(|(_, subject)| subject).collect() })
}

/// A registered name, or the start of some.
fn check_subject(fields: &mut Fields<'_>, place: Place, subject: &str) {
    let name = match subject.strip_suffix('*') {
        Some(start) => format!("{start}a"),
        None => subject.to_owned(),
    };
    if !valid_name(&name) {
        let message = "expected a registered name, or the start of some and a `*` at the end";
        fields.error_at("subjects", place, message, Some("write user/alice or user/*".to_owned()));
    }
}

fn is_base(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let authority = rest.split('/').next().unwrap_or_default();
        !authority.is_empty() && !rest.contains(['?', '#', '@']) && rest.chars().all(|c| c.is_ascii_graphic())
    })
}
