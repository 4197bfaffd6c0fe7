//! Forward proxies to compare with: Squid and mitmdump, both reading TLS under a CA of their own.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::certificate::Authority;
use crate::process::{Process, free_address};

/// How long a proxy may take to make its CA.
const PATIENCE: Duration = Duration::from_secs(20);

/// A forward proxy.
pub(crate) struct Forward {
    pub(crate) process: Process,
    /// Where it reads what is in a tunnel.
    pub(crate) reading: SocketAddr,
    /// Where it only passes tunnels on, if it does.
    pub(crate) passing: Option<SocketAddr>,
    /// Whom its certificates are of.
    pub(crate) authority: PathBuf,
    _dir: TempDir,
}

/// Starts Squid, as scripts/tools unpacks it, trusting `upstream`'s CA. It keeps nothing: no cache, no log.
pub(crate) fn squid(squid: &Path, upstream: &Path) -> Result<Forward> {
    // Under /tmp: it gives up root, and couldn't get into a folder that only root can.
    let dir = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir()?;
    let parts = squid.parent().and_then(Path::parent).context("squid is in .tools/bin")?.join("squid/usr");
    let parts = std::path::absolute(parts)?;
    let authority = Authority::new(dir.path(), "squid")?;
    std::fs::copy(upstream, dir.path().join("upstream.pem"))?;
    let helper = parts.join("lib/squid/security_file_certgen");
    let libraries = std::fs::read_dir(parts.join("lib"))?.filter_map(Result::ok).map(|entry| entry.path());
    let libraries = libraries.filter(|path| path.to_string_lossy().contains("-linux-")).collect::<Vec<_>>();
    let made = Command::new(&helper)
        .env("LD_LIBRARY_PATH", libraries.first().context("squid's libraries")?)
        .args(["-c", "-s"])
        .arg(dir.path().join("certificates"))
        .args(["-M", "4MB"])
        .stdout(Stdio::null())
        .status()?;
    ensure!(made.success(), "{}: {made}", helper.display());
    let (reading, passing) = (free_address()?, free_address()?);
    let template = include_str!("forward/squid.conf");
    let config = [("DIR", dir.path()), ("PARTS", parts.as_path())]
        .iter()
        .fold(template.to_owned(), |text, (word, path)| text.replace(word, &path.display().to_string()))
        .replace("READING", &reading.to_string())
        .replace("PASSING", &passing.to_string());
    std::fs::write(dir.path().join("squid.conf"), config)?;
    if dir.path().metadata()?.uid() == 0 {
        let given = Command::new("chown").args(["-R", "proxy"]).arg(dir.path()).status()?;
        ensure!(given.success(), "chown: {given}");
    }
    let mut command = Command::new(std::path::absolute(squid)?);
    command.args(["-N", "-f"]).arg(dir.path().join("squid.conf")).stderr(Stdio::null());
    let process = Process::listening(&mut command, reading)?;
    Ok(Forward { process, reading, passing: Some(passing), authority: authority.certificate, _dir: dir })
}

/// Starts mitmdump, trusting `upstream`'s CA. It prints nothing.
pub(crate) fn mitmdump(mitmdump: &Path, scratch: &Path, upstream: &Path) -> Result<Forward> {
    let dir = tempfile::tempdir_in(scratch)?;
    let reading = free_address()?;
    let setting = |name: &str, path: &Path| format!("{name}={}", path.display());
    let mut command = Command::new(std::path::absolute(mitmdump)?);
    command.args(["-q", "--listen-host", "127.0.0.1", "-p", &reading.port().to_string()]);
    command.args(["--set", &setting("confdir", dir.path())]);
    command.args(["--set", &setting("ssl_verify_upstream_trusted_ca", upstream)]);
    let process = Process::listening(&mut command, reading)?;
    let authority = dir.path().join("mitmproxy-ca-cert.pem");
    let since = Instant::now();
    while !authority.exists() {
        ensure!(since.elapsed() < PATIENCE, "mitmdump makes no CA");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Forward { process, reading, passing: None, authority, _dir: dir })
}
