//! Aegis, thinking.
//!
//! Everything here is pure: a call, an agent, a policy and facts go in; a [`decide::Decision`] comes out. There is no
//! I/O, no clock, no randomness and no async in this crate (its `clippy.toml` bans them), so that a decision can be
//! replayed, tested with properties, and explained.
//!
//! Reading order: [`agent`] (who asks) → [`call`] (what is asked, in the one vocabulary of every protocol) →
//! [`describe`] (how a parsed request becomes a call) → [`policy`] (what is allowed) → [`mod@decide`] (the one function
//! that can make a [`decide::Permit`]) → [`approval`] and [`audit`] (what is remembered).
//! [`authzen`] reads what the decision API is asked.
//!
//! **Law 1, no effect without a decision**: only [`decide::decide`] makes a [`decide::Permit`] or a
//! [`decide::Observed`]. Neither has a public constructor, `Default`, `Clone` or serde. This does not compile:
//!
//! ```compile_fail
//! fn forge(call: aegis_core::call::ToolCall) -> aegis_core::decide::Permit {
//!     aegis_core::decide::Permit { call, explanation: todo!(), spends: None }
//! }
//! ```
//!
//! nor does this:
//!
//! ```compile_fail
//! fn twice(permit: &aegis_core::decide::Permit) -> aegis_core::decide::Permit {
//!     permit.clone()
//! }
//! ```
//!
//! and the same for what shadow mode lets through:
//!
//! ```compile_fail
//! fn forge(call: aegis_core::call::ToolCall) -> aegis_core::decide::Observed {
//!     aegis_core::decide::Observed { call, explanation: todo!() }
//! }
//! ```
//!
//! while reading one, as its holder may, does:
//!
//! ```
//! fn read(permit: &aegis_core::decide::Permit) -> &aegis_core::call::ToolCall {
//!     permit.call()
//! }
//! ```

pub mod agent;
pub mod approval;
pub mod audit;
pub mod authzen;
pub mod budget;
pub mod call;
pub mod cost;
pub mod decide;
pub mod describe;
pub mod document;
pub mod mcp;
pub mod money;
pub mod policy;
pub mod problem;
pub mod replay;
pub mod sanitize;
pub mod session;
pub mod shadow;
pub mod usage;
