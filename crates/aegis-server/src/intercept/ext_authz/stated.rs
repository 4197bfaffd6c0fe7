//! What the operator says about the calls that a proxy asks about, in the proxy's configuration: which of Aegis's routes they
//! go to, or what is behind the proxy, and what the proxy does with bodies.
//!
//! The same words in each form: `aegis.route: NAME` among Envoy's context extensions, `route=NAME` in the address that the
//! HTTP forms are asked at. Agents have no say in them. A word that isn't known is a mistake, and refuses every call: what it
//! was meant to restrict isn't known.

use std::collections::HashMap;

use aegis_core::call::Destination;
use aegis_core::describe::{Unreadable, canonical_destination};

use super::super::{Route, frame, unreadable};
use crate::pipeline::Way;

/// What the operator says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stated {
    /// Where the calls go; `None` where the host that the agent names decides.
    way: Option<Behind>,
    pub(super) bodies: Bodies,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Behind {
    /// One of Aegis's own routes, by name.
    Route(String),
    /// What is behind the proxy.
    Tool { tool: Option<String>, cluster: Option<String>, upstream: Destination },
}

/// What the proxy does with bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Bodies {
    /// Nobody says: a body that isn't there may still reach the upstream.
    #[default]
    Unknown,
    /// It sends each body whole, so that there is none where it sends none.
    Sent,
    /// It buffers so many bytes: a shorter body is whole. At this length Envoy takes one for whole whether or not more follows.
    UpTo(u64),
    /// It passes none on to the upstream.
    Dropped,
}

impl Stated {
    /// Reads the words; each at most once.
    ///
    /// # Errors
    /// A word or a value that isn't known, or words that contradict each other.
    pub(super) fn read<'a>(words: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, Unreadable> {
        let (mut route, mut tool, mut cluster, mut upstream) = (None, None, None, None);
        let mut bodies = None;
        for (word, value) in words {
            let place = match word {
                "route" => &mut route,
                "tool" => &mut tool,
                "cluster" => &mut cluster,
                "upstream" => &mut upstream,
                "body" => &mut bodies,
                _ => return Err(wrong(format!("{word:?} is none of route, tool, cluster, upstream, body"))),
            };
            if value.is_empty() || place.replace(value.to_owned()).is_some() {
                return Err(wrong(format!("{word:?} needs one value")));
            }
        }
        let bodies = match bodies.as_deref() {
            None => Bodies::Unknown,
            Some("sent") => Bodies::Sent,
            Some("none") => Bodies::Dropped,
            Some(text) => match text.parse() {
                Ok(bytes) => Bodies::UpTo(bytes),
                Err(_) => return Err(wrong("\"body\" is \"sent\", \"none\", or how many bytes the proxy buffers")),
            },
        };
        let upstream = upstream.map(|url| destination(&url)).transpose()?;
        let way = match (route, tool, cluster, upstream) {
            (None, None, None, None) => None,
            (Some(name), None, None, None) => Some(Behind::Route(name)),
            (Some(_), ..) => return Err(wrong("a \"route\" says tool, cluster and upstream already")),
            // An upstream that nobody states is nowhere: the host in the request is the agent's to choose.
            (None, tool, cluster, upstream) => {
                Some(Behind::Tool { tool, cluster, upstream: upstream.unwrap_or_else(nowhere) })
            }
        };
        Ok(Self { way, bodies })
    }

    /// Where the calls go; `None` where the agent's host decides.
    ///
    /// # Errors
    /// A route that Aegis doesn't have, or a tool that it doesn't know.
    pub(super) fn way(
        &self,
        routes: &HashMap<String, Route>,
        has_tool: impl Fn(&str) -> bool,
    ) -> Result<Option<Way>, Unreadable> {
        match &self.way {
            None => Ok(None),
            Some(Behind::Route(name)) => {
                let Some(Route { name, tool, cluster, upstream, .. }) = routes.get(name).cloned() else {
                    return Err(unreadable("unknown_route", format!("there is no route {name:?}")));
                };
                Ok(Some(Way::Route { name, tool, cluster, upstream }))
            }
            Some(Behind::Tool { tool, cluster, upstream }) => {
                if let Some(tool) = tool.as_deref().filter(|tool| !has_tool(tool)) {
                    return Err(wrong(format!("there is no tool {tool:?}")));
                }
                let (tool, cluster, upstream) = (tool.clone(), cluster.clone(), upstream.clone());
                Ok(Some(Way::Route { name: String::new(), tool, cluster, upstream }))
            }
        }
    }
}

/// What no rule lists.
fn nowhere() -> Destination {
    Destination { scheme: String::new(), host: String::new(), port: 0 }
}

fn destination(url: &str) -> Result<Destination, Unreadable> {
    let expected = || wrong("\"upstream\" is a URL such as https://10.0.0.1:6443");
    let (scheme, authority) = url.split_once("://").ok_or_else(expected)?;
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return Err(expected()),
    };
    let (host, port) = frame::authority(authority).map_err(|_| expected())?;
    canonical_destination(scheme, host, port.unwrap_or(default)).map_err(|_| expected())
}

fn wrong(why: impl std::fmt::Display) -> Unreadable {
    unreadable("stated", format!("the proxy's configuration for Aegis is wrong: {why}"))
}
