//! What it takes to tell which tool's which action a request is, with few tools and with many.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aegis_core::call::{Body, Destination, HttpRequest};
use aegis_core::describe::{Arrival, Catalogue};
use aegis_core::policy::Source;
use anyhow::{Result, anyhow, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};

use crate::report::{Row, Section, Times, number};
use crate::scene;

/// How many tools there are beside `http`.
const MANY: usize = 50;
const ACTIONS: usize = 20;
const ROUNDS: usize = 9;
const CALLS: usize = 10_000;

/// One kind of request.
struct Asked {
    what: &'static str,
    request: HttpRequest,
    destination: Option<Destination>,
    expected: (&'static str, &'static str),
}

pub(crate) fn run() -> Result<Section> {
    let built_in = load(&[])?;
    let own = built_in.tools().len().saturating_sub(1);
    let many = load(&(own..MANY).map(tool).collect::<Vec<_>>())?;
    let mut rows = Vec::new();
    for asked in requests() {
        let (few, all) = (median(&built_in, &asked)?, median(&many, &asked)?);
        let base = few.quantile(0.5);
        rows.push(Row::latencies(format!("{}; {own} tools", asked.what), &few));
        rows.push(
            Row::latencies(format!("{}; {} tools", asked.what, own.max(MANY)), &all)
                .beside_time(all.quantile(0.5), base),
        );
    }
    let note = format!(
        "`Catalogue::describe` on one thread: path and query made canonical, tool and action found, body read, parameters and images \
         taken out, environment looked up. {own} tools are built in; to {MANY} it is filled up with tools of {ACTIONS} actions each, on hosts \
         of their own. {} calls in each of {ROUNDS} rounds, the one in the middle by p50. Ratio: to the built-in tools alone, by p50.",
        number(CALLS as f64, ""),
    );
    Ok(Section { title: "Catalogue", note, rows })
}

fn load(sources: &[Source]) -> Result<Catalogue> {
    Catalogue::load(sources, None)
        .map_err(|errors| anyhow!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

fn tool(index: usize) -> Source {
    let actions: String = (0..ACTIONS)
        .map(|nth| {
            format!(
                "- action: act{nth}\n  classes: [deploy]\n  effect: write\n  match: {{method: POST, path: \"/v1/{{project}}/thing{nth}/{{id}}[/act]\"}}\n  \
                 decode: [json]\n  params: {{count: {{pointer: /spec/count, type: int}}}}\n"
            )
        })
        .collect();
    Source {
        file: format!("tool{index}.yaml"),
        text: format!(
            "apiVersion: aegis/v1\ntool: tool{index}\nroute: {{hosts: [\"*.tool{index}.example\"]}}\nactions:\n{actions}"
        ),
    }
}

fn requests() -> Vec<Asked> {
    let get = |target: &'static str| HttpRequest {
        method: Method::GET,
        target: http::uri::PathAndQuery::from_static(target),
        headers: HeaderMap::from_iter([(http::header::ACCEPT, HeaderValue::from_static("application/json"))]),
        body: Body::Whole(Bytes::new()),
    };
    let host = |name: &str| Some(Destination { scheme: "https".to_owned(), host: name.to_owned(), port: 443 });
    let patch = || scene::request(scene::body(0).unwrap_or_default());
    vec![
        Asked {
            what: "a patch of 1 KiB, on a route",
            request: patch(),
            destination: None,
            expected: ("kubernetes", "apply"),
        },
        Asked {
            what: "a read without a body, on a route",
            request: get("/apis/apps/v1/namespaces/web/deployments/shop"),
            destination: None,
            expected: ("kubernetes", "get"),
        },
        Asked {
            what: "a path that the tool doesn't have, on a route",
            request: get("/apis/apps/v1/namespaces/web/deployments/shop/a/b/c/d"),
            destination: None,
            expected: ("kubernetes", "unknown"),
        },
        Asked {
            what: "a host that no tool is on, by the proxy",
            request: get("/anything/at/all?page=2"),
            destination: host("www.unlisted.example"),
            expected: ("http", "request"),
        },
    ]
}

fn median(catalogue: &Catalogue, asked: &Asked) -> Result<Times> {
    let rounds = (0..ROUNDS).map(|_| round(catalogue, asked)).collect::<Result<Vec<_>>>()?;
    crate::report::median(rounds, |times| times.quantile(0.5).as_secs_f64())
}

fn round(catalogue: &Catalogue, asked: &Asked) -> Result<Times> {
    let mut times = Times::new();
    for _ in 0..CALLS {
        let request = asked.request.clone();
        let arrival = match &asked.destination {
            Some(destination) => Arrival::Forward { destination },
            None => scene::ARRIVAL.clone(),
        };
        let started = Instant::now();
        let call = black_box(catalogue.describe(&arrival, request));
        let took: Duration = started.elapsed();
        let call = call.map_err(|error| anyhow!("{}: {error}", asked.what))?;
        ensure!((call.tool.as_str(), call.action.as_str()) == asked.expected, "{}: {call:?}", asked.what);
        times.add(took);
    }
    Ok(times)
}
