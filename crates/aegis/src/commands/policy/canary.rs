//! `aegis policy canary`: a version judges a part of the calls before it judges all of them.

use anyhow::{Result, bail};
use http::Method;
use serde_json::json;

use super::versions::{print_change, said};
use crate::cli::Global;
use crate::cli::versions::{CanaryArgs, ShareOf};
use crate::operator::Operator;
use crate::table::cell;

pub(super) async fn run(args: CanaryArgs, operator: &Operator, global: &Global) -> Result<()> {
    const PATH: &str = "/v1/policies/canary";
    if args.promote {
        let answer = operator.call(Method::POST, &format!("{PATH}/promote"), None).await?;
        return print_change(global, &answer, |answer| said(operator, answer, "promoted:"));
    }
    if args.stop {
        let answer = operator.call(Method::DELETE, PATH, None).await?;
        return print_change(global, &answer, |answer| {
            format!("the canary has ended; {} judges every call\n", cell(answer, "/active/version"))
        });
    }
    if args.share.is_none() && args.agents.is_empty() && args.groups.is_empty() {
        bail!("say on which calls: --share 5%, or --agent NAME and --group NAME");
    }
    let by = args.by.map(|by| match by {
        ShareOf::Agent => "agent",
        ShareOf::Call => "call",
    });
    let body = json!({
        "version": args.version, "share": args.share, "by": by, "agents": args.agents, "groups": args.groups,
    });
    let answer = operator.call(Method::PUT, PATH, Some(body)).await?;
    print_change(global, &answer, |answer| {
        let version = cell(answer, "/canary/version");
        format!("{version} judges a part of the calls; `aegis policy canary --promote` or `--stop` ends that\n")
    })
}
