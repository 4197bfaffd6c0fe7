//! Real curl through the forward proxy: absolute form and CONNECT.

use std::process::{Command, Output};

use crate::process::{Gateway, aegis, text};
use crate::upstream::Upstream;

const POLICY: &str = "agent: builder
egress: {allow: [\"tools.example:80\", \"shell.example:22\", \"shell.example:443\"]}
";

fn curl(proxy: &str, arguments: &[&str]) -> Output {
    Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "", "--proxy", proxy])
        .args(arguments)
        .output()
        .expect("curl runs")
}

struct Setup {
    gateway: Gateway,
    tool: Upstream,
    shell: Upstream,
    token: String,
}

impl Setup {
    fn start() -> Self {
        Self::with("")
    }

    /// `more` goes into the configuration.
    fn with(more: &str) -> Self {
        let (tool, shell) = (Upstream::start(None), Upstream::start(Some("SSH-2.0-OpenSSH_9.9\r\n")));
        let config = format!(
            "upstreams:\n  \"tools.example:80\": \"{}\"\n  \"shell.example:22\": \"{shell}\"\n  \"shell.example:443\": \"{shell}\"\n{more}",
            tool.address,
            shell = shell.address
        );
        let gateway = Gateway::start(&config, &[("builder.yaml", POLICY)]);
        let token = gateway.folder.agent("builder");
        Self { gateway, tool, shell, token }
    }

    fn proxy(&self, user: &str, password: &str) -> String {
        format!("http://{user}:{password}@{}", self.gateway.address("proxy"))
    }

    fn curl(&self, arguments: &[&str]) -> Output {
        curl(&self.proxy("builder", &self.token), arguments)
    }
}

#[test]
fn a_listed_host_is_reached_with_the_decision_in_the_answer_and_no_credential_of_ours_upstream() {
    let setup = Setup::start();
    let answer = text(&setup.curl(&["--include", "http://tools.example/build?x=1"]));
    assert!(answer.contains("200 OK") && answer.contains("done"), "{answer}\n{}", setup.gateway.log());
    let lower = answer.to_lowercase();
    for header in ["aegis-decision: allow", "aegis-decision-id: dec_", "aegis-policy-version: pol_"] {
        assert!(lower.contains(header), "{header} isn't in {answer}");
    }
    let seen = setup.tool.seen();
    assert!(seen.starts_with("GET /build?x=1 HTTP/1.1\r\n"), "{seen}");
    let seen = seen.to_lowercase();
    assert!(seen.contains("host: tools.example") && seen.contains("traceparent: 00-"), "{seen}");
    assert!(!seen.contains("proxy-authorization") && !seen.contains("aegis-"), "{seen}");
}

/// Both calls, decided by the engines that the configuration asks for.
fn decides_as(engines: &str) {
    let setup = Setup::with(engines);
    let allowed = text(&setup.curl(&["--include", "http://tools.example/build"]));
    assert!(allowed.contains("200 OK") && allowed.contains("done"), "{allowed}\n{}", setup.gateway.log());
    let denied: serde_json::Value =
        serde_json::from_slice(&setup.curl(&["http://evil.example/"]).stdout).expect("a problem");
    assert_eq!((&denied["code"], &denied["status"]), (&"PolicyViolation".into(), &403.into()), "{denied}");
    let decisions = setup.gateway.folder.decisions("builder");
    let said: Vec<_> = decisions.iter().map(|record| record["decision"].as_str().unwrap_or_default()).collect();
    assert_eq!(said, ["allow", "deny"]);
    assert!(!setup.tool.seen().contains("evil"), "{}", setup.tool.seen());
}

#[test]
fn the_rego_engine_decides_alone() {
    decides_as("engine: rego\nengine_check: 0%\n");
}

#[test]
fn both_engines_decide_every_call_and_agree() {
    decides_as("engine: native\nengine_check: 100%\n");
    decides_as("engine: rego\nengine_check: 100%\n");
}

