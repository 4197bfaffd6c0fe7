//! Options of the commands that compare policies.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `aegis policy diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Before: a folder, a file, a bundle or a version (`aegis policy list`); what is in force when not given
    #[arg(value_name = "A")]
    pub(crate) first: Option<PathBuf>,
    /// After: the same; the configuration's policies when not given
    #[arg(value_name = "B")]
    pub(crate) second: Option<PathBuf>,
    /// Exit with 1 when somebody may do more, or when that can't be told
    #[arg(long)]
    pub(crate) exit_code: bool,
}

/// `aegis policy replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The candidate: a folder, a file, a bundle or a version; the configuration's policies when not given
    #[arg(long, value_name = "PATH")]
    pub(crate) candidate: Option<PathBuf>,
    /// Recorded calls as `aegis audit export --calls` writes them, `-` for standard input; the gateway's own when not given
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Only calls of the last so much time, such as 24h
    #[arg(long, value_name = "DURATION")]
    pub(crate) since: Option<String>,
    /// Exit with 1 when a call would be answered so; may be repeated
    #[arg(long, value_name = "CHANGE", value_enum)]
    pub(crate) fail_on: Vec<FailOn>,
}

/// What lets a replay fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// A call that was refused, or that a human was asked about, gets a laxer answer
    NewlyAllowed,
    /// A call that passed, or that a human was asked about, is refused
    NewlyDenied,
    /// Any other answer, or a call that can't be judged
    Any,
}

/// `aegis audit export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The calls that are kept for replay (`audit.calls` in the configuration)
    #[arg(long, required = true)]
    pub(crate) calls: bool,
    /// Only those of the last so much time, such as 24h
    #[arg(long, value_name = "DURATION")]
    pub(crate) since: Option<String>,
}

/// Which files a schema is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaName {
    /// Policies
    Policy,
    /// aegis.yaml
    Config,
    /// Tests of policies, *.test.yaml
    Test,
}
