//! One call on the wire: opened (the answer's head is there), then finished (its body, upgrade or tunnel has ended).

use std::sync::atomic::Ordering;
use std::time::Duration;

use aegis_core::call::{Body, Destination, HttpRequest, McpRequest, Payload, ToolCall};
use aegis_core::usage::Reader;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::{Error as ClientError, ResponseFuture};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::body::{End, Metered, in_words};
use super::connect::DialError;
use super::egress::Egress;
use super::raw::Raw;
use super::relay::relay;
use super::shards::{Held, UnderWay};
use super::trailers::Trailed;
use super::{AnyBody, Failure, Live, Meter, Timeouts, Toward, headers, tunnel};

/// A call whose answer has begun.
pub(super) struct Opened {
    /// What the client gets.
    pub(super) response: Response<AnyBody>,
    /// What is still to come.
    pub(super) rest: Rest,
}

/// What is still to come after an answer's head.
pub(super) enum Rest {
    /// The answer's body.
    Body { end: oneshot::Receiver<End>, _call: UnderWay },
    /// Another protocol, both ways.
    Upgrade { client: OnUpgrade, upstream: OnUpgrade },
    /// A tunnel.
    Tunnel { client: OnUpgrade, upstream: Raw, host: String },
}

impl Egress {
    /// Sends the call and waits for the head of its answer.
    pub(super) async fn open(
        &self,
        call: ToolCall,
        live: Live,
        toward: &Toward,
        trace: &[(HeaderName, HeaderValue)],
        meter: &Meter,
    ) -> Result<Opened, Failure> {
        let destination = call.destination;
        match call.payload {
            Payload::Http(request) => self.open_http(request, destination.as_ref(), live, toward, trace, meter).await,
            Payload::Mcp(mcp) => {
                let request = joined(mcp, trace);
                self.open_http(request, destination.as_ref(), live, toward, trace, meter).await
            }
            Payload::Tunnel => self.open_tunnel(destination.as_ref(), live, toward, meter).await,
            Payload::Caller => Err(Failure::Unreachable("this call is enforced by its caller".to_owned())),
        }
    }