#[test]
fn what_is_not_listed_gets_a_problem_and_sends_nothing() {
    let setup = Setup::start();
    for url in [
        "http://evil.example/",
        "http://tools.example:8080/",
        "http://169.254.169.254/latest/meta-data/",
        &format!("http://{}/", setup.tool.address),
        "http://2130706433/",
        "http://tools.example.evil.example/",
    ] {
        let answer = setup.curl(&[url]);
        let problem: serde_json::Value =
            serde_json::from_slice(&answer.stdout).unwrap_or_else(|_| panic!("{url}: {}", text(&answer)));
        let code = problem["code"].as_str().expect("a code");
        assert!(["PolicyViolation", "BadRequest"].contains(&code), "{url}: {problem}");
        assert!(!problem["guidance"].as_str().expect("guidance").is_empty());
    }
    assert_eq!(setup.tool.seen(), "");
}

#[test]
fn an_arbitrary_ssh_endpoint_is_no_tunnel() {
    let setup = Setup::start();
    let refused = setup.curl(&["--connect-timeout", "5", "telnet://elsewhere.example:22", "--proxytunnel"]);
    assert!(!refused.status.success());
    assert!(text(&refused).contains("403"), "{}", text(&refused));
    // Even where the host and port are listed, what speaks SSH gets no tunnel: not a byte of the client's, not a banner back.
    for target in ["telnet://shell.example:22", "telnet://shell.example:443"] {
        let mut child = Command::new("curl")
            .args([
                "--silent",
                "--max-time",
                "15",
                "--proxytunnel",
                "--proxy",
                &setup.proxy("builder", &setup.token),
                target,
            ])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("curl runs");
        use std::io::Write as _;
        let _ = child.stdin.take().expect("piped").write_all(b"SSH-2.0-agent\r\n");
        let output = child.wait_with_output().expect("curl ends");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("SSH-2.0-OpenSSH"), "{target}: a banner came back");
    }
    assert_eq!(setup.shell.seen(), "");
}

#[test]
fn nobody_without_an_identity_gets_anywhere_and_each_try_is_recorded() {
    let setup = Setup::start();
    let forged = {
        let mut parts: Vec<String> = setup.token.split('.').map(String::from).collect();
        let last = parts.last_mut().expect("a signature");
        *last = last.chars().rev().collect();
        parts.join(".")
    };
    let other = setup.gateway.folder.agent("other");
    for (user, password) in [("builder", "nonsense"), ("builder", &forged), ("builder", &other)] {
        let answer = curl(&setup.proxy(user, password), &["--include", "http://tools.example/"]);
        let answer = text(&answer);
        assert!(answer.contains("407"), "{user}: {answer}");
        assert!(answer.contains("IdentityRejected"), "{user}: {answer}");
    }
    let answer = text(&curl(&format!("http://{}", setup.gateway.address("proxy")), &["--include", "http://tools.example/"]));
    assert!(answer.contains("407"), "{answer}");
    assert_eq!(setup.tool.seen(), "");
    let rejected = setup.gateway.folder.records().iter().filter(|r| r["code"] == "IdentityRejected").count();
    assert_eq!(rejected, 4);
}

#[test]
fn a_revoked_token_and_a_suspended_agent_are_refused_at_once() {
    let setup = Setup::start();
    let reach = |token: &str| text(&curl(&setup.proxy("builder", token), &["http://tools.example/"])).contains("done");
    let second = setup.gateway.folder.token("builder");
    assert!(reach(&setup.token) && reach(&second));
    let revoked = setup.gateway.folder.run(&["token", "revoke", &setup.token]);
    assert!(revoked.status.success(), "{}", text(&revoked));
    assert!(!reach(&setup.token) && reach(&second));
    assert!(setup.gateway.folder.run(&["agent", "suspend", "builder"]).status.success());
    assert!(!reach(&second));
    assert!(setup.gateway.folder.run(&["agent", "resume", "builder"]).status.success());
    assert!(reach(&second));
}

#[test]
fn the_operators_api_is_closed_to_agents() {
    let setup = Setup::start();
    let api = format!("http://{}/v1/agents", setup.gateway.address("api"));
    for authorization in
        [String::new(), format!("Authorization: Bearer {}", setup.token), "Authorization: Bearer x".into()]
    {
        let output = Command::new("curl").args(["-s", "-i", "-H", &authorization, &api]).output().expect("curl runs");
        let answer = text(&output);
        assert!(answer.contains("401") && answer.contains("IdentityRejected"), "{answer}");
    }
    let output = aegis()
        .args(["agent", "list"])
        .env("AEGIS_URL", format!("http://{}", setup.gateway.address("api")))
        .env("AEGIS_OPERATOR_TOKEN", "wrong")
        .output()
        .expect("aegis runs");
    assert!(!output.status.success());
}
