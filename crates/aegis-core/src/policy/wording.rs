//! Findings in words: which limit, which value. Messages quote values that a rule could read, cut short; they go to the caller,
//! whose values they are, and to approvers, who see the whole call. Records have the reasons only.

mod rules;

use super::condition::{Condition, Truth};
use super::tables::{Entry, ImageRule, Policy, Shared};
use super::{Asked, Finding, Reason};
use crate::call::{IMAGES, Image, Payload, ToolCall};
use crate::problem::Violation;

/// Longest text that a message quotes, in characters.
const MAX_QUOTED: usize = 80;
/// Longest message of a custom module that is shown, in characters.
const MAX_SAID: usize = 300;

/// A finding in words; `policy` is the one that it names, when it names one.
pub(super) fn violation(finding: &Finding, policy: Option<&Policy>, asked: Asked<'_>) -> Violation {
    let call = asked.call;
    let entry = policy.zip(finding.entry).and_then(|(policy, index)| policy.entries.get(index));
    let mut violation = Violation {
        rule: finding.rule.clone(),
        policy: finding.policy.clone(),
        reason: finding.reason.as_str().to_owned(),
        param: None,
        limit: None,
        actual: None,
        message: String::new(),
    };
    match (finding.rule.as_str(), entry) {
        ("allowed_environments", Some(entry)) => environment(&mut violation, entry, call),
        ("approval_needed", Some(entry)) => approval(&mut violation, finding.reason, entry),
        ("egress", _) => egress(&mut violation, call),
        ("deny_if", Some(entry)) => denial(&mut violation, &entry.deny, asked),
        ("deny_if", None) => denial(&mut violation, policy.map_or(&[], |policy| &policy.deny), asked),
        ("sanitize", Some(entry)) => sanitize(&mut violation, entry),
        ("default_deny", _) => default_deny(&mut violation, finding.reason, asked),
        ("engine", _) if !finding.policy.is_empty() => {
            violation.message = format!("the custom rules {} gave no answer, which denies", quoted(&finding.policy));
        }
        ("engine", _) => "the policy engine failed, so nothing was allowed".clone_into(&mut violation.message),
        (_, None) if finding.said.is_some() => custom(&mut violation, finding),
        (rule, Some(entry)) => {
            if entry.rules.iter().any(|own| own.rule == rule) {
                rules::violation(&mut violation, finding.reason, &entry.rules, call);
            } else if let Some(rule) = entry.images.iter().find(|images| images.rule == rule) {
                images(&mut violation, finding.reason, rule, call);
            }
        }
        _ => {}
    }
    if violation.message.is_empty() {
        // A finding of other policies than these: it still says what it is.
        violation.message = format!("{} is not kept: {}", quoted(&finding.rule), finding.reason.as_str());
    }
    violation
}

/// The author's own words, of one line and of a length that fits an answer and a message to a human.
fn custom(violation: &mut Violation, finding: &Finding) {
    let Some(said) = &finding.said else { return };
    violation.param.clone_from(&said.param);
    violation.message = said.message.chars().take(MAX_SAID).flat_map(shown).collect();
    if said.message.chars().nth(MAX_SAID).is_some() {
        violation.message.push('…');
    }
}

/// A character as it may be shown: control characters, and those that turn or hide text, by their number.
fn shown(c: char) -> impl Iterator<Item = char> {
    let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let (plain, escaped) = if c.is_control() || hidden { (None, Some(c.escape_unicode())) } else { (Some(c), None) };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

/// Text in quotes, cut short.
fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(MAX_QUOTED).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{:?}", format!("{cut}{more}"))
}

fn default_deny(violation: &mut Violation, reason: Reason, asked: Asked<'_>) {
    let Asked { agent, call, .. } = asked;
    violation.message = match reason {
        Reason::NoPolicy => format!("no policy is for agent {}", quoted(&agent.id)),
        _ => match &call.destination {
            Some(to) if call.tool == ToolCall::HTTP => {
                format!("no policy lets {} reach {}", quoted(&agent.id), quoted(&to.to_string()))
            }
            _ if matches!(call.payload, Payload::Tunnel) => format!(
                "a tunnel to {} can't be read, and no policy entry allows it unread; the operator may list its host in \
                 `interception`",
                quoted(&call.tool)
            ),
            _ => format!("no policy entry allows {} of {}", quoted(&call.action), quoted(&call.tool)),
        },
    };
}

