//! The part of `aegis policy` that is about versions: they live in the gateway, not in files.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum VersionsCommand {
    /// Check policies, store them as a version, and put it in force
    #[command(after_help = "Examples:\n  aegis policy publish --note 'allow the new registry' --risk low\n  \
                            aegis policy publish policies/ --no-activate    store only, to try it with `canary`")]
    Publish(PublishArgs),
    /// The versions that are kept, newest first
    #[command(after_help = "Example:\n  aegis policy list --json | jq '.versions[0]'")]
    List,
    /// One version, and what it is made of
    #[command(after_help = "Example:\n  aegis policy show pol_0123456789ab --source")]
    Show {
        /// The version, from `aegis policy list`
        version: String,
        /// Print its files too
        #[arg(long)]
        source: bool,
    },
    /// What is in force, since when, by whom, from where; what was refused, and why
    #[command(after_help = "Example:\n  aegis policy status")]
    Status,
    /// Put an earlier version in force
    #[command(after_help = "Examples:\n  aegis policy rollback                    to the one in force before\n  \
                            aegis policy rollback pol_0123456789ab --note 'deploys were blocked'")]
    Rollback {
        /// The version; the one in force before when none is named
        version: Option<String>,
        /// Why; kept with the record
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Switch one policy to enforce or shadow, whatever its file says
    #[command(after_help = "Examples:\n  aegis policy mode deploy-manager shadow\n  \
                            aegis policy mode --clear deploy-manager        as its file says again")]
    Mode(ModeArgs),
    /// Try a version on a part of the calls before all of them
    #[command(after_help = "Examples:\n  aegis policy canary pol_0123456789ab --share 5%\n  \
                            aegis policy canary pol_0123456789ab --agent deploy-manager --group beta\n  \
                            aegis policy canary --promote\n  aegis policy canary --stop")]
    Canary(CanaryArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// Folders and files; the configuration's policies when none is named
    pub(crate) paths: Vec<PathBuf>,
    /// Why; kept with the version
    #[arg(long, default_value = "")]
    pub(crate) note: String,
    /// How much it can break
    #[arg(long, value_enum)]
    pub(crate) risk: Option<RiskTier>,
    /// Who wrote it; `operator` when not given
    #[arg(long)]
    pub(crate) author: Option<String>,
    /// Store it only; it comes into force by `rollback` or `canary`
    #[arg(long)]
    pub(crate) no_activate: bool,
}

/// How much a change can break, as its author says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RiskTier {
    /// Little
    Low,
    /// Something
    Medium,
    /// Much
    High,
}

#[derive(Debug, Args)]
pub(crate) struct ModeArgs {
    /// The policy's name; of one without a name, its agent
    pub(crate) policy: String,
    /// enforce or shadow
    #[arg(value_enum, required_unless_present = "clear", conflicts_with = "clear")]
    pub(crate) mode: Option<PolicyMode>,
    /// Let its file say again
    #[arg(long)]
    pub(crate) clear: bool,
}

/// Whether a policy refuses, or only records what it would have refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyMode {
    /// Refuses
    Enforce,
    /// Observes
    Shadow,
}

#[derive(Debug, Args)]
pub(crate) struct CanaryArgs {
    /// The version to try
    #[arg(required_unless_present_any = ["promote", "stop"], conflicts_with_all = ["promote", "stop"])]
    pub(crate) version: Option<String>,
    /// On this share of all agents or calls: 5%
    #[arg(long, value_name = "PERCENT", value_parser = percent, requires = "version", conflicts_with_all = ["agents", "groups"])]
    pub(crate) share: Option<f64>,
    /// What the share is of: an agent stays on its side, each call is drawn anew
    #[arg(long, value_enum, requires = "share")]
    pub(crate) by: Option<ShareOf>,
    /// On the calls of this agent; may be repeated
    #[arg(long = "agent", value_name = "AGENT", requires = "version")]
    pub(crate) agents: Vec<String>,
    /// On the calls of the agents in this group; may be repeated
    #[arg(long = "group", value_name = "GROUP", requires = "version")]
    pub(crate) groups: Vec<String>,
    /// It was good: put it in force for every call
    #[arg(long, conflicts_with = "stop")]
    pub(crate) promote: bool,
    /// It wasn't: the version in force judges every call again
    #[arg(long)]
    pub(crate) stop: bool,
}

/// What a share is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShareOf {
    /// Of the agents
    Agent,
    /// Of the calls
    Call,
}

/// `5%` or `0.5%` as a share of one.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match number {
        Some(number) if number > 0.0 && number <= 100.0 => Ok(number / 100.0),
        _ => Err("expected a share such as 5% or 0.5%, up to 100%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn a_share_is_a_percentage() {
        assert_eq!(percent("5%"), Ok(0.05));
        assert_eq!(percent("0.5 %"), Ok(0.005));
        assert_eq!(percent("100%"), Ok(1.0));
        for bad in ["5", "0%", "101%", "-1%", "NaN%", "inf%", "%", "five%", ""] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }
}
