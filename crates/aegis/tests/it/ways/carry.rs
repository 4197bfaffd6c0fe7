//! The ways: how each carries a call, and where the id of the decision is in its answer.

mod authzen;
mod ext_authz;
mod mcp;

use std::process::Command;

use super::data::{Case, Expect, Request};
use super::world::{Arrived, World, agent};

/// One way in.
pub(super) struct Way {
    pub(super) name: &'static str,
    /// What records call it.
    pub(super) via: &'static str,
    /// Whether an allowed call is forwarded by the gateway.
    pub(super) forwards: bool,
    /// Whether the agent names the host.
    pub(super) names_host: bool,
    /// Whether it says the call by its name, and not as a request.
    pub(super) by_name: bool,
    /// Sends the call; the decision's id, or what went wrong.
    pub(super) carry: fn(&World, &Way, &Case) -> Result<String, String>,
    /// Checks what reached the tool: the request, and the body that it should have.
    pub(super) reached: fn(&Arrived, &Case, &str),
}

/// A request that the gateway forwards, and that names no host.
const REQUEST: Way = Way {
    name: "route",
    via: "route",
    forwards: true,
    names_host: false,
    by_name: false,
    carry: route,
    reached: as_sent,
};
/// A request that another proxy asks about, and forwards itself.
const ASKED: Way = Way { name: "ext_authz", via: "ext_authz", forwards: false, carry: ext_authz::by_route, ..REQUEST };

pub(super) const WAYS: [Way; 12] = [
    REQUEST,
    Way { name: "route_tls", carry: route_tls, ..REQUEST },
    Way { name: "route_h2", carry: route_h2, ..REQUEST },
    Way { name: "proxy", via: "proxy", names_host: true, carry: proxy, ..REQUEST },
    Way { name: "intercepted", via: "intercepted", names_host: true, carry: intercepted, ..REQUEST },
    Way { name: "intercepted_h2", via: "intercepted", names_host: true, carry: intercepted_h2, ..REQUEST },
    ASKED,
    Way { name: "ext_authz_host", names_host: true, carry: ext_authz::by_host, ..ASKED },
    Way { name: "ext_authz_http", carry: ext_authz_http, ..ASKED },
    Way { name: "authorize", via: "authorize", carry: authorize, ..ASKED },
    Way { name: "authzen", via: "authzen", forwards: false, by_name: true, carry: authzen::carry, ..REQUEST },
    Way { name: "mcp", via: "mcp", by_name: true, carry: mcp::carry, reached: mcp::reached, ..REQUEST },
];

impl Way {
    /// Whether it can carry a case.
    pub(super) fn carries(&self, world: &World, case: &Case) -> bool {
        if (self.names_host && world.host.is_empty()) || (self.by_name && case.call.is_none()) {
            return false;
        }
        case.only.is_empty() || case.only.iter().any(|name| name == self.name)
    }

    /// What is expected of a way that can't carry all of a case, and says so.
    pub(super) fn instead(&self, case: &Case) -> Option<Expect> {
        if self.name == "authorize" && case.request.body.is_some() {
            let (decision, code) = ("deny".to_owned(), Some("PolicyViolation".to_owned()));
            return Some(Expect { decision, code, reason: Some("body: not_sent".to_owned()), ..Expect::default() });
        }
        let instead = case.instead.iter().find(|instead| instead.ways.iter().any(|name| name == self.name));
        instead.map(|instead| instead.expect.clone())
    }
}

fn route(world: &World, way: &Way, case: &Case) -> Result<String, String> {
    let url = format!("http://{}/r/it{}", world.gateway.address("proxy"), case.request.path);
    curl(case, &[&bearer(world, way)[..], &["--http1.1".to_owned(), url]].concat())
}

fn route_tls(world: &World, way: &Way, case: &Case) -> Result<String, String> {
    secure_route(world, way, case, "--http1.1")
}

fn route_h2(world: &World, way: &Way, case: &Case) -> Result<String, String> {
    secure_route(world, way, case, "--http2")
}

fn secure_route(world: &World, way: &Way, case: &Case, version: &str) -> Result<String, String> {
    let url = format!("https://{}/r/it{}", world.gateway.address("proxy_tls"), case.request.path);
    let ca = ["--cacert".to_owned(), world.ca.display().to_string(), version.to_owned(), url];
    curl(case, &[&bearer(world, way)[..], &ca].concat())
}

