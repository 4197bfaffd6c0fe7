//! Calls through the forward proxy that reads TLS, and connections set up, beside Squid and mitmdump.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::{HeaderValue, Version};
use rustls::pki_types::ServerName;
use tempfile::TempDir;

use crate::Tools;
use crate::certificate::Authority;
use crate::contest::{self, Contender, Measured, Plan, named};
use crate::dial::{self, Way};
use crate::forward;
use crate::load::Target;
use crate::process::{self, Home, Process, Serving};
use crate::report::{Section, number};
use crate::scene;

/// What every proxy can resolve, to an address that nothing leaves the machine for.
const HOST_NAME: &str = "localhost";
const PLAN: Plan = Plan { rounds: 3, rate: 1_000, open: Duration::from_secs(2), closed: Duration::from_secs(1) };
const SET_UPS: Duration = Duration::from_secs(1);
/// Agents with a policy of their own.
const AGENTS: usize = 10;
/// The agent whose tunnels are passed on unread: its policy has no rule on a parameter.
const TUNNELLER: &str = "tunneller";

/// The upstream: nginx with TLS, HTTP/1.1 and HTTP/2.
pub(crate) struct Upstream {
    process: Process,
    address: SocketAddr,
    /// The same under a port that isn't intercepted.
    tunnelled: SocketAddr,
    authority: Authority,
    _dirs: [TempDir; 2],
}

impl Upstream {
    pub(crate) fn start(nginx: &Path, scratch: &Path) -> Result<Self> {
        let dir = tempfile::tempdir_in(scratch)?;
        let authority = Authority::new(dir.path(), "upstream")?;
        let [certificate, key] = authority.certify(dir.path(), HOST_NAME)?;
        let tunnelled = process::free_address()?;
        let server = format!(
            "  server {{ listen LISTEN ssl http2; listen {tunnelled} ssl http2; ssl_certificate {}; ssl_certificate_key {}; location / {{ default_type \
             application/json; return 200 '{{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{{\"name\":\"web\"}}}}'; }} }}",
            certificate.display(),
            key.display(),
        );
        let (process, address, files) = process::nginx(nginx, scratch, &server)?;
        Ok(Self { process, address, tunnelled, authority, _dirs: [dir, files] })
    }

    /// The name that agents call it by.
    pub(crate) fn authority(&self) -> String {
        format!("{HOST_NAME}:{}", self.address.port())
    }

    fn tunnelled(&self) -> String {
        format!("{HOST_NAME}:{}", self.tunnelled.port())
    }

    /// A target in a tunnel that nobody reads.
    fn in_tunnel(&self, proxy: SocketAddr, credential: Option<&HeaderValue>) -> Result<Target> {
        let mut target = self.target(Version::HTTP_11, Some((proxy, credential)), self.certificate())?;
        target.way.through = Some((self.tunnelled(), credential.cloned()));
        Ok(target)
    }

    /// The file with its CA's certificate.
    pub(crate) fn certificate(&self) -> &Path {
        &self.authority.certificate
    }

    /// The call, by this way: to the upstream itself, or to what is at `proxy` with a CA of its own.
    pub(crate) fn target(
        &self,
        version: Version,
        proxy: Option<(SocketAddr, Option<&HeaderValue>)>,
        trusted: &Path,
    ) -> Result<Target> {
        let authority = self.authority();
        let request = scene::http_request(scene::TARGET, &authority, None)?;
        let way = Way {
            address: proxy.map_or(self.address, |(address, _)| address),
            through: proxy.map(|(_, credential)| (authority, credential.cloned())),
            tls: Some((ServerName::try_from(HOST_NAME)?, dial::client(trusted, version)?)),
            version,
        };
        Target::new(way, request)
    }
}

