//! `credential: {sigv4: …}` of a route to AWS.

use aegis_core::document::Fields;
use aegis_server::enforce::{KeyPair, Secret, SigV4};

/// What a route signs with, and what its agents do.
pub(super) fn read(mut fields: Fields<'_>) -> Option<SigV4> {
    let keys = pair(&mut fields);
    let session_token = fields.text("session_token").map(Secret::new);
    let (region, service) = (fields.text("region"), fields.text("service"));
    fields.required("agents");
    let agents = fields.map("agents").and_then(|mut agents| {
        let keys = pair(&mut agents);
        agents.finish();
        keys
    });
    fields.finish();
    Some(SigV4 { keys: keys?, session_token, region, service, agents: agents? })
}

fn pair(fields: &mut Fields<'_>) -> Option<KeyPair> {
    let (id, key) = (fields.required_text("access_key_id"), fields.required_text("secret_access_key"));
    Some(KeyPair { access_key_id: id?, secret_access_key: Secret::new(key?) })
}
