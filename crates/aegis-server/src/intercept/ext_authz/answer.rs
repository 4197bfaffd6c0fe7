//! What became of a call → Envoy's `CheckResponse`.
//!
//! Whatever isn't allowed is a denied response, also where the failure is ours: an error response, or an error of gRPC, would
//! pass where the operator has set `failure_mode_allow: true`.

use aegis_core::decide::Explanation;
use aegis_core::problem::Code;
use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue as EnvoyHeader, HeaderValueOption, QueryParameter};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use envoy_types::pb::google::rpc;
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;

use super::rewrite::Rewrite;
use crate::enforce::AnyBody;

/// gRPC's codes (`google.rpc.Code`).
const OK: i32 = 0;
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;
/// The namespace of our dynamic metadata, inside the filter's own.
const NAMESPACE: &str = "aegis";

/// The call may pass, changed as `rewrite` says; `response` has the headers for the client.
pub(super) fn passing(
    explanation: &Explanation,
    response: &Response<AnyBody>,
    rewrite: &Rewrite,
    ours: Vec<String>,
    trace: Vec<(&'static str, String)>,
) -> CheckResponse {
    let mut headers = Vec::new();
    for (name, values) in &rewrite.set {
        for (index, value) in values.iter().enumerate() {
            let action = match index {
                0 => HeaderAppendAction::OverwriteIfExistsOrAdd,
                _ => HeaderAppendAction::AppendIfExistsOrAdd,
            };
            // `Rewrite` has refused whatever isn't UTF-8: left out here, the header would go on as it came.
            headers.push(option(name.as_str(), &String::from_utf8_lossy(value.as_bytes()), action));
        }
    }
    headers.extend(trace.iter().map(|(name, value)| option(name, value, HeaderAppendAction::OverwriteIfExistsOrAdd)));
    let removed = rewrite.remove.iter().map(|name| name.as_str().to_owned());
    let parameter = |(key, value): &(String, String)| QueryParameter { key: key.clone(), value: value.clone() };
    let ok = OkHttpResponse {
        headers,
        headers_to_remove: ours.into_iter().chain(removed).collect(),
        response_headers_to_add: options(response.headers(), |name| name.starts_with("aegis-")),
        query_parameters_to_set: rewrite.query.iter().map(parameter).collect(),
        ..OkHttpResponse::default()
    };
    CheckResponse {
        status: Some(status(OK, explanation)),
        dynamic_metadata: Some(metadata(explanation)),
        http_response: Some(HttpResponse::OkResponse(ok)),
    }
}

/// The call may not pass, and `response` says why.
pub(super) async fn refused(explanation: &Explanation, response: Response<AnyBody>) -> CheckResponse {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_else(|error| {
        // Ours are in memory; the status says no without it.
        tracing::error!(%error, "the body of a refusal can't be read");
        Bytes::new()
    });
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(head.status.as_u16()) }),
        headers: options(&head.headers, |_| true),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let code = if explanation.code == Some(Code::IdentityRejected) { UNAUTHENTICATED } else { PERMISSION_DENIED };
    CheckResponse {
        status: Some(status(code, explanation)),
        dynamic_metadata: Some(metadata(explanation)),
        http_response: Some(HttpResponse::DeniedResponse(denied)),
    }
}

fn status(code: i32, explanation: &Explanation) -> rpc::Status {
    rpc::Status { code, message: explanation.reason.clone(), details: Vec::new() }
}

fn options(headers: &HeaderMap, which: impl Fn(&str) -> bool) -> Vec<HeaderValueOption> {
    let each = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let each = each.filter(|(name, _)| which(name));
    each.map(|(name, value)| option(name, value, HeaderAppendAction::OverwriteIfExistsOrAdd)).collect()
}

fn option(name: &str, value: &str, action: HeaderAppendAction) -> HeaderValueOption {
    let header = EnvoyHeader { key: name.to_owned(), value: value.to_owned(), ..EnvoyHeader::default() };
    HeaderValueOption { header: Some(header), append_action: action.into(), ..HeaderValueOption::default() }
}

/// What Envoy's access log and other filters may want of a decision: names and reasons, no raw value.
fn metadata(explanation: &Explanation) -> Struct {
    let call = explanation.call.as_ref();
    let fields = [
        ("decision", Some(explanation.decision.as_str())),
        ("would_decision", explanation.would_decision.map(|would| would.as_str())),
        ("decision_id", Some(explanation.decision_id.as_str())),
        ("policy_version", Some(explanation.policy_version.as_str())),
        ("reason", Some(explanation.reason.as_str())),
        ("agent_id", explanation.agent.as_ref().map(|agent| agent.id.as_str())),
        ("tool", call.map(|call| call.tool.as_str())),
        ("action", call.map(|call| call.action.as_str())),
        ("env", call.map(|call| call.env.as_str())),
    ];
    let text = |value: &str| Value { kind: Some(Kind::StringValue(value.to_owned())) };
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), text(value?))));
    let ours = Value { kind: Some(Kind::StructValue(Struct { fields: fields.collect() })) };
    Struct { fields: [(NAMESPACE.to_owned(), ours)].into() }
}
