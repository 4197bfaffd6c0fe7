//! How an operator's command reaches the gateway: the one that runs, through its API; or the one that is stopped, by
//! answering the same API here, over the data directory.
//!
//! Both take the same requests, so every command is written once. Which one it is, the data directory's lock tells: whoever
//! gets it finds the gateway stopped. `AEGIS_URL` names a running one anywhere.
//!
//! Invariant: a token goes only to the gateway that it belongs to. `AEGIS_OPERATOR_TOKEN` goes to `AEGIS_URL`; a data
//! directory's goes to the process that holds that directory, and not to a port that one which is gone had.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aegis_server::api;
use aegis_server::identify::OPERATOR_TOKEN_FILE;
use aegis_store::StoreError;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower_service::Service as _;

use crate::client;
use crate::data::{self, DataDir, Note, PATIENCE};
use crate::outcome::invalid;
use crate::{
    config::{Config, DEFAULT_FILE},
    outcome::No,
};

/// The gateway that a command asks.
pub(crate) enum Operator {
    /// It runs: `host:port` of its API.
    Running {
        /// `host:port`.
        address: String,
        /// The operator's token.
        token: String,
    },
    /// It is stopped: its API, answered in this process.
    Stopped {
        /// The API.
        router: Box<axum::Router>,
        /// What it stands on, to be closed at the end.
        data: Box<DataDir>,
        /// The operator's token.
        token: String,
    },
}

impl Operator {
    /// Finds the gateway.
    ///
    /// # Errors
    /// What is in the way, and what to do about it.
    pub(crate) async fn reach(config: Option<&Path>) -> Result<Self> {
        if let Ok(url) = std::env::var("AEGIS_URL") {
            return Self::at(&url, config);
        }
        let config = Self::found(config)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match DataDir::open(&config).await {
                Ok(data) => return Self::stopped(data, config).await,
                Err(error) => error,
            };
            let Some(StoreError::Held { holder, .. }) = error.downcast_ref::<StoreError>() else { return Err(error) };
            // Who left a note is the gateway; else it is one that is just starting, or another command, soon done.
            match data::note(&config.data_dir) {
                Ok(note) if note.pid.to_string() == *holder => return Self::running(&note, &config.data_dir),
                _ if Instant::now() > deadline => return Err(error),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// The configuration; an operator who names none must stand where a gateway is, or a new, empty one would answer.
    fn found(named: Option<&Path>) -> Result<Config> {
        let config = Config::load(named).map_err(invalid)?;
        let nothing = named.is_none() && !Path::new(DEFAULT_FILE).exists() && !config.data_dir.exists();
        if nothing {
            let here = std::env::current_dir().unwrap_or_default();
            bail!(
                "there is no gateway in {}: neither {DEFAULT_FILE} nor its data. Name its configuration with --config or \
                 AEGIS_CONFIG, or make one with `aegis init`",
                here.display()
            );
        }
        Ok(config)
    }

    fn at(url: &str, config: Option<&Path>) -> Result<Self> {
        let uri: http::Uri = url.parse().with_context(|| format!("AEGIS_URL is not a URL: {url}"))?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http") && uri.path() == "/");
        let Some(authority) = authority else { bail!("AEGIS_URL must look like http://127.0.0.1:4181, it is {url}") };
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        let token = match std::env::var("AEGIS_OPERATOR_TOKEN") {
            Ok(token) => token,
            Err(_) => {
                let config = Config::load(config).map_err(invalid)?;
                read_token(&config.data_dir)
                    .context("AEGIS_URL is set, and AEGIS_OPERATOR_TOKEN isn't: set it to the operator's token")?
            }
        };
        Ok(Self::Running { address, token })
    }

    /// The gateway that left this note in this data directory.
    ///
    /// # Errors
    /// When the operator's token can't be read.
    pub(crate) fn running(note: &Note, data_dir: &Path) -> Result<Self> {
        Ok(Self::Running { address: note.api.to_string(), token: read_token(data_dir)? })
    }

    async fn stopped(data: DataDir, config: Config) -> Result<Self> {
        let token = read_token(&config.data_dir)?;
        let router = api::router(data.api(config).await?);
        Ok(Self::Stopped { router: Box::new(router), data: Box::new(data), token })
    }

    /// Asks, and gives the answer back as JSON (`null` when it has no body).
    ///
    /// # Errors
    /// [`No`] when the answer is no; what went wrong otherwise.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let (Self::Running { token, .. } | Self::Stopped { token, .. }) = self;
        let host = match self {
            Self::Running { address, .. } => address,
            Self::Stopped { .. } => "localhost",
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, host)
            .header(http::header::AUTHORIZATION, format!("Bearer {token}"))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body.map(|body| body.to_string()).unwrap_or_default()))
            .context("the operator's token or an id holds characters that no request can carry")?;
        let (status, bytes) = match self {
            Self::Running { address, .. } => {
                let hint = "is the gateway running there? `aegis serve` starts it";
                let response = client::send(address, request).await.context(hint)?;
                (response.status(), response.into_body())
            }
            Self::Stopped { router, .. } => {
                let request = request.map(axum::body::Body::from);
                let response = {
                    let Ok(response) = router.as_ref().clone().call(request).await;
                    response
                };
                let status = response.status();
                (status, response.into_body().collect().await.context("the answer broke off")?.to_bytes())
            }
        };
        answer(status, &bytes)
    }

    /// Ends the asking: what was written is on disk.
    pub(crate) async fn close(self) {
        if let Self::Stopped { data, .. } = self {
            data.close().await;
        }
    }
}

