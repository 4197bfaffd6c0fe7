//! wip
mod config;
fn main() { println!("{:?}", config::Config::load(None)); }
