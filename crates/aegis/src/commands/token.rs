//! `aegis token`: short-lived tokens.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};

use super::{operate, print, read_input};
use crate::cli::{Global, TokenCommand};
use crate::config::duration;
use crate::operator::segment;
use crate::table::cell;

pub(super) fn run(command: TokenCommand, global: &Global) -> Result<()> {
    match command {
        TokenCommand::Issue { of, ttl } => issue(&of.agent(), ttl.as_deref(), global),
        TokenCommand::Revoke { token } => {
            let token = given(token)?;
            let body = if token.starts_with("tok_") { json!({"jti": token}) } else { json!({"token": token}) };
            operate(global, async |operator| {
                let revoked = operator.call(Method::POST, "/v1/tokens/revoke", Some(body)).await?;
                print(global, &revoked, |revoked| format!("token {} revoked\n", cell(revoked, "/jti")))
            })
        }
        TokenCommand::Inspect { token } => {
            let content = content(&given(token)?)?;
            print(global, &content, |content| {
                format!("{content:#}\nnot verified: only the gateway can say whether it is good\n")
            })
        }
    }
}

fn issue(agent: &str, ttl: Option<&str>, global: &Global) -> Result<()> {
    let ttl = ttl.map(|text| duration(text).with_context(|| format!("--ttl {text}: expected one such as 10m")));
    let seconds = ttl.transpose()?.map(|ttl| ttl.as_secs());
    operate(global, async |operator| {
        let path = format!("/v1/agents/{}/tokens", segment(agent));
        let issued = operator.call(Method::POST, &path, Some(json!({"ttl_seconds": seconds}))).await?;
        if !global.json {
            eprintln!("token {} for {agent}, good until {}", cell(&issued, "/jti"), cell(&issued, "/expires_at"));
        }
        print(global, &issued, |issued| format!("{}\n", cell(issued, "/token")))
    })
}

/// The token itself, or standard input's for `-`.
fn given(token: String) -> Result<String> {
    if token != "-" {
        return Ok(token);
    }
    let text = String::from_utf8(read_input(Path::new("-"))?).context("standard input is not a token")?;
    Ok(text.trim().to_owned())
}

/// Header and claims of a JWT (RFC 7519 §3), unverified.
fn content(token: &str) -> Result<Value> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, _] = parts.as_slice() else { bail!("not a token: it has {} parts, not 3", parts.len()) };
    let decode = |part: &str, what: &str| -> Result<Value> {
        let bytes =
            URL_SAFE_NO_PAD.decode(part).with_context(|| format!("not a token: its {what} is not base64url"))?;
        serde_json::from_slice(&bytes).with_context(|| format!("not a token: its {what} is not JSON"))
    };
    Ok(json!({"header": decode(header, "header")?, "claims": decode(claims, "claims")?}))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::content;

    #[test]
    fn a_token_is_taken_apart_and_other_text_is_refused() {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let token = [part(r#"{"alg":"EdDSA"}"#), part(r#"{"sub":"a"}"#), part("sig")].join(".");
        assert_eq!(content(&token).expect("a token").pointer("/claims/sub"), Some(&"a".into()));
        for bad in ["", "a.b", "!.!.!", &[part("x"), part("{}"), String::new()].join(".")] {
            assert!(content(bad).is_err(), "{bad}");
        }
    }
}
