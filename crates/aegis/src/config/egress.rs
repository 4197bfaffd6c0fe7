//! `egress:` as written: what holds for everything that goes out, and the proxy that it goes through.

use aegis_core::document::{Fields, Value};
use aegis_server::enforce::{Direct, PrivateNetworks, UpstreamProxy};

use super::typed::choice;

/// As written; it needs no further check.
#[derive(Default)]
pub(super) struct Egress {
    pub(super) private_networks: Option<PrivateNetworks>,
    pub(super) proxy: Option<UpstreamProxy>,
}

/// Reads `egress:`.
pub(super) fn read(root: &mut Fields<'_>) -> Egress {
    let Some(mut fields) = root.map("egress") else { return Egress::default() };
    let networks = [("deny", PrivateNetworks::Deny), ("allow", PrivateNetworks::Allow)];
    let private_networks = choice(&mut fields, "private_networks", &networks);
    let proxy = proxy(&mut fields);
    fields.finish();
    Egress { private_networks, proxy }
}

fn proxy(fields: &mut Fields<'_>) -> Option<UpstreamProxy> {
    let read = fields.node("proxy").map(|node| (node.place, node.text().unwrap_or_default().parse::<UpstreamProxy>()));
    let direct = direct(fields);
    let resolves = fields.bool("proxy_resolves");
    match read {
        Some((_, Ok(mut proxy))) => {
            proxy.direct = direct;
            proxy.resolves = resolves.unwrap_or(false);
            Some(proxy)
        }
        Some((place, Err(error))) => {
            let message = format!("expected http://[user:password@]host:port: {error}");
            fields.error_at("proxy", place, message, None);
            None
        }
        None => {
            for key in ["no_proxy", "proxy_resolves"] {
                if let Some(place) = fields.node(key).map(|node| node.place) {
                    fields.error_at(key, place, "means nothing without `egress.proxy`", None);
                }
            }
            None
        }
    }
}

fn direct(fields: &mut Fields<'_>) -> Vec<Direct> {
    let Some(node) = fields.node("no_proxy") else { return Vec::new() };
    let Value::List(items) = &node.value else {
        fields.error_at("no_proxy", node.place, "expected a list of hosts, addresses and networks", None);
        return Vec::new();
    };
    let mut direct = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match item.text().unwrap_or_default().parse::<Direct>() {
            Ok(one) => direct.push(one),
            Err(error) => fields.error_at(&format!("no_proxy[{index}]"), item.place, error.to_string(), None),
        }
    }
    direct
}
