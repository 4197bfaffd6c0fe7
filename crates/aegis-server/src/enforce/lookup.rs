//! Asking a tool what only it can say of a call that is being judged: by the call's own way, with Aegis's credential.
//!
//! This is the one thing that goes upstream without an admission. It can't be an effect: the core makes the question, from the
//! catalogue's own template, and it is a GET, a HEAD, or a trial run that the tool promises to leave without effect.
//!
//! Invariants: only where Aegis proves itself, so that an agent learns nothing by its own word; bounded in time, size and number;
//! redirects aren't followed; an answer is kept for seconds, if at all, for its way alone; equal questions at one time are asked once; a failure
//! isn't kept. Why it failed is said in fixed words.

use std::sync::Arc;
use std::time::Duration;

use aegis_core::call::{Body, Destination, HttpRequest};
use aegis_core::describe::{Answer, Question};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use moka::sync::Cache;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

use super::egress::Egress;
use super::{AnyBody, Enforcer, Toward, headers};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The largest answer that is read, in bytes.
const LARGEST: usize = 1 << 20;
/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(10);
/// How many answers are kept.
const MOST: u64 = 4096;
/// How many questions are asked at once, over all tools.
const AT_ONCE: usize = 32;

type Outcome = Result<Answer, String>;

/// What was asked before, and how much may be asked.
pub(super) struct Lookups {
    /// By the way that it was asked, and the question.
    kept: Cache<(String, Question), Arc<OnceCell<Outcome>>>,
    room: Semaphore,
}

/// How a question went.
#[derive(Debug)]
pub struct Looked {
    /// Whether a call before had asked it.
    pub cached: bool,
    /// The answer, or why there is none.
    pub answer: Result<Answer, String>,
}

impl Lookups {
    pub(super) fn new() -> Self {
        let kept = Cache::builder().max_capacity(MOST).time_to_live(KEPT).build();
        Self { kept, room: Semaphore::new(AT_ONCE) }
    }
}

impl Enforcer {
    /// Whether Aegis proves itself where a call goes.
    pub fn proves_itself(&self, toward: &Toward, destination: Option<&Destination>) -> bool {
        self.inner.egress.profile(toward, destination, false).is_ok_and(|profile| profile.is_authenticated())
    }

    /// Whether what Aegis proves itself with is at hand where a call goes.
    ///
    /// # Errors
    /// Why not, without any secret.
    pub async fn can_prove(&self, toward: &Toward, destination: Option<&Destination>) -> Result<(), String> {
        match self.inner.egress.profile(toward, destination, false) {
            Ok(profile) => profile.show().await.map(drop),
            // Said when it is forwarded.
            Err(_) => Ok(()),
        }
    }

    /// Asks the tool a question about `call`, which would go `toward` there.
    pub async fn look_up(
        &self,
        toward: &Toward,
        destination: Option<&Destination>,
        question: &Question,
        call: &HttpRequest,
    ) -> Looked {
        let ask = || self.ask(toward, destination, question, call);
        if !question.may_be_kept() {
            return Looked { cached: false, answer: ask().await };
        }
        let way = match toward {
            Toward::Route(name) => format!("route {name}"),
            Toward::Addresses(_) | Toward::Proxied(_) => {
                destination.map(|to| format!("{} {to}", to.scheme)).unwrap_or_default()
            }
        };
        let kept = &self.inner.lookups.kept;
        let key = (way, question.clone());
        let cell = kept.get_with(key.clone(), Arc::default);
        let mut asked = false;
        let answer = cell
            .get_or_init(|| {
                asked = true;
                ask()
            })
            .await
            .clone();
        if asked && answer.is_err() {
            kept.invalidate(&key);
        }
        Looked { cached: !asked, answer }
    }

    async fn ask(
        &self,
        toward: &Toward,
        destination: Option<&Destination>,
        question: &Question,
        call: &HttpRequest,
    ) -> Outcome {
        let asking = async {
            let _room = self.inner.lookups.room.acquire().await.map_err(|_| "Aegis is stopping".to_owned())?;
            fetch(&self.inner.egress, toward, destination, question, call).await
        };
        timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err("the tool did not answer in time".to_owned()))
    }
}

async fn fetch(
    egress: &Egress,
    toward: &Toward,
    destination: Option<&Destination>,
    question: &Question,
    call: &HttpRequest,
) -> Outcome {
    let unreachable = || "the tool could not be reached".to_owned();
    let profile = egress.profile(toward, destination, false).map_err(|_| unreachable())?;
    if !profile.is_authenticated() {
        return Err("Aegis has no credential there".to_owned());
    }
    let request = question.request(call);
    let body = match &request.body {
        Body::Whole(bytes) => bytes.clone(),
        Body::Begun(_) | Body::Streamed => return Err("the call's body was not read".to_owned()),
    };
    let length = body.len() as u64;
    let body = match body.is_empty() {
        true => AnyBody::new(Empty::<Bytes>::new().map_err(|never| match never {})),
        false => AnyBody::new(Full::new(body).map_err(|never| match never {})),
    };
    let shown = profile.show().await.map_err(|_| "Aegis's credential is not at hand".to_owned())?;
    let outgoing = profile.request(request, shown, None, &[], Some(length), body).map_err(|_| unreachable())?;
    let held = profile.client();
    let response = held.client.request(outgoing).await.map_err(|_| unreachable())?;
    let (head, body) = response.into_parts();
    if !question.accepts(head.status) {
        return Err(format!("the tool answered {}", head.status.as_u16()));
    }
    headers::check_answer(&head.headers).map_err(|_| "the tool's answer can't be delimited".to_owned())?;
    if head.headers.contains_key(CONTENT_ENCODING) {
        return Err("the tool's answer is compressed".to_owned());
    }
    let declared = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let is_head = *question.method() == http::Method::HEAD;
    if !is_head && declared.is_some_and(|length| length > LARGEST) {
        return Err("the tool's answer is too large".to_owned());
    }
    let body = Limited::new(body, LARGEST).collect().await;
    let body = body.map_err(|_| "the tool's answer broke off, or is too large".to_owned())?.to_bytes();
    question.read(&head.headers, &body)
}
