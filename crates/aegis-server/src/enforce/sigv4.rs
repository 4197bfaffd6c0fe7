//! AWS's Signature Version 4, both ways. An agent signs with a key pair that opens nothing but its route; that is verified, and what is
//! forwarded is signed anew with the real keys, which the agent never holds.
//!
//! Invariants: the whole body is under the signature that is verified, and under the one that is made; everything that may change what
//! a request means to AWS is signed by the agent; the two signatures are compared in constant time; a request is signed after the last
//! change to it. What can't be verified is refused, never passed on unsigned.
//!
//! Deliberately absent: signatures in the query, streamed and unsigned payloads, and SigV4a.

use std::sync::Arc;
use std::time::SystemTime;

use aegis_core::call::Body;
use aegis_core::describe::{Scope, Signed, Unreadable, VERIFIED_SCOPE};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use http::request::Parts;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::settings::Secret;
use crate::trace::to_hex;

/// How far the time of a signature may be from ours, as AWS has it.
const SKEW: SignedDuration = SignedDuration::from_mins(15);
const DATE: &str = "x-amz-date";
const PAYLOAD: &str = "x-amz-content-sha256";
const TOKEN: &str = "x-amz-security-token";
/// Where the digest of a body that was verified stands, for one that is streamed on. Ours, so that it never leaves.
const VERIFIED_PAYLOAD: &str = "aegis-sigv4-payload";

/// One pair of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// Its id, which is no secret.
    pub access_key_id: String,
    /// Its key.
    pub secret_access_key: Secret,
}

/// What a route to AWS signs with, and what its agents do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigV4 {
    /// The real keys.
    pub keys: KeyPair,
    /// The token of temporary ones.
    pub session_token: Option<Secret>,
    /// The one region that agents may sign for; without, theirs counts.
    pub region: Option<String>,
    /// The one service, likewise.
    pub service: Option<String>,
    /// The keys that agents are given.
    pub agents: KeyPair,
}

impl SigV4 {
    /// What of it can't be used; never a secret.
    pub(super) fn check(&self) -> Result<(), String> {
        let named = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !named(&self.keys.access_key_id) || !named(&self.agents.access_key_id) {
            return Err("credential.sigv4: an access key's id is letters and digits".to_owned());
        }
        if self.keys.secret_access_key.expose().is_empty() || self.agents.secret_access_key.expose().len() < 16 {
            return Err("credential.sigv4: the agents' secret_access_key has at least 16 characters".to_owned());
        }
        if self.keys.secret_access_key == self.agents.secret_access_key {
            return Err("credential.sigv4: the agents' keys are the real ones: make them up".to_owned());
        }
        Ok(())
    }
}

/// An extension of a request's head: the signature that it came with, as it came, or why there is none that can be verified.
#[derive(Debug, Clone)]
pub(crate) struct Claim(Result<Claimed, Unreadable>);

#[derive(Debug, Clone)]
struct Claimed {
    route: Arc<SigV4>,
    signed: Signed,
    time: Timestamp,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

impl Claim {
    /// Reads what a request claims, before anything is taken off it.
    pub(crate) fn of(head: &Parts, route: &Arc<SigV4>) -> Self {
        Self(Claimed::read(head, route))
    }

    /// Verifies it, and puts what is known by it in its place.
    ///
    /// # Errors
    /// Why it isn't good; never which part of a signature was right.
    pub(crate) fn verify(self, headers: &mut HeaderMap, body: &[u8], now: Timestamp) -> Result<(), Unreadable> {
        let claimed = self.0?;
        let payload = claimed.verify(body, now)?;
        for name in [AUTHORIZATION.as_str(), DATE, PAYLOAD, TOKEN] {
            headers.remove(name);
        }
        for (name, value) in [(VERIFIED_SCOPE, claimed.signed.scope.to_string()), (VERIFIED_PAYLOAD, payload)] {
            let value =
                HeaderValue::try_from(value).map_err(|_| refused("sigv4_malformed", "the scope is malformed"))?;
            headers.insert(name, value);
        }
        Ok(())
    }
}

impl Claimed {
    fn read(head: &Parts, route: &Arc<SigV4>) -> Result<Self, Unreadable> {
        let query = head.uri.query().unwrap_or_default();
        if form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key.to_ascii_lowercase().starts_with("x-amz-")) {
            return Err(refused(
                "sigv4_presigned",
                "sign the request in its headers: what AWS takes from the query isn't",
            ));
        }
        let signed = Signed::read(&head.headers)?;
        let unsigned = || refused("sigv4_missing", "sign the request with the keys that you were given for this route");
        let signed = signed.ok_or_else(unsigned)?;
        let differs = |wanted: &Option<String>, own: &str| wanted.as_deref().is_some_and(|wanted| wanted != own);
        if differs(&route.region, &signed.scope.region) || differs(&route.service, &signed.scope.service) {
            return Err(refused(
                "sigv4_scope",
                "the request is signed for another region or service than this route's",
            ));
        }
        let time = time_of(head, &signed)?;
        check_headers(&head.headers, &signed)?;
        let headers = signed.headers.iter().map(|name| Some((name.clone(), value_of(head, name)?)));
        let twice = || refused("sigv4_headers", "each signed header must stand once, in plain text");
        let headers: Vec<(String, String)> = headers.collect::<Option<_>>().ok_or_else(twice)?;
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let method = head.method.as_str().to_owned();
        Ok(Self { route: Arc::clone(route), signed, time, method, target, headers })
    }

