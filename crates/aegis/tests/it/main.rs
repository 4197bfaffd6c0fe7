//! The real binary, driven from outside.

mod commands;
mod process;
