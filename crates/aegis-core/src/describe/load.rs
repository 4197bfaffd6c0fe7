//! YAML → checked, compiled tools. The format is described in `docs/adr/0004-catalogue-format.md`.

mod action;
mod message;
mod refusal;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::environment::EnvironmentMap;
use super::glob::Glob;
use super::pointer::Pointer;
use super::signed::Part;
use super::template::Template;
use super::tool::{Action, Case, Object, Routes, Tool};
use super::{Catalogue, cost};
use crate::agent::valid_name;
use crate::call::{ActionName, Companion, ToolCall};
use crate::document::{Diagnostic, Fields, Node, Value, parse};
use crate::policy::Source;

/// The tools that come with Aegis.
const BUILT_IN: &[(&str, &str)] = &[
    ("catalogue/argocd.yaml", include_str!("../../../../catalogue/argocd.yaml")),
    (
        "catalogue/aws_application_autoscaling.yaml",
        include_str!("../../../../catalogue/aws_application_autoscaling.yaml"),
    ),
    ("catalogue/aws_autoscaling.yaml", include_str!("../../../../catalogue/aws_autoscaling.yaml")),
    ("catalogue/aws_ec2.yaml", include_str!("../../../../catalogue/aws_ec2.yaml")),
    ("catalogue/aws_ecs.yaml", include_str!("../../../../catalogue/aws_ecs.yaml")),
    ("catalogue/aws_eks.yaml", include_str!("../../../../catalogue/aws_eks.yaml")),
    ("catalogue/aws_lambda.yaml", include_str!("../../../../catalogue/aws_lambda.yaml")),
    ("catalogue/aws_sts.yaml", include_str!("../../../../catalogue/aws_sts.yaml")),
    ("catalogue/azure_container_apps.yaml", include_str!("../../../../catalogue/azure_container_apps.yaml")),
    ("catalogue/cloud_run.yaml", include_str!("../../../../catalogue/cloud_run.yaml")),
    ("catalogue/anthropic.yaml", include_str!("../../../../catalogue/anthropic.yaml")),
    ("catalogue/gemini.yaml", include_str!("../../../../catalogue/gemini.yaml")),
    ("catalogue/crates.yaml", include_str!("../../../../catalogue/crates.yaml")),
    ("catalogue/git.yaml", include_str!("../../../../catalogue/git.yaml")),
    ("catalogue/github.yaml", include_str!("../../../../catalogue/github.yaml")),
    ("catalogue/gitlab.yaml", include_str!("../../../../catalogue/gitlab.yaml")),
    ("catalogue/jenkins.yaml", include_str!("../../../../catalogue/jenkins.yaml")),
    ("catalogue/kubernetes.yaml", include_str!("../../../../catalogue/kubernetes.yaml")),
    ("catalogue/npm.yaml", include_str!("../../../../catalogue/npm.yaml")),
    ("catalogue/oci.yaml", include_str!("../../../../catalogue/oci.yaml")),
    ("catalogue/pagerduty.yaml", include_str!("../../../../catalogue/pagerduty.yaml")),
    ("catalogue/pypi.yaml", include_str!("../../../../catalogue/pypi.yaml")),
    ("catalogue/slack.yaml", include_str!("../../../../catalogue/slack.yaml")),
    ("catalogue/stripe.yaml", include_str!("../../../../catalogue/stripe.yaml")),
    ("catalogue/terraform.yaml", include_str!("../../../../catalogue/terraform.yaml")),
    ("catalogue/openai.yaml", include_str!("../../../../catalogue/openai.yaml")),
    ("catalogue/prices.yaml", include_str!("../../../../catalogue/prices.yaml")),
];
/// Facts that the way in states, whatever the tool.
const ARRIVAL_FACTS: [&str; 4] = ["cluster", "host", "mcp", "route"];

