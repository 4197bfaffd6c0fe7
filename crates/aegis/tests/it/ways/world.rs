//! A gateway with every way in, and the tool behind it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::carry::{WAYS, Way};
use super::data::{Call, File};
use crate::process::{Folder, Gateway};

pub(super) struct World {
    pub(super) gateway: Gateway,
    pub(super) tool: Tool,
    pub(super) ca: PathBuf,
    /// The host that an agent names.
    pub(super) host: String,
    tokens: Vec<(&'static str, String)>,
}

/// An HTTP/1.1 tool, plain and under TLS, that answers everything with 200, and keeps each whole request.
#[derive(Clone)]
pub(super) struct Tool {
    plain: SocketAddr,
    tls: SocketAddr,
    /// What signed its certificate.
    certificate: String,
    requests: Arc<Mutex<Vec<Arrived>>>,
}

/// One request, as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    pub(super) head: String,
    pub(super) body: String,
}

impl World {
    pub(super) fn start(file: &File) -> Self {
        let host = file.host.clone().unwrap_or_default();
        let tool = Tool::start(&host);
        let address = tool.plain;
        let mut route = file.route.clone();
        // Under the host's own name, so that a route's host and the one that an agent names are the same.
        let upstream = file.host.as_ref().map_or(address.to_string(), Clone::clone);
        route.extend([("name".into(), "it".into()), ("upstream".into(), format!("http://{upstream}").into())]);
        let mut config = format!("environments:\n{}\nroutes: [{}]\n", file.environments, Value::Object(route));
        if let Some(host) = &file.host {
            config += &format!("upstreams: {{\"{host}:80\": \"{address}\", \"{host}:443\": \"{}\"}}\n", tool.tls);
            config += &format!("interception: {{hosts: [\"{host}\"], upstream_ca: ./tool.pem}}\n");
        }
        let mapped: Vec<Value> = named(file)
            .into_iter()
            .map(|(action, call)| {
                let params: serde_json::Map<String, Value> =
                    call.params.keys().map(|name| (name.clone(), format!("/{name}").into())).collect();
                json!({"tool": action, "as": format!("{}/{action}", call.tool), "params": params})
            })
            .collect();
        if !mapped.is_empty() {
            let server = json!([{"name": "it", "url": format!("http://{address}/mcp"), "map": mapped}]);
            config += &format!("mcp: {server}\nlimits: {{hold: 1ms}}\n");
        }
        if file.tools.is_some() {
            config += "tools: ./tools\n";
        }
        let folder = Folder::with(&config, &[("ways.yaml", &file.policies)]);
        if let Some(tools) = &file.tools {
            std::fs::create_dir(folder.path("tools")).expect("made");
            std::fs::write(folder.path("tools/tool.yaml"), tools).expect("written");
        }
        std::fs::write(folder.path("tool.pem"), &tool.certificate).expect("written");
        let gateway = folder.serve();
        let tokens = WAYS.iter().map(|way| (way.name, folder.agent(&agent(way)))).collect();
        let ca = folder.ca();
        Self { gateway, tool, ca, host, tokens }
    }

    /// The host that a proxy in front of us is called by.
    pub(super) fn authority(&self) -> &str {
        if self.host.is_empty() { "cluster.test" } else { &self.host }
    }

    /// The token of a way's agent.
    pub(super) fn token(&self, way: &Way) -> &str {
        &self.tokens.iter().find(|(name, _)| *name == way.name).expect("each has one").1
    }

    /// The record of a decision.
    pub(super) fn record(&self, way: &Way, decision_id: &str) -> Value {
        let records = self.gateway.folder.decisions(&agent(way));
        records.into_iter().find(|record| record["decision_id"] == decision_id).expect("it is on record")
    }

    /// Says yes to what the agent of a way has asked for.
    pub(super) fn approve(&self, way: &Way) {
        self.answer(way, "approve");
    }

    /// Withdraws what the agent of a way has asked for.
    pub(super) fn cancel(&self, way: &Way) {
        self.answer(way, "cancel");
    }

    fn answer(&self, way: &Way, verb: &str) {
        let pending = self.gateway.folder.json(&["approvals", "list"]);
        let asked: Vec<&str> = pending
            .as_array()
            .expect("a list")
            .iter()
            .filter(|approval| approval["state"] == "pending" && approval["request"]["agent"]["id"] == agent(way))
            .filter_map(|approval| approval["id"].as_str())
            .collect();
        let [id] = asked[..] else { panic!("{}: one request waits: {pending}", way.name) };
        let said = self.gateway.folder.run(&["approvals", verb, id]);
        assert!(said.status.success(), "{}", crate::process::text(&said));
    }
}

/// The actions that a file's cases name, each with the call that names most of its parameters.
fn named(file: &File) -> BTreeMap<&str, &Call> {
    let mut named: BTreeMap<&str, &Call> = BTreeMap::new();
    for call in file.cases.iter().filter_map(|case| case.call.as_ref()) {
        let most = named.entry(&call.action).or_insert(call);
        if most.params.len() < call.params.len() {
            *most = call;
        }
    }
    named
}

/// The agent that asks by a way: each has its own, so that no approval or budget is shared.
pub(super) fn agent(way: &Way) -> String {
    format!("way-{}", way.name)
}

impl Tool {
    fn start(host: &str) -> Self {
        let host = if host.is_empty() { "tool.test" } else { host };
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec![host.to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("signed");
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|it| it.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private));
        let config = Arc::new(config.expect("a certificate and its key"));
        let requests = Arc::default();
        let plain = listen(&requests, Some);
        let tls = listen(&requests, move |stream| {
            Some(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).ok()?, stream))
        });
        Self { plain, tls, certificate: certificate.pem(), requests }
    }

    /// How many requests have arrived.
    pub(super) fn requests(&self) -> usize {
        self.requests.lock().expect("whole").len()
    }

    /// The requests after the first `before`.
    pub(super) fn since(&self, before: usize) -> Vec<Arrived> {
        self.requests.lock().expect("whole")[before..].to_vec()
    }
}

/// Listens on a free port; `open` makes a conversation of each connection.
fn listen<S: Read + Write>(
    requests: &Arc<Mutex<Vec<Arrived>>>,
    open: impl Fn(TcpStream) -> Option<S> + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (address, requests) = (listener.local_addr().expect("bound"), Arc::clone(requests));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (requests, open) = (Arc::clone(&requests), open.clone());
            std::thread::spawn(move || open(stream).map(|stream| serve(stream, &requests)));
        }
    });
    address
}

const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n";
/// What an MCP server answers to the call of a tool; the id is the one that every call here has.
const RPC_DONE: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 77\r\n\r\n\
    {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"done\"}]}}";

fn serve(mut stream: impl Read + Write, requests: &Mutex<Vec<Arrived>>) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = |line: &str| line.to_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok();
            let length = head.lines().find_map(length).unwrap_or(0);
            if bytes.len() < end + 4 + length {
                break;
            }
            let body = String::from_utf8_lossy(&bytes[end + 4..end + 4 + length]).into_owned();
            bytes.drain(..end + 4 + length);
            let rpc = head.starts_with("POST /mcp ");
            requests.lock().expect("whole").push(Arrived { head, body });
            if stream.write_all(if rpc { RPC_DONE } else { DONE }.as_bytes()).is_err() {
                return;
            }
        }
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => bytes.extend_from_slice(&buffer[..read]),
            Ok(_) | Err(_) => return,
        }
    }
}
