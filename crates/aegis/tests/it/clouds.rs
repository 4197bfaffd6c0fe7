//! Clouds and money, by the vendors' own clients. AWS is moto, which verifies signatures; Stripe and Slack are **stand-ins** that answer
//! one thing and keep what reached them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use serde_json::{Value, json};

use crate::process::{Gateway, eventually, raw};
use crate::tools::tool;
use crate::upstream::Upstream;

/// A process that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/clouds").join(name)
}

/// boto3, asked by lines.
struct Boto {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _ends: Ends,
}

impl Boto {
    fn start() -> Self {
        let mut command = Command::new(tool("cloud-python"));
        command.arg(script("aws.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python runs");
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { input, output: BufReader::new(output), _ends: Ends(child) }
    }

    fn ask(&mut self, call: &Value) -> Value {
        writeln!(self.input, "{call}").expect("sent");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("answered");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?} to {call}"))
    }
}

/// moto, with an access key that may do everything and an ECS service in each of two clusters. From then on it verifies every signature.
struct Aws {
    at: SocketAddr,
    id: String,
    secret: String,
    _ends: Ends,
}

impl Aws {
    fn start(boto: &mut Boto) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let at = free.local_addr().expect("bound");
        drop(free);
        let mut command = Command::new(tool("cloud-python"));
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &at.port().to_string()]);
        command
            .env("INITIAL_NO_AUTH_ACTION_COUNT", "3")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let ends = Ends(command.spawn().expect("moto runs"));
        eventually("moto listens", || TcpStream::connect(at).is_ok());
        let mut aws = Self { at, id: "any".to_owned(), secret: "any".to_owned(), _ends: ends };
        aws.own(boto, "iam", "create_user", json!({"UserName": "aegis"}));
        let key = aws.own(boto, "iam", "create_access_key", json!({"UserName": "aegis"}));
        let statement = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
        let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        let policy = json!({"UserName": "aegis", "PolicyName": "all", "PolicyDocument": policy});
        aws.own(boto, "iam", "put_user_policy", policy);
        let text = |name: &str| key["AccessKey"][name].as_str().expect("a key").to_owned();
        (aws.id, aws.secret) = (text("AccessKeyId"), text("SecretAccessKey"));
        let task = json!({"family": "shop", "containerDefinitions": [{"name": "web", "image": "nginx", "memory": 10}]});
        aws.own(boto, "ecs", "register_task_definition", task);
        for cluster in ["staging", "prod"] {
            aws.own(boto, "ecs", "create_cluster", json!({"clusterName": cluster}));
            let service =
                json!({"cluster": cluster, "serviceName": "shop", "taskDefinition": "shop", "desiredCount": 1});
            aws.own(boto, "ecs", "create_service", service);
        }
        aws
    }

    /// A call past Aegis, with the real keys.
    fn own(&self, boto: &mut Boto, service: &str, operation: &str, with: Value) -> Value {
        let endpoint = format!("http://{}", self.at);
        let call = json!({"endpoint": endpoint, "id": self.id, "secret": self.secret, "service": service, "do": operation, "with": with});
        let answer = boto.ask(&call);
        assert!(answer.get("ok").is_some(), "{operation}: {answer}");
        answer["ok"].clone()
    }

    fn count(&self, boto: &mut Boto, cluster: &str) -> Value {
        let described = self.own(boto, "ecs", "describe_services", json!({"cluster": cluster, "services": ["shop"]}));
        described["services"][0]["desiredCount"].clone()
    }
}

/// The secret that agents are given, which opens nothing but the route.
fn handed_out() -> String {
    ["made", "up", "for", "agents"].join("-")
}

/// The route of the page on credentials.
fn page_route() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/credentials.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let block = page.split("\n## AWS\n").nth(1).and_then(|rest| rest.split("```").nth(1)).expect("the block");
    block.strip_prefix("yaml\nroutes:\n").expect("routes").to_owned()
}

fn aws_config(aws: &Aws) -> String {
    let ecs = page_route()
        .replace("https://ecs.eu-west-1.amazonaws.com", &format!("http://{}", aws.at))
        .replace("${env:AWS_ACCESS_KEY_ID}", &aws.id)
        .replace("${env:AWS_SECRET_ACCESS_KEY}", &format!("\"{}\"", aws.secret));
    assert!(ecs.contains(&handed_out()) && !ecs.contains("${"), "the page's keys are those of this test: {ecs}");
    let groups = ecs
        .replace("name: ecs", "name: groups")
        .replace("aws_ecs", "aws_autoscaling")
        .replace("service: ecs", "service: autoscaling");
    format!(
        "environments:\n  - {{match: {{tool: aws_ecs, region: eu-west-1, access_key: AKIDAGENT, cluster: staging}}, env: staging}}\n  \
         - {{match: {{tool: aws_autoscaling, region: eu-west-1}}, env: staging}}\nroutes:\n{ecs}{groups}"
    )
}

