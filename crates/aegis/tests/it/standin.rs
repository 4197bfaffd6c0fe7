//! A stand-in for the Kubernetes API, **not a Kubernetes**: it speaks just enough of the HTTP API for kubectl to discover, read,
//! scale, apply, patch and delete objects, keeps them in memory, and records every request that reaches it. It checks no schema
//! and no permission. A real kube-apiserver takes its place with the issue on the catalogue.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::secure::Authority;
use crate::upstream::serve;

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
        let this = Self::with(namespaces);
        let address = serve(this.app()).await;
        (this, address)
    }

    /// The same over TLS, certified by `authority`.
    pub(crate) async fn start_secure(namespaces: &[&str], authority: &Authority) -> (Self, SocketAddr) {
        let this = Self::with(namespaces);
        let address = authority.serve(&["127.0.0.1"], this.app()).await;
        (this, address)
    }

    fn with(namespaces: &[&str]) -> Self {
        let this = Self::default();
        for namespace in namespaces {
            let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/web");
            this.objects.lock().unwrap().insert(path, deployment(namespace, "web", 3));
        }
        this
    }

    fn app(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
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

    /// The token that it gives out for the service account of Aegis.
    pub fn token(account: &str) -> String {
        ["token", "of", account].join("-")
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
    if let Some(account) = path.strip_suffix("/token").and_then(|of| of.rsplit('/').next()) {
        let status = json!({"token": Kubernetes::token(account), "expirationTimestamp": "2100-01-01T00:00:00Z"});
        let request = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
            "spec": {"audiences": []}, "status": status});
        return (StatusCode::CREATED, axum::Json(request)).into_response();
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

/// What it says that it has: group, resource, kind, whether it stands in a namespace.
const RESOURCES: [(&str, &str, &str, bool); 10] = [
    ("", "namespaces", "Namespace", false),
    ("", "pods", "Pod", true),
    ("", "secrets", "Secret", true),
    ("", "serviceaccounts", "ServiceAccount", true),
    ("apps", "deployments", "Deployment", true),
    ("networking.k8s.io", "networkpolicies", "NetworkPolicy", true),
    ("rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBinding", false),
    ("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", false),
    ("rbac.authorization.k8s.io", "rolebindings", "RoleBinding", true),
    ("rbac.authorization.k8s.io", "roles", "Role", true),
];

fn discovery(path: &str) -> Option<Value> {
    Some(match path {
        "/version" => json!({"major": "1", "minor": "36", "gitVersion": "v1.36.0-standin"}),
        "/api" => json!({"kind": "APIVersions", "versions": ["v1"]}),
        "/apis" => {
            let mut names: Vec<&str> = RESOURCES.iter().map(|of| of.0).filter(|group| !group.is_empty()).collect();
            names.dedup();
            let group = |name: &&str| {
                let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
                json!({"name": name, "versions": [version], "preferredVersion": version})
            };
            let groups: Vec<Value> = names.iter().map(group).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        "/api/v1" => resources("", "v1"),
        "/openapi/v3" => {
            let at = |group: &str| if group.is_empty() { "api/v1".to_owned() } else { format!("apis/{group}/v1") };
            let places = RESOURCES
                .iter()
                .map(|of| (at(of.0), json!({"serverRelativeURL": format!("/openapi/v3/{}", at(of.0))})));
            json!({"paths": places.collect::<serde_json::Map<_, _>>()})
        }
        _ => match path.strip_prefix("/openapi/v3/") {
            Some(at) => schema(at.strip_prefix("apis/").and_then(|at| at.strip_suffix("/v1")).unwrap_or_default()),
            None => {
                let group = path.strip_prefix("/apis/")?.strip_suffix("/v1")?;
                RESOURCES.iter().any(|of| of.0 == group).then(|| resources(group, &format!("{group}/v1")))?
            }
        },
    })
}

fn resources(group: &str, version: &str) -> Value {
    let verbs = json!(["create", "delete", "get", "list", "patch", "update", "watch"]);
    let of = RESOURCES.iter().filter(|of| of.0 == group);
    let mut list: Vec<Value> = of
        .map(|(_, name, kind, namespaced)| {
            let short: &[&str] = if *name == "deployments" { &["deploy"] } else { &[] };
            json!({"name": name, "singularName": kind.to_lowercase(), "namespaced": namespaced, "kind": kind, "verbs": verbs,
                "shortNames": short})
        })
        .collect();
    if group == "apps" {
        list.push(json!({"name": "deployments/scale", "singularName": "", "namespaced": true, "group": "autoscaling",
            "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"]}));
    }
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": list})
}

/// Just enough of an OpenAPI document for kubectl to see that the server checks the fields of what it is sent.
fn schema(group: &str) -> Value {
    let paths = RESOURCES.iter().filter(|of| of.0 == group).map(|(_, name, kind, _)| {
        let parameters = json!([{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]);
        let of = json!({"group": group, "version": "v1", "kind": kind});
        let patch = json!({"parameters": parameters, "x-kubernetes-group-version-kind": of, "responses": {}});
        (format!("/{group}/v1/{name}/{{name}}"), json!({"patch": patch}))
    });
    let paths: serde_json::Map<String, Value> = paths.collect();
    json!({"openapi": "3.0.0", "info": {"title": "a stand-in", "version": "1"}, "paths": paths})
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
