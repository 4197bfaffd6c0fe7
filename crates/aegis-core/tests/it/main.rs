//! aegis-core from outside.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the cases are files, and a real OPA is a process"
)]

mod policy;
