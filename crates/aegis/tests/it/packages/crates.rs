//! cargo against a stand-in for a registry.

use std::process::Output;

use super::Setup;
use super::stand_in::Registry;

struct Cargo {
    setup: Setup,
    registry: Registry,
    _runtime: tokio::runtime::Runtime,
}

impl Cargo {
    fn start(actions: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (registry, address) = Registry::start(&runtime);
        Self { setup: Setup::start("crates", address, actions), registry, _runtime: runtime }
    }

    fn cargo(&self, name: &str, arguments: &[&str]) -> Output {
        let folder = self.setup.path(name);
        std::fs::create_dir_all(folder.join("src")).expect("made");
        std::fs::write(folder.join("src/lib.rs"), "").expect("written");
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\nlicense = \"MIT\"\ndescription = \"x\"\n[workspace]\n"
        );
        std::fs::write(folder.join("Cargo.toml"), manifest).expect("written");
        let mut command = self.setup.client(env!("CARGO"));
        command.current_dir(&folder).env("CARGO_HOME", self.setup.path("cargo-home"));
        command.env("CARGO_REGISTRIES_CORP_INDEX", format!("sparse+{}/", self.setup.url));
        command.env("CARGO_REGISTRIES_CORP_TOKEN", "none").args(arguments);
        command.args(["--registry", "corp"]).output().expect("cargo runs")
    }
}

#[test]
fn a_crate_is_published_and_another_refused_with_the_reason() {
    let cargo = Cargo::start("  - {name: crates/publish, allowed_crate: [acme-x]}\n");
    let publish = ["publish", "--no-verify", "--allow-dirty"];
    cargo.setup.done(&cargo.cargo("acme-x", &publish));
    assert_eq!(cargo.registry.holds(), ["acme-x 0.1.0 false"]);
    cargo.setup.refused(&cargo.cargo("acme-y", &publish), &["403", "allowed_crate"]);
    cargo.setup.refused(&cargo.cargo("acme-x", &["yank", "--version", "0.1.0"]), &["403", "no policy"]);
    assert_eq!(cargo.registry.holds(), ["acme-x 0.1.0 false"]);
}
