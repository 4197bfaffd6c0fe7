//! End to end: the real binary, real clients, real sockets.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test says what went wrong by failing")]

mod architecture;
mod curl;
mod gateway;
mod kubectl;
mod reload;
mod standin;
mod tools;
mod upstream;
