//! skopeo against docker-registry.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Server, Setup, digest, run};
use crate::tools::tool;

/// An OCI layout with one image, whose configuration says `note`; the digest of its manifest.
fn image(folder: &Path, note: &str) -> String {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("made");
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("written");
    let store = |name: &str| {
        let path = folder.join(name);
        let (digest, size) = (digest(&path), std::fs::metadata(&path).expect("there").len());
        std::fs::rename(&path, blobs.join(digest.trim_start_matches("sha256:"))).expect("moved");
        (digest, size)
    };
    run(Command::new("sh").args(["-c", "tar cf layer.tar oci-layout && gzip -nk layer.tar"]).current_dir(folder));
    let diff = digest(&folder.join("layer.tar"));
    std::fs::remove_file(folder.join("layer.tar")).expect("removed");
    let layer = store("layer.tar.gz");
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {"Labels": {"note": note}},
        "rootfs": {"type": "layers", "diff_ids": [diff]},
    });
    std::fs::write(folder.join("config"), config.to_string()).expect("written");
    let config = store("config");
    let oci = |kind: &str| format!("application/vnd.oci.image.{kind}");
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": oci("manifest.v1+json"),
        "config": {"mediaType": oci("config.v1+json"), "digest": config.0, "size": config.1},
        "layers": [{"mediaType": oci("layer.v1.tar+gzip"), "digest": layer.0, "size": layer.1}],
    });
    std::fs::write(folder.join("manifest"), manifest.to_string()).expect("written");
    let manifest = store("manifest");
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [{"mediaType": oci("manifest.v1+json"), "digest": manifest.0, "size": manifest.1}],
    });
    std::fs::write(folder.join("index.json"), index.to_string()).expect("written");
    manifest.0
}

struct Registry {
    setup: Setup,
    _server: Server,
    storage: PathBuf,
    _dir: tempfile::TempDir,
}

impl Registry {
    fn start(actions: &str) -> Self {
        Self::with(actions, "")
    }

    fn with(actions: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let storage = dir.path().join("storage");
        let server = Server::start(&dir.path().join("log"), |address| {
            let config = dir.path().join("config.yml");
            let text = format!(
                "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: \"{address}\", relativeurls: true}}\n",
                storage.display()
            );
            std::fs::write(&config, text).expect("written");
            let mut command = Command::new(tool("docker-registry"));
            command.arg("serve").arg(config);
            command
        });
        let setup = Setup::with("oci", server.address, actions, more);
        Self { setup, _server: server, storage, _dir: dir }
    }

    fn skopeo(&self, arguments: &[&str]) -> Output {
        let mut command = self.setup.client(tool("skopeo"));
        command.env("XDG_RUNTIME_DIR", self.setup.path("")).arg("--insecure-policy");
        command.args(arguments).output().expect("skopeo runs")
    }

    fn push(&self, image: &Path, reference: &str) -> Output {
        let from = format!("oci:{}", image.display());
        self.skopeo(&["copy", "--preserve-digests", &from, &format!("docker://oci.corp.example/{reference}")])
    }

    /// The tags that the registry holds of a repository.
    fn tags(&self, repository: &str) -> Vec<String> {
        let folder = self.storage.join("docker/registry/v2/repositories").join(repository).join("_manifests/tags");
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }
}

#[test]
fn an_image_is_pushed_and_pulled_by_the_digest_of_its_exact_bytes() {
    let images = tempfile::tempdir().expect("a folder");
    let (good, other) = (images.path().join("good"), images.path().join("other"));
    std::fs::create_dir_all(&good).and_then(|()| std::fs::create_dir_all(&other)).expect("made");
    let digest = image(&good, "good");
    let another = image(&other, "other");
    let allowed = format!("allowed_images: [{{digest: \"{digest}\"}}]");
    let registry = Registry::start(&format!(
        "  - {{name: push, tools: [oci], {allowed}, denied_tags: [latest]}}\n  - {{name: pull, tools: [oci], {allowed}}}\n"
    ));
    registry.setup.done(&registry.push(&good, "team/app:v1"));
    assert_eq!(registry.tags("team/app"), ["v1"]);
    // Another image under the same tag, and the same one under a tag that nobody may set.
    registry.setup.refused(&registry.push(&other, "team/app:v2"), &["allowed_images", &another]);
    registry.setup.refused(&registry.push(&good, "team/app:latest"), &["denied_tags"]);
    assert_eq!(registry.tags("team/app"), ["v1"]);
    let pull = |reference: &str| {
        registry.skopeo(&["inspect", "--raw", &format!("docker://oci.corp.example/team/app{reference}")])
    };
    assert!(registry.setup.done(&pull(&format!("@{digest}"))).contains("schemaVersion"));
    // Which image a tag is only the registry can say, and Aegis has no credential here to ask it with.
    registry.setup.refused(&pull(":v1"), &["allowed_images", "digest is not known"]);
}

#[test]
fn a_pull_by_tag_is_judged_by_the_digest_that_the_registry_says_now() {
    let images = tempfile::tempdir().expect("a folder");
    let (good, other) = (images.path().join("good"), images.path().join("other"));
    std::fs::create_dir_all(&good).and_then(|()| std::fs::create_dir_all(&other)).expect("made");
    let digest = image(&good, "good");
    let another = image(&other, "other");
    let actions = format!(
        "  - {{name: push, tools: [oci]}}\n  - {{name: pull, tools: [oci], allowed_images: [{{digest: \"{digest}\"}}]}}\n"
    );
    // The registry asks nobody who they are; Aegis asks it only where it has something to say.
    let credential = format!(", credential: {{bearer: {}}}", ["of", "the", "gateway"].join("-"));
    let registry = Registry::with(&actions, &credential);
    registry.setup.done(&registry.push(&good, "team/app:v1"));
    let pull = |reference: &str| {
        registry.skopeo(&["inspect", "--raw", &format!("docker://oci.corp.example/team/app{reference}")])
    };
    assert!(registry.setup.done(&pull(":v1")).contains("schemaVersion"));
    // The tag moves, and the very next pull is judged by where it went.
    registry.setup.done(&registry.push(&other, "team/app:v1"));
    registry.setup.refused(&pull(":v1"), &["allowed_images", &another]);
    registry.setup.refused(&pull(":none"), &["allowed_images", "the tool answered 404"]);
}
