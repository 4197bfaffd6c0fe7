//! How the stories are shown: with colours on a terminal, plain in a pipe, as JSON lines for machines.

use serde_json::json;

use super::caller::Answer;
use crate::style::Style;

/// The widest line of text, in characters; a narrower terminal gets narrower lines.
const WIDTH: usize = 96;
/// The narrowest that can still be read.
const NARROWEST: usize = 48;
/// Where the text of a step begins.
const INDENT: usize = 16;

/// How to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// For machines: a JSON object per line.
    Json,
    /// For a pipe: text without boxes.
    Plain,
    /// For eyes.
    Terminal,
}

/// What happened in one step of a story.
#[derive(Debug)]
pub(super) struct Step<'a> {
    /// Who asks.
    pub(super) who: &'a str,
    /// What.
    pub(super) asks: String,
    /// What it is told.
    pub(super) answer: &'a Answer,
    /// What the tool itself received.
    pub(super) reached: String,
}

/// Shows the stories and keeps the score.
pub(super) struct Stage {
    form: Form,
    width: usize,
    style: Style,
    story: Option<Story>,
    passed: usize,
    failed: usize,
}

struct Story {
    number: usize,
    title: &'static str,
    wrong: Vec<String>,
}

impl Form {
    pub(super) fn of(json: bool, terminal: bool) -> Self {
        match (json, terminal) {
            (true, _) => Self::Json,
            (false, true) => Self::Terminal,
            (false, false) => Self::Plain,
        }
    }
}

impl Stage {
    pub(super) fn new(form: Form, style: Style) -> Self {
        let columns = terminal_size::terminal_size().map_or(WIDTH, |(columns, _)| usize::from(columns.0));
        Self { form, style, width: columns.clamp(NARROWEST, WIDTH), story: None, passed: 0, failed: 0 }
    }

    /// The beginning.
    pub(super) fn open(&self, policy_version: &str) {
        match self.form {
            Form::Json => println!("{}", json!({"demo": "aegis", "policy_version": policy_version})),
            Form::Plain | Form::Terminal => {
                println!("{} four agents, one gateway, policy {policy_version}", self.style.bold("Aegis demo:"));
            }
        }
    }

    /// The next story begins.
    pub(super) fn begin(&mut self, title: &'static str, policy: &str) {
        let number = self.passed + self.failed + 1;
        self.story = Some(Story { number, title, wrong: Vec::new() });
        match self.form {
            Form::Json => println!("{}", json!({"story": number, "title": title, "policy": policy})),
            Form::Plain => println!("\n== Story {number}: {title}\n   policy: {policy}"),
            Form::Terminal => println!("\n{}", banner(number, title, policy, self.style, self.width)),
        }
    }

    /// Something that isn't a call: a human's answer, a change of policy.
    pub(super) fn note(&self, who: &str, text: &str) {
        match self.form {
            Form::Json => println!("{}", json!({"story": self.number(), "who": who, "does": text})),
            Form::Plain | Form::Terminal => {
                let text = wrapped(&format!("{who} {text}"), self.width - 2, 4);
                println!("\n  {}{}", self.style.cyan(who), text.strip_prefix(who).unwrap_or(&text));
            }
        }
    }

    /// A call and what came of it. `checks` are what must be true of it, each in words.
    pub(super) fn step(&mut self, step: &Step<'_>, checks: &[(bool, &str)]) {
        let wrong: Vec<String> =
            checks.iter().filter(|(right, _)| !right).map(|(_, what)| (*what).to_owned()).collect();
        match self.form {
            Form::Json => println!("{}", as_json(self.number(), step, &wrong)),
            Form::Plain | Form::Terminal => print!("{}", as_text(step, &wrong, self.style, self.width)),
        }
        if let Some(story) = &mut self.story {
            story.wrong.extend(wrong);
        }
    }

    /// The story is over.
    pub(super) fn end(&mut self) {
        let Some(story) = self.story.take() else { return };
        let right = story.wrong.is_empty();
        *(if right { &mut self.passed } else { &mut self.failed }) += 1;
        match self.form {
            Form::Json => {
                println!(
                    "{}",
                    json!({"story": story.number, "title": story.title, "passed": right, "wrong": story.wrong})
                );
            }
            Form::Plain | Form::Terminal => {
                let mark =
                    if right { self.style.green("as it should be") } else { self.style.red("NOT as it should be") };
                println!("\n  story {}: {mark}", story.number);
            }
        }
    }

