//! `envoy.service.auth.v3.Authorization/Check` and `grpc.health.v1.Health`.
//!
//! Invariants: so many checks at once, each of so many bytes, each there in time; a caller that sends slowly, or nothing, takes
//! nobody's turn; a caller's deadline is kept, and the decision goes on record all the same; what can't be read is refused and on
//! record too, since an error of gRPC passes where the operator has set `failure_mode_allow: true`; health is readiness: policies
//! in force, and a store that takes records.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use http::header::HeaderMap;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming as WireBody;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower_service::Service as _;

use super::rewrite::{Reach, Rewrite};
use super::{Checked, ExtAuthz, answer, check};
use crate::events::upstream_span;
use crate::pipeline::Handled;

/// How many checks are decided at once.
const AT_ONCE: usize = 256;
/// What all checks together may take that have come and aren't answered, in KiB. It is taken as the bytes come.
const ROOM: usize = 256 * 1024;
/// How long a check may take to come: proxies send one at once.
const READ_TIME: Duration = Duration::from_secs(5);
/// How long a check may take, from its head to its answer.
const CHECK_TIME: Duration = Duration::from_secs(15);
/// What a message may have besides a body: headers, and what Envoy says of the connection.
const BESIDES_THE_BODY: usize = 1 << 20;
/// How often health is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A check that asks nothing: it is refused, like any other that can't be read.
const EMPTY: &[u8] = &[0; 5];
/// The service that health is told of, besides all of them together.
const CHECKS: &str = "envoy.service.auth.v3.Authorization";

/// The services of one listener. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Services {
    authorizer: ExtAuthz,
    checks: AuthorizationServer<ExtAuthz>,
    health: HealthServer<HealthService>,
    reporter: HealthReporter,
    at_once: Arc<Semaphore>,
    room: Arc<Semaphore>,
    /// The largest message, in bytes.
    limit: usize,
}

/// Why there is no message.
enum Unread {
    /// It is larger than any may be.
    TooLarge,
    /// It broke off, or didn't come in time.
    Gone,
}

impl Services {
    pub(crate) fn new(authorizer: ExtAuthz) -> Self {
        let limit = authorizer.body_limit.saturating_add(BESIDES_THE_BODY);
        let reporter = HealthReporter::new();
        Self {
            checks: AuthorizationServer::new(authorizer.clone()).max_decoding_message_size(limit),
            health: HealthServer::new(HealthService::from_health_reporter(reporter.clone())),
            authorizer,
            reporter,
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            room: Arc::new(Semaphore::new(ROOM)),
            limit,
        }
    }

