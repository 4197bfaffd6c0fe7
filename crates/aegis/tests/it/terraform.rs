//! Real Terraform with its `cloud` block, through an intercepted connection: it plans and applies where it may, and prints why not
//! elsewhere. It was built from the last version under a free licence; what it speaks to is a stand-in (see `stand_in.rs`).

mod stand_in;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use self::stand_in::Hcp;
use crate::interception::Secured;
use crate::process::{Gateway, text};
use crate::tools::tool;

const POLICY: &str = "agent: builder
egress: {allow: [\"app.terraform.io:443\", \"archivist.terraform.io:443\"]}
actions:
  - {name: read, tools: [terraform]}
  - {name: terraform/get_state, allowed_environments: [staging]}
  - {name: terraform/create_configuration, allowed_environments: [staging]}
  - name: terraform/create_run
    allowed_environments: [staging]
    deny_if: auto_apply
  - {name: terraform/apply_run, allowed_environments: [staging], max_destructions: 0}
  - {name: http/request, allowed_host: [archivist.terraform.io]}
";

struct World {
    hcp: Hcp,
    gateway: Gateway,
    token: String,
    _secured: Secured,
}

/// What Aegis proves itself with.
fn secret() -> String {
    ["of", "the", "gateway"].join("-")
}

impl World {
    fn start() -> Self {
        let secured = Secured::new();
        let (hcp, plain) = secured.runtime().block_on(Hcp::start());
        let front = |name: &str| secured.front(name, plain);
        let config = format!(
            "interception:\n  hosts:\n    - {{host: app.terraform.io, credential: {{bearer: {}}}}}\n    \
             - archivist.terraform.io\n  upstream_ca: {}\n\
             upstreams: {{\"app.terraform.io:443\": \"{}\", \"archivist.terraform.io:443\": \"{}\"}}\n\
             environments:\n  - {{match: {{tool: terraform, workspace_name: \"*-staging\"}}, env: staging}}\n  \
             - {{match: {{tool: terraform, workspace_name: \"*-prod\"}}, env: production}}\n",
            secret(),
            secured.ca().display(),
            front("app.terraform.io"),
            front("archivist.terraform.io")
        );
        let gateway = Gateway::start(&config, &[("builder.yaml", POLICY)]);
        let token = gateway.folder.agent("builder");
        Self { hcp, gateway, token, _secured: secured }
    }

    /// Terraform for a workspace; `typed` is what stands on its input.
    fn terraform(&self, workspace: &str, arguments: &[&str], typed: &str) -> Output {
        let folder = self.gateway.folder.path(workspace);
        std::fs::create_dir_all(&folder).expect("made");
        let main = format!(
            "terraform {{\n  cloud {{\n    organization = \"acme\"\n    workspaces {{ name = \"{workspace}\" }}\n  }}\n}}\n"
        );
        std::fs::write(folder.join("main.tf"), main).expect("written");
        std::fs::write(folder.join("rc"), "").expect("written");
        let mut command = Command::new(tool("terraform"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TF_") {
                command.env_remove(name);
            }
        }
        for name in ["no_proxy", "NO_PROXY", "https_proxy"] {
            command.env_remove(name);
        }
        command.env("HTTPS_PROXY", format!("http://builder:{}@{}", self.token, self.gateway.address("proxy")));
        command.env("SSL_CERT_FILE", self.gateway.folder.ca()).env("TF_TOKEN_app_terraform_io", "of-the-agent");
        command.env("TF_CLI_CONFIG_FILE", folder.join("rc")).env("CHECKPOINT_DISABLE", "1").env("HOME", &folder);
        command.args(arguments).arg("-no-color").current_dir(&folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("terraform runs");
        child.stdin.take().expect("piped").write_all(typed.as_bytes()).expect("it listens");
        child.wait_with_output().expect("terraform ends")
    }

    fn done(&self, output: &Output) -> String {
        assert!(output.status.success(), "{}\n{}", text(output), self.gateway.log());
        text(output)
    }

    /// It failed, and says all of `reasons`, however it breaks its lines.
    fn refused(&self, output: &Output, reasons: &[&str]) {
        let said = text(output).replace('\u{2502}', " ");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!output.status.success(), "it passed: {said}");
        for reason in reasons {
            assert!(said.contains(reason), "{reason:?} isn't in {said}\n{}", self.gateway.log());
        }
    }
}

#[test]
fn terraform_plans_and_applies_where_it_may_and_says_why_not_elsewhere() {
    let world = World::start();
    let staging = |arguments: &[&str], typed: &str| world.terraform("shop-staging", arguments, typed);
    world.done(&staging(&["init"], ""));
    assert!(world.done(&staging(&["plan"], "")).contains("the log of the plan"));
    assert_eq!(world.hcp.runs(), [("ws-shop-staging".to_owned(), false)]);
    let applied = world.done(&staging(&["apply"], "yes\n"));
    assert!(applied.contains("the log of the apply"), "{applied}");
    assert_eq!(world.hcp.runs()[1], ("ws-shop-staging".to_owned(), true));

    // What its plan would do is asked before a run is applied.
    world.hcp.would_destroy(3);
    let reason = "destructions 3 is above max_destructions 0";
    world.refused(
        &staging(&["apply"], "yes\n"),
        &["Error: Failed to approve the apply command", "PolicyViolation", reason],
    );
    assert_eq!(world.hcp.runs()[2], ("ws-shop-staging".to_owned(), false));
    world.refused(
        &staging(&["apply", "-auto-approve"], ""),
        &["Error: Failed to create run", "PolicyViolation", "auto_apply"],
    );
    assert_eq!(world.hcp.runs().len(), 3, "{:?}", world.hcp.runs());
    // Whoever begins reads the workspace's state.
    let begun = world.terraform("shop-prod", &["init"], "");
    world.refused(&begun, &["Error refreshing state", "PolicyViolation", "production"]);

    let gateway = format!("Bearer {}", secret());
    let asked = world.hcp.asked();
    // To the store it sends its own as well, which is none of Aegis's.
    let api = asked.iter().filter(|(line, _)| line.contains(" /api/"));
    assert!(api.clone().count() > 20 && api.clone().all(|(_, proof)| *proof == gateway), "{asked:?}");
    assert!(asked.contains(&("POST /api/v2/runs/run-2/actions/apply".to_owned(), gateway)), "{asked:?}");
    let read: Vec<&str> =
        asked.iter().map(|(line, _)| line.as_str()).filter(|line| line.contains("state-version")).collect();
    assert_eq!(read, ["GET /api/v2/workspaces/ws-shop-staging/current-state-version"]);
}
