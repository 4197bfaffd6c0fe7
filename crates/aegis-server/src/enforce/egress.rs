//! The way out: which addresses an agent-named destination may be reached at, and the profile that a call goes by.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aegis_core::call::Destination;
use aegis_core::describe::{AddressClass, address_class};
use aegis_core::problem::Violation;
use arc_swap::ArcSwap;
use moka::sync::Cache;
use rustls::{ClientConfig, RootCertStore};

use super::connect::{At, DialError, Dialer, Lookup};
use super::presented::Presented;
use super::profile::Profile;
use super::settings::{
    NamedUpstream, PrivateNetworks, Protocol, Roots, Settings, SettingsError, Timeouts, Tls, Upstream,
};
use super::{Failure, Toward, tls};
use crate::hosts::HostPattern;

/// Profiles of agent-named destinations that are kept, with their connections.
const PROFILES: u64 = 1024;
/// A profile that nobody uses is forgotten after this.
const PROFILE_IDLE: Duration = Duration::from_secs(90);

/// How hosts are spoken to that agents name, over HTTP/1.1 and over HTTP/2.
type Configs = [Result<Arc<ClientConfig>, String>; 2];

/// Hosts that agents name and Aegis proves itself to.
struct Known {
    pattern: HostPattern,
    credential: Option<Arc<Presented>>,
    /// Where Aegis shows a certificate.
    tls: Option<Configs>,
}

/// Two destinations share connections only if they are one, at the same addresses.
type ProfileKey = (String, String, u16, Protocol, At);

/// See the module.
pub(super) struct Egress {
    pub(super) dialer: Dialer,
    routes: HashMap<String, Arc<Profile>>,
    named: Cache<ProfileKey, Arc<Profile>>,
    /// For HTTP/1.1 and for HTTP/2.
    named_tls: Configs,
    /// What Aegis is to some of them.
    known: Vec<Known>,
    private_networks: PrivateNetworks,
}

impl Egress {
    pub(super) fn new(settings: Settings, lookup: Lookup) -> Result<Self, SettingsError> {
        let dialer = Dialer {
            lookup,
            overrides: Arc::new(settings.overrides),
            own: Arc::new(ArcSwap::from_pointee(settings.own_addresses)),
            timeouts: settings.timeouts,
            proxy: settings.proxy.map(Arc::new),
        };
        let system = tls::system_roots();
        let mut routes = HashMap::new();
        for route in &settings.routes {
            let profile = Profile::of_route(route, &dialer, &system)?;
            if routes.insert(route.name.clone(), Arc::new(profile)).is_some() {
                return Err(SettingsError::DuplicateRoute(route.name.clone()));
            }
        }
        let trust = Tls { roots: settings.named_roots, ..Tls::default() };
        let named_tls =
            [Protocol::Http1, Protocol::Http2].map(|protocol| tls::client_config(&trust, protocol, &system));
        if let (Roots::Pem(_) | Roots::SystemAnd(_), [Err(why), _]) = (&trust.roots, &named_tls) {
            return Err(SettingsError::NamedRoots(why.clone()));
        }
        let known = settings.named.iter().map(|named| Known::new(named, &trust, &system)).collect::<Result<_, _>>()?;
        let named = Cache::builder().max_capacity(PROFILES).time_to_idle(PROFILE_IDLE).build();
        Ok(Self { dialer, routes, named, named_tls, known, private_networks: settings.private_networks })
    }

    pub(super) fn timeouts(&self) -> &Timeouts {
        &self.dialer.timeouts
    }

    /// See [`super::Enforcer::resolve`].
    pub(super) async fn resolve(&self, destination: &Destination) -> Result<Toward, Violation> {
        let Destination { host, port, .. } = destination;
        let proxy = self.dialer.proxy_for(host, *port);
        let names_only = proxy.is_some_and(|proxy| proxy.resolves) && host.parse::<IpAddr>().is_err();
        if names_only {
            return Ok(Toward::Proxied(destination.to_string()));
        }
        let addresses = self.checked(destination).await?;
        let asked = addresses.iter().find(|address| proxy.is_some_and(|proxy| !proxy.is_direct(address.ip())));
        match asked {
            // What was checked is what the proxy is asked for: it resolves nothing.
            Some(address) => Ok(Toward::Proxied(address.to_string())),
            None => Ok(Toward::Addresses(addresses)),
        }
    }

