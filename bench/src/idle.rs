//! What connections cost that nobody uses, and what a body costs that is far too large.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;

use crate::Tools;
use crate::dial::{Connection, Way};
use crate::intercept::{self, Upstream};
use crate::load::Target;
use crate::process::{Home, Process, Serving, memory_of};
use crate::report::{Row, Section, megabytes, number, short};
use crate::scene;

/// Connections of each kind (20,000 files at most leave a gateway room for 4,680), and of the kind that costs both ends two handshakes.
const CONNECTIONS: usize = 4_000;
const INTERCEPTED: usize = 2_000;
/// Opened at a time.
const AT_ONCE: usize = 64;
/// Loopback addresses that they come from: one client may not take all that there are.
const CLIENTS: u8 = 100;
/// A body that is refused, and how many such calls come at once.
const HUGE: u64 = 1 << 30;
const HUGE_AT_ONCE: usize = 8;
const PIECE: usize = 64 * 1024;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How idle connections came to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Silent,
    Answered,
    Intercepted,
}

pub(crate) fn run(aegis: &Path, tools: &Tools, scratch: &Path) -> Result<Section> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let upstream = Upstream::start(&tools.of("nginx"), scratch)?;
    let mut rows = Vec::new();
    for (kind, what, count) in [
        (Kind::Silent, "idle, nothing sent yet", CONNECTIONS),
        (Kind::Answered, "idle, after an answered call on a route", CONNECTIONS),
        (Kind::Intercepted, "idle, after an answered call in an intercepted tunnel", INTERCEPTED),
    ] {
        let gateway = Gateway::start(aegis, scratch, &upstream)?;
        rows.push(runtime.block_on(gateway.idle(&upstream, kind, what, count))?);
        gateway.serving.process.stop().context("aegis")?;
    }
    let gateway = Gateway::start(aegis, scratch, &upstream)?;
    for (what, framing) in [
        ("8 bodies of 1 GiB at once, `Content-Length`", format!("Content-Length: {HUGE}")),
        ("8 bodies of 1 GiB at once, chunked", "Transfer-Encoding: chunked".to_owned()),
    ] {
        rows.push(gateway.huge(&runtime, what, &framing)?);
    }
    gateway.serving.process.stop().context("aegis")?;
    let note = format!(
        "A gateway of its own for each kind of connection; they come from {CLIENTS} loopback addresses, since one client may not take all \
         that a gateway has. Ours: connections open at the gateway when its memory is read; p50: what it grew by for each, upstream \
         connections that it keeps included; memory: resident then (before). A body that is refused: what was sent until the \
         answer 413 (p50 and p99: the fastest and the slowest), memory: resident after (the most ever; before). The limit is the \
         default, 4 MiB.",
    );
    Ok(Section { title: "Idle connections and huge bodies", note, rows })
}

struct Gateway {
    home: Home,
    serving: Serving,
    token: String,
}

impl Gateway {
    fn start(aegis: &Path, scratch: &Path, upstream: &Upstream) -> Result<Self> {
        let config = format!(
            "{}limits: {{connections: 12000}}\nroutes:\n  - {{name: k8s, upstream: \"https://{}\", tool: kubernetes, cluster: main, \
             tls: {{ca: {}}}}}\n",
            intercept::config(upstream),
            upstream.authority(),
            upstream.certificate().display(),
        );
        let home = Home::configured(aegis, scratch, &config, intercept::policies(upstream))?;
        let token = home.token(&scene::agent(0))?;
        let serving = home.serve()?;
        Ok(Self { home, serving, token })
    }

    fn target(&self, upstream: &Upstream, kind: Kind) -> Result<Target> {
        let proxy = self.serving.proxy;
        let mut target = if kind == Kind::Intercepted {
            let credential = HeaderValue::try_from(format!("Bearer {}", self.token))?;
            upstream.target(Version::HTTP_11, Some((proxy, Some(&credential))), &self.home.authority()?)?
        } else {
            let path = format!("/r/k8s{}", scene::TARGET);
            Target::new(Way::plain(proxy), scene::http_request(&path, &proxy.to_string(), Some(&self.token))?)?
        };
        target.expected = HeaderMap::from_iter([("aegis-decision".parse()?, HeaderValue::from_static("allow"))]);
        Ok(target)
    }

