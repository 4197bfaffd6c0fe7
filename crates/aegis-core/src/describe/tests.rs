//! Cases of the folder, by subject. What a request of a built-in tool must be stands in the tool's own file.

mod catalogue;
mod clouds;
mod environments;
mod matching;
mod money;
mod network;
mod outside;
mod readers;
mod requests;
mod resolving;
mod workflows;

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Arrival, Catalogue};
use crate::call::{Body, Destination, HttpRequest};
use crate::policy::Source;

/// The built-in catalogue and one tool of the operator's.
fn catalogue(tool: &str) -> Catalogue {
    let source = Source { file: "tools/t.yaml".to_owned(), text: tool.to_owned() };
    let sources = if tool.is_empty() { Vec::new() } else { vec![source] };
    Catalogue::load(&sources, None)
        .unwrap_or_else(|errors| panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

fn route(tool: &str) -> Arrival<'_> {
    static UPSTREAM: LazyLock<Destination> = LazyLock::new(|| upstream("10.0.0.1"));
    Arrival::Route { name: "r", tool: Some(tool), cluster: Some("main"), upstream: &UPSTREAM }
}

fn upstream(host: &str) -> Destination {
    Destination { scheme: "https".to_owned(), host: host.to_owned(), port: 6443 }
}

fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> HttpRequest {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        map.append(name, HeaderValue::from_str(value).expect("a header value"));
    }
    HttpRequest {
        method: Method::from_bytes(method.as_bytes()).expect("a method"),
        target: target.parse().expect("a target"),
        headers: map,
        body: Body::Whole(Bytes::copy_from_slice(body)),
    }
}