const DEPLOYER: &str = "agent: deployer\nactions:\n  - {name: deploy, allowed_environments: [staging], max_replicas: 50}\n  \
                        - {name: read, allowed_environments: [staging]}\n";

#[test]
fn boto3_is_verified_judged_and_signed_anew_and_says_why_not() {
    let mut boto = Boto::start();
    let aws = Aws::start(&mut boto);
    let gateway = Gateway::start(&aws_config(&aws), &[("deployer.yaml", DEPLOYER)]);
    let token = gateway.folder.agent("deployer");
    let proxy = gateway.address("proxy");
    let call = |route: &str, service: &str, operation: &str, with: Value| {
        json!({
            "endpoint": format!("http://{proxy}/r/{route}"), "token": token, "id": "AKIDAGENT", "secret": handed_out(),
            "service": service, "do": operation, "with": with,
        })
    };
    let scale = |cluster: &str, count: u32| {
        call("ecs", "ecs", "update_service", json!({"cluster": cluster, "service": "shop", "desiredCount": count}))
    };
    let scaled = boto.ask(&scale("staging", 3));
    assert_eq!(scaled["ok"]["service"]["desiredCount"], 3, "{scaled}\n{}", gateway.log());
    assert_eq!(aws.count(&mut boto, "staging"), 3);
    let described = call("groups", "autoscaling", "describe_auto_scaling_groups", json!({}));
    assert_eq!(boto.ask(&described)["ok"]["AutoScalingGroups"], json!([]), "{}", gateway.log());

    let mut refused = |call: Value, reasons: &[&str]| {
        let said = boto.ask(&call);
        let text = said["refused"].as_str().unwrap_or_else(|| panic!("it passed: {said}")).to_owned();
        assert_eq!(said["status"], 403, "{said}");
        reasons.iter().for_each(|reason| assert!(text.contains(reason), "{reason:?} isn't in {text}"));
    };
    let denied = "An error occurred (AccessDeniedException) when calling the UpdateService operation: ";
    refused(scale("staging", 51), &[denied, "replicas 51 is above max_replicas 50"]);
    refused(scale("prod", 2), &[denied, "environment"]);
    let group = json!({"AutoScalingGroupName": "web", "DesiredCapacity": 99});
    let denied = "An error occurred (AccessDenied) when calling the SetDesiredCapacity operation: ";
    refused(
        call("groups", "autoscaling", "set_desired_capacity", group),
        &[denied, "replicas 99 is above max_replicas 50"],
    );

    let with = |key: &str, value: Value| {
        let mut call = scale("staging", 4);
        call[key] = value;
        call
    };
    let not_good = "the signature is not good for this request by the keys of this route";
    refused(with("secret", json!("another secret of an agent")), &[not_good]);
    refused(with("tamper", json!(["\"desiredCount\": 4", "\"desiredCount\": 5"])), &[not_good]);
    refused(with("id", json!("AKIDOTHER")), &[not_good]);
    refused(with("region", json!("us-east-1")), &["another region or service than this route's"]);
    assert_eq!(aws.count(&mut boto, "staging"), 3);
    assert_eq!(aws.count(&mut boto, "prod"), 1);

    let decisions = gateway.folder.decisions("deployer");
    let reasons: Vec<&str> = decisions.iter().filter_map(|record| record["reason"].as_str()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("sigv4_signature")), "{reasons:?}");
    let data = gateway.folder.path("aegis-data");
    let log = gateway.log();
    for secret in [aws.secret.clone(), handed_out()] {
        assert!(!log.contains(&secret) && !holds(&data, &secret), "a secret is in the log or the data");
    }
}

/// Whether a file below `folder` holds a text.
fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return holds(&path, text);
        }
        let bytes = std::fs::read(&path).expect("a file");
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

/// One request that reached the stand-in: where, what it proved itself with, its idempotency key, its body.
type Paid = (String, String, String, String);

