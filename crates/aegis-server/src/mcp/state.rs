//! What a client is given to bring back once a human has been asked (`requestState`): whose it is, of which call, until when, and
//! a MAC over that. It approves nothing: an approval is the store's, and this only tells that a call is a repetition.

use aegis_core::mcp::Message;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::pipeline::random;

/// How every state of ours starts, so that a server's own isn't taken for one.
const PREFIX: &str = "aegis.";
/// How long it is good for. The approval may be over before.
const GOOD_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Signs states. It is made anew at each start: a client that comes with an older state asks again.
pub(crate) struct StateKey(hmac::Key);

impl StateKey {
    pub(crate) fn random() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &random::<32>()))
    }

    /// Whether a state is one of ours, good or not.
    pub(crate) fn is_ours(state: &str) -> bool {
        state.starts_with(PREFIX)
    }

    /// The state of this agent's call.
    pub(crate) fn seal(&self, agent: &str, message: &Message, now: Timestamp) -> String {
        let until = now.checked_add(GOOD_FOR).unwrap_or(now).as_second();
        let tag = hmac::sign(&self.0, &signed(agent, message, until));
        format!("{PREFIX}{until}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Whether a state is of this agent's call, and still good.
    pub(crate) fn holds(&self, state: &str, agent: &str, message: &Message, now: Timestamp) -> bool {
        let parts = state.strip_prefix(PREFIX).and_then(|rest| rest.split_once('.'));
        let Some((until, tag)) = parts else { return false };
        let (Ok(until), Ok(tag)) = (until.parse::<i64>(), URL_SAFE_NO_PAD.decode(tag)) else { return false };
        now.as_second() < until && hmac::verify(&self.0, &signed(agent, message, until), &tag).is_ok()
    }
}

fn signed(agent: &str, message: &Message, until: i64) -> Vec<u8> {
    let mut meant = message.clone();
    meant.take_state();
    let digest = Sha256::digest(meant.meaning().to_string());
    [&(agent.len() as u64).to_be_bytes(), agent.as_bytes(), &digest, &until.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(text: &str) -> Message {
        Message::read(text.as_bytes()).expect("a message")
    }

    #[test]
    fn a_state_is_one_agents_one_calls_and_for_a_time() {
        let key = StateKey::random();
        let now = Timestamp::UNIX_EPOCH;
        let asked = call(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"n":1}}}"#);
        let state = key.seal("bot", &asked, now);
        let again = call(&format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"a","arguments":{{"n":1}},"requestState":"{state}","inputResponses":{{}}}}}}"#
        ));
        let other = call(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"n":2}}}"#);
        assert!(key.holds(&state, "bot", &again, now));
        assert!(!key.holds(&state, "bat", &again, now), "another agent");
        assert!(!key.holds(&state, "bot", &other, now), "another call");
        assert!(!key.holds(&state, "bot", &again, now + GOOD_FOR), "too late");
        assert!(!StateKey::random().holds(&state, "bot", &again, now), "another key");
        assert!(!key.holds("aegis.", "bot", &again, now) && !key.holds("x", "bot", &again, now));
    }
}
