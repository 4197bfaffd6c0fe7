//! Policies and tools from the disk. Reads; what is read is checked by the core.

use std::path::{Path, PathBuf};

use aegis_core::describe::Catalogue;
use aegis_core::document::{self, Diagnostic, Place};
use aegis_core::policy::{DefinedAction, Options, PolicySet, Source};
use aegis_server::identify;
use jiff::Timestamp;

use crate::config::{Config, START};
use crate::remote;

/// How the names of files end that hold cases of policies.
const CASES: &str = ".test.yaml";

/// The catalogue that a configuration describes: built-in tools, the operator's own, the environment map.
///
/// # Errors
/// Everything that is wrong with any of them, and routes that lead to tools which it doesn't have.
pub(crate) fn catalogue(config: &Config) -> Result<Catalogue, Vec<Diagnostic>> {
    let sources = match &config.tools {
        Some(path) => sources(std::slice::from_ref(path), "tool definitions")?,
        None => Vec::new(),
    };
    let environments = config.environments.as_ref().map(|(file, node)| (file.as_str(), node));
    let catalogue = Catalogue::load(&sources, environments)?;
    let routes = config.routes.iter().filter_map(|route| {
        let what = format!("route {:?}", route.upstream.name);
        unknown_tool(&catalogue, route.tool.as_ref(), &what, (&route.file, route.place))
    });
    let (file, place) = &config.interception.at;
    let hosts = config.interception.hosts.iter();
    let hosts = hosts.filter_map(|host| unknown_tool(&catalogue, host.tool.as_ref(), "interception", (file, *place)));
    let servers = config.mcp.iter().flat_map(|server| misfits(&catalogue, server));
    let unknown: Vec<Diagnostic> = routes.chain(hosts).chain(servers).collect();
    if unknown.is_empty() { Ok(catalogue) } else { Err(unknown) }
}

fn unknown_tool(
    catalogue: &Catalogue,
    tool: Option<&String>,
    what: &str,
    (file, place): (&str, Place),
) -> Option<Diagnostic> {
    let tool = tool.filter(|tool| !catalogue.has_tool(tool))?;
    let names: Vec<String> = catalogue.tools().into_iter().map(|listing| listing.tool).collect();
    let message = format!("{what}: there is no tool {tool:?}");
    let suggestion = format!("tools: {}; add your own under `tools:`", names.join(", "));
    Some(Diagnostic::error(file, place, "tool", message).suggest(Some(suggestion)))
}

/// What of an MCP server doesn't fit the catalogue: a name that would make its tools another tool's actions, and actions that
/// there aren't.
fn misfits(catalogue: &Catalogue, server: &crate::config::Mcp) -> Vec<Diagnostic> {
    let name = &server.settings.server.name;
    let wrong = |key: &str, message: String| Diagnostic::error(&server.file, server.place, key, message);
    let mut all = Vec::new();
    if catalogue.has_tool(name) {
        let message = format!("the MCP server {name:?} has the name of a tool of the catalogue");
        let suggestion = "give it another name, and say under `map` which of its tools are that tool's actions";
        all.push(wrong("mcp", message).suggest(Some(suggestion)));
    }
    let defined = catalogue.defined();
    for mapping in &server.settings.server.map {
        let (tool, action) = (&mapping.as_tool, &mapping.as_action);
        if !defined.iter().any(|one| one.tool == *tool && one.action == *action) {
            let message = format!("the MCP server {name:?}: there is no action {tool}/{action}");
            all.push(wrong("mcp.map", message).suggest(Some("`aegis tools list` shows the actions that there are")));
        }
    }
    all
}

/// The catalogue of a configuration and its policies, which fit the catalogue.
///
/// # Errors
/// Everything that is wrong with any of them.
pub(crate) fn all(config: &Config) -> Result<(Catalogue, PolicySet), Vec<Diagnostic>> {
    let options = options(config);
    let catalogue = catalogue(config);
    if let Some(bundle) = &config.bundle {
        let catalogue = catalogue?;
        let policies = remote::at_start(config, bundle, options, &catalogue.defined())?;
        return Ok((catalogue, policies));
    }
    let found = sources(std::slice::from_ref(&config.policies), "policies");
    // Where the catalogue is bad there is nothing that the policies could fit; what else is wrong with them is said all the same.
    let defined = catalogue.as_ref().ok().map(Catalogue::defined);
    let policies = found.and_then(|sources| match &defined {
        Some(defined) => policies(&sources, options, defined),
        None => PolicySet::load(&sources, options),
    });
    match (catalogue, policies) {
        (Ok(catalogue), Ok(policies)) => Ok((catalogue, policies)),
        (catalogue, policies) => Err([catalogue.err(), policies.err()].into_iter().flatten().flatten().collect()),
    }
}

