//! What one call has from its first moment: its id, its time, the policies and the catalogue that it is judged by.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aegis_core::agent::Agent;
use aegis_core::audit::Resolution;
use aegis_core::call::ToolCall;
use aegis_core::call::recorded::RecordedCall;
use aegis_core::decide::{Denial, Explanation, Facts};
use aegis_core::describe::{Catalogue, DenyShape, Unreadable};
use aegis_core::policy::{Asked, PolicySet};
use aegis_core::problem::{Code, Violation};
use aegis_store::{Noted, Store};
use jiff::Timestamp;

use super::begun;
use super::governing::{self, Governing};
use super::room::Held;
use super::{Client, EnforcedBy, Handled, Incoming, Pipeline, Way};
use crate::answer::Form;
use crate::enforce::AnyBody;
use crate::trace::TraceContext;

/// What every step of one call shares.
pub(super) struct Case {
    governing: Arc<Governing>,
    /// The one set that judges it.
    pub(super) policies: Arc<PolicySet>,
    /// What is asked beside them, and not obeyed.
    pub(super) candidate: Option<Arc<PolicySet>>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) now: Timestamp,
    pub(super) trace: TraceContext,
    decision_id: String,
    lot: u32,
    started: Instant,
    /// How long the client took to send its body and a resolver to answer: not the decision's, so not in its latency.
    waited: Duration,
    pub(super) enforced_by: EnforcedBy,
    via: &'static str,
    /// The address it comes from, where that is known.
    pub(super) client: Option<IpAddr>,
    proxied: bool,
    head_only: bool,
    tool: Option<String>,
    /// Where it goes: a tool is looked for there when it is refused before it is described.
    host: Option<String>,
    /// How its client likes to be refused, once what it asks is known.
    shape: Option<DenyShape>,
    /// What is kept of the call for replay, where calls are kept.
    kept: Option<Arc<RecordedCall>>,
    /// What the tool was asked about it.
    pub(super) resolved: Vec<Resolution>,
    /// The room that its body takes, until it is answered; `None` while nobody is known to take it.
    pub(super) held: Option<Held>,
}

/// Why something never became a call: the code, a reason for the record and a sentence for the caller.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: Code,
    pub(super) reason: String,
    pub(super) detail: String,
}

impl Case {
    pub(super) fn open(pipeline: &Pipeline, incoming: &Incoming) -> Self {
        let now = Timestamp::now();
        let governing = pipeline.governing();
        let (tool, host) = match &incoming.way {
            Ok(Way::Route { tool, upstream, .. }) => (tool.clone(), Some(upstream.host.clone())),
            Ok(Way::Intercepted { tool, destination, .. }) => (tool.clone(), Some(destination.host.clone())),
            _ => (None, None),
        };
        Self {
            policies: Arc::clone(&governing.active),
            candidate: governing.candidate.clone(),
            governing,
            catalogue: pipeline.0.catalogue.load_full(),
            now,
            trace: incoming.trace.clone(),
            decision_id: decision_id(now, random()),
            lot: u32::from_be_bytes(random()),
            started: Instant::now(),
            waited: Duration::ZERO,
            enforced_by: incoming.enforced_by,
            via: incoming.via,
            client: incoming.head.extensions.get::<Client>().map(|client| client.0),
            proxied: incoming.proxied,
            head_only: incoming.head.method == http::Method::HEAD,
            tool,
            host,
            shape: None,
            kept: None,
            resolved: Vec::new(),
            held: None,
        }
    }

    /// It is this agent's: a canary may judge it instead.
    pub(super) fn is_of(&mut self, agent: &Agent) {
        self.policies = Arc::clone(self.governing.judge_of(agent));
    }

    /// What it asks is known.
    pub(super) fn is_about(&mut self, call: &ToolCall) {
        self.shape = Some(self.catalogue.deny_shape_of(call));
    }

    /// A client that gets its refusal in git's own words reads nothing before it has sent all. What is too much is refused by its
    /// status alone.
    pub(super) async fn hear_out(&mut self, body: Option<AnyBody>) {
        let (Some(DenyShape::Git(Some(_))), Some(body)) = (&self.shape, body) else { return };
        if !begun::hear_out(body).await {
            self.shape = Some(DenyShape::Git(None));
        }
    }

    /// What denies it before any policy is asked.
    pub(super) fn guard(&self) -> Option<Violation> {
        self.governing.guard()
    }

