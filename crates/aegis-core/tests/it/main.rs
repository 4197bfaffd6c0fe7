//! aegis-core from outside.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the cases are files, and a real OPA is a process"
)]
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a helper of tests that panics has failed the test")]

mod policy;
