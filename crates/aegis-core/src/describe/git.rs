//! What a `git push` asks for over smart HTTP: pkt-lines `old new ref` up to a flush, push options behind them, then the pack,
//! which is never looked at (gitprotocol-pack, "Reference Update Request").
//!
//! Invariants: a line that git's own server would take for a command is one here, also one inside a push certificate; what it
//! could take for something else is [`Unreadable`]. Whether an update is a force push is not on the wire: it takes the history, so `force` is told
//! only of a push without updates.

use std::collections::BTreeSet;
use std::str::from_utf8;

use serde_json::{Value, json};

use super::{PushedRefs, Unreadable};
use crate::call::{Body, HttpRequest};

/// The longest beginning of a push: some thousand refs, or a certificate of them.
pub(super) const MOST: usize = 256 * 1024;

/// A push without its pack.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Push {
    commands: Vec<Command>,
    shallow: Vec<String>,
    options: Vec<String>,
    capabilities: BTreeSet<String>,
    signed: bool,
}

/// One ref's update. An id of zeros is none.
#[derive(Debug, PartialEq, Eq)]
struct Command {
    old: String,
    new: String,
    name: String,
}

impl Command {
    fn creates(&self) -> bool {
        is_none(&self.old)
    }

    fn deletes(&self) -> bool {
        is_none(&self.new)
    }
}

fn is_none(id: &str) -> bool {
    id.bytes().all(|byte| byte == b'0')
}

fn malformed(why: &str) -> Unreadable {
    Unreadable::new("git_malformed", format!("the push can't be read: {why}"))
}

/// The next pkt-line.
enum Line<'a> {
    Flush,
    Text(&'a [u8]),
}

/// A pkt-line and what follows it; `None` while it isn't whole.
fn line(bytes: &[u8]) -> Result<Option<(Line<'_>, &[u8])>, Unreadable> {
    let Some((digits, rest)) = bytes.split_at_checked(4) else { return Ok(None) };
    let plain = from_utf8(digits).ok().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let length = plain.and_then(|digits| usize::from_str_radix(digits, 16).ok());
    match length.ok_or_else(|| malformed("a pkt-line has no length"))? {
        0 => Ok(Some((Line::Flush, rest))),
        1..=3 => Err(malformed("a pkt-line is one that no push has")),
        length => Ok(rest.split_at_checked(length - 4).map(|(text, rest)| (Line::Text(text), rest))),
    }
}

/// The push at the start of `bytes`, and how many bytes it takes there; `None` while it isn't whole.
pub(super) fn beginning(bytes: &[u8]) -> Result<Option<(Push, usize)>, Unreadable> {
    let (mut push, mut rest, mut certificate) = (Push::default(), bytes, None);
    loop {
        let Some((next, after)) = line(rest)? else { return Ok(None) };
        rest = after;
        match (next, &mut certificate) {
            (Line::Text(text), _) => push.take(text, &mut certificate)?,
            (Line::Flush, None) => break,
            (Line::Flush, Some(_)) => return Err(malformed("its certificate has no end")),
        }
    }
    if push.capabilities.contains("push-options") && !push.commands.is_empty() {
        loop {
            let Some((next, after)) = line(rest)? else { return Ok(None) };
            rest = after;
            let Line::Text(text) = next else { break };
            push.options.push(plain(text)?.to_owned());
        }
    }
    Ok(Some((push, bytes.len() - rest.len())))
}

/// What of a push its client wants to know, where the request is one.
pub(super) fn pushed(request: &HttpRequest) -> Option<PushedRefs> {
    let is_push = request.target.path().ends_with("/git-receive-pack") && request.method == http::Method::POST;
    match &request.body {
        Body::Whole(bytes) | Body::Begun(bytes) if is_push => beginning(bytes).ok().flatten()?.0.reported(),
        _ => None,
    }
}

/// The line without its end, as text.
fn plain(line: &[u8]) -> Result<&str, Unreadable> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let text = from_utf8(line).map_err(|_| malformed("a line is not UTF-8"))?;
    if text.chars().any(char::is_control) { Err(malformed("a line has a control character")) } else { Ok(text) }
}