/// Reads everything; see [`Catalogue::load`].
pub(super) fn catalogue(sources: &[Source], environments: Option<(&str, &Node)>) -> Result<Catalogue, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut tools = BTreeMap::new();
    let mut prices = cost::Prices::default();
    let built_in = BUILT_IN.iter().copied();
    for (file, text) in built_in.chain(sources.iter().map(|source| (source.file.as_str(), source.text.as_str()))) {
        let documents = match parse(file, text) {
            Ok(documents) => documents,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        for document in &documents {
            if cost::is_prices(document) {
                prices.prefer(cost::prices(&mut Context { file, errors: &mut errors }, document));
                continue;
            }
            let Some(tool) = tool(file, document, &mut errors) else { continue };
            if tools.contains_key(&tool.name) || tool.name == ToolCall::HTTP {
                let message = format!("the tool {:?} is defined already", tool.name);
                let place = document.get("tool").map_or(document.place, |node| node.place);
                let suggestion = "give it another name: built-in tools can't be redefined";
                errors.push(Diagnostic::error(file, place, "tool", message).suggest(Some(suggestion)));
                continue;
            }
            check_hosts(file, document, &tool, &tools, &mut errors);
            tools.insert(tool.name.clone(), tool);
        }
    }
    let environments = environments.map(|(file, node)| {
        let facts = facts(&tools);
        EnvironmentMap::read(file, node, &facts, &mut errors)
    });
    if errors.is_empty() {
        Ok(Catalogue { tools, prices, environments: environments.unwrap_or_default() })
    } else {
        Err(errors)
    }
}

/// Every fact that some target can have, for the environment map.
fn facts(tools: &BTreeMap<String, Tool>) -> BTreeSet<&str> {
    let actions = tools.values().flat_map(|tool| &tool.actions);
    let stated = actions.flat_map(|action| {
        let variables = action.templates.iter().flat_map(|template| template.variables());
        variables.chain(action.target.keys().map(String::as_str)).chain(action.resolved_facts())
    });
    let signed = tools.values().flat_map(|tool| tool.signed_facts.iter().map(|(name, _)| name.as_str()));
    stated.chain(signed).chain(ARRIVAL_FACTS).collect()
}

/// Two tools on the same host would leave it to chance which one a request is judged as.
fn check_hosts(file: &str, document: &Node, tool: &Tool, tools: &BTreeMap<String, Tool>, errors: &mut Vec<Diagnostic>) {
    for other in tools.values() {
        if tool.hosts.iter().any(|host| other.hosts.iter().any(|taken| host.overlaps(taken))) {
            let message = format!("{:?} is on one of these hosts already", other.name);
            errors.push(Diagnostic::error(file, document.place, "route.hosts", message));
        }
    }
}

/// Collects errors about one file.
pub(super) struct Context<'a> {
    file: &'a str,
    errors: &'a mut Vec<Diagnostic>,
}

impl Context<'_> {
    pub(super) fn error(&mut self, node: &Node, path: &str, message: impl Into<String>) {
        self.errors.push(Diagnostic::error(self.file, node.place, path, message));
    }

    pub(super) fn fields<'b>(&'b mut self, path: &str, node: &'b Node) -> Option<Fields<'b>> {
        Fields::of(self.file, path, node, self.errors)
    }

    /// A text, or a list of texts.
    pub(super) fn texts<'n>(&mut self, path: &str, node: Option<&'n Node>) -> Vec<(&'n Node, &'n str)> {
        let items = match node.map(|node| (&node.value, node)) {
            None => return Vec::new(),
            Some((Value::List(items), _)) => items.as_slice(),
            Some((_, one)) => std::slice::from_ref(one),
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.text() {
                Some(text) => texts.push((item, text)),
                None => self.error(item, path, format!("expected text, found {}", item.value.kind())),
            }
        }
        texts
    }

    /// Texts, each turned into a value or an error at its place.
    pub(super) fn parsed<T>(
        &mut self,
        path: &str,
        node: Option<&Node>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for (item, text) in self.texts(path, node) {
            match parse(text) {
                Ok(value) => values.push(value),
                Err(message) => self.error(item, path, message),
            }
        }
        values
    }

    /// The entries of a mapping; none if there is no node.
    pub(super) fn entries<'n>(&mut self, path: &str, node: Option<&'n Node>) -> Vec<(&'n str, &'n Node)> {
        match node.map(|node| (&node.value, node)) {
            None => Vec::new(),
            Some((Value::Map(entries), _)) => entries.iter().map(|(key, node)| (key.name.as_str(), node)).collect(),
            Some((other, node)) => {
                self.error(node, path, format!("expected a mapping, found {}", other.kind()));
                Vec::new()
            }
        }
    }

    /// The items of a list; none if there is no node.
    pub(super) fn items<'n>(&mut self, path: &str, node: Option<&'n Node>) -> &'n [Node] {
        match node.map(|node| (&node.value, node)) {
            None => &[],
            Some((Value::List(items), _)) => items,
            Some((other, node)) => {
                self.error(node, path, format!("expected a list, found {}", other.kind()));
                &[]
            }
        }
    }
}

