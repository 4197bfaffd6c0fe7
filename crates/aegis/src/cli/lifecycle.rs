//! Options of the commands that compare policies.

use std::path::PathBuf;

use clap::Args;

/// `aegis policy diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// Before: a folder or a file
    #[arg(value_name = "A")]
    pub(crate) first: PathBuf,
    /// After; the configuration's policies when not given
    #[arg(value_name = "B")]
    pub(crate) second: Option<PathBuf>,
    /// Exit with 1 when somebody may do more, or when that can't be told
    #[arg(long)]
    pub(crate) exit_code: bool,
}
