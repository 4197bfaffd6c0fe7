//! wip
use anyhow::Result;
use crate::cli::{DemoArgs, Global};
pub(crate) async fn run(_: &DemoArgs, _: &Global) -> Result<()> { Ok(()) }