    /// The facts that don't depend on the call.
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            trace_id: Some(self.trace.trace_id_hex()),
            via: Some(self.via),
            resolved: self.resolved.clone(),
            ..Facts::new(self.now, self.decision_id.clone(), self.policies.version())
        }
    }

    /// The denial of something that never became a call.
    pub(super) fn unread(&self, agent: Option<&Agent>, refused: Refused) -> Denial {
        let Refused { code, reason, detail } = refused;
        Denial::unread(&self.facts(), agent, code, &reason, detail)
    }

    /// How long the decision has taken so far.
    pub(super) fn latency(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.waited)
    }

    /// Takes the time since `since` out of the latency.
    pub(super) fn waited_since(&mut self, since: Instant) {
        self.waited += since.elapsed();
    }

    /// Keeps what is asked for replay, where calls are kept.
    pub(super) fn keep_call(&mut self, store: &Store, asked: Asked<'_>) {
        self.kept = store.keeps_calls().then(|| Arc::new(RecordedCall::of(asked, &self.policies)));
    }

    /// What its decision is recorded with.
    pub(super) fn noted(&self, latency: Duration) -> Noted {
        Noted { latency_ms: milliseconds(latency), call: self.kept.clone() }
    }

    /// Whether this call is among the `share` (0 to 1) of all calls.
    pub(super) fn drawn_below(&self, share: f64) -> bool {
        governing::below(self.lot, share)
    }

    /// What a refused call ends up as.
    pub(super) fn refused(&self, explanation: Explanation) -> Handled {
        Handled::Refused { form: self.form(&explanation), explanation: Box::new(explanation) }
    }

    /// How this caller is answered.
    pub(super) fn form(&self, explanation: &Explanation) -> Form {
        let tool = || {
            let described = explanation.call.as_ref().map(|call| call.tool.as_str());
            let tool = described.or(self.tool.as_deref());
            tool.or_else(|| self.catalogue.tool_at(self.host.as_deref()?))
        };
        let of_tool = || tool().map_or(DenyShape::Problem, |tool| self.catalogue.deny_shape(tool));
        Form { shape: self.shape.clone().unwrap_or_else(of_tool), proxied: self.proxied, head_only: self.head_only }
    }
}

impl Refused {
    /// One wording for every reason, so that a caller can't learn which part of a forgery was right.
    pub(super) fn identity(reason: &str) -> Self {
        let detail = match reason.starts_with("subject_") {
            true => "the token is good, but not to ask for this subject",
            false => "the credential is missing or not valid here",
        };
        Self { code: Code::IdentityRejected, reason: format!("identity: {reason}"), detail: detail.to_owned() }
    }

    pub(super) fn no_room() -> Self {
        Self {
            code: Code::GatewayUnavailable,
            reason: "body: no_room".to_owned(),
            detail: "too many bodies are being read at once: send fewer calls at a time".to_owned(),
        }
    }

    pub(super) fn failed(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "a body could not be decoded");
        Self {
            code: Code::GatewayUnavailable,
            reason: "body: failed".to_owned(),
            detail: "the gateway failed to read the body".to_owned(),
        }
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self {
            code: Code::TooLarge,
            reason: "body: too_large".to_owned(),
            detail: format!("the body is larger than {limit} bytes, which is the most that is read to judge a call"),
        }
    }
}

impl From<Unreadable> for Refused {
    fn from(unreadable: Unreadable) -> Self {
        let Unreadable { reason, message } = unreadable;
        Self { code: Code::BadRequest, reason: format!("request: {reason}"), detail: message }
    }
}

/// The guard against a call that names no place to go.
pub(super) fn no_destination() -> Violation {
    Violation::of_gateway("destination", "missing", "the call names no destination")
}

/// The guard against an override token that isn't for this call.
pub(super) fn other_override() -> Violation {
    Violation::of_gateway(
        "override",
        "not_for_this_call",
        "the override token is not good for this agent and exactly this call",
    )
}

/// For records.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Random bytes of the operating system's quality.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)
        .expect("the random source works: without it no token or id of this process could be trusted");
    bytes
}

/// `dec_` and a ULID: 48 bits of milliseconds and 80 random bits in Crockford's base 32, so that ids sort by time.
pub(crate) fn decision_id(now: Timestamp, random: [u8; 10]) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let time = u64::try_from(now.as_millisecond()).unwrap_or(0) & ((1 << 48) - 1);
    let bits = random.iter().fold(u128::from(time), |bits, byte| bits << 8 | u128::from(*byte));
    let mut id = String::with_capacity(30);
    id.push_str("dec_");
    for place in (0..26).rev() {
        let digit = usize::try_from(bits >> (5 * place) & 31).unwrap_or(0);
        id.push(char::from(DIGITS.get(digit).copied().unwrap_or(b'0')));
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_26_digits_that_sort_by_time() {
        let at = |ms| Timestamp::from_millisecond(ms).expect("in range");
        let early = decision_id(at(1), [0xff; 10]);
        let late = decision_id(at(2), [0; 10]);
        assert_eq!(early, "dec_0000000001ZZZZZZZZZZZZZZZZ");
        assert_eq!(late, "dec_00000000020000000000000000");
        assert!(early < late);
        assert_ne!(decision_id(at(1), random()), decision_id(at(1), random()));
    }
}