fn environment(violation: &mut Violation, entry: &Entry, call: &ToolCall) {
    let name = &call.environment.name;
    let listed: Vec<&str> = entry.environments.iter().flatten().map(String::as_str).collect();
    violation.limit = Some(listed.clone().into());
    violation.actual = Some(name.as_str().into());
    let listed = listed.iter().map(|env| quoted(env)).collect::<Vec<_>>().join(", ");
    violation.message = match listed.as_str() {
        "" => format!("environment {} is not allowed; none is", quoted(name)),
        _ => format!("environment {} is not one of those allowed: {listed}", quoted(name)),
    };
}

fn approval(violation: &mut Violation, reason: Reason, entry: &Entry) {
    let condition = entry.approval.as_ref().map_or("", |condition| condition.text.as_str());
    violation.message = match (reason, condition) {
        (Reason::ConditionUnknown, _) => format!(
            "the condition {} of approval_needed can't be evaluated: a parameter is missing or of the wrong type",
            quoted(condition)
        ),
        (_, "true") => "the policy asks a human about every such call".to_owned(),
        _ => format!("the policy asks a human where {condition}"),
    };
}

fn egress(violation: &mut Violation, call: &ToolCall) {
    let Some(to) = &call.destination else { return };
    violation.actual = Some(to.to_string().into());
    let hint = if matches!(to.port, 80 | 443) { "" } else { " with its port" };
    violation.message = format!("{} is not listed in egress.allow{hint}", quoted(&to.to_string()));
}

fn denial(violation: &mut Violation, conditions: &[Shared<Condition>], asked: Asked<'_>) {
    let unknown = violation.reason == Reason::ConditionUnknown.as_str();
    let wanted = if unknown { Truth::Unknown } else { Truth::True };
    let found = conditions.iter().filter(|condition| condition.holds(asked) == wanted);
    let texts: Vec<&str> = found.map(|condition| condition.text.as_str()).collect();
    violation.message = if unknown {
        let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
        format!(
            "the condition {} of deny_if can't be evaluated: a parameter is missing or of the wrong type",
            texts.join(" and ")
        )
    } else {
        format!("the policy refuses every such call where {}", texts.join(", and where "))
    };
}

fn sanitize(violation: &mut Violation, entry: &Entry) {
    let Some(sanitize) = &entry.sanitize else { return };
    let own = sanitize.detect.custom.iter().map(|rule| rule.name.as_str());
    let detect: Vec<&str> = sanitize.detect.names.iter().map(String::as_str).chain(own).collect();
    let params = sanitize.params.as_ref().map_or("its parameters".to_owned(), |params| {
        params.iter().map(|param| param.name.as_str()).collect::<Vec<_>>().join(", ")
    });
    violation.message = format!("the policy has {} redacted from {params} first", detect.join(", "));
}

fn images(violation: &mut Violation, reason: Reason, rule: &ImageRule, call: &ToolCall) {
    violation.param = Some(IMAGES.to_owned());
    let digests: Vec<&str> = rule.allowed.iter().map(|allowed| allowed.digest.as_str()).take(10).collect();
    violation.limit = Some(digests.into());
    let culprit = call.images.iter().find(|image| match (&image.repository, &image.digest) {
        (None, _) => reason == Reason::WrongType,
        (Some(_), None) => reason == Reason::NoDigest,
        (Some(repository), Some(digest)) => reason == Reason::NotAllowed && !rule.lists(digest, repository),
    });
    violation.actual = culprit.map(|image| image.reference.as_str().into());
    // The reference itself is the agent's text; repository and digest have passed the grammar.
    violation.message = match (reason, culprit) {
        (Reason::NotAllowed, Some(Image { repository: Some(repository), digest: Some(digest), .. })) => {
            format!("image {} with digest {} is not one of {}", quoted(repository), quoted(digest), rule.rule)
        }
        (Reason::NoDigest, Some(Image { repository: Some(repository), .. })) => {
            format!("image {} has no digest, and {} goes by digest", quoted(repository), rule.rule)
        }
        (Reason::WrongType, _) => format!("an image reference is malformed, so {} can't be checked", rule.rule),
        _ => format!("the call names no image, but {} needs one", rule.rule),
    };
}