    async fn idle(&self, upstream: &Upstream, kind: Kind, what: &str, count: usize) -> Result<Row> {
        let process = self.serving.process.id();
        let target = self.target(upstream, kind)?;
        // What the first call makes is no connection's cost.
        target.one(local(0)?.connect(self.serving.proxy).await?).await?;
        let ((before, _), files) = (memory_of(process)?, open_files(process)?);
        let started = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..AT_ONCE {
            let (target, proxy) = (target.clone(), self.serving.proxy);
            tasks.spawn(async move {
                let mut kept: Vec<(Option<TcpStream>, Option<Connection>)> = Vec::new();
                for nth in (worker..count).step_by(AT_ONCE) {
                    let stream = local(nth)?.connect(proxy).await?;
                    kept.push(match kind {
                        Kind::Silent => (Some(stream), None),
                        Kind::Answered | Kind::Intercepted => (None, Some(target.one(stream).await?)),
                    });
                }
                anyhow::Ok(kept)
            });
        }
        let mut kept = Vec::new();
        while let Some(done) = tasks.join_next().await {
            kept.extend(done??);
        }
        let took = started.elapsed();
        let ((after, _), open) = (memory_of(process)?, open_files(process)?.saturating_sub(files));
        ensure!(open * 10 >= count * 9, "{what}: of {} only {open} are open after {took:?}", kept.len());
        let each = after.saturating_sub(before) as f64 / count as f64;
        let row = Row::new(format!("{what}; opened in {}", short(took)));
        Ok(Row {
            ours: number(open as f64, "open"),
            p50: format!("{each:.1} kB each"),
            memory: format!("{} ({})", megabytes(after), megabytes(before)),
            ..row
        })
    }

    fn huge(&self, runtime: &Runtime, what: &str, framing: &str) -> Result<Row> {
        let process: &Process = &self.serving.process;
        let (before, _) = process.memory()?;
        let head = format!(
            "{} /r/k8s{} HTTP/1.1\r\nHost: {}\r\n{AUTHORIZATION}: Bearer {}\r\nContent-Type: {}\r\n{framing}\r\n\r\n",
            scene::METHOD,
            scene::TARGET,
            self.serving.proxy,
            self.token,
            scene::MEDIA_TYPE,
        );
        let chunked = framing.contains("chunked");
        let mut sent: Vec<u64> = runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..HUGE_AT_ONCE {
                tasks.spawn(tokio::time::timeout(PATIENCE, refused(self.serving.proxy, head.clone(), chunked)));
            }
            let mut sent = Vec::new();
            while let Some(done) = tasks.join_next().await {
                sent.push(done??.context(what.to_owned())?);
            }
            anyhow::Ok(sent)
        })?;
        sent.sort_unstable();
        let size = |bytes: Option<&u64>| bytes.map_or_else(String::new, |bytes| megabytes(bytes / 1024));
        let (after, most) = process.memory()?;
        Ok(Row {
            ours: "413".to_owned(),
            p50: size(sent.first()),
            p99: size(sent.last()),
            memory: format!("{} ({}; {})", megabytes(after), megabytes(most), megabytes(before)),
            ..Row::new(what)
        })
    }
}

/// Sends a body until it is refused or all sent; how much of it was.
async fn refused(proxy: SocketAddr, head: String, chunked: bool) -> Result<u64> {
    let (mut reader, mut writer) = TcpStream::connect(proxy).await?.into_split();
    writer.write_all(head.as_bytes()).await?;
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        let mut piece = if chunked { format!("{PIECE:x}\r\n").into_bytes() } else { Vec::new() };
        piece.resize(piece.len() + PIECE, b' ');
        piece.extend_from_slice(if chunked { b"\r\n" } else { b"" });
        // Once it is refused the connection may end.
        while counted.load(Relaxed) < HUGE && writer.write_all(&piece).await.is_ok() {
            counted.fetch_add(PIECE as u64, Relaxed);
        }
    });
    let mut answer = vec![0; 256];
    let read = reader.read(&mut answer).await?;
    sending.abort();
    answer.truncate(read);
    let answer = String::from_utf8_lossy(&answer);
    ensure!(answer.split(' ').nth(1) == Some("413"), "the answer is {answer:?}");
    Ok(sent.load(Relaxed))
}

/// A socket of one of the clients.
fn local(nth: usize) -> Result<TcpSocket> {
    let last = u8::try_from(nth % usize::from(CLIENTS))? + 1;
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0))?;
    Ok(socket)
}

/// How many files and sockets a process has open.
fn open_files(process: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{process}/fd"))?.count())
}
