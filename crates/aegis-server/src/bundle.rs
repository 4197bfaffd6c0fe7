//! Policy bundles on their way: signed and served ([`Bundles`]), fetched and verified ([`BundleSource`]).
//!
//! Signatures are OPA's (bundle signing): a JWT over the digests of all files, in `.signatures.json`. Invariants: what is
//! served is signed; nothing of a fetched bundle is used before its signature is found good under a key that the operator
//! named; the algorithm is the key's, never the token's. Deliberately absent: what a bundle means (the core), and putting
//! one in force (whoever starts the gateway).

mod fetch;
mod keys;
mod serve;
mod signature;
mod source;
#[cfg(test)]
mod tests;

pub use keys::{KeyError, SIGNING_KEY_FILE, SigningKey, VerifyingKey};
pub use serve::{Bundles, Served};
pub use signature::{SignatureError, Signed, sign, verify};
pub use source::{BundleSource, SourceError, SourceSettings, SourceStatus, Taken};
