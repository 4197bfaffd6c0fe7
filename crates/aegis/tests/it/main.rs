//! End to end: the real binary, real clients, real sockets on loopback.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test binary: nothing reaches out of it, and a test says what went wrong by failing"
)]

mod architecture;
mod attack;
mod authoring;
mod authzen;
mod bundles;
mod ci_runner;
mod clouds;
mod commands;
mod curl;
mod desync;
mod diff;
mod dlp;
mod envoy;
mod floods;
mod forges;
mod forward_auth;
mod guide;
mod http2;
mod incidents;
mod interception;
mod kube;
mod kubectl;
mod kubernetes_sidecar;
mod leaks;
mod mcp;
mod models;
mod otlp;
mod packages;
mod process;
mod proxy_guides;
mod readme;
mod reload;
mod replay;
mod resolvers;
mod schema;
mod secure;
mod sessions;
mod shadow;
mod standin;
mod terraform;
mod tools;
mod upstream;
mod versions;
mod walkthrough;
mod ways;
