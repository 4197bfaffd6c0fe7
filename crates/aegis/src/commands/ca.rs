//! `aegis ca`: the certificate that clients of the TLS listener trust.

use aegis_server::ca::Ca;
use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::json;

use super::print;
use crate::cli::{CaCommand, Global};
use crate::config::Config;
use crate::outcome::invalid;

pub(super) fn run(command: CaCommand, global: &Global) -> Result<()> {
    let CaCommand::Export { out } = command;
    let config = Config::load(global.config.as_deref()).map_err(invalid)?;
    let ca = Ca::open(&config.data_dir, Timestamp::now())?;
    let pem = ca.certificate_pem();
    let Some(out) = out else {
        return print(global, &json!({"certificate": pem}), |_| pem.to_owned());
    };
    std::fs::write(&out, pem).with_context(|| format!("can't write {}", out.display()))?;
    print(global, &json!({"certificate": pem, "written": out}), |_| format!("written to {}\n", out.display()))
}
