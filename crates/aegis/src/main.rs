//! Aegis, starting: the one binary, its configuration and its commands.
//!
//! `main` parses, runs one command and turns its end into an exit code: 0 done, 1 the answer is no, 2 bad use or input.
//! Wiring only: what a call means, what is allowed and what is remembered is decided in the other crates.

mod cli;
mod client;
mod commands;
mod config;
mod data;
mod demo;
mod descriptors;
mod diagnostics;
mod gateway;
mod load;
mod operator;
mod outcome;
mod reload;
mod remote;
mod style;
mod table;
mod traffic;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let json = cli.global.json;
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => outcome::report(&error, json),
    }
}
