//! Aegis, talking: takes calls in, identifies, runs the one pipeline, forwards what was admitted, tells what happened.
//!
//! `intercept → pipeline → {identify, enforce}`; `api` never reaches `enforce`. Deliberately absent: rules and SQL.

pub mod answer;
pub mod api;
pub mod bundle;
pub mod ca;
pub mod enforce;
pub mod events;
pub mod gateway;
mod hop;
mod hosts;
pub mod identify;
pub mod intercept;
pub mod mcp;
pub mod pipeline;
mod sni;
mod sse;
pub mod trace;
pub mod unproven;
pub mod versions;
