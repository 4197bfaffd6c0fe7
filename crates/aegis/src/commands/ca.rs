//! `aegis ca`: the certificate that clients trust, and how one CA follows another.

use aegis_server::ca::{self, Ca};
use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::json;

use super::print;
use crate::cli::{CaCommand, Global};
use crate::config::Config;
use crate::outcome::invalid;

pub(super) fn run(command: CaCommand, global: &Global) -> Result<()> {
    let config = Config::load(global.config.as_deref()).map_err(invalid)?;
    match command {
        CaCommand::Export { out } => export(&config, out.as_deref(), global),
        CaCommand::Rotate => rotate(&config, global),
    }
}

fn export(config: &Config, out: Option<&std::path::Path>, global: &Global) -> Result<()> {
    let pem = match &config.interception.ca {
        Some((certificate, key)) => Ca::read(certificate, key)?.certificate_pem().to_owned(),
        None => ca::exported(&config.data_dir, Timestamp::now())?,
    };
    let Some(out) = out else {
        return print(global, &json!({"certificate": pem}), |_| pem.clone());
    };
    std::fs::write(out, &pem).with_context(|| format!("can't write {}", out.display()))?;
    print(global, &json!({"certificate": pem, "written": out}), |_| format!("written to {}\n", out.display()))
}

fn rotate(config: &Config, global: &Global) -> Result<()> {
    if let Some((certificate, _)) = &config.interception.ca {
        let path = certificate.display();
        anyhow::bail!(
            "the CA is your own: put the next one in the place of {path} and its key, a running gateway takes it up"
        );
    }
    let rotated = ca::rotate(&config.data_dir, Timestamp::now())?;
    let until = rotated.previous_until.strftime("%Y-%m-%d").to_string();
    let told =
        json!({"certificate": rotated.certificate, "previous_trusted_until": rotated.previous_until.to_string()});
    print(global, &told, |_| {
        format!(
            "the next CA signs from now on; a running gateway takes it up within seconds, its proxy_tls listener when it restarts\n\
             clients that trust the old one trust it too, until {until}; by then give them: aegis ca export\n"
        )
    })
}