fn intercepted(world: &World, way: &Way, case: &Case) -> Result<String, String> {
    in_tunnel(world, way, case, "--http1.1")
}

fn intercepted_h2(world: &World, way: &Way, case: &Case) -> Result<String, String> {
    in_tunnel(world, way, case, "--http2")
}

fn in_tunnel(world: &World, way: &Way, case: &Case, version: &str) -> Result<String, String> {
    let proxy = format!("http://{}:{}@{}", agent(way), world.token(way), world.gateway.address("proxy"));
    let trust = ["--cacert".to_owned(), world.ca.display().to_string(), version.to_owned()];
    let url = format!("https://{}{}", world.host, case.request.path);
    // What the proxy answers to CONNECT is a decision too, and not this one.
    curl(case, &[&["--suppress-connect-headers".to_owned(), "--proxy".to_owned(), proxy, url][..], &trust].concat())
}

fn proxy(world: &World, way: &Way, case: &Case) -> Result<String, String> {
    let proxy = format!("http://{}:{}@{}", agent(way), world.token(way), world.gateway.address("proxy"));
    curl(case, &["--proxy".to_owned(), proxy, format!("http://{}{}", world.host, case.request.path)])
}

/// Envoy's HTTP service: the request itself, under the operator's words.
fn ext_authz_http(world: &World, way: &Way, case: &Case) -> Result<String, String> {
    let api = world.gateway.address("api");
    let url = format!("http://{api}/v1/ext_authz/route=it&body=65536{}", case.request.path);
    let headers = [
        "--header".to_owned(),
        format!("Host: {}", world.authority()),
        "--header".to_owned(),
        "X-Forwarded-Proto: http".to_owned(),
        "--header".to_owned(),
        "X-Envoy-Auth-Partial-Body: false".to_owned(),
        url,
    ];
    curl(case, &[&bearer(world, way)[..], &headers].concat())
}

/// Forward-auth as Caddy and Traefik do it: what is asked about stands in headers, and there is no body.
fn authorize(world: &World, way: &Way, case: &Case) -> Result<String, String> {
    let Request { method, path, headers, .. } = &case.request;
    let told = [("Method", method.as_str()), ("Proto", "http"), ("Host", world.authority()), ("Uri", path)];
    let told = told.map(|(name, value)| format!("X-Forwarded-{name}: {value}"));
    let own = headers.iter().map(|(name, value)| format!("{name}: {value}"));
    let headers = told.into_iter().chain(own).flat_map(|line| ["--header".to_owned(), line]);
    let url = format!("http://{}/v1/authorize?route=it", world.gateway.address("api"));
    let arguments: Vec<String> = headers.chain(bearer(world, way)).chain([url]).collect();
    decision_of(&run(&arguments))
}

fn bearer(world: &World, way: &Way) -> [String; 2] {
    ["--header".to_owned(), format!("Authorization: Bearer {}", world.token(way))]
}

/// Sends a case's request with real curl; the decision's id is in a header of the answer.
fn curl(case: &Case, arguments: &[String]) -> Result<String, String> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "", "--path-as-is", "--include"]);
    command.args(["--request", &case.request.method]);
    for (name, value) in &case.request.headers {
        command.args(["--header", &format!("{name}: {value}")]);
    }
    if let Some(body) = &case.request.body {
        command.args(["--data-binary", body]);
    }
    command.args(arguments);
    decision_of(&answer(command))
}

/// Runs real curl with these arguments; head and body of the answer, and what went wrong.
fn run(arguments: &[String]) -> String {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--include"]).args(arguments);
    answer(command)
}

fn answer(mut command: Command) -> String {
    let output = command.output().expect("curl runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The decision's id, from the head of an answer.
fn decision_of(answer: &str) -> Result<String, String> {
    let id = answer.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("aegis-decision-id").then(|| value.trim().to_owned())
    });
    id.ok_or_else(|| format!("no decision in {answer}"))
}

/// It arrived with the method and the body that were decided.
fn as_sent(arrived: &Arrived, case: &Case, body: &str) {
    assert!(arrived.head.starts_with(&format!("{} {} ", case.request.method, case.request.path)), "{arrived:?}");
    assert_eq!(arrived.body, body, "{}", case.case);
}
