//! npm against verdaccio.

use std::path::Path;
use std::process::{Command, Output};

use super::{Server, Setup};
use crate::tools::tool;

struct Npm {
    setup: Setup,
    _server: Server,
    dir: tempfile::TempDir,
}

impl Npm {
    fn start(actions: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let server = Server::start(&dir.path().join("log"), |address| {
            let config = dir.path().join("config.yaml");
            let text = format!(
                "storage: {0}/storage\nauth: {{htpasswd: {{file: {0}/users}}}}\nuplinks: {{}}\n\
                 packages: {{\"**\": {{access: $all, publish: $all, unpublish: $all}}}}\n\
                 log: {{type: stdout, format: pretty, level: warn}}\n",
                dir.path().display()
            );
            std::fs::write(&config, text).expect("written");
            let mut command = Command::new(tool("verdaccio"));
            command.arg("--config").arg(config).args(["--listen", &address.to_string()]);
            command
        });
        Self { setup: Setup::start("npm", server.address, actions), _server: server, dir }
    }

    /// npm in the folder of a package.
    fn npm(&self, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = self.setup.client("npm");
        let home = self.setup.path("");
        std::fs::write(home.join(".npmrc"), "//npm.corp.example/:_authToken=none\n").expect("written");
        command.current_dir(folder).env("npm_config_cache", home.join("npm-cache"));
        command.env("npm_config_registry", format!("{}/", self.setup.url)).env("npm_config_update_notifier", "false");
        command.env("npm_config_userconfig", home.join(".npmrc")).env("npm_config_globalconfig", home.join("none"));
        command.args(arguments).output().expect("npm runs")
    }

    fn package(&self, name: &str, version: &str) -> std::path::PathBuf {
        let folder = self.setup.path(&name.replace('/', "+"));
        std::fs::create_dir_all(&folder).expect("made");
        let text = serde_json::json!({"name": name, "version": version, "description": "x", "main": "index.js"});
        std::fs::write(folder.join("package.json"), text.to_string()).expect("written");
        std::fs::write(folder.join("index.js"), "module.exports = 1\n").expect("written");
        folder
    }

    fn holds(&self, file: &str) -> bool {
        self.dir.path().join("storage").join(file).exists()
    }
}

#[test]
fn a_package_is_published_and_another_refused_with_the_reason() {
    let npm = Npm::start(
        "  - {name: npm/publish, allowed_package: [\"@acme/x\"], denied_tags: [next]}\n  - {name: read, tools: [npm]}\n",
    );
    let good = npm.package("@acme/x", "1.0.0");
    npm.setup.done(&npm.npm(&good, &["publish"]));
    assert!(npm.holds("@acme/x/x-1.0.0.tgz"));
    let other = npm.package("@acme/y", "1.0.0");
    npm.setup.refused(&npm.npm(&other, &["publish"]), &["403", "allowed_package"]);
    assert!(!npm.holds("@acme/y/y-1.0.0.tgz"));
    let next = npm.package("@acme/x", "1.1.0");
    npm.setup.refused(&npm.npm(&next, &["publish", "--tag", "next"]), &["403", "denied_tags"]);
    // What is published is taken back and marked by other actions.
    npm.setup.refused(&npm.npm(&good, &["deprecate", "@acme/x@1.0.0", "old"]), &["403", "no policy"]);
    npm.setup.refused(&npm.npm(&good, &["unpublish", "--force", "@acme/x"]), &["403", "no policy"]);
    npm.setup.refused(&npm.npm(&good, &["dist-tag", "add", "@acme/x@1.0.0", "next"]), &["403", "no policy"]);
    assert!(npm.setup.done(&npm.npm(&good, &["view", "@acme/x", "version"])).contains("1.0.0"));
    let decisions = npm.setup.decisions();
    for action in ["update deny", "unpublish deny", "tag deny"] {
        assert!(decisions.iter().any(|line| line.starts_with(action)), "{action}: {decisions:#?}");
    }
}