    /// Keeps health what readiness is, until `drain`; then says that it ends.
    pub(crate) async fn tell_health(self, drain: CancellationToken) {
        let mut ticks = interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = drain.cancelled() => break,
            }
            self.look().await;
        }
        self.tell(ServingStatus::NotServing).await;
    }

    /// Makes health what readiness is now.
    pub(crate) async fn look(&self) {
        let ready = self.authorizer.intercept.pipeline.ready().await;
        self.tell(if ready { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
    }

    async fn tell(&self, status: ServingStatus) {
        for service in ["", CHECKS] {
            self.reporter.set_service_status(service, status).await;
        }
    }

    /// Answers one request.
    pub(crate) async fn answer(mut self, request: Request<WireBody>) -> Result<Response<Body>, Infallible> {
        let service = request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default();
        match service {
            CHECKS => {
                let time = deadline(request.headers()).map_or(CHECK_TIME, |time| time.min(CHECK_TIME));
                let checked = self.check(request);
                match timeout(time, checked).await {
                    Ok(answered) => answered,
                    Err(_) => Ok(Status::deadline_exceeded("the check took longer than its caller waits").into_http()),
                }
            }
            "grpc.health.v1.Health" => self.health.call(request).await,
            _ => Ok(Status::unimplemented("only ext_authz v3 and health are served here").into_http()),
        }
    }
}

impl Services {
    /// Reads a check, and answers it.
    async fn check(&mut self, request: Request<WireBody>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        // What it holds is held until the answer is there.
        let (message, _room) = match timeout(READ_TIME, self.message(body)).await.unwrap_or(Err(Unread::Gone)) {
            Ok(read) => read,
            Err(Unread::TooLarge) => (Bytes::from_static(EMPTY), Vec::new()),
            Err(Unread::Gone) => return Ok(Status::cancelled("the check didn't come whole, or in time").into_http()),
        };
        let _turn = self.at_once.clone().acquire_owned().await;
        let answered = self.checks.call(Request::from_parts(head.clone(), Full::new(message))).await?;
        let wrong = answered.headers().get("grpc-status").filter(|status| *status != "0");
        let Some(status) = wrong else { return Ok(answered) };
        tracing::warn!(?status, "a check could not be read: it is refused");
        self.checks.call(Request::from_parts(head, Full::new(Bytes::from_static(EMPTY)))).await
    }

    /// The message of a request, and the room that it takes.
    async fn message(&self, mut body: WireBody) -> Result<(Bytes, Vec<OwnedSemaphorePermit>), Unread> {
        let (mut bytes, mut held, mut taken) = (BytesMut::new(), Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let data = frame.map_err(|_| Unread::Gone)?.into_data().unwrap_or_default();
            let length = bytes.len().saturating_add(data.len());
            if length > self.limit {
                return Err(Unread::TooLarge);
            }
            let more = length.div_ceil(1024).saturating_sub(taken);
            let permits = u32::try_from(more).unwrap_or(u32::MAX);
            held.push(self.room.clone().acquire_many_owned(permits).await.map_err(|_| Unread::Gone)?);
            taken = taken.saturating_add(more);
            bytes.extend_from_slice(&data);
        }
        Ok((bytes.freeze(), held))
    }
}

/// How long the caller waits (`grpc-timeout`: up to eight digits and a unit).
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number.saturating_mul(3600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[tonic::async_trait]
impl Authorization for ExtAuthz {
    async fn check(&self, request: tonic::Request<CheckRequest>) -> Result<tonic::Response<CheckResponse>, Status> {
        let original = check::original(request.into_inner());
        let checked = self.decide(original, "ext_authz", Reach::HeadersAndQuery).await.map_err(|error| {
            tracing::error!(%error, "a check ended without an answer");
            Status::internal("the gateway failed to decide this call")
        })?;
        Ok(tonic::Response::new(respond(checked).await?))
    }
}

async fn respond(checked: Checked) -> Result<CheckResponse, Status> {
    let Checked { handled, held, trace } = checked;
    let explanation = handled.explanation().clone();
    let Handled::Admitted { call, .. } = &handled else {
        return Ok(answer::refused(&explanation, handled.into_response()).await);
    };
    // The pipeline has asked the same before it let the call pass.
    let rewrite =
        Rewrite::between(&held, call, Reach::HeadersAndQuery).map_err(|_| Status::internal("not enforceable"))?;
    let mut fields = vec![("traceparent", trace.traceparent(upstream_span(&explanation.decision_id)))];
    fields.extend((!trace.state.is_empty()).then(|| ("tracestate", trace.state.clone())));
    Ok(answer::passing(&explanation, &handled.into_response(), &rewrite, held.ours, fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_digits_and_a_unit() {
        let of = |text: &str| {
            deadline(&HeaderMap::from_iter([("grpc-timeout".parse().expect("a name"), text.parse().expect("a value"))]))
        };
        assert_eq!(of("200m"), Some(Duration::from_millis(200)));
        assert_eq!(of("1S"), Some(Duration::from_secs(1)));
        assert_eq!(of("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for malformed in ["", "m", "1", "1x", "-1m", "123456789m", "ü"] {
            let headers = malformed
                .parse::<http::HeaderValue>()
                .map(|value| HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), value)]));
            assert_eq!(headers.ok().and_then(|headers| deadline(&headers)), None, "{malformed}");
        }
    }
}
