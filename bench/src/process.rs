//! Programs that a run starts and stops, and what the system says of them.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aegis_store::{Durability, Store};
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

/// The processor time that a process has used.
pub(crate) fn cpu_of(process: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in brackets, may hold spaces; `utime` and `stime` are the 12th and 13th fields after it.
    let (_, fields) = stat.rsplit_once(") ").context("the form of /proc/PID/stat")?;
    let ticks: Vec<f64> = fields.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(Duration::from_secs_f64(ticks.iter().sum::<f64>() / TICKS))
}

/// A port that is free now.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_owned();
        Ok(Self(command.spawn().with_context(|| format!("{}", program.display()))?))
    }

    /// Starts a server and waits until it listens here.
    pub(crate) fn listening(command: &mut Command, address: SocketAddr) -> Result<Self> {
        let mut process = Self::start(command.stdin(Stdio::null()).stdout(Stdio::null()))?;
        let since = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.0.try_wait()? {
                bail!("{:?} ended with {status}", command.get_program());
            }
            ensure!(since.elapsed() < PATIENCE, "{:?} doesn't listen", command.get_program());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(process)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// What it holds in memory now, and the most that it held, in kB.
    pub(crate) fn memory(&self) -> Result<(u64, u64)> {
        memory_of(self.0.id())
    }

    /// The processor time that it has used.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu_of(self.0.id())
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

/// A gateway that is ready.
pub(crate) struct Serving {
    pub(crate) process: Process,
    pub(crate) proxy: SocketAddr,
    pub(crate) api: SocketAddr,
    pub(crate) ext_authz: SocketAddr,
    /// From its start until it said so.
    pub(crate) took: Duration,
}

/// A gateway's folder: configuration, policies, data.
pub(crate) struct Home {
    aegis: PathBuf,
    dir: TempDir,
}

impl Home {
    /// Prepares a gateway with the policies of so many agents and a route `k8s` to `upstream`.
    pub(crate) fn new(aegis: &Path, scratch: &Path, agents: usize, upstream: SocketAddr, extra: &str) -> Result<Self> {
        let config = format!(
            "{}routes:\n  - {{name: k8s, upstream: \"http://{upstream}\", tool: kubernetes, cluster: main, \
             credential: {{bearer: upstream-credential}}}}\n{extra}\n",
            scene::ENVIRONMENTS,
        );
        let policies = (0..agents).map(|index| (scene::agent(index), scene::policy(index)));
        Self::configured(aegis, scratch, &config, policies)
    }

    /// Prepares a gateway with these policies and, besides where things are, this configuration.
    pub(crate) fn configured(
        aegis: &Path,
        scratch: &Path,
        config: &str,
        policies: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let dir = tempfile::tempdir_in(scratch)?;
        let folder = dir.path().join("policies");
        std::fs::create_dir(&folder)?;
        for (name, policy) in policies {
            std::fs::write(folder.join(format!("{name}.yaml")), policy)?;
        }
        let listen =
            ["proxy", "proxy_tls", "api", "ext_authz"].map(|name| format!("{name}: \"127.0.0.1:0\"")).join(", ");
        let config = format!("data_dir: ./data\nlisten: {{{listen}}}\npolicies: ./policies\n{config}");
        std::fs::write(dir.path().join("aegis.yaml"), config)?;
        Ok(Self { aegis: std::path::absolute(aegis)?, dir })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.aegis);
        command.args(arguments).arg("--config").arg(self.dir.path().join("aegis.yaml")).env("RUST_LOG", "warn");
        command
    }

    /// What a command of it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "aegis {arguments:?}: {}", output.status);
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Registers an agent; a token of it.
    pub(crate) fn token(&self, agent: &str) -> Result<String> {
        self.run(&["agent", "add", agent])?;
        self.run(&["token", "issue", agent, "--ttl", "1h"])
    }

    /// The file with the certificate of its CA.
    pub(crate) fn authority(&self) -> Result<PathBuf> {
        let file = self.dir.path().join("authority.pem");
        std::fs::write(&file, self.run(&["ca", "export"])?)?;
        Ok(file)
    }

    /// Starts the gateway.
    pub(crate) fn serve(&self) -> Result<Serving> {
        let started = Instant::now();
        let mut process = Process(self.command(&["serve"]).stdout(Stdio::piped()).spawn()?);
        let output = process.0.stdout.take().context("its output is piped")?;
        let mut listening: HashMap<String, SocketAddr> = HashMap::new();
        for line in BufReader::new(output).lines() {
            let line: Value = serde_json::from_str(&line?).context("every line that it prints is JSON")?;
            let text = |key: &str| line.get(key).and_then(Value::as_str);
            if let (Some(name), Some(address)) = (text("listening"), text("address")) {
                listening.insert(name.to_owned(), address.parse()?);
            }
            if line.get("ready").is_some() {
                let took = started.elapsed();
                let address = |name: &str| listening.get(name).copied().with_context(|| format!("{name} listens"));
                let (proxy, api, ext_authz) = (address("proxy")?, address("api")?, address("ext_authz")?);
                return Ok(Serving { process, proxy, api, ext_authz, took });
            }
        }
        bail!("the gateway ended before it was ready")
    }

    /// Checks, now that it has ended, that every call that it answered is on record.
    pub(crate) async fn has_recorded(&self, calls: u64) -> Result<()> {
        let store = Store::open(&self.data(), Durability::Buffered)?;
        let records = store.head();
        store.close().await;
        ensure!(records >= calls, "{records} records of {calls} calls");
        Ok(())
    }

    /// The gateway's data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

/// An nginx of one process with this `http` block, in which `LISTEN` stands for its address.
pub(crate) fn nginx(nginx: &Path, scratch: &Path, http: &str) -> Result<(Process, SocketAddr, TempDir)> {
    let dir = tempfile::tempdir_in(scratch)?;
    let address = free_address()?;
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
    command.arg("-p").arg(dir.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
    Ok((Process::listening(&mut command, address)?, address, dir))
}