fn tool(file: &str, node: &Node, errors: &mut Vec<Diagnostic>) -> Option<Tool> {
    let mut context = Context { file, errors };
    let mut fields = context.fields("", node)?;
    let version = fields.required_text("apiVersion");
    if version.is_some_and(|version| version != "aegis/v1") {
        fields.error_at("apiVersion", fields.place(), "only aegis/v1 is known", None);
    }
    let name = fields.required_text("tool");
    let encoded_slash = fields.bool("encoded_slash").unwrap_or(false);
    let secret_path = fields.bool("secret_path").unwrap_or(false);
    for key in ["route", "facts", "deny_response", "refuse_headers", "companions", "objects", "cases"] {
        fields.node(key);
    }
    fields.node("ignore_case");
    fields.required("actions");
    fields.finish();
    let name = name?;
    if !valid_name(&name) || name.contains('/') {
        context.error(node, "tool", format!("{name:?} is no tool's name: letters, digits, `.`, `_`, `-`, `@`"));
    }
    let deny = refusal::read(&mut context, node.get("deny_response"));
    let objects = objects(&mut context, node.get("objects"));
    let mut tool = Tool {
        hosts: hosts(&mut context, node.get("route")),
        refused_headers: context
            .parsed("refuse_headers", node.get("refuse_headers"), |text| Ok(Glob::new(&text.to_ascii_lowercase()))),
        ignore_case: context
            .parsed("ignore_case", node.get("ignore_case"), |text| Ok(text.to_owned()))
            .into_iter()
            .collect(),
        actions: actions(&mut context, node),
        routes: Routes::default(),
        cases: cases(&mut context, node.get("cases")),
        name,
        deny,
        encoded_slash,
        secret_path,
        signed_facts: signed_facts(&mut context, node.get("facts")),
        objects,
    };
    tool.routes = Routes::new(&tool.actions);
    Some(tool)
}

/// `facts: {region: {sigv4: region}}`
fn signed_facts(context: &mut Context<'_>, node: Option<&Node>) -> Vec<(String, Part)> {
    let mut facts = Vec::new();
    for (name, node) in context.entries("facts", node) {
        let path = format!("facts.{name}");
        let Some(mut fields) = context.fields(&path, node) else { continue };
        fields.required("sigv4");
        fields.finish();
        let parts = context.parsed(&path, node.get("sigv4"), |text| action::one_of(&Part::ALL, text));
        facts.extend(parts.into_iter().map(|part| (name.to_owned(), part)));
    }
    facts
}

fn hosts(context: &mut Context<'_>, node: Option<&Node>) -> Vec<Glob> {
    let Some(node) = node else { return Vec::new() };
    let Some(mut fields) = context.fields("route", node) else { return Vec::new() };
    fields.node("hosts");
    fields.finish();
    context.parsed("route.hosts", node.get("hosts"), |text| {
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.*:".contains(c);
        let mut labels = text.split('.');
        // In front it may stand for a part of a name; elsewhere for whole ones.
        let whole = labels.next().is_some_and(|first| !first.strip_prefix('*').unwrap_or(first).contains('*'))
            && labels.all(|label| label == "*" || !label.contains('*'));
        if text.is_empty() || text == "*" || text.matches('*').count() > 1 || !whole || !text.chars().all(valid) {
            return Err(format!("{text:?} is no host: lower case, at most one `*`, in front or between two dots"));
        }
        Ok(Glob::new(text))
    })
}