    /// The score: stories passed and failed. A story that broke off failed.
    pub(super) fn close(&mut self) -> (usize, usize) {
        if let Some(story) = &mut self.story {
            story.wrong.push("it broke off".to_owned());
            self.end();
        }
        match self.form {
            Form::Json => println!("{}", json!({"stories": {"passed": self.passed, "failed": self.failed}})),
            Form::Plain | Form::Terminal => println!("\nstories: {} passed, {} failed", self.passed, self.failed),
        }
        (self.passed, self.failed)
    }

    fn number(&self) -> Option<usize> {
        self.story.as_ref().map(|story| story.number)
    }
}

fn as_json(story: Option<usize>, step: &Step<'_>, wrong: &[String]) -> serde_json::Value {
    let Answer { status, decision, code, detail, approval, .. } = step.answer;
    json!({
        "story": story, "agent": step.who, "asks": step.asks, "status": status, "decision": decision, "code": code,
        "reason": detail, "approval": approval, "reached": step.reached, "ok": wrong.is_empty(), "wrong": wrong,
    })
}

/// A step as four lines: who asks what, the decision, the reason, what reached the tool.
pub(super) fn as_text(step: &Step<'_>, wrong: &[String], style: Style, width: usize) -> String {
    let behind = |text: &str| wrapped(text, width - INDENT - 2, INDENT + 2);
    let answer = step.answer;
    let decision = match answer.decision.as_str() {
        "allow" => style.green("ALLOW"),
        "approval_needed" => style.yellow("APPROVAL NEEDED"),
        other => style.red(&other.to_uppercase()),
    };
    let code = if answer.code.is_empty() { String::new() } else { format!("  {} {}", answer.status, answer.code) };
    let mut text = format!("\n  {}\n", labelled(step.who, &behind(&step.asks), style, true));
    let line = |label: &str, value: &str| format!("  {}\n", labelled(label, value, style, false));
    text.push_str(&line("decision", &format!("{decision}{code}")));
    if !answer.detail.is_empty() {
        text.push_str(&line("reason", &behind(&answer.detail)));
    }
    let guided = matches!(answer.code.as_str(), "PolicyViolation" | "RateLimited" | "BudgetExceeded")
        && !answer.guidance.is_empty();
    if guided {
        text.push_str(&line("it is told", &behind(&answer.guidance)));
    }
    text.push_str(&line("reached", &behind(&step.reached)));
    for wrong in wrong {
        text.push_str(&line("WRONG", &style.red(&behind(wrong))));
    }
    text
}

fn labelled(label: &str, value: &str, style: Style, strong: bool) -> String {
    let pad = " ".repeat(INDENT.saturating_sub(label.chars().count()).max(1));
    let label = if strong { style.bold(label) } else { style.dim(label) };
    let value = if strong { style.bold(value) } else { value.to_owned() };
    format!("{label}{pad}{value}")
}

/// `text` in lines of `room` characters, all but the first behind `indent` spaces. A word that is longer is cut.
fn wrapped(text: &str, room: usize, indent: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
        while let Some(line) = lines.last_mut()
            && let Some((cut, _)) = line.char_indices().nth(room)
        {
            let rest = line.split_off(cut);
            lines.push(rest);
        }
    }
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

/// A story's title and policy in a box of `width`.
pub(super) fn banner(number: usize, title: &str, policy: &str, style: Style, width: usize) -> String {
    let inner = width - 4;
    let row = |line: &str, shown: &str| {
        let pad = " ".repeat(inner.saturating_sub(line.chars().count()));
        format!("{} {shown}{pad} {}", style.blue("│"), style.blue("│"))
    };
    let edge = "─".repeat(width - 2);
    let head = wrapped(&format!("Story {number}: {title}"), inner, 0);
    let policy = wrapped(&format!("policy: {policy}"), inner, 0);
    let mut lines = vec![style.blue(&format!("╭{edge}╮"))];
    lines.extend(head.lines().map(|line| row(line, &style.bold(line))));
    lines.extend(policy.lines().map(|line| row(line, &style.dim(line))));
    lines.push(style.blue(&format!("╰{edge}╯")));
    lines.join("\n")
}