impl Push {
    /// Takes one line in; `certificate` is what of a push certificate came so far.
    fn take(&mut self, text: &[u8], certificate: &mut Option<Certificate>) -> Result<(), Unreadable> {
        if let Some(inside) = certificate {
            return match text {
                b"push-cert-end\n" | b"push-cert-end" => {
                    *certificate = None;
                    Ok(())
                }
                line => self.certified(plain(line)?, inside),
            };
        }
        let (text, capabilities) = match text.iter().position(|byte| *byte == 0) {
            Some(at) => text.split_at(at),
            None => (text, &[][..]),
        };
        if !capabilities.is_empty() {
            // Any line may have them for git's server, and the last ones count.
            if !self.capabilities.is_empty() || !self.commands.is_empty() {
                return Err(malformed("capabilities stand on a line that is not the first"));
            }
            let words = plain(capabilities.get(1..).unwrap_or_default())?;
            self.capabilities = words.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        }
        let text = plain(text)?;
        if let Some(id) = text.strip_prefix("shallow ") {
            self.shallow.push(checked_id(id)?.to_owned());
        } else if text == "push-cert" {
            self.signed = true;
            *certificate = Some(Certificate::Head);
        } else {
            let command = command(text).ok_or_else(|| malformed("a line is no `old new ref`"))?;
            self.commands.push(command);
        }
        Ok(())
    }

    /// A line inside a certificate: its head up to an empty line, the commands, the signature.
    fn certified(&mut self, text: &str, inside: &mut Certificate) -> Result<(), Unreadable> {
        match inside {
            Certificate::Head if text.is_empty() => *inside = Certificate::Commands,
            Certificate::Head if text.starts_with("push-option ") => {
                self.options.extend(text.strip_prefix("push-option ").map(str::to_owned));
            }
            Certificate::Commands if text.starts_with("-----BEGIN ") => *inside = Certificate::Signature,
            Certificate::Commands => {
                let command = command(text).ok_or_else(|| malformed("a line of its certificate is no command"))?;
                self.commands.push(command);
            }
            // What looks like a command where none is expected is one for who sees the parts' borders elsewhere.
            Certificate::Head | Certificate::Signature if command(text).is_some() => {
                return Err(malformed("a command stands outside the commands of its certificate"));
            }
            Certificate::Head | Certificate::Signature => {}
        }
        Ok(())
    }

    /// As the document that parameters are read from.
    pub(super) fn document(&self) -> Value {
        let names = |fits: fn(&Command) -> bool| -> Vec<&str> {
            self.commands.iter().filter(|command| fits(command)).map(|command| command.name.as_str()).collect()
        };
        let commits: Vec<&str> =
            self.commands.iter().filter(|command| !command.deletes()).map(|command| command.new.as_str()).collect();
        let replaced: Vec<&str> =
            self.commands.iter().filter(|command| !command.creates()).map(|command| command.old.as_str()).collect();
        let mut document = json!({
            "refs": names(|_| true),
            "creates": names(|command| command.creates() && !command.deletes()),
            "updates": names(|command| !command.creates() && !command.deletes()),
            "deletes": names(Command::deletes),
            "kept": names(|command| !command.deletes()),
            "commits": commits,
            "replaced": replaced,
            "options": self.options,
            "atomic": self.capabilities.contains("atomic"),
            "signed": self.signed,
            "shallow": !self.shallow.is_empty(),
        });
        // Servers refuse to create what is there, so nothing is overwritten. Of an update only the history could tell.
        if self.commands.iter().all(Command::creates)
            && let Value::Object(members) = &mut document
        {
            members.insert("force".to_owned(), Value::Bool(false));
        }
        document
    }

    /// The refs whose report its client wants, if it wants one.
    fn reported(&self) -> Option<PushedRefs> {
        let can = |capability: &str| self.capabilities.contains(capability);
        let wanted = (can("report-status") || can("report-status-v2")) && !self.commands.is_empty();
        let refs = || self.commands.iter().map(|command| command.name.clone()).collect();
        wanted.then(|| PushedRefs { refs: refs(), side_band: can("side-band-64k") })
    }
}

/// Where in a push certificate a line stands.
enum Certificate {
    Head,
    Commands,
    Signature,
}

fn command(text: &str) -> Option<Command> {
    let (old, rest) = text.split_once(' ')?;
    let (new, name) = rest.split_once(' ')?;
    let fits = is_id(old) && is_id(new) && old.len() == new.len() && !name.is_empty();
    fits.then(|| Command { old: old.to_owned(), new: new.to_owned(), name: name.to_owned() })
}

/// SHA-1 or SHA-256.
fn is_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn checked_id(text: &str) -> Result<&str, Unreadable> {
    if is_id(text) { Ok(text) } else { Err(malformed("a shallow line names no commit")) }
}

#[cfg(test)]
mod tests;
