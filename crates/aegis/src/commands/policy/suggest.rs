//! `aegis policy suggest`: what shadow mode has seen, as a patch of the policies that `patch` and `git apply` take.
//!
//! What isn't part of the patch stands before it in lines that both skip, so that one output is read by people and applied by
//! tools.

use std::fmt::Write as _;
use std::path::Path;

use aegis_core::shadow::report::Report;
use aegis_core::shadow::suggest::{ChangedFile, Reason, Suggestion, suggest};
use anyhow::Result;
use serde_json::json;
use similar::TextDiff;

use crate::cli::{Global, ShadowArgs};
use crate::commands::{operate, print, report};
use crate::config::Config;
use crate::load;
use crate::outcome::{No, invalid};
use crate::table::plain;

pub(super) fn run(args: &ShadowArgs, global: &Global) -> Result<()> {
    operate(global, async |operator| {
        let seen = report::shadow(operator, args).await?;
        let config = Config::load(global.config.as_deref()).map_err(invalid)?;
        let sources = load::sources(std::slice::from_ref(&config.policies), "policies").map_err(invalid)?;
        let (catalogue, policies) = load::all(&config).map_err(invalid)?;
        let suggestion = suggest(&seen, &sources, &policies);
        // A patch that would be refused is no help.
        let changed: Vec<_> = sources.into_iter().map(|source| patched(source, &suggestion)).collect();
        let options = load::options(&config);
        load::policies(&changed, options, &catalogue.defined()).map_err(invalid)?;
        if seen.calls == 0 {
            return Err(No("no call was watched in this time, so there is nothing to suggest from".to_owned()).into());
        }
        let here = std::env::current_dir().unwrap_or_default();
        let patch = suggestion.files.iter().map(|file| patch(file, &here)).collect::<String>();
        let files: Vec<_> =
            suggestion.files.iter().map(|file| json!({"file": file.file, "changes": file.reasons})).collect();
        let document = json!({"patch": patch, "files": files, "words": suggestion.words, "warnings": seen.warnings});
        print(global, &document, |_| written(&seen, &suggestion, &patch))
    })
}

fn patched(source: aegis_core::policy::Source, suggestion: &Suggestion) -> aegis_core::policy::Source {
    match suggestion.files.iter().find(|file| file.file == source.file) {
        Some(file) => aegis_core::policy::Source { text: file.after.clone(), ..source },
        None => source,
    }
}

/// Everything, as lines of comment, then the patch.
fn written(seen: &Report, suggestion: &Suggestion, patch: &str) -> String {
    let mut out = String::new();
    // Writing to a String can't fail.
    for warning in &seen.warnings {
        let _ = writeln!(out, "# ! {warning}");
    }
    for words in &suggestion.words {
        let _ = writeln!(out, "# by hand: {}", plain(words));
    }
    if suggestion.files.is_empty() {
        out.push_str("# nothing to patch: no limit or list of the policies would have to move\n");
    }
    for file in &suggestion.files {
        for Reason { line, what, why } in &file.reasons {
            let _ = writeln!(out, "# {}:{line}: {}: {}", plain(&shown(&file.file)), plain(what), plain(why));
        }
    }
    if !suggestion.files.is_empty() {
        out.push_str("# frequent isn't always right: read each change before `patch -p0` makes it\n");
    }
    out.push_str(patch);
    out
}

fn shown(file: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    relative(file, &here)
}

/// The unified diff of one file; each hunk says why behind its `@@`, where `diff` shows a heading.
fn patch(file: &ChangedFile, here: &Path) -> String {
    let name = relative(&file.file, here);
    let diff = TextDiff::from_lines(&file.before, &file.after);
    let mut unified = diff.unified_diff();
    let mut out = format!("--- {name}\n+++ {name}\n");
    let mut told = 0;
    for hunk in unified.context_radius(3).iter_hunks() {
        let text = hunk.to_string();
        let (header, body) = text.split_once('\n').unwrap_or((text.as_str(), ""));
        let end = hunk.ops().last().map_or(0, |op| op.old_range().end);
        let reasons = file.reasons.iter().filter(|reason| (told + 1..=end + 1).contains(&reason.line));
        let why: Vec<String> = reasons.map(|reason| format!("{} ({})", reason.what, reason.why)).collect();
        told = end + 1;
        let _ = write!(out, "{header} {}\n{body}", plain(&why.join("; ")));
    }
    out
}

/// A path as seen from here, where it is below.
fn relative(file: &str, here: &Path) -> String {
    let path = Path::new(file);
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}
