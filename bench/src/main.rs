//! Measures Aegis beside its peers, in one run on one machine, and writes the numbers as a Markdown document.
//!
//! Nothing here asserts a time: a slow machine gives slow numbers, not a failure. What is asserted is that every measured
//! call did what it should (was allowed, reached the upstream, is on record), so that no number is one of an error path.

mod authzen;
mod catalogue;
mod certificate;
mod commit;
mod contest;
mod decision;
mod dial;
mod dlp;
mod engines;
mod envoy;
mod ext_authz;
mod forward;
mod idle;
mod intercept;
mod load;
mod mcp;
mod opa;
mod policies;
mod process;
mod reload;
mod report;
mod route;
mod scene;
mod start;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use report::Section;

/// The folder that scripts/tools puts the peers' programs into.
pub(crate) struct Tools(PathBuf);

impl Tools {
    pub(crate) fn of(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// What the benchmark is told on its command line.
struct Options {
    parts: Vec<String>,
    /// The gateway, as it is shipped.
    aegis: PathBuf,
    /// The folder with the peers' programs.
    tools: Tools,
    /// A folder on the disk that is measured.
    scratch: PathBuf,
    /// What is measured and how it was built, for the head of the report.
    commit: String,
    profile: String,
}

const PARTS: [&str; 14] = [
    "decision",
    "catalogue",
    "dlp",
    "engines",
    "policies",
    "reload",
    "route",
    "intercept",
    "ext_authz",
    "mcp",
    "authzen",
    "idle",
    "commit",
    "start",
];
const USAGE: &str = "aegis-bench [PART]... --aegis FILE --tools DIR --scratch DIR --commit TEXT [--profile NAME]
PART: decision, catalogue, dlp, engines, policies, reload, route, intercept, ext_authz, mcp, authzen, idle, commit, start. Without one: all.
Run it with bench/run, which builds what it needs.";

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            parts: Vec::new(),
            aegis: "aegis".into(),
            tools: Tools(".tools/bin".into()),
            scratch: ".".into(),
            commit: "unknown".to_owned(),
            profile: "dist".to_owned(),
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--aegis" => options.aegis = value()?.into(),
                "--tools" => options.tools = Tools(value()?.into()),
                "--scratch" => options.scratch = value()?.into(),
                "--commit" => options.commit = value()?,
                "--profile" => options.profile = value()?,
                part if PARTS.contains(&part) => options.parts.push(argument),
                other => bail!("{other}?\n{USAGE}"),
            }
        }
        if options.parts.is_empty() {
            options.parts = PARTS.map(str::to_owned).into();
        }
        Ok(options)
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("--probe").is_some() {
        let (Some(kind), Some(agents)) = (arguments.next(), arguments.next()) else { bail!("{USAGE}") };
        println!("{}", serde_json::to_string(&policies::probed(&kind, agents.parse()?)?)?);
        return Ok(());
    }
    let Options { parts, aegis, tools, scratch, commit, profile } = Options::parse(arguments)?;
    let head = report::head(&commit, &profile)?;
    let sections: Result<Vec<Section>> = parts
        .iter()
        .map(|part| {
            eprintln!("bench: {part}");
            match part.as_str() {
                "decision" => decision::run(&scratch),
                "catalogue" => catalogue::run(),
                "dlp" => dlp::run(&tools, &scratch),
                "engines" => engines::run(&tools.of("opa"), &scratch),
                "policies" => policies::run(&tools.of("opa"), &scratch),
                "reload" => reload::run(),
                "route" => route::run(&aegis, &tools.of("nginx"), &scratch),
                "intercept" => intercept::run(&aegis, &tools, &scratch),
                "ext_authz" => ext_authz::run(&aegis, &tools, &scratch),
                "mcp" => mcp::run(&aegis, &scratch),
                "authzen" => authzen::run(&aegis, &scratch),
                "idle" => idle::run(&aegis, &tools, &scratch),
                "commit" => commit::run(&scratch),
                _ => start::run(&aegis, &scratch),
            }
        })
        .collect();
    print!("{}", report::document(&head, &sections?)?);
    Ok(())
}
