//! The guide to the sidecar in front of the Kubernetes API, followed word by word with real kubectl. The guide's reader has a
//! cluster of their own; here a stand-in for its API takes that place (see `standin.rs`).

use base64::Engine as _;
use serde_json::Value;

use crate::guide::Guide;
use crate::secure::Authority;
use crate::standin::Kubernetes;
use crate::tools::tool;

/// The kubeconfig of somebody who may do everything in the cluster.
fn operators(server: &str, authority: &Authority) -> String {
    let ca = base64::engine::general_purpose::STANDARD.encode(authority.pem());
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: \"{server}\", certificate-authority-data: {ca}}}}}]\n\
         users: [{{name: u, user: {{token: of-the-operator}}}}]\n"
    )
}

#[test]
fn the_guide_to_the_sidecar_goes_as_the_page_tells_it() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let authority = Authority::new();
    let (kubernetes, address) = runtime.block_on(Kubernetes::start_secure(&[], &authority));
    let kubectl = tool("kubectl");
    let mut guide = Guide::open("kubernetes-sidecar.md");
    guide.succeed(&format!("PATH={}:$PATH", kubectl.parent().expect("a folder").display()));
    std::fs::create_dir(guide.folder().join(".kube")).expect("made");
    let kubeconfig = operators(&format!("https://{address}"), &authority);
    std::fs::write(guide.folder().join(".kube/config"), kubeconfig).expect("written");
    guide.follow();

    // What the page tells besides: the agent's calls went as Aegis's own account, and what was refused did not go at all.
    let seen = kubernetes.seen();
    let agents = seen.iter().filter(|seen| seen.path.contains("/deployments"));
    let own = format!("Bearer {}", Kubernetes::token("aegis"));
    let mut writes = Vec::new();
    for call in agents {
        assert_eq!(call.authorization.as_deref(), Some(own.as_str()), "{} {}", call.method, call.path);
        if call.method != "GET" {
            writes.push(format!("{} {}", call.method, call.path));
        }
    }
    let of = |namespace: &str| format!("/apis/apps/v1/namespaces/{namespace}/deployments");
    let expected = [
        format!("POST {}", of("shop")),
        format!("PATCH {}/web/scale", of("shop")),
        format!("POST {}", of("prod-shop")),
    ];
    assert_eq!(writes, expected);
    assert_eq!((kubernetes.replicas("shop"), kubernetes.replicas("prod-shop")), (Some(5), Some(3)));

    let decided = guide.decisions();
    let count = |decision: &str| decided.iter().filter(|record| record["decision"] == decision).count();
    assert_eq!(count("approval_needed"), 2);
    let rules = |record: &Value| record["violations"].as_array().cloned().unwrap_or_default();
    let limit = |record: &&Value| rules(record).iter().any(|violation| violation["rule"] == "max_replicas");
    assert_eq!(decided.iter().filter(limit).count(), 2);
}
