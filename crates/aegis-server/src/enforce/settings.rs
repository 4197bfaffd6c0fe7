//! What the enforcer is told, plain: the configuration is checked elsewhere and ends here.
//!
//! Deliberately absent: a way to switch certificate verification off.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use aegis_core::call::Destination;

use crate::hosts::HostPattern;

/// Everything that the enforcer needs to know.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The upstreams of the sidecar routes.
    pub routes: Vec<RouteUpstream>,
    /// Addresses that replace resolution, by `host:port` (`[v6]:port`), for agent-named destinations and for routes.
    pub overrides: HashMap<String, SocketAddr>,
    /// Whether an agent-named destination may be on a network that isn't public.
    pub private_networks: PrivateNetworks,
    /// Whom the hosts that agents name may be certified by.
    pub named_roots: Roots,
    /// What Aegis is to hosts that agents name; the first that matches counts. Never used without TLS.
    pub named: Vec<NamedUpstream>,
    /// The proxy that everything goes through that isn't listed as direct.
    pub proxy: Option<super::UpstreamProxy>,
    /// Aegis's own listeners: nothing is ever forwarded to them. See also [`super::Enforcer::guard_own`].
    pub own_addresses: Vec<SocketAddr>,
    /// How long each step may take.
    pub timeouts: Timeouts,
}

/// Whether agents may name destinations on private networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrivateNetworks {
    /// Refused, whatever name leads there.
    #[default]
    Deny,
    /// Private, loopback, link-local and shared address space is allowed; metadata services never are.
    Allow,
}

/// A route's upstream.
#[derive(Debug, Clone)]
pub struct RouteUpstream {
    /// The route's name.
    pub name: String,
    /// Where it leads.
    pub upstream: Upstream,
    /// How the upstream proves itself (and Aegis itself to it). Of no effect for `http`.
    pub tls: Tls,
    /// What Aegis proves itself with; the agent never holds it.
    pub credential: Option<Credential>,
    /// HTTP version spoken to the upstream.
    pub protocol: Protocol,
}

/// `http://host:port/base` or `https://…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Whether it is `https`.
    pub secure: bool,
    /// Host name in lower case, or an IP address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What the path of each request is appended to: empty, or `/…` without a slash at the end.
    pub base_path: String,
}

impl Upstream {
    /// Where it is, as calls are described.
    pub fn destination(&self) -> Destination {
        let scheme = if self.secure { "https" } else { "http" };
        Destination { scheme: scheme.to_owned(), host: self.host.clone(), port: self.port }
    }
}

/// HTTP version spoken to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// HTTP/1.1: one connection per call in flight, so that slow streams (watch, logs) never hold each other up.
    #[default]
    Http1,
    /// HTTP/2 on a few connections (gRPC); by ALPN on `https`, with prior knowledge on `http`.
    Http2,
}

/// How an upstream is verified. Always verified.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Whom to trust.
    pub roots: Roots,
    /// The certificate that Aegis shows (mutual TLS).
    pub client: Option<ClientCertificate>,
    /// The name to verify, when it isn't the upstream's host.
    pub server_name: Option<String>,
}

/// Certificate authorities.
#[derive(Debug, Clone, Default)]
pub enum Roots {
    /// Those of the operating system.
    #[default]
    System,
    /// Exactly these, as PEM.
    Pem(Vec<u8>),
    /// Those of the operating system, and these as PEM.
    SystemAnd(Vec<u8>),
}

/// A client certificate.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// The chain, leaf first, as PEM.
    pub chain: Vec<u8>,
    /// The key, as PEM.
    pub key: Secret,
}

/// What Aegis proves itself with to an upstream.
#[derive(Debug, Clone)]
pub enum Credential {
    /// `Authorization: Bearer …`
    Bearer(Secret),
    /// The same with the token in this file, which is read again while the gateway runs: whoever owns it replaces it.
    BearerFile(PathBuf),
    /// `Authorization: Basic …`
    Basic {
        /// User name, without a colon (RFC 7617 §2).
        user: String,
        /// Password.
        password: Secret,
    },
    /// The same with the password in this file.
    BasicFile {
        /// User name.
        user: String,
        /// The file.
        path: PathBuf,
    },
    /// A header of its own, e.g. `PRIVATE-TOKEN`.
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: Secret,
    },
    /// The same with the value in this file.
    HeaderFile {
        /// Its name.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// What a program prints.
    Exec(Exec),
    /// AWS's Signature Version 4, made anew for each request.
    SigV4(Box<super::SigV4>),
}

