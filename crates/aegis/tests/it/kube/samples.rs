//! Every kind that Kubernetes publishes a sample of is the same call in protobuf as in JSON.

use std::collections::BTreeSet;
use std::process::Command;

use aegis_core::call::ToolCall;
use aegis_core::describe::{Arrival, Catalogue};
use aegis_core::policy::Source;

use crate::tools::tool;

/// A tool that takes anything, and shows the whole of it.
const TOOL: &str = "apiVersion: aegis/v1\ntool: whole\nactions:\n  - action: send\n    effect: write\n    \
                    match: {method: POST, path: /}\n    decode: [json, kubernetes-protobuf]\n    \
                    params: {document: {pointer: \"\", type: object}}\n";

/// Objects of the server's own and what stands in queries: no client sends these as a body.
const NOT_SENT: [&str; 5] = ["WatchEvent", "APIGroupDiscovery", "AdmissionReview", "ImageReview", "Options"];

fn sent(catalogue: &Catalogue, media_type: &str, body: &[u8]) -> ToolCall {
    let head = format!("POST / HTTP/1.1\r\nHost: k8s\r\nContent-Type: {media_type}\r\n\r\n");
    let upstream =
        aegis_core::call::Destination { scheme: "http".to_owned(), host: "k8s.invalid".to_owned(), port: 80 };
    let route = Arrival::Route { name: "r", tool: Some("whole"), cluster: None, upstream: &upstream };
    catalogue.match_raw(&[head.as_bytes(), body].concat(), Some(&route)).expect("it can be read")
}

#[test]
fn every_published_kind_reads_the_same_from_protobuf_as_from_json() {
    let printed = Command::new(tool("kubernetes-samples")).output().expect("it runs").stdout;
    let folder = String::from_utf8(printed).expect("text");
    let source = Source { file: "whole.yaml".to_owned(), text: TOOL.to_owned() };
    let catalogue = Catalogue::load(&[source], None).expect("it is valid");
    let mut read = BTreeSet::new();
    for entry in std::fs::read_dir(folder.trim()).expect("the samples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "pb") {
            continue;
        }
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let kind = name.rsplit('.').next().expect("a kind");
        if NOT_SENT.iter().any(|ending| kind.ends_with(ending)) && kind != "DeleteOptions" {
            continue;
        }
        let json = std::fs::read(path.with_extension("json")).expect("its JSON");
        let from_json = sent(&catalogue, "application/json", &json);
        let protobuf = std::fs::read(&path).expect("its protobuf");
        let from_protobuf = sent(&catalogue, "application/vnd.kubernetes.protobuf", &protobuf);
        assert!(from_json.params["document"]["kind"] == kind, "{name}");
        assert_eq!(from_protobuf.params, from_json.params, "{name}: {:?}", from_protobuf.target);
        read.insert(name);
    }
    assert!(read.len() > 150, "only {} samples", read.len());
    assert!(read.contains("apps.v1.Deployment") && read.contains("policy.v1.Eviction"));
}