pub(crate) fn run(aegis: &Path, tools: &Tools, scratch: &Path) -> Result<Section> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let upstream = Upstream::start(&tools.of("nginx"), scratch)?;
    let home = Home::configured(aegis, scratch, &config(&upstream), policies(&upstream))?;
    let tokens = [home.token(&scene::agent(0))?, home.token(TUNNELLER)?];
    let [reader, tunneller] = tokens.map(|token| HeaderValue::try_from(format!("Bearer {token}")));
    let (reader, tunneller) = (reader?, tunneller?);
    let Serving { process, proxy, .. } = home.serve()?;
    let (ours, theirs) = (home.authority()?, upstream.certificate());
    let squid = forward::squid(&tools.of("squid"), theirs)?;
    let mitmdump = forward::mitmdump(&tools.of("mitmdump"), scratch, theirs)?;

    let (one, two) = (Version::HTTP_11, Version::HTTP_2);
    let by_aegis = |version| -> Result<Target> {
        let mut target = upstream.target(version, Some((proxy, Some(&reader))), &ours)?;
        target.expected.insert("aegis-decision", HeaderValue::from_static("allow"));
        Ok(target)
    };
    let by = |forward: &forward::Forward, version| {
        upstream.target(version, Some((forward.reading, None)), &forward.authority)
    };
    let mut contenders = vec![
        Contender::new("direct, HTTP/1.1", upstream.target(one, None, theirs)?, Some(&upstream.process)),
        Contender::new("aegis, HTTP/1.1", by_aegis(one)?, Some(&process)),
        Contender::new("mitmdump, HTTP/1.1", by(&mitmdump, one)?, Some(&mitmdump.process)),
        Contender::new("direct, HTTP/2", upstream.target(two, None, theirs)?, Some(&upstream.process)),
        Contender::new("aegis, HTTP/2", by_aegis(two)?, Some(&process)),
        Contender::new("mitmdump, HTTP/2", by(&mitmdump, two)?, Some(&mitmdump.process)),
    ];
    let passing = squid.passing.context("squid passes tunnels on")?;
    let mut set_ups = vec![
        Contender::new("tunnel, aegis", upstream.in_tunnel(proxy, Some(&tunneller))?, Some(&process)),
        Contender::new("tunnel, squid", upstream.in_tunnel(passing, None)?, Some(&squid.process)),
        Contender::new("intercepted, aegis", by_aegis(one)?, Some(&process)),
        Contender::new("intercepted, squid", by(&squid, one)?, Some(&squid.process)),
        Contender::new("intercepted, mitmdump", by(&mitmdump, one)?, Some(&mitmdump.process)),
        Contender::new("no proxy", upstream.target(one, None, theirs)?, Some(&upstream.process)),
    ];
    contest::requests(&runtime, &mut contenders, PLAN)?;
    contest::set_ups(&runtime, &mut set_ups, PLAN.rounds, SET_UPS)?;
    let (requests, set_ups) = (contest::results(contenders)?, contest::results(set_ups)?);
    process.stop().context("aegis")?;
    let through = requests.iter().chain(&set_ups).filter(|one| one.name.contains("aegis"));
    runtime.block_on(home.has_recorded(through.map(|one| one.calls).sum()))?;
    drop((squid, mitmdump));
    section(&requests, &set_ups)
}

/// The configuration by which the upstream is intercepted.
pub(crate) fn config(upstream: &Upstream) -> String {
    format!(
        "{}interception:\n  hosts: [{{host: \"{authority}\", tool: kubernetes, cluster: main}}]\n  upstream_ca: {}\n\
         upstreams: {{\"{authority}\": \"{}\", \"{}\": \"{}\"}}\n",
        scene::ENVIRONMENTS,
        upstream.certificate().display(),
        upstream.address,
        upstream.tunnelled(),
        upstream.tunnelled,
        authority = upstream.authority(),
    )
}

/// Policies that allow the call there, and one agent tunnels to there.
pub(crate) fn policies(upstream: &Upstream) -> Vec<(String, String)> {
    let egress = format!("egress: {{allow: [\"{}\", \"{}\"]}}\n", upstream.authority(), upstream.tunnelled());
    let mut policies: Vec<_> =
        (0..AGENTS).map(|index| (scene::agent(index), format!("{}{egress}", scene::policy(index)))).collect();
    policies.push((TUNNELLER.to_owned(), format!("agent: {TUNNELLER}\n{egress}actions:\n  - name: http/connect\n")));
    policies
}

fn section(requests: &[Measured], set_ups: &[Measured]) -> Result<Section> {
    let mut rows = Vec::new();
    let of = |name| named(requests, name);
    for one in requests {
        let base = if one.name.ends_with("/2") { "direct, HTTP/2" } else { "direct, HTTP/1.1" };
        rows.push(one.at_a_rate(Some(of(base)?), PLAN.rate)?);
    }
    for one in requests {
        rows.push(one.at_most(of(if one.name.ends_with("/2") { "aegis, HTTP/2" } else { "aegis, HTTP/1.1" })?)?);
    }
    for one in set_ups {
        let aegis = if one.name.starts_with("tunnel") { "tunnel, aegis" } else { "intercepted, aegis" };
        rows.push(one.at_set_up(named(set_ups, aegis)?)?);
    }
    let pairs = [(of("aegis, HTTP/1.1")?, of("direct, HTTP/1.1")?), (of("aegis, HTTP/2")?, of("direct, HTTP/2")?)];
    let note = format!(
        "The scene's PATCH (1 KiB of JSON) to an HTTPS upstream (one nginx process), by `CONNECT` through a forward proxy that reads \
         it. Aegis: token, host, description, policy ({AGENTS} agents), durable record, forwarding, outcome. Squid and mitmdump only \
         read and forward: no identity, no policy, no record. All verify the upstream's certificate, and speak HTTP/1.1 to it where \
         they choose. HTTP/1.1: 32 connections; HTTP/2: 4 with 8 requests at a time. Squid stands among the new connections only: it \
         closes a kept one whose upstream, as nginx does here, answers before it has the whole body. {} interleaved \
         rounds of {} s and {} s, the one in the middle. At a fixed rate latency counts from when a request was due; ours is the \
         time added to direct at p50 and p99, ratio the p99 to direct's. As fast as it goes and new connections: Aegis, what the row names, and how many times that Aegis does. \
         New connections: TCP, `CONNECT`, a whole TLS handshake (no resumption), one request, closed; 8 at a time for {} s; the \
         tunnel's is end to end, the intercepted one's is with the proxy, which keeps its connections to the upstream where it can. {}",
        PLAN.rounds,
        PLAN.open.as_secs(),
        PLAN.closed.as_secs(),
        number(SET_UPS.as_secs_f64(), ""),
        contest::verdict(&pairs)?,
    );
    Ok(Section { title: "Interception", note, rows })
}
