//! How a client gets to a server: straight, through a forward proxy's `CONNECT`, under TLS, as HTTP/1.1 or HTTP/2.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::header::HOST;
use http::request::Request;
use http::response::Parts;
use http::{HeaderValue, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The longest answer to a `CONNECT` that is read, in bytes.
const LONGEST_HEAD: usize = 4 * 1024;

/// The way to a server.
#[derive(Clone)]
pub(crate) struct Way {
    /// The server, or the proxy in front of it.
    pub(crate) address: SocketAddr,
    /// For a forward proxy: what to `CONNECT` to, and the credential for it.
    pub(crate) through: Option<(String, Option<HeaderValue>)>,
    /// Whose certificate is expected, and of whom.
    pub(crate) tls: Option<(ServerName<'static>, Arc<ClientConfig>)>,
    pub(crate) version: Version,
}

/// An open connection.
pub(crate) enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Way {
    /// Straight to a server without TLS.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, through: None, tls: None, version: Version::HTTP_11 }
    }

    /// Opens a connection; with TLS, by a whole handshake each time.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(self.address).await.with_context(|| self.address.to_string())?;
        self.connect_on(stream).await
    }

    /// The same on a connection that is there.
    pub(crate) async fn connect_on(&self, mut stream: TcpStream) -> Result<Connection> {
        stream.set_nodelay(true)?;
        if let Some((authority, credential)) = &self.through {
            tunnel(&mut stream, authority, credential.as_ref()).await?;
        }
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some((name, config)) => {
                let stream = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await?;
                let chosen = stream.get_ref().1.alpn_protocol();
                let is_http2 = chosen == Some(b"h2".as_slice());
                ensure!(is_http2 == (self.version == Version::HTTP_2), "the server chose {chosen:?}");
                Box::new(stream)
            }
        };
        let io = TokioIo::new(stream);
        Ok(if self.version == Version::HTTP_2 {
            let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(driver);
            Connection::Http2(sender)
        } else {
            let (sender, driver) = http1::handshake(io).await?;
            tokio::spawn(driver);
            Connection::Http1(sender)
        })
    }
}

/// Asks a proxy for a tunnel.
async fn tunnel(stream: &mut TcpStream, authority: &str, credential: Option<&HeaderValue>) -> Result<()> {
    let mut head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(credential) = credential {
        head.extend_from_slice(b"Proxy-Authorization: ");
        head.extend_from_slice(credential.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head).await?;
    // Nothing follows the head: whoever is behind the tunnel speaks when it is spoken to.
    let mut answer = Vec::with_capacity(LONGEST_HEAD);
    while !answer.ends_with(b"\r\n\r\n") {
        let read = stream.read_buf(&mut answer).await?;
        ensure!(read > 0 && answer.len() < LONGEST_HEAD, "CONNECT: {}", String::from_utf8_lossy(&answer));
    }
    let answer = String::from_utf8_lossy(&answer);
    ensure!(answer.split(' ').nth(1) == Some("200"), "CONNECT {authority}: {answer}");
    Ok(())
}

impl Connection {
    /// Another sender on the same connection, where it carries more than one request at a time.
    pub(crate) fn shared(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(sender) => Some(Self::Http2(sender.clone())),
        }
    }

    /// Sends a request and reads its whole answer.
    pub(crate) async fn send(&mut self, request: Request<Bytes>) -> Result<(Parts, Bytes)> {
        let request = request.map(Full::new);
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (head, body) = response.into_parts();
        Ok((head, body.collect().await?.to_bytes()))
    }
}

/// A request as a version of HTTP has it: what HTTP/1.1 says in `Host`, HTTP/2 says in the URI.
pub(crate) fn in_version(mut request: Request<Bytes>, version: Version, secure: bool) -> Result<Request<Bytes>> {
    if version == Version::HTTP_2 {
        let host = request.headers_mut().remove(HOST).context("a request has a Host")?;
        let scheme = if secure { "https" } else { "http" };
        *request.uri_mut() = format!("{scheme}://{}{}", host.to_str()?, request.uri()).parse()?;
        *request.version_mut() = version;
    }
    Ok(request)
}

/// A client that believes these CAs (PEM), keeps no session to resume, and speaks one version.
pub(crate) fn client(authorities: &Path, version: Version) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authorities).with_context(|| authorities.display().to_string())? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    let protocol: &[u8] = if version == Version::HTTP_2 { b"h2" } else { b"http/1.1" };
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}