    /// The addresses of a destination, every one checked.
    async fn checked(&self, destination: &Destination) -> Result<Vec<SocketAddr>, Violation> {
        let Destination { host, port, .. } = destination;
        let overridden = self.dialer.overridden(host, *port).is_some();
        let addresses = self.dialer.addresses(host, *port).await.map_err(|error| match error {
            DialError::TimedOut(..) | DialError::Unresolvable(_) => refused("unresolvable", host, "can't be resolved"),
            _ => refused("unreachable", host, "can't be reached"),
        })?;
        for address in &addresses {
            if self.dialer.is_own(*address) {
                return Err(refused("own_address", host, "leads to Aegis itself"));
            }
            let class = address_class(address.ip());
            if !overridden && !self.may_be(class) {
                let why = format!("leads to an address that agents may not name ({})", class.as_str());
                return Err(refused("private_network", host, &why));
            }
        }
        Ok(addresses)
    }

    /// Whether an agent-named destination may have such an address. A metadata service, or an address that hides another
    /// one, needs an override or a route, whatever the private networks.
    fn may_be(&self, class: AddressClass) -> bool {
        let private = matches!(
            class,
            AddressClass::Private | AddressClass::Loopback | AddressClass::LinkLocal | AddressClass::Cgnat
        );
        class.is_public() || (private && self.private_networks == PrivateNetworks::Allow)
    }

    /// The profile that a call goes by. Of the hosts that agents name, gRPC is spoken to over HTTP/2, and everything else over
    /// HTTP/1.1.
    pub(super) fn profile(
        &self,
        toward: &Toward,
        destination: Option<&Destination>,
        grpc: bool,
    ) -> Result<Arc<Profile>, Failure> {
        let unreachable = |why: String| Failure::Unreachable(why);
        match toward {
            Toward::Route(name) => {
                self.routes.get(name).cloned().ok_or_else(|| unreachable(format!("there is no route {name:?}")))
            }
            Toward::Addresses(_) | Toward::Proxied(_) => {
                let at = match toward {
                    Toward::Proxied(authority) => At::Proxied(authority.clone()),
                    Toward::Addresses(addresses) => At::Addresses(addresses.clone()),
                    Toward::Route(name) => return Err(unreachable(format!("there is no route {name:?}"))),
                };
                let destination = destination.ok_or_else(|| unreachable("the call names no destination".to_owned()))?;
                let protocol = if grpc { Protocol::Http2 } else { Protocol::Http1 };
                self.named_profile(destination, at, protocol).map_err(unreachable)
            }
        }
    }

    fn named_profile(&self, destination: &Destination, at: At, protocol: Protocol) -> Result<Arc<Profile>, String> {
        let Destination { scheme, host, port } = destination;
        let protocol = if scheme == "https" { protocol } else { Protocol::Http1 };
        let key = (scheme.clone(), host.clone(), *port, protocol, at.clone());
        if let Some(profile) = self.named.get(&key) {
            return Ok(profile);
        }
        let secure = match scheme.as_str() {
            "http" => false,
            "https" => true,
            other => return Err(format!("{other:?} is no scheme of a request")),
        };
        // Only here: without TLS the secret would be anybody's to read.
        let known = self.known.iter().find(|known| secure && known.pattern.matches(destination));
        let [http1, http2] = known.and_then(|known| known.tls.as_ref()).unwrap_or(&self.named_tls);
        let config = if protocol == Protocol::Http2 { http2 } else { http1 };
        let config = if secure { Some(config.clone()?) } else { None };
        let origin = Upstream { secure, host: host.clone(), port: *port, base_path: String::new() };
        let mut profile = Profile::of_destination(origin, at, config, protocol, &self.dialer)?;
        if let Some(known) = known {
            profile.prove(known.credential.clone(), known.tls.is_some());
        }
        let profile = Arc::new(profile);
        self.named.insert(key, Arc::clone(&profile));
        Ok(profile)
    }
}

impl Known {
    fn new(
        named: &NamedUpstream,
        trust: &Tls,
        system: &Result<Arc<RootCertStore>, String>,
    ) -> Result<Self, SettingsError> {
        let credential = named.credential.as_ref().map(Presented::new).transpose().map_err(SettingsError::Named)?;
        let tls = match &named.client {
            None => None,
            Some(client) => {
                let shown = Tls { client: Some(client.clone()), ..trust.clone() };
                let config = |protocol| tls::client_config(&shown, protocol, system).map_err(SettingsError::Named);
                Some([Ok(config(Protocol::Http1)?), Ok(config(Protocol::Http2)?)])
            }
        };
        Ok(Self { pattern: named.pattern.clone(), credential: credential.map(Arc::new), tls })
    }
}

fn refused(reason: &str, host: &str, why: &str) -> Violation {
    Violation {
        param: Some("host".to_owned()),
        actual: Some(host.into()),
        ..Violation::of_gateway("egress_guard", reason, format!("the host {why}"))
    }
}

#[cfg(test)]
mod tests;
