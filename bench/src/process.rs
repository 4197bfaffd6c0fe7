//! Programs that a run starts and stops, and what the system says of them.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::scene;

/// How long a program may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ticks of the processors' clock in a second, as `/proc/PID/stat` counts (`getconf CLK_TCK`; 100 on every Linux).
const TICKS: f64 = 100.0;

/// A program of ours; dropped, it is killed.
pub(crate) struct Process(Child);

/// What a process holds in memory now, and the most that it held, in kB.
pub(crate) fn memory_of(process: u32) -> Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such field")?;
        Ok(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?)
    };
    Ok((field("VmRSS")?, field("VmHWM")?))
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        Ok(Self(command.spawn()?))
    }

    /// What it holds in memory now, and the most that it held, in kB.
    pub(crate) fn memory(&self) -> Result<(u64, u64)> {
        memory_of(self.0.id())
    }

    /// The processor time that it has used.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        // The name, in brackets, may hold spaces; `utime` and `stime` are the 12th and 13th fields after it.
        let (_, fields) = stat.rsplit_once(") ").context("the form of /proc/PID/stat")?;
        let ticks: Vec<f64> = fields.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(Duration::from_secs_f64(ticks.iter().sum::<f64>() / TICKS))
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        let told = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status()?;
        ensure!(told.success(), "kill: {told}");
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            if let Some(status) = self.0.try_wait()? {
                ensure!(status.success(), "it ended with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("it didn't end in {PATIENCE:?}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; there is nobody to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A gateway's folder: configuration, policies, data.
pub(crate) struct Home {
    aegis: PathBuf,
    dir: TempDir,
}

impl Home {
    /// Prepares a gateway with the policies of so many agents and a route `k8s` to `upstream`.
    pub(crate) fn new(aegis: &Path, scratch: &Path, agents: usize, upstream: SocketAddr, extra: &str) -> Result<Self> {
        let dir = tempfile::tempdir_in(scratch)?;
        let policies = dir.path().join("policies");
        std::fs::create_dir(&policies)?;
        for index in 0..agents {
            std::fs::write(policies.join(format!("{}.yaml", scene::agent(index))), scene::policy(index))?;
        }
        let config = format!(
            "data_dir: ./data\nlisten: {{proxy: \"127.0.0.1:0\", proxy_tls: \"127.0.0.1:0\", api: \"127.0.0.1:0\", ext_authz: \"127.0.0.1:0\"}}\n\
             policies: ./policies\n{}routes:\n  - {{name: k8s, upstream: \"http://{upstream}\", tool: kubernetes, cluster: main, \
             credential: {{bearer: upstream-credential}}}}\n{extra}\n",
            scene::ENVIRONMENTS,
        );
        std::fs::write(dir.path().join("aegis.yaml"), config)?;
        Ok(Self { aegis: std::path::absolute(aegis)?, dir })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.aegis);
        command.args(arguments).arg("--config").arg(self.dir.path().join("aegis.yaml")).env("RUST_LOG", "warn");
        command
    }

    /// Registers the first agent; a token of it.
    pub(crate) fn token(&self) -> Result<String> {
        let run = |arguments: &[&str]| -> Result<String> {
            let output = self.command(arguments).stderr(Stdio::inherit()).output()?;
            ensure!(output.status.success(), "aegis {arguments:?}: {}", output.status);
            Ok(String::from_utf8(output.stdout)?.trim().to_owned())
        };
        let agent = scene::agent(0);
        run(&["agent", "add", &agent])?;
        run(&["token", "issue", &agent, "--ttl", "1h"])
    }

    /// Starts the gateway; where its proxy listens, and how long it took until it said that it is ready.
    pub(crate) fn serve(&self) -> Result<(Process, SocketAddr, Duration)> {
        self.serve_at("proxy")
    }

    /// The same; where another listener is.
    pub(crate) fn serve_at(&self, listener: &str) -> Result<(Process, SocketAddr, Duration)> {
        let started = Instant::now();
        let mut process = Process(self.command(&["serve"]).stdout(Stdio::piped()).spawn()?);
        let output = process.0.stdout.take().context("its output is piped")?;
        let mut found = None;
        for line in BufReader::new(output).lines() {
            let line: Value = serde_json::from_str(&line?).context("every line that it prints is JSON")?;
            if line.get("listening").and_then(Value::as_str) == Some(listener) {
                found = line.get("address").and_then(Value::as_str).map(str::parse).transpose()?;
            }
            if line.get("ready").is_some() {
                let took = started.elapsed();
                return Ok((process, found.with_context(|| format!("{listener} isn't listening"))?, took));
            }
        }
        bail!("the gateway ended before it was ready")
    }

    /// The gateway's data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

/// An nginx of one process with this `http` block, in which `LISTEN` stands for its address.
pub(crate) fn nginx(nginx: &Path, scratch: &Path, http: &str) -> Result<(Process, SocketAddr, TempDir)> {
    let dir = tempfile::tempdir_in(scratch)?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {kind};\n"))
        .concat();
    let config = format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr error;\nevents {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 100000000;\n{temporary}{}\n}}\n",
        http.replace("LISTEN", &address.to_string()),
    );
    std::fs::write(dir.path().join("nginx.conf"), config)?;
    let mut command = Command::new(std::path::absolute(nginx)?);
    command.arg("-p").arg(dir.path()).args(["-c", "nginx.conf", "-e", "stderr"]).stdin(Stdio::null());
    let process = Process(command.spawn().with_context(|| format!("{}", nginx.display()))?);
    let since = Instant::now();
    while TcpStream::connect(address).is_err() {
        ensure!(since.elapsed() < PATIENCE, "nginx doesn't listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok((process, address, dir))
}
