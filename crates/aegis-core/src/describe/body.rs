//! A body's bytes → the documents that parameters are read from.
//!
//! The media type says how; an action lists the decoders that its tool understands there. What none of them reads is
//! [`Decoded::Opaque`] (the call becomes `unknown`); what one of them should read and can't is [`Unreadable`].

use std::collections::BTreeSet;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use super::coding::is_coded;
use super::graphql;
use super::grpc::{self, Message};
use super::json::{self, MAX_DEPTH};
use super::pointer::{fold, tokens};
use super::protobuf;
use super::target::pairs;
use super::{Unreadable, bracket, crate_file, git, multipart, npm, python_file};
use crate::document;

/// Most tokens of all paths of a JSON Patch together: each becomes an object, hundreds of times its size in the body.
const MAX_PATCH_TOKENS: usize = 100_000;

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Decoder {
    /// `application/json`.
    Json,
    /// No `Content-Type` at all, read as JSON. Only where a tool's own client sends that.
    Sniff,
    /// `application/merge-patch+json` (RFC 7396).
    MergePatch,
    /// `application/strategic-merge-patch+json` of Kubernetes.
    StrategicMerge,
    /// `application/json-patch+json` (RFC 6902).
    JsonPatch,
    /// `application/apply-patch+yaml` of Kubernetes: YAML, or JSON.
    ApplyPatch,
    /// `application/yaml`.
    Yaml,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`, a name at most once.
    Multipart,
    /// A form whose field names have brackets, as nested objects.
    BracketForm,
    /// A form whose field names have dots, as nested objects.
    DottedForm,
    /// `application/x-amz-json-1.0` and `-1.1` of AWS.
    AmzJson,
    /// `application/vnd.kubernetes.protobuf`.
    KubernetesProtobuf,
    /// Any type with the suffix `+json` (RFC 6839).
    JsonSuffix,
    /// `application/json` that holds a GraphQL request: one document for each root field; see [`super::graphql`].
    Graphql,
    /// One message of gRPC or gRPC-Web, by the fields that the entry lists; see [`super::grpc`].
    Grpc,
    /// Parameters that stand in the query, in the body, or in both alike, for tools that look in both.
    Query,
    /// A `git push`, up to its pack.
    GitReceivePack,
    /// `application/json`, the document of an npm package.
    NpmPackage,
    /// `multipart/form-data`, an upload of a Python distribution.
    PythonUpload,
    /// What `cargo publish` sends, whatever its media type.
    Crate,
    /// Whatever no other of the action's decoders takes, as bytes: nothing is read from it but its digest.
    Bytes,
}

impl Decoder {
    pub(super) const ALL: [(&'static str, Self); 22] = [
        ("json", Self::Json),
        ("sniff", Self::Sniff),
        ("merge-patch", Self::MergePatch),
        ("strategic-merge", Self::StrategicMerge),
        ("json-patch", Self::JsonPatch),
        ("apply-patch", Self::ApplyPatch),
        ("yaml", Self::Yaml),
        ("form", Self::Form),
        ("multipart", Self::Multipart),
        ("bracket-form", Self::BracketForm),
        ("dotted-form", Self::DottedForm),
        ("amz-json", Self::AmzJson),
        ("kubernetes-protobuf", Self::KubernetesProtobuf),
        ("+json", Self::JsonSuffix),
        ("graphql", Self::Graphql),
        ("grpc", Self::Grpc),
        ("query", Self::Query),
        ("git-receive-pack", Self::GitReceivePack),
        ("npm-package", Self::NpmPackage),
        ("python-upload", Self::PythonUpload),
        ("crate", Self::Crate),
        ("bytes", Self::Bytes),
    ];

    /// Whether it is for bodies of this media type; `None` is no `Content-Type` at all.
    fn takes(self, media_type: Option<&str>) -> bool {
        match (self, media_type) {
            (Self::Bytes | Self::Crate, _) => true,
            (Self::Sniff, media_type) => media_type.is_none(),
            (_, None) | (Self::Query, _) => false,
            (Self::Grpc, Some(media_type)) => grpc::takes(media_type),
            (Self::JsonSuffix, Some(media_type)) => media_type.ends_with("+json"),
            (Self::Json | Self::Graphql | Self::NpmPackage, Some(media_type)) => media_type == "application/json",
            (Self::GitReceivePack, Some(media_type)) => media_type == "application/x-git-receive-pack-request",
            (Self::MergePatch, Some(media_type)) => media_type == "application/merge-patch+json",
            (Self::StrategicMerge, Some(media_type)) => media_type == "application/strategic-merge-patch+json",
            (Self::JsonPatch, Some(media_type)) => media_type == "application/json-patch+json",
            (Self::ApplyPatch, Some(media_type)) => media_type == "application/apply-patch+yaml",
            (Self::Yaml, Some(media_type)) => media_type == "application/yaml",
            (Self::Multipart | Self::PythonUpload, Some(media_type)) => media_type == "multipart/form-data",
            (Self::Form | Self::BracketForm | Self::DottedForm, Some(media_type)) => {
                media_type == "application/x-www-form-urlencoded"
            }
            (Self::AmzJson, Some(media_type)) => {
                matches!(media_type, "application/x-amz-json-1.0" | "application/x-amz-json-1.1")
            }
            (Self::KubernetesProtobuf, Some(media_type)) => media_type == "application/vnd.kubernetes.protobuf",
        }
    }
}

/// What a body says.
#[derive(Debug, PartialEq)]
pub(super) enum Decoded {
    /// The documents; none for an empty body. A JSON Patch is one sparse document for each change.
    Documents {
        documents: Vec<Value>,
        /// Whether all scalars are text, as in a form.
        textual: bool,
    },
    /// It can't be read here, because of this.
    Opaque(String),
}

/// Reads a body by its headers, with one of `allowed`.
pub(super) fn decode(
    headers: &HeaderMap,
    body: &[u8],
    allowed: &[Decoder],
    message: &Message,
) -> Result<Decoded, Unreadable> {
    let media_type = media_type(headers)?;
    if body.is_empty() {
        return Ok(Decoded::Documents { documents: Vec::new(), textual: false });
    }
    // The action's order; `bytes` is what is left.
    let takes = |decoder: &&Decoder| decoder.takes(media_type.as_deref());
    let decoder = allowed.iter().filter(|decoder| **decoder != Decoder::Bytes).find(takes);
    let Some(decoder) = decoder.or_else(|| allowed.iter().find(takes)).copied() else {
        let kind = media_type.unwrap_or_else(|| "of no media type".to_owned());
        return Ok(Decoded::Opaque(format!("the body is {kind}, which is not decoded here")));
    };
    if is_coded(headers) {
        return Err(Unreadable::new("content_encoding", "send the body without a Content-Encoding: it has to be read"));
    }
    let documents = match decoder {
        Decoder::Json
        | Decoder::Sniff
        | Decoder::MergePatch
        | Decoder::StrategicMerge
        | Decoder::AmzJson
        | Decoder::JsonSuffix => vec![json::parse(body)?],
        Decoder::Graphql => return graphql::read(body),
        Decoder::Grpc => return grpc::read(body, message),
        Decoder::KubernetesProtobuf => return protobuf::kubernetes(body),
        Decoder::JsonPatch => return json_patch(json::parse(body)?),
        Decoder::ApplyPatch | Decoder::Yaml => vec![yaml(body)?],
        Decoder::Form => vec![form(body)?],
        Decoder::Multipart => match multipart::form(content_type(headers), body)? {
            Value::Object(fields) if allowed.contains(&Decoder::BracketForm) => vec![bracket::nested(fields)?],
            flat => vec![flat],
        },
        Decoder::BracketForm => vec![bracket::parse(body)?],
        Decoder::DottedForm => vec![bracket::dotted(body)?],
        Decoder::GitReceivePack => {
            let cut_off = || Unreadable::new("git_malformed", "the push ends before it has said all that it asks for");
            let (push, _) = git::beginning(body)?.ok_or_else(cut_off)?;
            vec![push.document()]
        }
        Decoder::NpmPackage => vec![npm::document(body)?],
        Decoder::PythonUpload => vec![python_file::document(content_type(headers), body)?],
        Decoder::Crate => vec![crate_file::document(body)?],
        Decoder::Bytes | Decoder::Query => Vec::new(),
    };
    Ok(Decoded::Documents {
        documents,
        textual: matches!(
            decoder,
            Decoder::Form | Decoder::BracketForm | Decoder::DottedForm | Decoder::Multipart | Decoder::PythonUpload
        ),
    })
}

/// The one `Content-Type`, whose media type was read.
fn content_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The same with what the query says, as one more document of texts.
///
/// Servers that look in both places don't agree on which one wins, so a place that both of them fill is read from both, and
/// refused where they differ. Its names have brackets where a form's have. Beside JSON a query isn't read: its texts would stand
/// beside numbers.
pub(super) fn with_query(
    decoded: Decoded,
    query: &[(String, String)],
    allowed: &[Decoder],
) -> Result<Decoded, Unreadable> {
    match decoded {
        decoded if query.is_empty() => Ok(decoded),
        Decoded::Documents { mut documents, textual } if textual || documents.is_empty() => {
            let fields = query.iter().cloned();
            documents.push(match allowed.contains(&Decoder::BracketForm) {
                true => bracket::nested(fields.map(|(name, text)| (name, Value::String(text))))?,
                false => flat(fields)?,
            });
            Ok(Decoded::Documents { documents, textual: true })
        }
        Decoded::Documents { .. } => {
            Ok(Decoded::Opaque("there are parameters in the query and in the body".to_owned()))
        }
        opaque @ Decoded::Opaque(_) => Ok(opaque),
    }
}

/// The media type in lower case, without parameters.
fn media_type(headers: &HeaderMap) -> Result<Option<String>, Unreadable> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let malformed = || Unreadable::new("content_type", "the request must have one well-formed Content-Type");
    let text = value.to_str().map_err(|_| malformed())?;
    // A comma would be two of them in one field line.
    if values.next().is_some() || text.contains(',') {
        return Err(malformed());
    }
    if names_another_charset(text) {
        return Err(Unreadable::new("content_charset", "send the body in UTF-8"));
    }
    Ok(text.split(';').next().map(|media_type| media_type.trim().to_ascii_lowercase()))
}

/// Whether a `Content-Type` names another charset than UTF-8.
pub(super) fn names_another_charset(content_type: &str) -> bool {
    content_type.split(';').skip(1).map(str::trim).any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.eq_ignore_ascii_case("charset") && !value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    })
}

/// One YAML document by the strict reader. What starts like a JSON object must be one.
fn yaml(body: &[u8]) -> Result<Value, Unreadable> {
    let text = std::str::from_utf8(body).map_err(|_| Unreadable::new("yaml_malformed", "the body is not UTF-8"))?;
    let malformed = |diagnostic| Unreadable::new("yaml_malformed", format!("the YAML can't be read: {diagnostic}"));
    if text.trim_start().starts_with('{') {
        // Its reader takes it for YAML all the same.
        document::check_characters("body", text).map_err(malformed)?;
        return json::parse(body);
    }
    let documents = document::parse("body", text).map_err(malformed)?;
    match documents.as_slice() {
        [only] => Ok(only.to_json()),
        _ => Err(Unreadable::new("yaml_documents", "the body must be exactly one YAML document")),
    }
}

/// A form as one flat object of texts.
fn form(body: &[u8]) -> Result<Value, Unreadable> {
    let text = std::str::from_utf8(body).map_err(|_| Unreadable::new("form_malformed", "the form is not UTF-8"))?;
    flat(pairs(text)?)
}

fn flat(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Value, Unreadable> {
    let mut map = Map::new();
    let mut seen = BTreeSet::new();
    for (key, value) in pairs {
        if !seen.insert(fold(&key)) {
            let message = format!("the form's field {key:?} stands twice");
            return Err(Unreadable::new("form_duplicate_field", message));
        }
        map.insert(key, Value::String(value));
    }
    Ok(Value::Object(map))
}

/// Each `add` and `replace` as a sparse document with its value in its place, and a `remove` with null there, as in a merge
/// patch. A `test` changes nothing. The others move what isn't in the request, so that what results can't be known from it.
fn json_patch(patch: Value) -> Result<Decoded, Unreadable> {
    let malformed = |index: usize, why: &str| Unreadable::new("json_patch", format!("/{index}: {why}"));
    let Value::Array(operations) = patch else {
        return Err(Unreadable::new("json_patch", "a JSON Patch is a list of operations"));
    };
    let mut documents = Vec::new();
    let mut left = MAX_PATCH_TOKENS;
    for (index, operation) in operations.into_iter().enumerate() {
        let Value::Object(mut operation) = operation else {
            return Err(malformed(index, "an operation is an object"));
        };
        let text = |key: &str| operation.get(key).and_then(Value::as_str);
        let (Some(op), Some(path)) = (text("op"), text("path")) else {
            return Err(malformed(index, "an operation has `op` and `path`"));
        };
        match op {
            "test" => continue,
            "add" | "replace" | "remove" => {}
            "move" | "copy" => {
                return Ok(Decoded::Opaque(format!("the JSON Patch has a {op:?}, whose result is not in the request")));
            }
            _ => return Err(malformed(index, "unknown `op`")),
        }
        let removes = op == "remove";
        let path = tokens(path).ok_or_else(|| malformed(index, "`path` is no JSON Pointer"))?;
        if path.len() > MAX_DEPTH {
            return Err(malformed(index, "`path` is too deep"));
        }
        left = left.checked_sub(path.len()).ok_or_else(|| malformed(index, "the operations are too many to read"))?;
        let value = if removes { Some(Value::Null) } else { operation.remove("value") };
        let value = value.ok_or_else(|| malformed(index, "`value` is missing"))?;
        let sparse = |value, key: String| Value::Object(Map::from_iter([(key, value)]));
        documents.push(path.into_iter().rev().fold(value, sparse));
    }
    Ok(Decoded::Documents { documents, textual: false })
}
