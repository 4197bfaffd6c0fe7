//! Any bytes as Envoy's `CheckRequest`: taken in or refused, never a panic, and the same twice.
#![no_main]

use aegis_server::intercept::ext_authz::taken_in;
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = CheckRequest::decode(bytes) else { return };
    assert_eq!(taken_in(request.clone()), taken_in(request));
});