    /// The body's digest.
    fn verify(&self, body: &[u8], now: Timestamp) -> Result<String, Unreadable> {
        if self.time.duration_since(now).abs() > SKEW {
            return Err(refused("sigv4_clock", "the signature is more than 15 minutes from this gateway's clock"));
        }
        let payload = hex(body);
        let claimed = self.headers.iter().find(|(name, _)| name == PAYLOAD);
        if claimed.is_some_and(|(_, claimed)| !same(claimed, &payload)) {
            return Err(refused("sigv4_body", "the body is not the one that was signed"));
        }
        let Scope { access_key, region, service, .. } = &self.signed.scope;
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = SignableRequest::new(
            &self.method,
            format!("https://signed.invalid{}", self.target),
            headers,
            SignableBody::Precomputed(payload.clone()),
        );
        let agents = &self.route.agents;
        let made = request.ok().and_then(|request| {
            let mut settings = settings(service);
            settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
            let secret = agents.secret_access_key.expose();
            signature(request, (access_key, secret, None), (region, service), self.time.into(), settings)
        });
        let key = same(access_key, &agents.access_key_id);
        match made {
            Some((_, made)) if same(&made, &self.signed.signature) && key => Ok(payload),
            _ => {
                Err(refused("sigv4_signature", "the signature is not good for this request by the keys of this route"))
            }
        }
    }
}

/// The time that is signed; its day must be the scope's.
fn time_of(head: &Parts, signed: &Signed) -> Result<Timestamp, Unreadable> {
    let text = value_of(head, DATE).filter(|text| text.starts_with(&signed.scope.date) && text.len() == 16);
    let time = text.and_then(|text| DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?.to_zoned(TimeZone::UTC).ok());
    let time = time.map(|time| time.timestamp());
    time.ok_or_else(|| refused("sigv4_date", "X-Amz-Date must be one time, on the day that the scope says"))
}

/// What the agent must have signed: the host, and everything by which AWS is told what to do.
fn check_headers(headers: &HeaderMap, signed: &Signed) -> Result<(), Unreadable> {
    let is_signed = |name: &str| signed.headers.iter().any(|own| own == name);
    let mut sorted = signed.headers.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted != signed.headers || !is_signed(HOST.as_str()) {
        return Err(refused("sigv4_headers", "SignedHeaders must be sorted, and the host among them"));
    }
    if headers.contains_key(TOKEN) {
        return Err(refused("sigv4_token", "the keys of this route have no session token"));
    }
    let matters =
        |name: &str| name.starts_with("x-amz-") || name == CONTENT_TYPE.as_str() || name == "content-encoding";
    if let Some(name) = headers.keys().map(|name| name.as_str()).find(|name| matters(name) && !is_signed(name)) {
        return Err(refused("sigv4_unsigned_header", &format!("the header {name} must be signed")));
    }
    let payload = headers.get(PAYLOAD).map(HeaderValue::as_bytes);
    if payload.is_some_and(|text| text.len() != 64 || !text.iter().all(u8::is_ascii_hexdigit)) {
        return Err(refused(
            "sigv4_unsigned_payload",
            "the body must be signed whole: switch unsigned and streamed payloads off",
        ));
    }
    Ok(())
}

/// The one value of a header; of HTTP/2 the authority is the host.
fn value_of(head: &Parts, name: &str) -> Option<String> {
    let mut values = head.headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(str::to_owned),
        (None, _) if name == HOST.as_str() => head.uri.authority().map(|authority| authority.as_str().to_owned()),
        _ => None,
    }
}

/// What signs the calls of a route.
pub(super) struct Signer(Arc<SigV4>);

