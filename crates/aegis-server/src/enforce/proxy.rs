//! The proxy that a corporate network wants everything to go through (`egress.proxy`).
//!
//! TLS and tunnels go through a CONNECT. By default Aegis resolves and checks a name itself and asks the proxy for the checked
//! address, so that what was checked is where it leads; a proxy that has to resolve (`proxy_resolves`) is asked for the name, and
//! is trusted to keep private networks out. Deliberately absent: proxies over TLS, and any scheme of proof but Basic.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use aegis_core::call::Destination;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connect::{DialError, Dialer};
use super::raw::Raw;
use crate::hosts::HostPattern;

/// A proxy for what Aegis sends.
#[derive(Debug, Clone)]
pub struct UpstreamProxy {
    host: String,
    port: u16,
    authorization: Option<HeaderValue>,
    /// What is reached without it.
    pub direct: Vec<Direct>,
    /// Whether it resolves names. If not, they are resolved and checked here, and it is asked for addresses.
    pub resolves: bool,
}

/// What is reached without the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Direct {
    /// Hosts.
    Host(HostPattern),
    /// Addresses, those that names resolve to included.
    Net(IpNet),
}

/// Not a proxy, or not what is reached without one. The words repeat nothing: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadProxy(&'static str);

impl FromStr for UpstreamProxy {
    type Err = BadProxy;

    /// Reads `http://[user:password@]host:port`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("http://").ok_or(BadProxy("it must start with http://"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, rest),
        };
        let uri: http::uri::Authority = authority.parse().map_err(|_| BadProxy("it has no host"))?;
        let port = uri.port_u16().filter(|port| *port != 0).ok_or(BadProxy("it has no port: 3128 is usual"))?;
        let host = uri.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() {
            return Err(BadProxy("it has no host"));
        }
        let authorization = user.map(basic).transpose()?;
        Ok(Self { host, port, authorization, direct: Vec::new(), resolves: false })
    }
}

/// `user:password`, percent-encoded, as a credential.
fn basic(text: &str) -> Result<HeaderValue, BadProxy> {
    let (user, password) = text.split_once(':').ok_or(BadProxy("before the @ it needs user:password"))?;
    let decoded = |part: &str| percent_decode_str(part).collect::<Vec<u8>>();
    let pair = [decoded(user), b":".to_vec(), decoded(password)].concat();
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .map_err(|_| BadProxy("its credential can't stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

impl FromStr for Direct {
    type Err = BadProxy;

    /// Reads a host, `*.suffix`, `.suffix`, an address or a network.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self::Net(net));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Net(ip.into()));
        }
        let pattern = if text.starts_with('.') { format!("*{text}") } else { text.to_owned() };
        let wrong = BadProxy("expected a host, *.suffix, an IP address, or a network such as 10.0.0.0/8");
        pattern.parse().map(Self::Host).map_err(|_| wrong)
    }
}

impl UpstreamProxy {
    /// Whether a host is reached through it, as far as its name says. This machine never is.
    pub(super) fn is_for(&self, host: &str, port: u16) -> bool {
        let local = is_local_name(host) || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
        let destination = Destination { scheme: String::new(), host: host.to_owned(), port };
        let listed = |direct: &Direct| match direct {
            Direct::Host(pattern) => pattern.matches(&destination),
            Direct::Net(net) => host.parse::<IpAddr>().is_ok_and(|ip| net.contains(&ip.to_canonical())),
        };
        !local && !self.direct.iter().any(listed)
    }

    /// Whether an address is reached without it.
    pub(super) fn is_direct(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.direct.iter().any(|direct| matches!(direct, Direct::Net(net) if net.contains(&ip)))
    }

    /// What it is shown with each plain request.
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

/// A name that is this machine's wherever it is resolved (RFC 6761 §6.3).
pub(super) fn is_local_name(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

impl Dialer {
    /// The proxy that a host is reached through, if it is.
    pub(super) fn proxy_for(&self, host: &str, port: u16) -> Option<&Arc<UpstreamProxy>> {
        self.proxy.as_ref().filter(|proxy| self.overridden(host, port).is_none() && proxy.is_for(host, port))
    }

    /// Connects to the proxy itself.
    pub(super) async fn to_proxy(&self, proxy: &UpstreamProxy) -> Result<TcpStream, DialError> {
        let addresses = self.addresses(&proxy.host, proxy.port).await;
        let stream = match addresses {
            Ok(addresses) => self.dial(&addresses).await,
            Err(error) => Err(error),
        };
        stream.map_err(|error| DialError::Proxy(error.to_string()))
    }

    /// Connects to `authority` (`host:port`) through the proxy.
    pub(super) async fn through(&self, proxy: &UpstreamProxy, authority: &str) -> Result<Raw, DialError> {
        let stream = self.to_proxy(proxy).await?;
        let limit = self.timeouts.connect;
        let late = |_| DialError::TimedOut("the proxy's answer", limit);
        timeout(limit, tunnel(stream, proxy, authority)).await.map_err(late)?
    }
}

async fn tunnel(stream: TcpStream, proxy: &UpstreamProxy, authority: &str) -> Result<Raw, DialError> {
    let broken = |error: hyper::Error| DialError::Proxy(format!("it broke off: {error}"));
    let (mut sender, connection) = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(broken)?;
    let driven = tokio::spawn(connection.with_upgrades());
    let mut request = Request::builder().method(Method::CONNECT).uri(authority).header(HOST, authority);
    if let Some(value) = &proxy.authorization {
        request = request.header(PROXY_AUTHORIZATION, value.clone());
    }
    let request = request.body(Empty::new()).map_err(|error| DialError::Proxy(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    match response.status() {
        status if status.is_success() => {
            let upgraded = hyper::upgrade::on(response).await.map_err(broken)?;
            Ok(Raw::Through(TokioIo::new(upgraded)))
        }
        refused => {
            driven.abort();
            let hint = if refused == StatusCode::PROXY_AUTHENTICATION_REQUIRED { " (its credential)" } else { "" };
            Err(DialError::Proxy(format!("it answered {}{hint}", refused.as_u16())))
        }
    }
}

#[cfg(test)]
mod tests;