/// A program that prints a credential: an `ExecCredential` of Kubernetes, or one line of text.
#[derive(Debug, Clone)]
pub struct Exec {
    /// The program and its arguments; no shell.
    pub command: Vec<String>,
    /// What is added to its environment.
    pub env: BTreeMap<String, String>,
    /// The header that it is the value of; without, it is a bearer token.
    pub header: Option<String>,
    /// How long it may run.
    pub timeout: Duration,
    /// How long what it prints holds, where it doesn't say.
    pub ttl: Duration,
}

/// Hosts that agents name over TLS that Aegis reads (interception), and what Aegis is there.
#[derive(Debug, Clone)]
pub struct NamedUpstream {
    /// Which.
    pub pattern: HostPattern,
    /// What Aegis proves itself with.
    pub credential: Option<Credential>,
    /// The certificate that Aegis shows.
    pub client: Option<ClientCertificate>,
}

/// A text that is never shown: `Debug` prints `***`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// How long each step may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Resolving a name.
    pub resolve: Duration,
    /// Connecting, over all addresses of a destination.
    pub connect: Duration,
    /// The TLS handshake with an upstream; also the time an upgraded connection may take to change hands.
    pub handshake: Duration,
    /// From the request sent to the head of the answer.
    pub answer_head: Duration,
    /// Between two parts of a request's body.
    pub upload_idle: Duration,
    /// Between two parts of an answer's body. Long, because watches and logs are silent for minutes.
    pub answer_idle: Duration,
    /// Without a byte either way in a tunnel or an upgraded connection.
    pub tunnel_idle: Duration,
    /// From the tunnel's 200 to the client's whole ClientHello, and from there to the upstream's first bytes.
    pub client_hello: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            answer_head: Duration::from_secs(60),
            upload_idle: Duration::from_secs(60),
            answer_idle: Duration::from_secs(15 * 60),
            tunnel_idle: Duration::from_secs(15 * 60),
            client_hello: Duration::from_secs(10),
        }
    }
}

impl Secret {
    /// Keeps `text` from being shown.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not an upstream's address.
    #[error("{0}")]
    Upstream(String),
    /// The certificate authorities of the hosts that agents name.
    #[error("the certificate authorities can't be used: {0}")]
    NamedRoots(String),
    /// What Aegis would be to a host that agents name.
    #[error("an intercepted host: {0}")]
    Named(String),
    /// Two routes have one name.
    #[error("two routes are named {0:?}")]
    DuplicateRoute(String),
    /// Something of a route can't be used.
    #[error("route {route:?}: {why}")]
    Route {
        /// The route.
        route: String,
        /// What can't be used, and why; never a secret.
        why: String,
    },
}

impl FromStr for Upstream {
    type Err = SettingsError;

    /// Reads `http(s)://host[:port][/base]`, without user info, query or fragment.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why: &str| SettingsError::Upstream(format!("{text:?} is not an upstream's address: {why}"));
        if text.contains('#') {
            return Err(wrong("a fragment has no meaning here"));
        }
        let uri: http::Uri = text.parse().map_err(|_| wrong("it is not a URL"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it must start with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("user names and passwords belong under `credential`"));
        }
        if uri.query().is_some() {
            return Err(wrong("a query has no meaning here"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() || (authority.host().starts_with('[') && host.parse::<IpAddr>().is_err()) {
            return Err(wrong("it has no host"));
        }
        let after_host = authority.as_str().get(authority.host().len()..).unwrap_or_default();
        let port = match after_host.strip_prefix(':') {
            None => {
                if secure {
                    443
                } else {
                    80
                }
            }
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(|| wrong("its port is no port"))?,
        };
        let base_path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { secure, host, port, base_path })
    }
}

impl Upstream {
    /// `host:port`, or `[v6]:port`: the key of an override.
    pub fn host_port(&self) -> String {
        host_port(&self.host, self.port)
    }

    /// What goes into `Host`: the port only where it isn't the scheme's own.
    pub(super) fn authority(&self) -> String {
        let default = if self.secure { 443 } else { 80 };
        let full = self.host_port();
        match full.strip_suffix(&format!(":{default}")) {
            Some(host) if self.port == default => host.to_owned(),
            _ => full,
        }
    }
}

pub(super) fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests;
