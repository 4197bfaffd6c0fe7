//! Patterns of `egress.allow`: `host`, `host:port`, `*.suffix`, `*.suffix:port`, an IP address (`[::1]:443`).
//!
//! `*.` stands for one or more labels. A pattern without a port is for ports 80 and 443, the web's; any other has to be
//! listed.

use std::net::IpAddr;

use serde::Serialize;

use crate::call::Destination;

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct EgressPattern {
    /// Canonical host; with `suffix` its end, with the dot.
    pub(super) host: String,
    pub(super) suffix: bool,
    pub(super) port: Option<u16>,
}

impl EgressPattern {
    /// Reads a pattern and makes it canonical.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.contains("://") || text.contains(['/', '@', '?', '#']) {
            return Err("write a host, or host:port; no scheme, user or path".to_owned());
        }
        let (host, port) = split_port(text)?;
        if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Self { host: ip.to_string(), suffix: false, port });
        }
        let (suffix, name) = match host.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, host),
        };
        let name = canonical_host(name)?;
        Ok(Self { host: if suffix { format!(".{name}") } else { name }, suffix, port })
    }

    /// Whether the pattern lists a destination.
    pub(super) fn lists(&self, destination: &Destination) -> bool {
        let host = if self.suffix {
            destination.host.ends_with(&self.host) && destination.host != self.host
        } else {
            destination.host == self.host
        };
        host && match self.port {
            Some(port) => destination.port == port,
            None => matches!(destination.port, 80 | 443),
        }
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text, None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => return Ok((text, None)),
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(number @ 1..) if digits => Ok((host, Some(number))),
        _ => Err(format!("{port:?} is no port: 1 to 65535")),
    }
}

/// The A-label form, in lower case, without a trailing dot.
fn canonical_host(name: &str) -> Result<String, String> {
    if name.contains('*') {
        return Err("`*` can only stand at the start, as in *.example.com".to_owned());
    }
    let bad = || format!("{name:?} is no host name");
    let name = name.strip_suffix('.').unwrap_or(name);
    let host = idna::domain_to_ascii_strict(name).map_err(|_| bad())?;
    let last = host.rsplit('.').next().unwrap_or_default();
    // A last label of digits (or 0x…) is an IPv4 address in disguise (WHATWG URL §3.5).
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    if host.is_empty() || host.len() > 253 || numeric || host.split('.').any(str::is_empty) {
        return Err(bad());
    }
    Ok(host)
}
