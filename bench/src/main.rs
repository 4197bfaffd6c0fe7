//! Measures Aegis beside its peers, in one run on one machine, and writes the numbers as a Markdown document.
//!
//! Nothing here asserts a time: a slow machine gives slow numbers, not a failure. What is asserted is that every measured
//! call did what it should (was allowed, reached the upstream, is on record), so that no number is one of an error path.

mod commit;
mod decision;
mod engines;
mod ext_authz;
mod load;
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

/// What the benchmark is told on its command line.
struct Options {
    parts: Vec<String>,
    /// The gateway, as it is shipped.
    aegis: PathBuf,
    /// The reverse proxy to compare with.
    nginx: PathBuf,
    /// The policy engine to compare with.
    opa: PathBuf,
    /// A folder on the disk that is measured.
    scratch: PathBuf,
    /// What is measured, for the head of the report.
    commit: String,
}

const PARTS: [&str; 8] = ["decision", "engines", "policies", "reload", "route", "ext_authz", "commit", "start"];
const USAGE: &str = "aegis-bench [PART]... --aegis FILE --nginx FILE --opa FILE --scratch DIR --commit TEXT
PART: decision, engines, policies, reload, route, ext_authz, commit, start. Without one: all of them.
Run it with bench/run, which builds what it needs.";

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            parts: Vec::new(),
            aegis: "aegis".into(),
            nginx: "nginx".into(),
            opa: "opa".into(),
            scratch: ".".into(),
            commit: "unknown".to_owned(),
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--aegis" => options.aegis = value()?.into(),
                "--nginx" => options.nginx = value()?.into(),
                "--opa" => options.opa = value()?.into(),
                "--scratch" => options.scratch = value()?.into(),
                "--commit" => options.commit = value()?,
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
    let options = Options::parse(arguments)?;
    let head = report::head(&options.commit)?;
    let sections: Result<Vec<Section>> = options
        .parts
        .iter()
        .map(|part| {
            eprintln!("bench: {part}");
            match part.as_str() {
                "decision" => decision::run(&options.scratch),
                "engines" => engines::run(&options.opa, &options.scratch),
                "policies" => policies::run(&options.opa, &options.scratch),
                "reload" => reload::run(),
                "route" => route::run(&options.aegis, &options.nginx, &options.scratch),
                "ext_authz" => ext_authz::run(&options.aegis, &options.scratch),
                "commit" => commit::run(&options.scratch),
                _ => start::run(&options.aegis, &options.scratch),
            }
        })
        .collect();
    print!("{}", report::document(&head, &sections?)?);
    Ok(())
}