/// A stand-in for Stripe, **not Stripe**.
fn stripe(runtime: &tokio::runtime::Runtime) -> (SocketAddr, Arc<Mutex<Vec<Paid>>>) {
    let seen: Arc<Mutex<Vec<Paid>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let answer = move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let body = String::from_utf8_lossy(&body).into_owned();
        kept.lock().unwrap().push((uri.path().to_owned(), header("authorization"), header("idempotency-key"), body));
        async { axum::Json(json!({"id": "pi_1", "object": "payment_intent"})) }
    };
    let address = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        address
    });
    (address, seen)
}

#[test]
fn stripe_python_pays_up_to_the_limit_and_says_why_not_more() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (at, seen) = stripe(&runtime);
    let key = ["sk", "test", "real"].join("_");
    let config = format!(
        "environments: [{{match: {{tool: stripe}}, env: production}}]\nroutes:\n  - name: pay\n    upstream: http://{at}\n    \
         tool: stripe\n    credential: {{bearer: {key}}}\n"
    );
    let policy = "agent: clerk\nactions:\n  - {name: pay, max_amount: 100 USD}\n";
    let gateway = Gateway::start(&config, &[("clerk.yaml", policy)]);
    let token = gateway.folder.agent("clerk");
    let base = format!("http://{}/r/pay", gateway.address("proxy"));
    let output =
        Command::new(tool("cloud-python")).arg(script("pay.py")).args([&base, &token]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}\n{}", String::from_utf8_lossy(&output.stderr), gateway.log());
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [paid, too_much, yen, capture] = said.as_slice() else { panic!("four calls: {said:?}") };
    assert_eq!(paid["ok"], "pi_1", "{paid}\n{}", gateway.log());
    for (refused, reason) in [
        (too_much, "amount 200 is above max_amount 100 USD"),
        (yen, "amount is in \"JPY\", but max_amount is 100 USD"),
        (capture, "amount is missing"),
    ] {
        let text = refused["refused"].as_str().unwrap_or_else(|| panic!("it passed: {refused}"));
        assert_eq!((&refused["kind"], &refused["status"]), (&json!("PermissionError"), &json!(403)), "{refused}");
        assert!(text.to_lowercase().contains(&reason.to_lowercase()), "{reason:?} isn't in {text}");
    }
    let seen = seen.lock().unwrap().clone();
    let [(path, proof, once, body)] = seen.as_slice() else { panic!("one call reached it: {seen:?}") };
    assert_eq!((path.as_str(), once.as_str()), ("/v1/payment_intents", "once-4200"));
    assert_eq!(*proof, format!("Bearer {key}"));
    assert!(body.contains("amount=4200") && body.contains("metadata"), "{body}");
}

#[test]
fn the_path_of_a_slack_webhook_is_in_nothing_that_stays() {
    let upstream = Upstream::start(None);
    let config =
        format!("routes:\n  - {{name: hook, upstream: \"http://{}\", tool: slack_webhook}}\n", upstream.address);
    let policy = "agent: herald\nactions:\n  - {name: message, pattern_text: \"^deployed .*\", allowed_environments: [unknown]}\n";
    let gateway = Gateway::start(&config, &[("herald.yaml", policy)]);
    let token = gateway.folder.agent("herald");
    let secret = ["hush", "nobody", "may", "know"].join("-");
    let post = |text: &str| {
        let body = json!({"text": text}).to_string();
        let request = format!(
            "POST /r/hook/services/T0/B0/{secret} HTTP/1.1\r\nHost: a\r\nAegis-Token: {token}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        raw(gateway.address("proxy"), &request)
    };
    let passed = post("deployed shop");
    assert!(passed.starts_with("HTTP/1.1 200"), "{passed}\n{}", gateway.log());
    let refused = post("buy now");
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("text"), "{refused}");
    let unknown = raw(
        gateway.address("proxy"),
        &format!(
            "GET /r/hook/services/T0/B0/{secret} HTTP/1.1\r\nHost: a\r\nAegis-Token: {token}\r\nConnection: close\r\n\r\n"
        ),
    );
    assert!(unknown.starts_with("HTTP/1.1 403"), "{unknown}");
    assert!(upstream.seen().contains(&secret) && !upstream.seen().contains("buy now"), "{}", upstream.seen());
    let records = gateway.folder.records();
    assert!(
        records.iter().any(|record| record["tool"] == "slack_webhook" || record["call"]["tool"] == "slack_webhook"),
        "{records:?}"
    );
    for shown in [format!("{records:?}"), gateway.log(), refused, unknown] {
        assert!(!shown.contains(&secret), "{shown}");
    }
    assert!(!holds(&gateway.folder.path("aegis-data"), &secret), "it is in the data");
}
