//! Hosts that an operator lists (to intercept, to reach without a proxy): `host`, `*.suffix`, `*`, an IP address, each with `:port` or for any port.
//!
//! Any port, unlike in `egress.allow`: a host that is intercepted must not be a tunnel on another port. `*.` stands for one or more labels.

use std::net::IpAddr;
use std::str::FromStr;

use aegis_core::call::Destination;
use aegis_core::describe::canonical_destination;

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    name: Name,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Any,
    /// The end, with its dot.
    Below(String),
    Is(String),
}

/// Not a pattern; the text says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPattern(String);

impl HostPattern {
    /// Whether it is for a destination, which is canonical.
    pub fn matches(&self, destination: &Destination) -> bool {
        let host = destination.host.as_str();
        let named = match &self.name {
            Name::Any => true,
            Name::Below(end) => host.ends_with(end) && host != end && host.parse::<IpAddr>().is_err(),
            Name::Is(name) => host == name,
        };
        named && self.port.is_none_or(|port| port == destination.port)
    }
}

impl FromStr for HostPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |why: &str| BadPattern(format!("{text:?} is no host: {why}"));
        if text.contains(['/', '@', '?', '#', '%', ' ']) {
            return Err(bad("write a host, or host:port; no scheme, user or path"));
        }
        let (host, port) = split(text).ok_or_else(|| bad("its port is none"))?;
        let canonical = |name: &str| {
            let made = canonical_destination("https", name, 443).map_err(|error| bad(&error.message))?;
            Ok(made.host)
        };
        let name = match host.strip_prefix("*.") {
            None if host == "*" => Name::Any,
            None => Name::Is(canonical(host)?),
            Some(rest) if rest.contains('*') => {
                return Err(bad("`*` can only stand at the start, as in *.example.com"));
            }
            Some(rest) => Name::Below(format!(".{}", canonical(rest)?)),
        };
        Ok(Self { name, port })
    }
}

/// Host and port; `None` where what follows the colon is no port.
fn split(text: &str) -> Option<(&str, Option<u16>)> {
    if text.parse::<IpAddr>().is_ok() || text.ends_with(']') {
        return Some((text, None));
    }
    let Some((host, digits)) = text.rsplit_once(':') else { return Some((text, None)) };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.parse::<u16>().ok().filter(|port| plain && *port > 0)?;
    Some((host, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, host: &str, port: u16) -> bool {
        let destination = canonical_destination("tunnel", host, port).expect("a host");
        pattern.parse::<HostPattern>().expect("a pattern").matches(&destination)
    }

    #[test]
    fn a_pattern_is_for_its_hosts_on_any_port_or_its_own() {
        for (pattern, host, port) in [
            ("api.github.com", "api.github.com", 443),
            ("API.GitHub.com.", "api.github.com", 8443),
            ("*.internal", "a.b.internal", 443),
            ("*", "203.0.113.9", 443),
            ("a.example:8443", "a.example", 8443),
            ("bücher.example", "xn--bcher-kva.example", 443),
            ("192.0.2.7:443", "192.0.2.7", 443),
            ("[2001:db8::1]:443", "2001:db8::1", 443),
            ("[2001:db8::1]", "2001:db8::1", 8443),
        ] {
            assert!(matches(pattern, host, port), "{pattern} {host}:{port}");
        }
        for (pattern, host, port) in [
            ("api.github.com", "github.com", 443),
            ("api.github.com", "api.github.com.evil.example", 443),
            ("api.github.com", "xapi.github.com", 443),
            ("*.internal", "internal", 443),
            ("a.example:8443", "a.example", 443),
            ("аpi.github.com", "api.github.com", 443),
        ] {
            assert!(!matches(pattern, host, port), "{pattern} {host}:{port}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in [
            "",
            "https://a.example",
            "a.example:0",
            "a.example:x",
            "a.*.example",
            "*.*.a",
            "u@a",
            "127.1",
            "a b",
            "[::1",
        ] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
    }
}
