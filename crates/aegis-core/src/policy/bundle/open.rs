//! A bundle → policies that can be asked.
//!
//! A bundle is taken natively only if its own sources compile to exactly its files. What was edited by hand, comes from
//! another compiler or has no sources is evaluated as the Rego that it is, by the interpreter, at the same entry point and
//! with the same strict answer. What such a bundle's tables say beyond Rego (rates, terms of approval, …) nobody would
//! enforce, so a bundle with any of it is refused; never is a limit dropped in silence.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::digest::SIGNATURES_FILE;
use super::{
    Archive, ArchiveError, Bundle, DATA_FILE, MANIFEST_FILE, Publication, SOURCES_FILE, Sources, TABLES,
    WASM_ENTRYPOINT, WASM_FILE, is_data, is_module,
};
use crate::document::{Diagnostic, Place};
use crate::policy::calendar::Zone;
use crate::policy::tables::Tables;
use crate::policy::wasm::Machine;
use crate::policy::{Engine, Mode, Options, PolicySet, Source};

/// What the Rego enforces of a policy in the tables. Anything else in them is the gateway's to enforce.
const POLICY_BY_REGO: [&str; 6] = ["id", "mode", "tools", "egress", "deny", "entries"];
/// The same of an entry.
const ENTRY_BY_REGO: [&str; 10] =
    ["name", "label", "tools", "environments", "approval", "deny", "images", "rules", "egress", "asks"];

/// Why a bundle isn't taken.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It can't be unpacked.
    #[error("the bundle can't be unpacked: {0}")]
    Archive(#[from] ArchiveError),
    /// Its manifest can't be read, or asks for what isn't there.
    #[error("the bundle's .manifest: {0}")]
    Manifest(String),
    /// It holds something that OPA would use and Aegis can't.
    #[error("the bundle holds {file}: {why}")]
    Unsupported {
        /// Which file.
        file: String,
        /// Why it can't be used.
        why: String,
    },
    /// Its Rego is not what the compiler makes of its sources, and the interpreter can't do all that it says.
    #[error("the bundle can only be evaluated as Rego ({because}), and then {why}")]
    RegoOnly {
        /// Why it isn't native.
        because: &'static str,
        /// What is in the way.
        why: String,
    },
    /// Its sources load, but not in the gateway's mode.
    #[error("the bundle's policies don't load: {0}")]
    Sources(String),
}

/// `.manifest`, as far as it matters.
#[derive(Deserialize, Default)]
struct Manifest {
    roots: Option<Vec<String>>,
    rego_version: Option<u64>,
    #[serde(default)]
    file_rego_versions: Map<String, Value>,
    #[serde(default)]
    wasm: Value,
    #[serde(default)]
    metadata: Map<String, Value>,
}

impl PolicySet {
    /// Policies from a bundle's bytes, with what its manifest says of their publication. Signatures are not looked at.
    ///
    /// `options.mode` is the gateway's, as for [`PolicySet::load`]: sources that were compiled under another mode are
    /// compiled again, and have another version then.
    ///
    /// # Errors
    /// Why not. Nothing in the bundle is ignored that could have denied something.
    pub fn from_bundle(bytes: &[u8], options: Options) -> Result<(Self, Option<Publication>), BundleError> {
        Self::from_archive(&Archive::read(bytes)?, options)
    }

    /// The same, of files that have been read.
    ///
    /// # Errors
    /// As for [`PolicySet::from_bundle`].
    pub fn from_archive(archive: &Archive, options: Options) -> Result<(Self, Option<Publication>), BundleError> {
        let manifest = manifest(archive)?;
        for (file, _) in archive.files().filter(|(file, _)| *file != WASM_FILE || options.engine != Engine::Wasm) {
            if let Some(why) = unusable(file) {
                return Err(BundleError::Unsupported { file: file.to_owned(), why: why.to_owned() });
            }
        }
        let publication = publication(&manifest)?;
        let set = match native(archive, &options) {
            Ok(set) => set?,
            Err(because) => rego_only(archive, manifest, because, &options)?,
        };
        let set = if options.engine == Engine::Wasm { with_wasm(set, archive)? } else { set };
        let set = set.published(publication.clone());
        Ok((set, publication))
    }
}

impl Archive {
    /// What the manifest says of its publication.
    ///
    /// # Errors
    /// When the manifest can't be read, or asks for what isn't there.
    pub fn publication(&self) -> Result<Option<Publication>, BundleError> {
        publication(&manifest(self)?)
    }

    /// The gateway's mode for which its policies were compiled, where that is said.
    pub fn mode(&self) -> Option<Mode> {
        let data = data(self).ok()?;
        Mode::deserialize(data.get(TABLES)?.get("mode")?).ok()
    }
}

