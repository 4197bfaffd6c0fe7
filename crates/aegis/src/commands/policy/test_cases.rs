//! `aegis policy test`: the cases that stand beside policies, in `*.test.yaml`.
//!
//! Each case is decided by the gateway's own `decide()`, with the facts that the case gives and no others, by both engines;
//! where those differ the case has failed. What a run shows of the rules is counted by the core.
//! Deliberately absent: what the gateway finds out on the network (addresses behind names), and rates.

mod junit;
mod output;
mod read;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use aegis_core::describe::Catalogue;
use aegis_core::document::Diagnostic;
use aegis_core::policy::{Exercised, Options, PolicySet, Rule};
use anyhow::{Context as _, Result, bail};

use crate::cli::{Global, TestArgs};
use crate::config::Config;
use crate::load;
use crate::outcome::{No, invalid};
use run::Outcome;
pub(super) use run::explanation;

/// From how many cases on somebody may want to see how far it is.
const MANY: usize = 100;

/// Policies, and the files of cases beside them.
struct Suite {
    /// The folder or file that the policies are in.
    policies: PathBuf,
    files: BTreeSet<PathBuf>,
}

/// What a run has found.
struct Results {
    outcomes: Vec<Outcome>,
    coverage: Coverage,
}

/// Which rules the cases have exercised.
#[derive(Default)]
struct Coverage {
    rules: Vec<Rule>,
    kept: BTreeSet<String>,
    broken: BTreeSet<String>,
}

impl Results {
    fn failed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| !outcome.passed()).count()
    }
}

impl Coverage {
    fn add(&mut self, prefix: &str, exercised: Vec<Exercised>) {
        for Exercised { id, kept } in exercised {
            let set = if kept { &mut self.kept } else { &mut self.broken };
            set.insert(format!("{prefix}{id}"));
        }
    }

    /// What was never seen of a rule: being kept, being broken.
    fn missing(&self, rule: &Rule) -> (bool, bool) {
        (rule.can_be_kept && !self.kept.contains(&rule.id), rule.can_be_broken && !self.broken.contains(&rule.id))
    }

    /// How much was seen, and of how much: a rule counts once for being kept and once for being broken.
    fn counts(&self) -> (usize, usize) {
        let (mut seen, mut all) = (0, 0);
        for rule in &self.rules {
            let (kept, broken) = self.missing(rule);
            let possible = usize::from(rule.can_be_kept) + usize::from(rule.can_be_broken);
            all += possible;
            seen += possible - usize::from(kept) - usize::from(broken);
        }
        (seen, all)
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of rules is far below 2^52")]
    fn percent(&self) -> f64 {
        match self.counts() {
            (_, 0) => 100.0,
            (seen, all) => 100.0 * seen as f64 / all as f64,
        }
    }
}

pub(super) fn run(args: &TestArgs, global: &Global) -> Result<()> {
    let config = Config::load(global.config.as_deref()).map_err(invalid)?;
    let catalogue = load::catalogue(&config).map_err(invalid)?;
    let paths = if args.paths.is_empty() { std::slice::from_ref(&config.policies) } else { &args.paths };
    let results = run_all(&suites(paths)?, &catalogue)?;
    if let Some(file) = &args.junit {
        junit::write(file, &results.outcomes)?;
    }
    output::print(&results, global)?;
    let failed = results.failed();
    if failed > 0 {
        return Err(No(format!("{failed} of {} cases failed", results.outcomes.len())).into());
    }
    let percent = results.coverage.percent();
    match args.coverage_min {
        Some(least) if percent < least => {
            Err(No(format!("the cases exercise {percent:.0}% of the rules, and {least}% is asked for")).into())
        }
        _ => Ok(()),
    }
}

/// What the paths name: a folder is its policies and cases, a file of cases is tested against its folder's policies, and a
/// single policy file against the cases of the same name.
fn suites(paths: &[PathBuf]) -> Result<Vec<Suite>> {
    let mut suites: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
    for path in paths {
        let (policies, files) = if path.is_dir() {
            (path.clone(), load::case_files(path).with_context(|| format!("can't read {}", path.display()))?)
        } else if load::is_case_file(path) {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            (folder.to_owned(), vec![path.clone()])
        } else {
            let beside = path.with_extension("test.yaml");
            (path.clone(), if beside.exists() { vec![beside] } else { Vec::new() })
        };
        suites.entry(policies).or_default().extend(files);
    }
    if suites.values().all(BTreeSet::is_empty) {
        let looked = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        bail!(
            "no cases in {looked}: write them beside the policies, in files named *.test.yaml (aegis policy test --help)"
        );
    }
    Ok(suites.into_iter().map(|(policies, files)| Suite { policies, files }).collect())
}

fn run_all(suites: &[Suite], catalogue: &Catalogue) -> Result<Results> {
    let mut loaded = Vec::new();
    let mut errors: Vec<Diagnostic> = Vec::new();
    for suite in suites {
        // Cases say what the policies mean. That the gateway only watches so far is no part of them; a policy's own mode is.
        let policies = load::sources(std::slice::from_ref(&suite.policies), "policies")
            .and_then(|sources| load::policies(&sources, Options::default(), &catalogue.defined()));
        let cases: Result<Vec<_>, _> = suite.files.iter().map(|file| read::file(file)).collect();
        match (policies, cases) {
            (Ok(policies), Ok(cases)) => loaded.push((suite, policies, cases.concat())),
            (policies, cases) => errors.extend([policies.err(), cases.err()].into_iter().flatten().flatten()),
        }
    }
    if !errors.is_empty() {
        return Err(invalid(errors));
    }
    let total = loaded.iter().map(|(_, _, cases)| cases.len()).sum();
    let mut results = Results { outcomes: Vec::with_capacity(total), coverage: Coverage::default() };
    let several = loaded.len() > 1;
    for (suite, policies, cases) in &loaded {
        // Folders may hold policies of one name.
        let prefix = if several { format!("{}: ", suite.policies.display()) } else { String::new() };
        run_suite(policies, cases, catalogue, &prefix, total, &mut results);
    }
    progress(total, total);
    Ok(results)
}

fn run_suite(
    policies: &PolicySet,
    cases: &[read::Case],
    catalogue: &Catalogue,
    prefix: &str,
    total: usize,
    results: &mut Results,
) {
    let rules = policies.rules().into_iter().map(|rule| Rule { id: format!("{prefix}{}", rule.id), ..rule });
    results.coverage.rules.extend(rules);
    for case in cases {
        let mut outcome = run::run(case, catalogue, policies);
        results.coverage.add(prefix, std::mem::take(&mut outcome.exercised));
        results.outcomes.push(outcome);
        progress(results.outcomes.len(), total);
    }
}

/// How far it is, on one line of a terminal that somebody looks at; the line goes when all is done.
fn progress(done: usize, total: usize) {
    let mut err = std::io::stderr().lock();
    if total < MANY || !err.is_terminal() || (!done.is_multiple_of(MANY / 10) && done < total) {
        return;
    }
    let text = if done < total { format!("\r{done} of {total} cases") } else { "\r\x1b[K".to_owned() };
    // Who can't be told how far it is will be told how it ended.
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

#[cfg(test)]
mod tests;
