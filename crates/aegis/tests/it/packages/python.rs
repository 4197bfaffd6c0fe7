//! twine and pip against pypiserver.

use std::path::PathBuf;
use std::process::{Command, Output};

use super::{Server, Setup, run};
use crate::tools::tool;

struct Index {
    setup: Setup,
    _server: Server,
    dir: tempfile::TempDir,
}

impl Index {
    fn start(actions: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let packages = dir.path().join("packages");
        std::fs::create_dir(&packages).expect("made");
        let server = Server::start(&dir.path().join("log"), |address| {
            let mut command = Command::new(tool("python-packages"));
            command.args(["-m", "pypiserver", "run", "--disable-fallback", "--authenticate", ".", "--passwords", "."]);
            command.args(["--interface", "127.0.0.1", "--port", &address.port().to_string()]).arg(packages);
            command
        });
        Self { setup: Setup::start("pypi", server.address, actions), _server: server, dir }
    }

    fn python(&self, arguments: &[&str]) -> Output {
        self.setup.client(tool("python-packages")).args(arguments).output().expect("python runs")
    }

    fn upload(&self, wheel: &std::path::Path) -> Output {
        let url = format!("{}/", self.setup.url);
        let wheel = wheel.to_str().expect("text");
        self.python(&[
            "-m",
            "twine",
            "upload",
            "--non-interactive",
            "-u",
            "x",
            "-p",
            "x",
            "--repository-url",
            &url,
            wheel,
        ])
    }

    /// A wheel of one module.
    fn wheel(&self, name: &str) -> PathBuf {
        let path = self.setup.path(&format!("{name}-1.0-py3-none-any.whl"));
        let script = "import sys, zipfile\n\
            name, path = sys.argv[1:]\n\
            info = f'{name}-1.0.dist-info'\n\
            with zipfile.ZipFile(path, 'w') as wheel:\n    \
            wheel.writestr(f'{name}.py', 'x = 1\\n')\n    \
            wheel.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\nClassifier: A\\nClassifier: B\\n')\n    \
            wheel.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n    \
            wheel.writestr(f'{info}/RECORD', '')\n";
        run(Command::new("python3").args(["-c", script, name]).arg(&path));
        path
    }
}

#[test]
fn a_wheel_is_uploaded_and_installed_and_another_refused_with_the_reason() {
    let index = Index::start(
        "  - {name: pypi/upload, allowed_package: [acme-x]}\n  - {name: pypi/index}\n  - {name: pypi/download, denied_file: [\"*evil*\"]}\n",
    );
    index.setup.done(&index.upload(&index.wheel("acme_x")));
    assert!(index.dir.path().join("packages/acme_x-1.0-py3-none-any.whl").exists());
    index.setup.refused(&index.upload(&index.wheel("acme_y")), &["403", "allowed_package"]);
    assert!(!index.dir.path().join("packages/acme_y-1.0-py3-none-any.whl").exists());
    let simple = format!("{}/simple/", index.setup.url);
    let folder = index.setup.path("installed");
    let download = |name: &str| {
        let to = folder.to_str().expect("text");
        index.python(&[
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--no-cache-dir",
            "--dest",
            to,
            "--index-url",
            &simple,
            name,
        ])
    };
    index.setup.done(&download("acme-x"));
    // Put there by somebody else.
    std::fs::copy(index.wheel("evil"), index.dir.path().join("packages/evil-1.0-py3-none-any.whl")).expect("copied");
    index.setup.refused(&download("evil"), &["403", "PolicyViolation", "denied_file"]);
    assert!(folder.join("acme_x-1.0-py3-none-any.whl").exists() && !folder.join("evil-1.0-py3-none-any.whl").exists());
}