fn manifest(archive: &Archive) -> Result<Manifest, BundleError> {
    let bad = |why: String| BundleError::Manifest(why);
    let Some(text) = archive.file(MANIFEST_FILE) else { return Ok(Manifest::default()) };
    let manifest: Manifest = serde_json::from_slice(text).map_err(|error| bad(error.to_string()))?;
    let of_files = manifest.file_rego_versions.values().map(Value::as_u64);
    if manifest.rego_version.map(Some).into_iter().chain(of_files).any(|version| version != Some(1)) {
        return Err(bad("its Rego is of another version than 1".to_owned()));
    }
    let resolvers = manifest.wasm.as_array().map_or(&[] as &[Value], Vec::as_slice);
    let ours = |one: &Value| {
        let is = |key: &str, text: &str| one.get(key).and_then(Value::as_str) == Some(text);
        is("entrypoint", WASM_ENTRYPOINT) && (is("module", "/policy.wasm") || is("module", WASM_FILE))
    };
    if !manifest.wasm.is_null() && (!manifest.wasm.is_array() || !resolvers.iter().all(ours)) {
        return Err(bad(format!("it asks for other WebAssembly than {WASM_ENTRYPOINT} in {WASM_FILE}")));
    }
    Ok(manifest)
}

/// Why a file that OPA would use can't be used here.
fn unusable(file: &str) -> Option<&'static str> {
    match file.rsplit('/').next().unwrap_or(file) {
        "data.yaml" | "data.yml" => Some("data is read from data.json only"),
        "patch.json" => Some("changes to another bundle are not taken; publish the whole bundle"),
        "plan.json" => Some("plans are not evaluated here"),
        base if base.ends_with(".wasm") => {
            Some("WebAssembly is evaluated only with `engine: wasm`, as policy.wasm at the top")
        }
        ".manifest" | ".signatures.json" if file.contains('/') => Some("it belongs at the top of the bundle"),
        _ => None,
    }
}

/// `metadata`, where it is a publication.
fn publication(manifest: &Manifest) -> Result<Option<Publication>, BundleError> {
    if !manifest.metadata.contains_key("at") && !manifest.metadata.contains_key("author") {
        return Ok(None);
    }
    let metadata = Value::Object(manifest.metadata.clone());
    let publication = serde_json::from_value(metadata).map_err(|error| {
        BundleError::Manifest(format!("metadata: {error}; expected author, at (RFC 3339), note, risk"))
    })?;
    Ok(Some(publication))
}

/// The policies, if the archive is what the compiler makes of its sources; else why it isn't.
fn native(archive: &Archive, options: &Options) -> Result<Result<PolicySet, BundleError>, &'static str> {
    let text = archive.file(SOURCES_FILE).ok_or("it has no sources")?;
    let Sources { mode, modes, sources } = serde_json::from_slice(text).map_err(|_| "its sources can't be read")?;
    let native = match options.engine {
        // What is written is compiled to tables; its WebAssembly is put beside them.
        Engine::Wasm => Options { engine: Engine::Native, ..options.clone() },
        _ => options.clone(),
    };
    let options = &native;
    let as_it_was = Options { mode, modes: modes.clone(), ..options.clone() };
    let set = PolicySet::load(&sources, as_it_was).map_err(|_| "its sources don't load here")?;
    let held = archive.files().filter(|(name, _)| !matches!(*name, MANIFEST_FILE | SIGNATURES_FILE | WASM_FILE));
    if !held.eq(set.bundle.files.iter().map(|(name, content)| (name.as_str(), content.as_slice()))) {
        return Err("it is not what its sources compile to");
    }
    // What was switched here wins over what was switched where the bundle is from.
    let mut here = modes.clone();
    here.extend(options.modes.clone());
    if mode == options.mode && here == modes {
        return Ok(Ok(set));
    }
    let again = PolicySet::load(&sources, Options { modes: here, ..options.clone() });
    Ok(again.map_err(|errors| BundleError::Sources(errors.first().map(ToString::to_string).unwrap_or_default())))
}

impl Archive {
    /// The policies as they were written, and the modes that operators had switched them to; `None` where the bundle doesn't
    /// say. Whether they are what the bundle holds, only [`PolicySet::from_archive`] tells.
    pub fn sources(&self) -> Option<(Vec<Source>, BTreeMap<String, Mode>)> {
        let Sources { modes, sources, .. } = serde_json::from_slice(self.file(SOURCES_FILE)?).ok()?;
        Some((sources, modes))
    }
}

/// The same policies, judged by the bundle's WebAssembly. Which module that is, is part of their version.
fn with_wasm(mut set: PolicySet, archive: &Archive) -> Result<PolicySet, BundleError> {
    let unusable = |why: String| BundleError::Unsupported { file: WASM_FILE.to_owned(), why };
    let wasm = archive.file(WASM_FILE).ok_or_else(|| {
        unusable(
            "it isn't there, and `engine: wasm` asks for it: opa build -t wasm -e aegis/gate/evaluation".to_owned(),
        )
    })?;
    let data = archive.file(DATA_FILE).unwrap_or(b"{}");
    // What was compiled again for other modes has other tables than the module's.
    if !set.is_rego_only() && set.bundle.files.get(DATA_FILE).map(Vec::as_slice) != Some(data) {
        return Err(unusable("it was made for policies in other modes, which it can't be asked to change".to_owned()));
    }
    set.machine = Some(Machine::load(wasm, data).map_err(unusable)?);
    set.engine = Engine::Wasm;
    set.bundle.files.insert(WASM_FILE.to_owned(), wasm.to_vec());
    set.version = set.bundle.version();
    Ok(set)
}