    async fn open_http(
        &self,
        request: HttpRequest,
        destination: Option<&Destination>,
        live: Live,
        toward: &Toward,
        trace: &[(HeaderName, HeaderValue)],
        meter: &Meter,
    ) -> Result<Opened, Failure> {
        let profile = self.profile(toward, destination, headers::is_grpc(&request.headers))?;
        let shown = profile.show().await.map_err(|why| Failure::NotSent(format!("Aegis can't prove itself: {why}")))?;
        let protocol = live.upgrade.as_ref().and_then(|_| profile.upgrade(&request.headers));
        let streamed = !matches!(request.body, Body::Whole(_));
        let (inner, length) = outgoing_body(&request, live.body)?;
        let (body, mut upload) = Metered::new(inner, meter.up.clone(), length, self.timeouts().upload_idle);
        let outgoing = profile
            .request(request, shown.clone(), protocol.as_ref(), trace, length, AnyBody::new(body.until(&meter.cut)))
            .map_err(|error| Failure::Unreachable(format!("the request can't be put on the wire: {error}")))?;
        let Held { client, call } = profile.client();
        let mut response = match self.head(client.request(outgoing), streamed, meter).await {
            Ok(response) => response,
            Err(failure) => {
                return Err(match upload.try_recv() {
                    Ok(End::Broken(why)) => Failure::BodyBroke(format!("the request's body broke off: {why}")),
                    _ => failure,
                });
            }
        };
        if profile.forwards() && response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(Failure::NotSent("the proxy that Aegis goes through refuses its credential".to_owned()));
        }
        meter.status.store(response.status().as_u16(), Ordering::Relaxed);
        if let Some(shown) = &shown {
            shown.hide_in(response.headers_mut());
        }
        // Dropped unread, so that its connection isn't used again.
        headers::check_answer(response.headers())
            .map_err(|why| Failure::Unreachable(format!("the upstream's answer can't be delimited: {why}")))?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let unasked = || Failure::Unreachable("the upstream switched protocols unasked".to_owned());
            let (client, protocol) = live.upgrade.zip(protocol).ok_or_else(unasked)?;
            return switched(response, client, &protocol);
        }
        let (head, incoming) = response.into_parts();
        let trailers = profile.speaks_http2();
        let (body, end) = Metered::new(
            AnyBody::new(Trailed::new(incoming, trailers)),
            meter.down.clone(),
            None,
            self.timeouts().answer_idle,
        );
        let reader =
            meter.words.filter(|_| head.status.is_success()).and_then(|whose| Reader::new(whose, &head.headers));
        let body = body.read_by(reader, &meter.usage);
        let response = answer(Response::from_parts(head, AnyBody::new(body.until(&meter.cut))));
        Ok(Opened { response, rest: Rest::Body { end, _call: call } })
    }

    /// Waits for the head of an answer: no longer than allowed after the last byte of the request has moved.
    async fn head(
        &self,
        sending: ResponseFuture,
        streamed: bool,
        meter: &Meter,
    ) -> Result<Response<Incoming>, Failure> {
        let limit = self.timeouts().answer_head;
        let mut moved = meter.moved();
        tokio::pin!(sending);
        loop {
            match timeout(limit, &mut sending).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => return Err(failure(&error)),
                Err(_) if streamed && meter.moved() != moved => moved = meter.moved(),
                Err(_) => {
                    return Err(Failure::TimedOut(format!("the upstream did not answer within {limit:?}")));
                }
            }
        }
    }

    async fn open_tunnel(
        &self,
        destination: Option<&Destination>,
        live: Live,
        toward: &Toward,
        meter: &Meter,
    ) -> Result<Opened, Failure> {
        let (Some(destination), Some(client)) = (destination, live.upgrade) else {
            return Err(Failure::Unreachable("a tunnel needs a destination and a client".to_owned()));
        };
        let upstream = match toward {
            Toward::Addresses(addresses) => self.dialer.dial(addresses).await.map(Raw::Tcp),
            Toward::Proxied(authority) => self.dialer.proxied(authority).await,
            Toward::Route(_) => return Err(Failure::Unreachable("a tunnel needs its addresses".to_owned())),
        };
        let upstream = upstream.map_err(|error| dial_failure(&error))?;
        meter.status.store(StatusCode::OK.as_u16(), Ordering::Relaxed);
        let response = Response::new(empty());
        Ok(Opened { response, rest: Rest::Tunnel { client, upstream, host: destination.host.clone() } })
    }
}

/// A message that says which trace it belongs to says so of the span that forwards it.
fn joined(mcp: McpRequest, trace: &[(HeaderName, HeaderValue)]) -> HttpRequest {
    let McpRequest { mut request, message, .. } = mcp;
    let Some(mut message) = message.filter(|message| message.trace().is_some()) else { return request };
    let text = |name: &str| {
        let found = trace.iter().find(|(known, _)| known.as_str() == name);
        found.and_then(|(_, value)| value.to_str().ok()).unwrap_or_default()
    };
    message.join(text("traceparent"), text("tracestate"));
    request.body = Body::Whole(Bytes::from(message.to_bytes()));
    request
}

impl Rest {
    /// Whether what comes now is read by nobody.
    pub(super) fn is_unread(&self) -> bool {
        !matches!(self, Self::Body { .. })
    }