/// How the policies of a configuration are loaded. A key that can't be read makes no tokens: what would be one is masked.
pub(crate) fn options(config: &Config) -> Options {
    let token_key = identify::redaction_key(&config.data_dir).unwrap_or_else(|error| {
        tracing::warn!(%error, "no tokens are made of what is redacted: it is masked");
        None
    });
    Options { engine: config.engine, mode: config.mode, token_key, ..Options::default() }
}

/// Policies that fit the actions that are defined.
///
/// # Errors
/// Everything that is wrong with any of them.
pub(crate) fn policies(
    sources: &[Source],
    options: Options,
    defined: &[DefinedAction],
) -> Result<PolicySet, Vec<Diagnostic>> {
    Ok(PolicySet::load(sources, options)?.fitted_to(defined)?.as_of(Timestamp::now()))
}

/// Puts warnings in the log.
pub(crate) fn log(warnings: &[Diagnostic]) {
    for warning in warnings {
        let Diagnostic { file, line, key, message, suggestion, .. } = warning;
        tracing::warn!(file, line, key, suggestion, "{message}");
    }
}

/// The YAML, JSON and Rego files of `paths` (files, and folders one level deep), in a stable order.
///
/// # Errors
/// What can't be read; `what` says what was looked for.
pub(crate) fn sources(paths: &[PathBuf], what: &str) -> Result<Vec<Source>, Vec<Diagnostic>> {
    let (mut sources, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        let files = if path.is_dir() { in_folder(path) } else { Ok(vec![path.clone()]) };
        match files {
            Ok(files) => files.iter().for_each(|file| match read(file) {
                Ok(source) => sources.push(source),
                Err(error) => errors.push(error),
            }),
            Err(error) => errors.push(unreadable(path, &error, what)),
        }
    }
    if errors.is_empty() { Ok(sources) } else { Err(errors) }
}

fn in_folder(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // Hidden names are editors' and mounted volumes' own business.
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || (is_case_file(&path) && holds_cases(&path)?) {
            continue;
        }
        // One left out would be a rule less: what has such a name and can't be read is refused by `read`.
        if is_ours(&path) {
            files.push(path);
        } else if path.is_dir() && std::fs::read_dir(&path)?.flatten().any(|inner| is_ours(&inner.path())) {
            let message = format!("{} is a folder in it, which is not looked into; move its files up", path.display());
            return Err(std::io::Error::new(std::io::ErrorKind::IsADirectory, message));
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a file holds cases of policies (`aegis policy test`) and is no policy itself.
pub(crate) fn is_case_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(CASES.as_bytes()))
}

/// Whether a file that is named like cases is what its name says: a policy would be a rule less.
fn holds_cases(file: &Path) -> std::io::Result<bool> {
    let refused =
        |why: String| std::io::Error::new(std::io::ErrorKind::InvalidData, format!("{}: {why}", file.display()));
    let text = text_of(file).map_err(|error| refused(error.to_string()))?;
    let documents = document::parse(&file.display().to_string(), &text).map_err(|error| refused(error.message))?;
    if documents.iter().all(|document| document.get("cases").is_some()) {
        return Ok(true);
    }
    Err(refused(format!("it is named *{CASES} and holds no `cases`; a policy needs another name")))
}

/// The files of cases in a folder, in a stable order.
///
/// # Errors
/// Why it can't be read.
pub(crate) fn case_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let all: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    let mut files: Vec<_> = all.into_iter().filter(|path| is_case_file(path)).collect();
    files.sort();
    Ok(files)
}

fn is_ours(path: &Path) -> bool {
    let ours = ["yaml", "yml", "json", "rego"];
    path.extension().is_some_and(|end| ours.iter().any(|ours| end.eq_ignore_ascii_case(ours)))
}

fn read(file: &Path) -> Result<Source, Diagnostic> {
    let source = |text| Source { file: file.display().to_string(), text };
    text_of(file).map(source).map_err(|error| unreadable(file, &error, "the file"))
}

fn text_of(file: &Path) -> std::io::Result<String> {
    if !std::fs::metadata(file)?.is_file() {
        // A pipe would never end.
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no file"));
    }
    std::fs::read_to_string(file)
}

fn unreadable(path: &Path, error: &std::io::Error, what: &str) -> Diagnostic {
    let message = format!("{what} can't be read: {error}");
    let hint = (error.kind() == std::io::ErrorKind::NotFound).then_some("make it, or start with `aegis init`");
    Diagnostic::error(&path.display().to_string(), START, "", message).suggest(hint)
}

#[cfg(test)]
mod tests;