/// The policies as nothing but their Rego.
fn rego_only(
    archive: &Archive,
    manifest: Manifest,
    because: &'static str,
    options: &Options,
) -> Result<PolicySet, BundleError> {
    let refused = |why: String| BundleError::RegoOnly { because, why };
    let data = data(archive).map_err(refused)?;
    let tables = data.get(TABLES);
    let ids = tables.map_or(Ok(Vec::new()), by_rego_alone).map_err(refused)?;
    if let Some(id) = options.modes.keys().find(|id| ids.contains(id)) {
        return Err(refused(format!("policy {id:?} is switched to a mode here, which Rego can't be asked to change")));
    }
    let mode = match tables.and_then(|tables| tables.get("mode")) {
        None => options.mode,
        Some(mode) => Mode::deserialize(mode).map_err(|_| refused("the mode in its data is unknown".to_owned()))?,
    };
    if mode != options.mode {
        let why = "it was compiled for a gateway in the other mode, which Rego can't be asked to change";
        return Err(refused(why.to_owned()));
    }
    let files = archive.files().filter(|(name, _)| !matches!(*name, MANIFEST_FILE | SIGNATURES_FILE | WASM_FILE));
    let files = files.map(|(name, content)| (name.to_owned(), content.to_vec())).collect();
    let bundle = Bundle { files, roots: manifest.roots };
    let version = bundle.version();
    let counts_all = bundle.asks_for_sessions();
    let message = format!("this bundle is evaluated as Rego only, which is slower: {because}");
    let warning = Diagnostic::error("", Place { line: 1, column: 1 }, "", message).warning();
    let set = PolicySet {
        tables: Tables {
            mode,
            counts_all,
            ..host_keeps(tables).map_err(|why| BundleError::RegoOnly { because, why })?
        },
        positions: BTreeMap::new(),
        engine: Engine::Rego,
        bundle,
        version,
        publication: None,
        foreign: Some(ids),
        observes: false,
        warnings: vec![warning],
        freezes: Vec::new(),
        custom: None,
        machine: None,
        interpreter: OnceLock::new(),
        token_key: options.token_key.clone(),
    };
    match set.interpreter() {
        Ok(_) => Ok(set),
        // OPA leaves out of the Rego what it has compiled; the module is looked at next.
        Err(_) if options.engine == Engine::Wasm => Ok(set),
        Err(error) => Err(refused(format!("the interpreter refuses it: {error}"))),
    }
}

/// The data at the top of the bundle, with nothing about our tables in any other place.
fn data(archive: &Archive) -> Result<Map<String, Value>, String> {
    if !archive.files().any(|(name, _)| is_module(name)) {
        return Err("it has no Rego".to_owned());
    }
    let below = format!("{TABLES}/");
    if let Some((name, _)) = archive.files().find(|(name, _)| is_data(name) && name.starts_with(&below)) {
        return Err(format!("its tables are in {name} instead of {DATA_FILE}"));
    }
    match archive.file(DATA_FILE) {
        None => Ok(Map::new()),
        Some(text) => serde_json::from_slice(text).map_err(|error| format!("{DATA_FILE} is no JSON object: {error}")),
    }
}

/// What the host has to put into the input for the Rego: the time in its zones, and the session where it is asked for.
fn host_keeps(tables: Option<&Value>) -> Result<Tables, String> {
    let Some(tables) = tables else { return Ok(Tables::default()) };
    let names = |key: &str| tables.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let zones = names("zones").map(|name| Zone::named(name).map_err(|_| format!("there is no time zone {name:?}")));
    let remembers = tables.get("remembers").and_then(Value::as_bool).unwrap_or_default();
    let counted = names("counted").map(str::to_owned).collect();
    Ok(Tables { zones: zones.collect::<Result<_, _>>()?, remembers, counted, ..Tables::default() })
}

/// The policies' ids, if the Rego enforces all that the tables say of them.
fn by_rego_alone(tables: &Value) -> Result<Vec<String>, String> {
    let mut ids = Vec::new();
    for policy in tables.get("policies").and_then(Value::as_array).into_iter().flatten() {
        let id = policy.get("id").and_then(Value::as_str).ok_or("a policy in its data has no id")?;
        only(policy, &POLICY_BY_REGO, id)?;
        for entry in policy.get("entries").and_then(Value::as_array).into_iter().flatten() {
            only(entry, &ENTRY_BY_REGO, id)?;
        }
        ids.push(id.to_owned());
    }
    Ok(ids)
}

fn only(part: &Value, known: &[&str], policy: &str) -> Result<(), String> {
    let said = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    };
    let members = part.as_object().ok_or("a policy in its data is no object")?;
    match members.iter().find(|(key, value)| !known.contains(&key.as_str()) && said(value)) {
        Some((key, _)) => Err(format!("nothing would enforce `{key}` of policy {policy:?}")),
        None => Ok(()),
    }
}
