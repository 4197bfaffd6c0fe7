//! A recorded HTTP/1.1 message → the call that it is, for `aegis tools match` and the catalogue's own cases.
//!
//! Not for live traffic: there hyper parses, and the way in is known.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Serialize;
use serde_json::{Map, Value};

use super::target::Target;
use super::tool::Tool;
use super::{Arrival, Catalogue, Undecoded, Unreadable, canonical_destination, without_coding};
use crate::call::{Body, Destination, Effect, HttpRequest, ToolCall};
use crate::cost::Cost;

/// The largest body that is read, in bytes.
const MOST: usize = 64 << 20;

/// What a request is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Match {
    /// The tool.
    pub tool: String,
    /// The action.
    pub action: String,
    /// Its classes.
    pub classes: BTreeSet<String>,
    /// The environment of its target.
    pub env: String,
    /// Its parameters.
    pub params: Map<String, Value>,
    /// Its effect.
    pub effect: Effect,
    /// The most that it can cost, where its definition says how to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_estimate: Option<Cost>,
}

impl From<&ToolCall> for Match {
    fn from(call: &ToolCall) -> Self {
        Self {
            tool: call.tool.clone(),
            action: call.action.clone(),
            classes: call.classes.clone(),
            env: call.environment.name.clone(),
            params: call.params.clone(),
            effect: call.effect,
            cost_estimate: call.metering.estimate,
        }
    }
}

impl Catalogue {
    /// Describes a raw HTTP/1.1 message.
    ///
    /// Without `arrival` the message says where it goes: an absolute target or CONNECT is a forward-proxy request, else
    /// `Host` is the upstream of a route. Where no tool is known to be on that host, of the tools that only routes lead to the one
    /// that names the path most closely is taken to be behind the route.
    ///
    /// # Errors
    /// What is malformed or ambiguous about it.
    pub fn match_raw(&self, raw: &[u8], arrival: Option<&Arrival<'_>>) -> Result<ToolCall, Unreadable> {
        let message = Message::parse(raw)?;
        if let Some(arrival) = arrival {
            return self.describe(arrival, message.request("")?);
        }
        if message.method == Method::CONNECT {
            return Ok(self.describe_tunnel(&message.authority("tunnel", &message.target)?));
        }
        if let Some((scheme, rest)) = message.target.split_once("://") {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, target) = rest.split_at(at);
            let destination = message.authority(scheme, authority)?;
            return self.describe(&Arrival::Forward { destination: &destination }, message.request(target)?);
        }
        let upstream = message.authority("http", &message.host()?)?;
        let route = |tool| Arrival::Route { name: "", tool, cluster: None, upstream: &upstream };
        let first = self.describe(&route(None), message.request("")?)?;
        if first.tool != ToolCall::HTTP {
            return Ok(first);
        }
        let request = message.request("")?;
        let target = Target::parse(&request.target)?;
        let closeness = |tool: &Tool| tool.specificity(&request.method, &target, &request.headers);
        let homeless = self.tools.values().filter(|tool| tool.hosts.is_empty());
        let mut close: Vec<_> = homeless.filter_map(|tool| Some((closeness(tool)?, tool))).collect();
        close.sort_by(|a, b| b.0.cmp(&a.0));
        let mut refused = None;
        for (_, tool) in close {
            match self.describe(&route(Some(&tool.name)), message.request("")?) {
                Ok(call) if call.action != ToolCall::UNKNOWN => return Ok(call),
                Ok(_) => {}
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        refused.map_or(Ok(first), Err)
    }
}

struct Message {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Message {
    /// Reads one message; what follows its head is its body, and `Content-Length`, if it is there, must say the same.
    fn parse(raw: &[u8]) -> Result<Self, Unreadable> {
        let malformed = |why: &str| Unreadable::new("http_malformed", format!("not an HTTP/1.1 request: {why}"));
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(raw) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Err(malformed("the empty line after the headers is missing")),
            Err(error) => return Err(malformed(&error.to_string())),
        };
        let method = Method::from_bytes(request.method.unwrap_or_default().as_bytes());
        let mut message = Self {
            method: method.map_err(|_| malformed("the method"))?,
            target: request.path.unwrap_or_default().to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(raw.get(length..).unwrap_or_default()),
        };
        for header in request.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| malformed("a header's name"))?;
            let value = HeaderValue::from_bytes(header.value).map_err(|_| malformed("a header's value"))?;
            message.headers.append(name, value);
        }
        if message.headers.contains_key(TRANSFER_ENCODING) {
            return Err(malformed("write the body as it is, without Transfer-Encoding"));
        }
        for length in message.headers.get_all(CONTENT_LENGTH) {
            if length.to_str().ok().and_then(|text| text.parse().ok()) != Some(message.body.len()) {
                return Err(malformed(&format!("Content-Length is wrong: the body has {} bytes", message.body.len())));
            }
        }
        // As the pipeline does before it describes a request.
        match without_coding(&mut message.headers, &message.body, MOST) {
            Ok(decoded) => message.body = decoded.unwrap_or(message.body),
            Err(Undecoded::Unreadable(unreadable)) => return Err(unreadable),
            Err(Undecoded::TooLarge) => return Err(malformed("the body is too large without its Content-Encoding")),
        }
        Ok(message)
    }

    fn host(&self) -> Result<String, Unreadable> {
        let mut hosts = self.headers.get_all(HOST).iter();
        match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
            (Some(host), None) => Ok(host.to_owned()),
            _ => Err(Unreadable::new("host", "the request must have one Host header")),
        }
    }

    fn authority(&self, scheme: &str, authority: &str) -> Result<Destination, Unreadable> {
        let malformed = || Unreadable::new("destination_host", format!("{authority:?} is no host and port"));
        let colon = authority.rfind(':').filter(|at| !authority.get(*at..).unwrap_or_default().contains(']'));
        let (host, port) = match colon.map(|at| authority.split_at(at)) {
            Some((host, port)) => {
                (host, port.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(malformed)?)
            }
            None if scheme == "tunnel" => return Err(malformed()),
            None => (authority, if scheme == "https" { 443 } else { 80 }),
        };
        canonical_destination(scheme, host, port)
    }

    /// The request as it would be forwarded; `target` replaces an absolute one.
    fn request(&self, target: &str) -> Result<HttpRequest, Unreadable> {
        let target = match (target, self.target.contains("://")) {
            ("", true) => "/",
            ("", false) => self.target.as_str(),
            (target, _) => target,
        };
        Ok(HttpRequest {
            method: self.method.clone(),
            target: target.parse().map_err(|_| Unreadable::new("target_form", "the request target is malformed"))?,
            headers: self.headers.clone(),
            body: Body::Whole(self.body.clone()),
        })
    }
}
