//! `aegis policy mode`: one policy enforces or observes, whatever its file says, without a restart.

use anyhow::Result;
use http::Method;
use serde_json::json;

use super::versions::{print_change, said};
use crate::cli::Global;
use crate::cli::versions::{ModeArgs, PolicyMode};
use crate::operator::{Operator, segment};

pub(super) async fn run(args: ModeArgs, operator: &Operator, global: &Global) -> Result<()> {
    let path = format!("/v1/policies/modes/{}", segment(&args.policy));
    let (answer, done) = match args.mode {
        None => (operator.call(Method::DELETE, &path, None).await?, "as its file says"),
        Some(mode) => {
            let mode = match mode {
                PolicyMode::Enforce => "enforce",
                PolicyMode::Shadow => "shadow",
            };
            (operator.call(Method::PUT, &path, Some(json!({"mode": mode}))).await?, mode)
        }
    };
    let policy = args.policy;
    print_change(global, &answer, |answer| said(operator, answer, &format!("{policy}: {done};")))
}
