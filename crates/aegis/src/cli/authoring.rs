//! Options of the commands for those who write policies.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Folders and files; the configuration's policies when none is named
    pub(crate) paths: Vec<PathBuf>,
    /// How to say it; `--json` is short for `--format json`
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Exit 1 for warnings too
    #[arg(long)]
    pub(crate) deny_warnings: bool,
}

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// With the lines that they are about
    Text,
    /// One document
    Json,
    /// SARIF 2.1.0, which code hosts show beside the lines
    Sarif,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Folders, and single files of cases; the configuration's policies when none is named
    pub(crate) paths: Vec<PathBuf>,
    /// Fail where less of the rules was exercised
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(crate) coverage_min: Option<f64>,
    /// Write the results as JUnit XML as well
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
}

/// `80%`, or `80`.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    match number.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("write a percentage from 0% to 100%".to_owned()),
    }
}
