//! Policies as an OPA bundle: what is served, stored, signed and taken from elsewhere.
//!
//! A bundle holds a fixed evaluator (`aegis/gate.rego`), the conditions' rules (`aegis/condition.rego`, one rule per shape),
//! what makes findings of the words of custom modules (`aegis/collect.rego`), those modules (`aegis/rules/*.rego`), the tables
//! as data (`data.json`), the policies as they were written (`aegis/sources.json`, which no OPA reads), and in its
//! `.manifest` the version and, where there is one, the [`Publication`].
//!
//! Invariants: equal sources and an equal publication are equal bytes, wherever the files lay; whoever reads a bundle
//! compiles its sources again, and judges natively only if that gives the bundle's files byte for byte. Anything else is
//! judged as the Rego that it is ([`PolicySet::from_bundle`]). Deliberately absent: signatures other than the digests that
//! they are over ([`Archive::digests`]): keys are the server's business.

mod archive;
mod digest;
mod open;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use archive::{Archive, ArchiveError, MAX_UNPACKED};
pub use digest::FileDigest;
pub use open::BundleError;

use super::condition::Shape;
use super::custom::{self, Custom};
use super::rego::{Failure, Interpreter};
use super::tables::Tables;
use super::{Evaluation, Mode, PolicySet, Reason, Source};
use crate::document::{Diagnostic, Place};

/// The decision, whatever the policies say.
const GATE: &str = include_str!("rego/gate.rego");
/// What the generated rules are made of.
const CONDITION: &str = include_str!("rego/condition.rego");

const MANIFEST_FILE: &str = ".manifest";
const GATE_FILE: &str = "aegis/gate.rego";
const COLLECT_FILE: &str = "aegis/collect.rego";
const CONDITION_FILE: &str = "aegis/condition.rego";
const SOURCES_FILE: &str = "aegis/sources.json";
const DATA_FILE: &str = "data.json";
/// The Rego again, as `opa build -t wasm` compiles it.
const WASM_FILE: &str = "policy.wasm";
/// What it was compiled to answer.
pub(super) const WASM_ENTRYPOINT: &str = "aegis/gate/evaluation";
/// Where in the data the tables are.
const TABLES: &str = "aegis_tables";
/// What of OPA's document a bundle of ours owns.
const ROOTS: [&str; 5] = ["aegis/collect", "aegis/condition", "aegis/gate", "aegis/rules", TABLES];

/// Who put a version in force, and why: `metadata` in a bundle's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Who.
    pub author: String,
    /// When.
    pub at: Timestamp,
    /// What changed, in a sentence.
    #[serde(default)]
    pub note: String,
    /// How much harm a mistake in it could do.
    #[serde(default)]
    pub risk: Risk,
}

/// How much harm a mistake in a version could do, by its author's judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Little.
    Low,
    /// Some.
    #[default]
    Medium,
    /// Much: production, money.
    High,
}

/// What a bundle holds, besides its manifest.
#[derive(Debug)]
pub(super) struct Bundle {
    /// By name in the archive.
    files: BTreeMap<String, Vec<u8>>,
    /// What of OPA's document it owns; `None` is all of it.
    roots: Option<Vec<String>>,
}

/// `.manifest`, as it is written.
#[derive(Serialize)]
struct Manifest<'a> {
    revision: &'a str,
    rego_version: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    roots: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Publication>,
    /// Which WebAssembly answers what.
    #[serde(skip_serializing_if = "Option::is_none")]
    wasm: Option<serde_json::Value>,
}

/// `aegis/sources.json`: what a bundle was compiled from.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sources {
    /// The gateway's mode at that time.
    mode: Mode,
    /// What operators had switched policies to at that time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    modes: BTreeMap<String, Mode>,
    sources: Vec<Source>,
}

impl Bundle {
    /// Writes the tables, the shapes of their conditions, the custom modules, and the sources of them all.
    pub(super) fn of(
        tables: &Tables,
        shapes: &BTreeSet<Shape>,
        modules: &[Custom],
        sources: &[Source],
        modes: &BTreeMap<String, Mode>,
    ) -> Result<Self, serde_json::Error> {
        let mut condition = CONDITION.to_owned();
        for shape in shapes {
            condition.push_str(&shape.rego);
        }
        let data = serde_json::to_vec(&BTreeMap::from([(TABLES, tables)]))?;
        let sources = Sources { mode: tables.mode, modes: modes.clone(), sources: portable(sources) };
        let sources = serde_json::to_vec(&sources)?;
        let files = [
            (COLLECT_FILE, custom::collect(modules).into_bytes()),
            (CONDITION_FILE, condition.into_bytes()),
            (GATE_FILE, GATE.as_bytes().to_vec()),
            (SOURCES_FILE, sources),
            (DATA_FILE, data),
        ];
        let modules = modules.iter().map(|module| (module.archived(), module.text.clone().into_bytes()));
        let files = files.into_iter().map(|(name, content)| (name.to_owned(), content)).chain(modules).collect();
        Ok(Self { files, roots: Some(ROOTS.map(str::to_owned).to_vec()) })
    }