fn answer(status: StatusCode, bytes: &[u8]) -> Result<Value> {
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(bytes).with_context(|| format!("an answer with status {status} that isn't JSON"))?
    };
    if status.is_success() {
        return Ok(body);
    }
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (detail, guidance) = (text("detail"), text("guidance"));
    let message =
        if detail.is_empty() { format!("the gateway answered {status}") } else { format!("{detail}. {guidance}") };
    match status {
        StatusCode::NOT_FOUND | StatusCode::CONFLICT => Err(No(message).into()),
        StatusCode::UNPROCESSABLE_ENTITY => {
            let errors = body.get("errors").cloned().unwrap_or_default();
            let errors = serde_json::from_value(errors).context("an answer that says nothing of what is wrong")?;
            Err(invalid(errors).context("refused, and nothing was changed"))
        }
        StatusCode::UNAUTHORIZED => bail!("the gateway doesn't take this operator's token: {message}"),
        _ => bail!(message),
    }
}

fn read_token(data_dir: &Path) -> Result<String> {
    let path: PathBuf = data_dir.join(OPERATOR_TOKEN_FILE);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("the operator's token can't be read from {}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// `id` as one segment of a path.
pub(crate) fn segment(id: &str) -> impl std::fmt::Display + '_ {
    percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC)
}

/// The given pairs as a query, with its `?`; those without a value are left out.
pub(crate) fn query(pairs: &[(&str, Option<String>)]) -> String {
    let given = pairs.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    if query.is_empty() { query } else { format!("?{query}") }
}

#[cfg(test)]
mod tests {
    use super::{answer, query, segment};
    use crate::outcome::No;
    use http::StatusCode;

    #[test]
    fn ids_and_queries_are_encoded() {
        assert_eq!(segment("ci/build@acme").to_string(), "ci%2Fbuild%40acme");
        let pairs = [("agent", Some("a b".to_owned())), ("tool", None), ("limit", Some("5".to_owned()))];
        assert_eq!(query(&pairs), "?agent=a+b&limit=5");
        assert_eq!(query(&[("a", None)]), "");
    }

    #[test]
    fn not_found_is_a_no_and_other_refusals_are_errors() {
        let problem = br#"{"detail": "there is no agent", "guidance": "List what there is."}"#;
        let no = answer(StatusCode::NOT_FOUND, problem).expect_err("a no");
        assert!(no.downcast_ref::<No>().is_some_and(|no| no.0 == "there is no agent. List what there is."));
        assert!(answer(StatusCode::UNAUTHORIZED, problem).expect_err("an error").downcast_ref::<No>().is_none());
        assert!(answer(StatusCode::OK, b"<html>").is_err());
        assert_eq!(answer(StatusCode::NO_CONTENT, b"").expect("fine"), serde_json::Value::Null);
    }
}
