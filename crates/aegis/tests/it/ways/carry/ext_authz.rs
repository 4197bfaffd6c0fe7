//! Envoy's check over gRPC, as Envoy sends it.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};

use super::super::data::Case;
use super::super::world::World;
use super::Way;

/// Envoy's operator names the route.
pub(super) fn by_route(world: &World, way: &Way, case: &Case) -> Result<String, String> {
    check(world, way, case, HashMap::from([("aegis.route".to_owned(), "it".to_owned())]))
}

/// Nothing but the request says where it goes.
pub(super) fn by_host(world: &World, way: &Way, case: &Case) -> Result<String, String> {
    check(world, way, case, HashMap::new())
}

fn check(world: &World, way: &Way, case: &Case, context_extensions: HashMap<String, String>) -> Result<String, String> {
    let request = Request { http: Some(request(world, way, case)), ..Request::default() };
    let attributes = AttributeContext { request: Some(request), context_extensions, ..AttributeContext::default() };
    let address = format!("http://{}", world.gateway.address("ext_authz"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let answer = runtime.block_on(async {
        let mut client = AuthorizationClient::connect(address).await.map_err(|error| error.to_string())?;
        let request = CheckRequest { attributes: Some(attributes) };
        client.check(request).await.map_err(|status| status.to_string())
    })?;
    decision_id(answer.into_inner())
}

fn request(world: &World, way: &Way, case: &Case) -> HttpRequest {
    let host = world.authority();
    let body = case.request.body.clone().unwrap_or_default().into_bytes();
    let mut headers: HashMap<String, String> = case.request.headers.clone().into_iter().collect();
    for (name, value) in
        [(":method", case.request.method.as_str()), (":path", &case.request.path), (":authority", host)]
    {
        headers.insert(name.to_owned(), value.to_owned());
    }
    headers.insert("authorization".to_owned(), format!("Bearer {}", world.token(way)));
    if !body.is_empty() {
        headers.insert("content-length".to_owned(), body.len().to_string());
    }
    headers.insert("x-envoy-auth-partial-body".to_owned(), "false".to_owned());
    HttpRequest {
        method: case.request.method.clone(),
        path: case.request.path.clone(),
        host: host.to_owned(),
        scheme: "http".to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        headers,
        raw_body: body,
        ..HttpRequest::default()
    }
}

/// It is among the headers for the client.
fn decision_id(response: CheckResponse) -> Result<String, String> {
    let find = |headers: &[HeaderValueOption]| {
        let headers = headers.iter().filter_map(|option| option.header.as_ref());
        headers
            .into_iter()
            .find(|header| header.key.eq_ignore_ascii_case("aegis-decision-id"))
            .map(|header| header.value.clone())
    };
    let id = match &response.http_response {
        Some(HttpResponse::OkResponse(ok)) => find(&ok.response_headers_to_add),
        Some(HttpResponse::DeniedResponse(denied)) => find(&denied.headers),
        Some(_) | None => None,
    };
    id.ok_or_else(|| format!("no decision in {response:?}"))
}