    /// `pol_` and 12 digits of the digest of what is evaluated: its Rego and its data.
    pub(super) fn version(&self) -> String {
        let mut hash = Sha256::new();
        let evaluated = self.files.iter().filter(|(name, _)| is_module(name) || is_data(name) || *name == WASM_FILE);
        for (name, content) in evaluated {
            for part in [name.as_bytes(), content] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        let mut version = String::from("pol_");
        for byte in hash.finalize().iter().take(6) {
            // Writing to a String can't fail.
            let _ = write!(version, "{byte:02x}");
        }
        version
    }

    /// Whether a module that isn't ours looks at what went before. It can't without this word.
    pub(super) fn asks_for_sessions(&self) -> bool {
        let modules = self.files.iter().filter(|(name, _)| is_module(name));
        let mut others =
            modules.filter(|(name, _)| ![GATE_FILE, COLLECT_FILE, CONDITION_FILE].contains(&name.as_str()));
        others.any(|(_, content)| content.windows(7).any(|part| part == b"session"))
    }

    /// A warning where there is more than anybody would take.
    pub(super) fn too_large(&self) -> Option<Diagnostic> {
        let size: u64 = self.files.values().map(|content| content.len() as u64).sum();
        let message = format!(
            "the bundle of these policies has {} MiB, and no Aegis takes more than {}: they can be used here, but not be \
             published",
            size >> 20,
            MAX_UNPACKED >> 20
        );
        let start = Place { line: 1, column: 1 };
        (size > MAX_UNPACKED).then(|| Diagnostic::error("", start, "", message).warning())
    }

    /// The archive, unsigned.
    fn archive(&self, version: &str, publication: Option<&Publication>) -> Archive {
        let module = self.files.contains_key(WASM_FILE);
        let wasm =
            module.then(|| serde_json::json!([{ "entrypoint": WASM_ENTRYPOINT, "module": format!("/{WASM_FILE}") }]));
        let roots = self.roots.as_deref();
        let manifest = Manifest { revision: version, rego_version: 1, roots, metadata: publication, wasm };
        let manifest = serde_json::to_vec(&manifest).expect("texts and a time are JSON");
        let mut files = self.files.clone();
        files.insert(MANIFEST_FILE.to_owned(), manifest);
        Archive::of(files)
    }

    /// The interpreter over its modules and data.
    pub(super) fn interpreter(&self) -> Result<Interpreter, Failure> {
        let text = |content| std::str::from_utf8(content).map_err(|_| Failure::of_the_call("a file is not UTF-8"));
        let (mut modules, mut data) = (Vec::new(), Vec::new());
        for (name, content) in &self.files {
            if is_module(name) {
                modules.push((name.as_str(), text(content)?));
            } else if is_data(name) {
                data.push(nested(name, text(content)?));
            }
        }
        Interpreter::prepare(modules.into_iter(), data.into_iter())
    }
}

/// Sources as they are in a bundle: in order, and named from the folder that they share, whatever machine that is on.
fn portable(sources: &[Source]) -> Vec<Source> {
    let mut sources = sources.to_vec();
    sources.sort_by(|a, b| (&a.file, &a.text).cmp(&(&b.file, &b.text)));
    let folder = |file: &str| file.rfind('/').map_or(0, |slash| slash + 1);
    let shared = match (sources.first(), sources.last()) {
        // Of sorted names, what the first and the last share is what all share.
        (Some(first), Some(last)) => {
            let same = first.file.bytes().zip(last.file.bytes()).take_while(|(a, b)| a == b).count();
            let same = first.file.get(..same).map_or(0, folder);
            same.min(folder(&first.file)).min(folder(&last.file))
        }
        _ => 0,
    };
    for source in &mut sources {
        source.file.drain(..shared);
    }
    sources
}

fn is_module(name: &str) -> bool {
    name.ends_with(".rego")
}

fn is_data(name: &str) -> bool {
    name == DATA_FILE || name.ends_with("/data.json")
}

/// The text of a data file, inside the objects that its folders stand for.
fn nested<'a>(name: &str, text: &'a str) -> Cow<'a, str> {
    let folders: Vec<&str> = name.strip_suffix("/data.json").unwrap_or_default().split('/').collect();
    if name == DATA_FILE {
        return Cow::Borrowed(text);
    }
    let open: String = folders.iter().map(|folder| format!("{{{}:", serde_json::Value::from(*folder))).collect();
    Cow::Owned(format!("{open}{text}{}", "}".repeat(folders.len())))
}

/// What an evaluation says of naming the destination at all: no enforced rule is about that.
pub(super) fn may_reach(evaluation: &Evaluation) -> bool {
    let enforced = evaluation.findings.iter().filter(|finding| finding.mode == Mode::Enforce);
    enforced.into_iter().all(|finding| match finding.reason {
        Reason::NoPolicy | Reason::EngineFailed => false,
        _ => finding.rule != "egress",
    })
}

impl PolicySet {
    /// The OPA bundle (`.tar.gz`, Rego v1), unsigned; the same bytes for the same policies and publication.
    pub fn bundle(&self, publication: Option<&Publication>) -> Vec<u8> {
        self.archive(publication).write()
    }

    /// The same, as files.
    pub fn archive(&self, publication: Option<&Publication>) -> Archive {
        self.bundle.archive(&self.version, publication)
    }

    /// Who put this version in force, when that is known.
    pub fn publication(&self) -> Option<&Publication> {
        self.publication.as_ref()
    }

    /// The same policies, put in force by `publication`.
    pub fn published(mut self, publication: Option<Publication>) -> Self {
        self.publication = publication;
        self
    }

    /// Whether their sources alone don't make them: a bundle's Rego or WebAssembly decides.
    pub fn is_bundle(&self) -> bool {
        self.foreign.is_some() || self.machine.is_some()
    }

    /// Whether these are a bundle's Rego and nothing else: no table, no source that compiles to it.
    pub fn is_rego_only(&self) -> bool {
        self.foreign.is_some()
    }
}