/// Why a call isn't signed, for records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unsigned(&'static str);

impl Signer {
    pub(super) fn new(route: &SigV4) -> Result<Self, String> {
        route.check()?;
        Ok(Self(Arc::new(route.clone())))
    }

    /// What it needs to know of a call, which has to be asked before what is ours is taken off its headers.
    pub(super) fn asked(&self, headers: &HeaderMap, body: &Body) -> Result<Asked, Unsigned> {
        let scope = Scope::verified(headers);
        let or = |own: &Option<String>, theirs: Option<String>| own.clone().or(theirs);
        let (region, service) = scope.map(|scope| (scope.region, scope.service)).unzip();
        let (Some(region), Some(service)) = (or(&self.0.region, region), or(&self.0.service, service)) else {
            return Err(Unsigned("nobody has said which region and service of AWS it is for"));
        };
        let payload = match body {
            Body::Whole(bytes) => hex(bytes),
            Body::Begun(_) | Body::Streamed => {
                let verified = headers.get(VERIFIED_PAYLOAD).and_then(|value| value.to_str().ok());
                verified.ok_or(Unsigned("its body was not read, so it can't be signed"))?.to_owned()
            }
        };
        Ok(Asked { region, service, payload })
    }

    /// Signs a request as it goes on the wire; nothing of it may change afterwards.
    pub(super) fn sign<B>(
        &self,
        asked: Asked,
        authority: &HeaderValue,
        request: &mut http::Request<B>,
    ) -> Result<(), Unsigned> {
        let unreadable = Unsigned("a header of it can't be signed");
        let headers = request.headers_mut();
        for name in [AUTHORIZATION.as_str(), DATE, PAYLOAD, TOKEN] {
            headers.remove(name);
        }
        let host = authority.to_str().map_err(|_| unreadable)?;
        let mut signed = vec![(HOST.as_str(), host)];
        for (name, value) in request.headers() {
            if name == CONTENT_TYPE || name.as_str().starts_with("x-amz-") {
                signed.push((name.as_str(), value.to_str().map_err(|_| unreadable)?));
            }
        }
        let Asked { region, service, payload } = asked;
        let (method, uri) = (request.method().as_str().to_owned(), request.uri().to_string());
        let signable = SignableRequest::new(&method, uri, signed.into_iter(), SignableBody::Precomputed(payload))
            .map_err(|_| unreadable)?;
        let keys = &self.0.keys;
        let token = self.0.session_token.as_ref().map(Secret::expose);
        let keys = (keys.access_key_id.as_str(), keys.secret_access_key.expose(), token);
        let (made, _) = signature(signable, keys, (&region, &service), SystemTime::now(), settings(&service))
            .ok_or(Unsigned("it could not be signed"))?;
        for (name, value, sensitive) in made {
            let mut value = HeaderValue::try_from(value).map_err(|_| unreadable)?;
            value.set_sensitive(sensitive || name == AUTHORIZATION.as_str());
            request.headers_mut().insert(name, value);
        }
        Ok(())
    }
}

/// What a call says about its signature.
#[derive(Debug)]
pub(super) struct Asked {
    region: String,
    service: String,
    payload: String,
}

/// S3 signs paths as they are, and always says what the body is.
fn settings(service: &str) -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.excluded_headers = None;
    if matches!(service, "s3" | "s3-object-lambda" | "s3express") {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    settings
}

type Made = (Vec<(&'static str, String, bool)>, String);

/// The headers that sign a request, and the signature alone.
fn signature(
    request: SignableRequest<'_>,
    (id, secret, token): (&str, &str, Option<&str>),
    (region, service): (&str, &str),
    time: SystemTime,
    settings: SigningSettings,
) -> Option<Made> {
    let keys = aws_credential_types::Credentials::new(id, secret, token.map(str::to_owned), None, "aegis");
    let identity = Identity::from(keys);
    let params = v4::SigningParams::builder();
    let params = params.identity(&identity).region(region).name(service).time(time).settings(settings).build().ok()?;
    let (made, signature) = sign(request, &params.into()).ok()?.into_parts();
    let (headers, _) = made.into_parts();
    let headers = headers.iter().map(|header| (header.name(), header.value().to_owned(), header.sensitive()));
    Some((headers.collect(), signature))
}

fn hex(body: &[u8]) -> String {
    to_hex(&Sha256::digest(body))
}

/// In constant time, but for the length.
fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

fn refused(reason: &str, message: &str) -> Unreadable {
    Unreadable { reason: reason.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests;
