//! A credential that a program prints: the exec plugins of Kubernetes (`client.authentication.k8s.io/v1`), or plain text.
//!
//! The program is run when a credential is needed and the last one has ended; calls that come meanwhile wait for that one run. It is
//! given nothing of Aegis's environment but PATH, HOME and TMPDIR, and nothing to read. What it prints to its error output is dropped,
//! because it could be the secret.

use std::process::Stdio;
use std::time::{Duration, Instant};

use http::HeaderValue;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::enforce::settings::Exec;

/// The most that a program may print, in bytes.
const MOST: u64 = 64 << 10;
/// How long before its end a credential isn't used any more.
const MARGIN: Duration = Duration::from_secs(10);
/// How long a failure holds, so that a storm of calls isn't a storm of programs.
const FAILED: Duration = Duration::from_secs(1);
const VERSION: &str = "client.authentication.k8s.io/v1";
/// What of Aegis's environment a program gets.
const INHERITED: [&str; 3] = ["PATH", "HOME", "TMPDIR"];

/// See the module.
pub(super) struct Program {
    exec: Exec,
    /// What was printed last, and until when that holds.
    last: Mutex<Option<(Instant, Result<HeaderValue, String>)>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    api_version: String,
    kind: String,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<String>,
    expiration_timestamp: Option<Timestamp>,
    client_certificate_data: Option<serde::de::IgnoredAny>,
}

impl Program {
    pub(super) fn new(exec: Exec) -> Result<Self, String> {
        match exec.command.first().map(String::as_str) {
            None | Some("") => Err("credential.exec: there is no command".to_owned()),
            Some(_) => Ok(Self { exec, last: Mutex::new(None) }),
        }
    }

    /// What it says now, by `form`.
    pub(super) async fn value(
        &self,
        form: impl Fn(&str) -> Result<HeaderValue, String>,
    ) -> Result<HeaderValue, String> {
        let mut last = self.last.lock().await;
        if let Some((until, value)) = &*last
            && Instant::now() < *until
        {
            return value.clone();
        }
        let printed = self.run().await.and_then(|text| read(&text, self.exec.ttl, Timestamp::now()));
        let (value, holds) = match printed {
            Ok((secret, holds)) => (form(&secret), holds),
            Err(why) => (Err(format!("credential.exec: {why}")), FAILED),
        };
        *last = Some((Instant::now() + holds, value.clone()));
        value
    }

    async fn run(&self) -> Result<String, String> {
        let Exec { command, env, timeout: limit, .. } = &self.exec;
        let (program, arguments) = command.split_first().ok_or("there is no command")?;
        let info = format!(r#"{{"apiVersion":"{VERSION}","kind":"ExecCredential","spec":{{"interactive":false}}}}"#);
        let inherited = INHERITED.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(inherited)
            .env("KUBERNETES_EXEC_INFO", info)
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("the command can't be run: {error}"))?;
        let output = child.stdout.take().ok_or("the command has no output")?;
        let running = async {
            let mut text = String::new();
            output.take(MOST + 1).read_to_string(&mut text).await.map_err(|_| "the command prints no text")?;
            if text.len() as u64 > MOST {
                return Err("the command prints too much".to_owned());
            }
            let status = child.wait().await.map_err(|error| format!("the command can't be waited for: {error}"))?;
            if status.success() { Ok(text) } else { Err(format!("the command failed ({status})")) }
        };
        timeout(*limit, running).await.unwrap_or_else(|_| Err(format!("the command took longer than {limit:?}")))
    }
}

/// The secret in what was printed, and how long it holds.
fn read(text: &str, ttl: Duration, now: Timestamp) -> Result<(String, Duration), String> {
    let text = text.trim();
    if !text.starts_with('{') {
        return match text {
            "" => Err("the command printed nothing".to_owned()),
            _ if text.contains(['\r', '\n']) => Err("the command printed more than one line".to_owned()),
            secret => Ok((secret.to_owned(), ttl)),
        };
    }
    // The reader's own words could hold a piece of the secret.
    let read: ExecCredential = serde_json::from_str(text).map_err(|_| "what was printed is no ExecCredential")?;
    if read.kind != "ExecCredential" || read.api_version != VERSION {
        return Err(format!("what was printed is no ExecCredential of {VERSION}"));
    }
    let status = read.status.ok_or("the ExecCredential has no status")?;
    if status.client_certificate_data.is_some() {
        return Err("the ExecCredential is a client certificate; give it under `tls`".to_owned());
    }
    let token = status.token.filter(|token| !token.is_empty()).ok_or("the ExecCredential has no token")?;
    let holds = match status.expiration_timestamp {
        None => ttl,
        Some(end) if end <= now => return Err("the ExecCredential has ended already".to_owned()),
        Some(end) => Duration::try_from(end.duration_since(now)).unwrap_or_default().saturating_sub(MARGIN),
    };
    Ok((token, holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn credential(status: &str) -> String {
        format!(r#"{{"apiVersion":"{VERSION}","kind":"ExecCredential","status":{status}}}"#)
    }

    #[test]
    fn what_a_program_prints_is_a_token_and_how_long_it_holds() {
        let (ttl, now) = (Duration::from_mins(1), at("2026-01-01T00:00:00Z"));
        assert_eq!(read("plain\n", ttl, now), Ok(("plain".to_owned(), ttl)));
        assert_eq!(read(&credential(r#"{"token":"t"}"#), ttl, now), Ok(("t".to_owned(), ttl)));
        let ends =
            |end: &str| read(&credential(&format!(r#"{{"token":"t","expirationTimestamp":"{end}"}}"#)), ttl, now);
        assert_eq!(ends("2026-01-01T01:00:00Z"), Ok(("t".to_owned(), Duration::from_secs(3590))));
        assert_eq!(ends("2026-01-01T00:00:05Z"), Ok(("t".to_owned(), Duration::ZERO)));
        assert!(ends("2026-01-01T00:00:00Z").is_err_and(|why| why.contains("ended")));
        for bad in ["", "\n", "a\nb", "{", "{}"] {
            assert!(read(bad, ttl, now).is_err(), "{bad}");
        }
        for status in [r#"{"token":""}"#, "{}", r#"{"clientCertificateData":"x","clientKeyData":"y","token":"t"}"#] {
            assert!(read(&credential(status), ttl, now).is_err(), "{status}");
        }
        let beta = credential(r#"{"token":"t"}"#).replace("/v1\"", "/v1beta1\"");
        assert!(read(&beta, ttl, now).is_err());
    }
}