fn objects(context: &mut Context<'_>, node: Option<&Node>) -> BTreeMap<String, Object> {
    let mut objects = BTreeMap::new();
    for (name, node) in context.entries("objects", node) {
        let path = format!("objects.{name}");
        let Some(mut fields) = context.fields(&path, node) else { continue };
        let kind = fields.required_text("kind");
        fields.node("at");
        fields.finish();
        let mut at = BTreeMap::new();
        for (place, node) in context.entries(&path, node.get("at")) {
            let pointers = context.parsed(&format!("{path}.at.{place}"), Some(node), Pointer::parse);
            at.extend(pointers.into_iter().next().map(|pointer| (place.to_owned(), pointer)));
        }
        objects.extend(kind.map(|kind| (name.to_owned(), Object { kind, at })));
    }
    objects
}

fn cases(context: &mut Context<'_>, node: Option<&Node>) -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, node) in context.items("cases", node).iter().enumerate() {
        let Some(mut fields) = context.fields(&format!("cases[{index}]"), node) else { continue };
        let (name, request) = (fields.required_text("name"), fields.required_text("request"));
        let body = fields.text("body_base64");
        let expect = fields.required("expect").map(Node::to_json);
        fields.finish();
        let body = body.map(|text| STANDARD.decode(text)).transpose().unwrap_or_else(|error| {
            context.error(node, &format!("cases[{index}].body_base64"), format!("this is no base64: {error}"));
            None
        });
        if let (Some(name), Some(request), Some(expect)) = (name, request, expect) {
            cases.push(Case { name, request, body, expect });
        }
    }
    cases
}

/// All entries, with the tool's discovery reads as one of them, companions resolved, and ties refused.
fn actions(context: &mut Context<'_>, node: &Node) -> Vec<Action> {
    let mut places = Vec::new();
    let mut actions = Vec::new();
    let mut wishes = Vec::new();
    for (index, entry) in context.items("actions", node.get("actions")).iter().enumerate() {
        if let Some((action, companion_of)) = action::read(context, &format!("actions[{index}]"), entry) {
            places.push((format!("actions[{index}]"), entry));
            actions.push(action);
            wishes.push(companion_of);
        }
    }
    if let Some(companions) = node.get("companions") {
        actions.push(action::discovery(context, companions));
        places.push(("companions".to_owned(), companions));
        wishes.push(Vec::new());
    }
    resolve_companions(context, &mut actions, &places, &wishes);
    for (index, action) in actions.iter().enumerate() {
        for (other, (path, at)) in actions.iter().zip(&places).skip(index + 1) {
            if action.ties_with(other) {
                let first = places.get(index).map(|(_, node)| node.place.line).unwrap_or_default();
                let message = format!(
                    "{} and {} (line {first}) match the same request, and neither is more specific",
                    other.name, action.name
                );
                context.error(at, path, message);
            }
        }
    }
    actions
}

/// A read named as a companion of some writes comes with those of their entries that write what it shows. Decided for each
/// kind by itself: a grant to scale deployments shows no other objects.
fn resolve_companions(
    context: &mut Context<'_>,
    actions: &mut [Action],
    places: &[(String, &Node)],
    wishes: &[Vec<String>],
) {
    let mut resolved = Vec::new();
    for ((index, wish), (path, node)) in wishes.iter().enumerate().zip(places) {
        for name in wish.iter().filter(|name| !actions.iter().any(|write| write.name == **name)) {
            context.error(node, path, format!("companion_of: there is no action {name:?}"));
        }
        if let (Some(read), false) = (actions.get(index), wish.is_empty()) {
            let templates: Vec<Template> = read.templates.iter().flat_map(Template::split).collect();
            let companions: Vec<Companion> =
                templates.iter().map(|template| companion(actions, wish, template)).collect();
            resolved.push((index, templates, companions));
        }
    }
    for (index, templates, companions) in resolved {
        if let Some(action) = actions.get_mut(index) {
            (action.templates, action.companions) = (templates, companions);
        }
    }
}

fn companion(actions: &[Action], wish: &[String], read: &Template) -> Companion {
    let mut names: Vec<ActionName> = Vec::new();
    for write in actions.iter().filter(|write| wish.contains(&write.name)) {
        let found = ActionName { action: write.name.clone(), classes: write.classes.clone() };
        if write.templates.iter().any(|template| template.writes_what(read)) && !names.contains(&found) {
            names.push(found);
        }
    }
    if names.is_empty() { Companion::No } else { Companion::OfActions(names) }
}
