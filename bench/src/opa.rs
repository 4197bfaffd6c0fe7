//! A stock OPA as a server, with a bundle of ours.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::process::{Process, free_address};

/// How long it may take to load its bundle.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that has its bundle in force.
pub(crate) struct Opa {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// From its start until the bundle was in force.
    pub(crate) took: Duration,
    _dir: TempDir,
}

/// A kept connection to it.
pub(crate) struct Asking {
    connection: SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

impl Opa {
    pub(crate) fn start(opa: &Path, scratch: &Path, bundle: &[u8]) -> Result<Self> {
        let dir = tempfile::tempdir_in(scratch)?;
        let file = dir.path().join("bundle.tar.gz");
        std::fs::write(&file, bundle)?;
        let address = free_address()?;
        let mut command = Command::new(std::path::absolute(opa)?);
        command.args([
            "run",
            "--server",
            "--skip-version-check",
            "--log-level",
            "error",
            "--addr",
            &address.to_string(),
        ]);
        command.arg("--bundle").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = Instant::now();
        let process = Process::start(&mut command).with_context(|| format!("{}", opa.display()))?;
        // It binds its port when its bundle is loaded.
        while std::net::TcpStream::connect(address).is_err() {
            ensure!(started.elapsed() < PATIENCE, "OPA doesn't listen");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(Self { process, address, took: started.elapsed(), _dir: dir })
    }

    pub(crate) async fn connect(&self) -> Result<Asking> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(Asking { connection, address: self.address })
    }
}

impl Asking {
    /// The body of its answer.
    pub(crate) async fn ask(&mut self, path: &'static str, body: Bytes) -> Result<Bytes> {
        let request = Request::post(path)
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        self.connection.ready().await?;
        let response = self.connection.send_request(request).await?;
        ensure!(response.status().is_success(), "OPA: {}", response.status());
        Ok(response.into_body().collect().await?.to_bytes())
    }
}