    /// Runs the call to its end.
    ///
    /// # Errors
    /// How it ended instead, in words for records.
    pub(super) async fn finish(self, meter: &Meter, timeouts: &Timeouts) -> Result<(), Unfinished> {
        match self {
            Self::Body { end, _call } => match moving(end, meter, timeouts.answer_idle).await {
                None => {
                    meter.cut.cancel();
                    Err(Unfinished::Broken("answer: nobody takes it".to_owned()))
                }
                Some(Ok(End::Complete)) => Ok(()),
                Some(Ok(End::Abandoned) | Err(_)) => Err(Unfinished::ClientLeft),
                Some(Ok(End::Broken(why))) => Err(Unfinished::Broken(format!("answer: {why}"))),
            },
            Self::Upgrade { client, upstream } => {
                let both = async { tokio::try_join!(client, upstream) };
                let (client, upstream) = timeout(timeouts.handshake, both)
                    .await
                    .map_err(|_| Unfinished::Broken("upgrade: timed out".to_owned()))?
                    .map_err(|error| Unfinished::Broken(format!("upgrade: {error}")))?;
                relay(TokioIo::new(client), TokioIo::new(upstream), meter, timeouts.tunnel_idle)
                    .await
                    .map_err(|why| Unfinished::Broken(format!("upgrade: {why}")))
            }
            Self::Tunnel { client, upstream, host } => tunnel::run(client, upstream, &host, meter, timeouts)
                .await
                .map_err(|closed| Unfinished::Broken(closed.to_string())),
        }
    }
}

/// The end of an answer's body. `None` once nothing of it has moved for `idle`, whoever it is that waits: a client of HTTP/2
/// can keep its connection alive and take nothing of one stream.
async fn moving(
    end: oneshot::Receiver<End>,
    meter: &Meter,
    idle: Duration,
) -> Option<Result<End, oneshot::error::RecvError>> {
    tokio::pin!(end);
    let mut moved = meter.moved();
    loop {
        match timeout(idle, &mut end).await {
            Ok(ended) => return Some(ended),
            Err(_) if meter.moved() != moved => moved = meter.moved(),
            Err(_) => return None,
        }
    }
}

/// How a call ended that had an answer and no regular end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// The client went away: the upstream had answered, the rest of it was cut off.
    ClientLeft,
    /// It broke.
    Broken(String),
}

/// The body to send and its length, when that is known.
fn outgoing_body(request: &HttpRequest, streamed: Option<AnyBody>) -> Result<(AnyBody, Option<u64>), Failure> {
    match (&request.body, streamed) {
        (Body::Whole(bytes), _) => {
            Ok((AnyBody::new(Full::new(bytes.clone()).map_err(|never| match never {})), Some(bytes.len() as u64)))
        }
        (Body::Begun(_) | Body::Streamed, Some(body)) => Ok((body, headers::declared_length(&request.headers))),
        (Body::Begun(_) | Body::Streamed, None) => {
            Err(Failure::Unreachable("the body to stream is missing".to_owned()))
        }
    }
}

/// The answer to a granted upgrade.
fn switched(mut response: Response<Incoming>, client: OnUpgrade, protocol: &HeaderValue) -> Result<Opened, Failure> {
    let granted = response.headers().get(header::UPGRADE).map(HeaderValue::as_bytes);
    if !granted.is_some_and(|granted| granted.eq_ignore_ascii_case(protocol.as_bytes())) {
        return Err(Failure::Unreachable("the upstream switched to a protocol that nobody asked for".to_owned()));
    }
    let upstream = hyper::upgrade::on(&mut response);
    let mut response = answer(response.map(|_| empty()));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, protocol.clone());
    Ok(Opened { response, rest: Rest::Upgrade { client, upstream } })
}

/// An upstream's answer as the client gets it.
fn answer(mut response: Response<AnyBody>) -> Response<AnyBody> {
    headers::strip_connection(response.headers_mut());
    *response.version_mut() = Version::HTTP_11;
    response
}

fn empty() -> AnyBody {
    AnyBody::new(Empty::<Bytes>::new().map_err(|never| match never {}))
}

/// Why a request got no answer. The causes are looked through for a connection's own words.
fn failure(error: &ClientError) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(dial) = error.downcast_ref::<DialError>() {
            return dial_failure(dial);
        }
        cause = error.source();
    }
    Failure::Unreachable(format!("the upstream broke off: {}", in_words(error)))
}

fn dial_failure(error: &DialError) -> Failure {
    let words = format!("the upstream could not be reached: {error}");
    match error {
        DialError::TimedOut(..) => Failure::TimedOut(words),
        _ => Failure::NotSent(words),
    }
}

#[cfg(test)]
mod tests;
