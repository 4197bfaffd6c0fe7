//! One GET of a bundle: over HTTP/1.1, verified TLS, within bounds of size and time.
//!
//! Deliberately absent: redirects (a bundle comes from where the operator said), proxies, content codings, and any cache but
//! the ETag that the caller holds.

use std::time::Duration;

use aegis_core::policy::MAX_UNPACKED;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::source::{SourceError, SourceSettings};
use crate::enforce::{Protocol, Tls, tls};

/// How long connecting may take, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the head of an answer may take, above what the server was asked to wait.
const HEAD: Duration = Duration::from_secs(10);
/// How long the body of an answer may take.
const BODY: Duration = Duration::from_secs(60);

/// The media type by which a server says that it can let readers wait.
const LONG_POLLING: &str = "application/vnd.openpolicyagent.bundles";

/// Whom to ask, and how.
pub(super) struct Fetch {
    host: String,
    port: u16,
    request: Request<Empty<Bytes>>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// What was answered.
pub(super) enum Answer {
    /// What the caller has is the newest.
    Unchanged,
    /// Another bundle.
    New {
        bytes: Bytes,
        etag: Option<HeaderValue>,
        /// Whether the server says that it can let readers wait.
        long_polling: bool,
    },
}

impl Fetch {
    /// # Errors
    /// When TLS can't be set up, or the URL or the token can't be sent.
    pub(super) fn new(settings: &SourceSettings) -> Result<Self, String> {
        let to = &settings.url;
        let tls = if to.secure {
            let use_of = Tls { roots: settings.roots.clone(), ..Tls::default() };
            let config = tls::client_config(&use_of, Protocol::Http1, &tls::system_roots())?;
            let name = ServerName::try_from(to.host.clone()).map_err(|error| error.to_string())?;
            Some((TlsConnector::from(config), name))
        } else {
            None
        };
        let host = if to.host.contains(':') { format!("[{}]", to.host) } else { to.host.clone() };
        let mut request = Request::get(to.base_path.as_str())
            .header(header::HOST, format!("{host}:{}", to.port))
            .header(header::USER_AGENT, concat!("aegis/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/vnd.openpolicyagent.bundles, application/gzip");
        if let Some(token) = &settings.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| "the token holds characters that no header can carry".to_owned())?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        Ok(Self { host: to.host.clone(), port: to.port, request, tls })
    }

    /// Asks for another bundle than `etag`'s, for which the server may take until `wait` is over.
    pub(super) async fn get(&self, etag: Option<&HeaderValue>, wait: Option<Duration>) -> Result<Answer, SourceError> {
        let mut request = self.request.clone();
        let headers: &mut HeaderMap = request.headers_mut();
        if let Some(etag) = etag {
            headers.insert(header::IF_NONE_MATCH, etag.clone());
        }
        let prefer = match wait {
            Some(wait) => format!("modes=snapshot;wait={}", wait.as_secs()),
            None => "modes=snapshot".to_owned(),
        };
        headers.insert("prefer", HeaderValue::from_str(&prefer).map_err(unreachable)?);
        let connected = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            Ok::<Box<dyn Stream>, std::io::Error>(match &self.tls {
                Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
                None => Box::new(stream),
            })
        };
        let stream = timeout(CONNECT, connected).await.map_err(|_| late("connecting"))?.map_err(unreachable)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
        let driver = tokio::spawn(connection);
        let answered = async {
            let limit = HEAD + wait.unwrap_or_default();
            let response = timeout(limit, sender.send_request(request))
                .await
                .map_err(|_| late("an answer"))?
                .map_err(unreachable)?;
            timeout(BODY, read(response)).await.map_err(|_| late("the bundle"))?
        };
        let answer = answered.await;
        driver.abort();
        answer
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, SourceError> {
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED => return Ok(Answer::Unchanged),
        status => return Err(SourceError::Answered(status.as_u16())),
    }
    let (head, body) = response.into_parts();
    let most = usize::try_from(MAX_UNPACKED).unwrap_or(usize::MAX);
    let bytes = match Limited::new(body, most).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => return Err(SourceError::TooLarge),
        Err(error) => return Err(unreachable(error)),
    };
    let media_type = head.headers.get(header::CONTENT_TYPE);
    Ok(Answer::New {
        bytes,
        etag: head.headers.get(header::ETAG).cloned(),
        long_polling: media_type.is_some_and(|value| value == LONG_POLLING),
    })
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

fn unreachable(error: impl std::fmt::Display) -> SourceError {
    SourceError::Unreachable(error.to_string())
}

fn late(what: &str) -> SourceError {
    SourceError::Unreachable(format!("{what} took too long"))
}
