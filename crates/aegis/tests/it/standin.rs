//! A stand-in for the Kubernetes API, **not a Kubernetes**: it speaks just enough of the HTTP API for kubectl to discover, read,
//! scale, apply, patch and delete deployments, keeps them in memory, and records every request that reaches it. A real
//! kube-apiserver takes its place with the issue on the catalogue.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// One request that reached the tool.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub authorization: Option<String>,
    pub headers: Vec<String>,
}

#[derive(Clone, Default)]
pub struct Kubernetes {
    seen: Arc<Mutex<Vec<Seen>>>,
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Kubernetes {
    /// Starts it on a free loopback port, with a deployment `web` in each of `namespaces`. Stops with its runtime.
    pub async fn start(namespaces: &[&str]) -> (Self, SocketAddr) {
        let this = Self::default();
        for namespace in namespaces {
            let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/web");
            this.objects.lock().unwrap().insert(path, deployment(namespace, "web", 3));
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let app = Router::new().fallback(answer).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (this, address)
    }

    /// The writes that reached it, as `METHOD path`.
    pub fn writes(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|s| s.method != "GET").map(|s| format!("{} {}", s.method, s.path)).collect()
    }

    /// Everything that reached it.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The replicas that a deployment has now.
    pub fn replicas(&self, namespace: &str) -> Option<i64> {
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/web");
        self.objects.lock().unwrap().get(&path)?.pointer("/spec/replicas")?.as_i64()
    }
}

async fn answer(State(this): State<Kubernetes>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    this.seen.lock().unwrap().push(Seen {
        method: method.to_string(),
        path: uri.path().to_owned(),
        authorization: headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).map(String::from),
        headers: headers.keys().map(ToString::to_string).collect(),
    });
    let path = uri.path();
    if method == Method::GET
        && let Some(document) = discovery(path)
    {
        return axum::Json(document).into_response();
    }
    let mut objects = this.objects.lock().unwrap();
    if let Some(of) = path.strip_suffix("/scale") {
        return scale(&mut objects, of, &method, &body);
    }
    match method {
        Method::GET => match objects.get(path) {
            Some(object) => axum::Json(object.clone()).into_response(),
            None if path.ends_with("/deployments") => {
                let items: Vec<_> =
                    objects.iter().filter(|(k, _)| k.starts_with(path)).map(|(_, v)| v.clone()).collect();
                let list = json!({"kind": "DeploymentList", "apiVersion": "apps/v1", "metadata": {}, "items": items});
                axum::Json(list).into_response()
            }
            None => not_found(path),
        },
        Method::POST => {
            let Ok(object) = serde_json::from_slice::<Value>(&body) else { return not_found(path) };
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            objects.insert(format!("{path}/{name}"), object.clone());
            (StatusCode::CREATED, axum::Json(object)).into_response()
        }
        Method::PUT | Method::PATCH => match (objects.get_mut(path), serde_json::from_slice::<Value>(&body)) {
            (Some(object), Ok(patch)) => {
                merge(object, &patch);
                axum::Json(object.clone()).into_response()
            }
            _ => not_found(path),
        },
        Method::DELETE => match objects.remove(path) {
            Some(_) => axum::Json(json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})).into_response(),
            None => not_found(path),
        },
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn scale(objects: &mut BTreeMap<String, Value>, of: &str, method: &Method, body: &[u8]) -> Response {
    let Some(object) = objects.get_mut(of) else { return not_found(of) };
    if *method != Method::GET {
        let wanted = serde_json::from_slice::<Value>(body).ok().and_then(|v| v.pointer("/spec/replicas").cloned());
        if let (Some(wanted), Some(slot)) = (wanted, object.pointer_mut("/spec/replicas")) {
            *slot = wanted;
        }
    }
    let replicas = object.pointer("/spec/replicas").cloned();
    let meta = object.pointer("/metadata").cloned();
    axum::Json(json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta,
        "spec": {"replicas": replicas}, "status": {"replicas": replicas, "selector": "app=web"}}))
    .into_response()
}

fn discovery(path: &str) -> Option<Value> {
    let verbs = json!(["create", "delete", "get", "list", "patch", "update", "watch"]);
    Some(match path {
        "/version" => json!({"major": "1", "minor": "36", "gitVersion": "v1.36.0-standin"}),
        "/api" => json!({"kind": "APIVersions", "versions": ["v1"]}),
        "/apis" => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [{"name": "apps",
            "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
            "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"}}]}),
        "/api/v1" => json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
            {"name": "secrets", "singularName": "secret", "namespaced": true, "kind": "Secret", "verbs": verbs}]}),
        "/apis/apps/v1" => {
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "apps/v1", "resources": [
            {"name": "deployments", "singularName": "deployment", "namespaced": true, "kind": "Deployment",
             "verbs": verbs, "shortNames": ["deploy"]},
            {"name": "deployments/scale", "singularName": "", "namespaced": true, "group": "autoscaling", "version": "v1",
             "kind": "Scale", "verbs": ["get", "patch", "update"]}]})
        }
        _ => return None,
    })
}

fn deployment(namespace: &str, name: &str, replicas: i64) -> Value {
    json!({"kind": "Deployment", "apiVersion": "apps/v1",
        "metadata": {"name": name, "namespace": namespace, "resourceVersion": "1", "uid": "0"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "registry.example/web:old"}]}}},
        "status": {"replicas": replicas}})
}

/// RFC 7396, as far as the tests need it.
fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

fn not_found(path: &str) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
        "message": format!("{path} not found")});
    (StatusCode::NOT_FOUND, axum::Json(status)).into_response()
}
