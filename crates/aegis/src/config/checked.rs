//! From what was written to what the gateway runs with: defaults, absolute paths, and what only shows when keys are put together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aegis_core::document::Diagnostic;

use super::typed::Typed;
use super::{Config, Limits, Listen, START, Telemetry, bundle, interception, mcp, routes};

/// Checks `typed`, and reports what is wrong; the result is only of use when nothing was reported.
pub(super) fn check(file: &str, typed: Typed, base: &Path, errors: &mut Vec<Diagnostic>) -> Config {
    let listen = Listen {
        proxy: typed.proxy.unwrap_or(loopback(4180)),
        proxy_tls: typed.proxy_tls.unwrap_or(Some(loopback(4183))),
        api: typed.api.unwrap_or(loopback(4181)),
        ext_authz: typed.ext_authz.unwrap_or(Some(loopback(4182))),
    };
    distinct_ports(file, listen, errors);
    distinct_names(file, &typed, errors);
    let bundle = typed.bundle.and_then(|typed| bundle::check(file, typed, base, errors));
    let routes = typed.routes.into_iter().filter_map(|route| routes::check(file, route, base, errors)).collect();
    let mcp = typed.mcp.into_iter().filter_map(|server| mcp::check(file, server, base, errors)).collect();
    let token_ttl = typed.token_ttl.unwrap_or(Duration::from_mins(15));
    let (shortest, longest) = (Duration::from_secs(10), Duration::from_hours(1));
    if !(shortest..=longest).contains(&token_ttl) {
        let message = "a token holds between 10s and 1h: it can't be taken back where the gateway isn't asked";
        errors.push(Diagnostic::error(file, START, "identity.token_ttl", message));
    }
    if typed.calls.is_some_and(|age| !(Duration::from_mins(1)..=Duration::from_hours(31 * 24)).contains(&age)) {
        errors.push(Diagnostic::error(file, START, "audit.calls", "calls are kept for 1m to 31d"));
    }
    let limits = Limits {
        body: typed.body.unwrap_or(4 << 20),
        header: typed.header.unwrap_or(64 << 10),
        connections: typed.connections.unwrap_or(10_000),
        connections_per_client: typed.connections_per_client,
        head_time: typed.head_time.unwrap_or(Duration::from_secs(10)),
        body_idle: typed.body_idle.unwrap_or(Duration::from_secs(30)),
        body_rate: typed.body_rate.unwrap_or(512),
        send_idle: typed.send_idle.unwrap_or(Duration::from_mins(1)),
        hold: typed.hold.unwrap_or(Duration::from_secs(45)),
    };
    bounded_times(file, limits, errors);
    let bounds = [
        ("limits.body", limits.body, 1 << 10, 256 << 20, "1KiB to 256MiB"),
        ("limits.header", limits.header, 8 << 10, 1 << 20, "8KiB to 1MiB"),
    ];
    for (key, value, least, most, words) in bounds {
        if !(least..=most).contains(&value) {
            errors.push(Diagnostic::error(file, START, key, format!("out of bounds: {words}")));
        }
    }
    if limits.hold > Duration::from_mins(10) {
        let message = "a call is held for 10m at most: its client would give up before";
        errors.push(Diagnostic::error(file, START, "limits.hold", message));
    }
    let session_idle = typed.session_idle.unwrap_or(Duration::from_mins(30));
    if !(Duration::from_secs(1)..=Duration::from_hours(7 * 24)).contains(&session_idle) {
        let message = "a session is forgotten after 1s to 7d without a call";
        errors.push(Diagnostic::error(file, START, "session.idle", message));
    }
    Config {
        data_dir: absolute(base, typed.data_dir.as_deref().unwrap_or("aegis-data")),
        mode: typed.mode.unwrap_or_default(),
        listen,
        policies: absolute(base, typed.policies.as_deref().unwrap_or("policies")),
        bundle,
        tools: typed.tools.map(|tools| absolute(base, &tools)),
        environments: typed.environments.map(|node| (file.to_owned(), node)),
        routes,
        mcp,
        upstreams: typed.upstreams,
        interception: interception::check(file, typed.interception, base, errors),
        private_networks: typed.egress.private_networks.unwrap_or_default(),
        proxy: typed.egress.proxy,
        token_ttl,
        engine: typed.engine.unwrap_or_default(),
        engine_check: typed.engine_check.unwrap_or(0.01),
        telemetry: Telemetry { otlp: typed.otlp, log: typed.log.unwrap_or_default() },
        durability: typed.durability.unwrap_or_default(),
        calls: typed.calls,
        limits,
        session_idle,
        decision_api: typed.decision_api,
        warnings: typed.warnings,
    }
}

/// Without an end a client holds what it has for ever; too short, and honest ones are cut off.
fn bounded_times(file: &str, limits: Limits, errors: &mut Vec<Diagnostic>) {
    for (key, time, most) in [
        ("limits.head_time", limits.head_time, Duration::from_mins(5)),
        ("limits.body_idle", limits.body_idle, Duration::from_hours(1)),
        ("limits.send_idle", limits.send_idle, Duration::from_hours(1)),
    ] {
        if !(Duration::from_millis(100)..=most).contains(&time) {
            let message = format!("out of bounds: 100ms to {}s", most.as_secs());
            errors.push(Diagnostic::error(file, START, key, message));
        }
    }
    if limits.body_rate > 1 << 20 {
        errors.push(Diagnostic::error(file, START, "limits.body_rate", "out of bounds: at most 1MiB each second"));
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The path as the process will use it wherever it was written.
pub(super) fn absolute(base: &Path, path: &str) -> PathBuf {
    let joined = base.join(path);
    let tidy: PathBuf = joined.components().filter(|part| *part != std::path::Component::CurDir).collect();
    std::path::absolute(&tidy).unwrap_or(tidy)
}

fn distinct_ports(file: &str, listen: Listen, errors: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<SocketAddr, &str> = BTreeMap::new();
    let all = [
        ("proxy", Some(listen.proxy)),
        ("proxy_tls", listen.proxy_tls),
        ("api", Some(listen.api)),
        ("ext_authz", listen.ext_authz),
    ];
    for (key, address) in all.into_iter().filter_map(|(key, address)| address.map(|address| (key, address))) {
        if address.port() == 0 {
            continue;
        }
        if let Some(other) = seen.insert(address, key) {
            let message = format!("{address} is taken by listen.{other}: give each listener a port of its own");
            errors.push(Diagnostic::error(file, START, &format!("listen.{key}"), message));
        }
    }
}

fn distinct_names(file: &str, typed: &Typed, errors: &mut Vec<Diagnostic>) {
    let routes: Vec<_> = typed.routes.iter().filter_map(routes::named).collect();
    let servers: Vec<_> = typed.mcp.iter().filter_map(mcp::named).collect();
    for named in [routes, servers] {
        let mut seen = BTreeMap::new();
        for (name, place, path) in named {
            if let Some(first) = seen.insert(name, path) {
                let message = format!("the name {name:?} is taken by {first}");
                errors.push(Diagnostic::error(file, place, &format!("{path}.name"), message));
            }
        }
    }
}
