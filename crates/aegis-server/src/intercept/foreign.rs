//! A credential for the tool that the agent brings itself, where the operator wants no other but Aegis's.
//!
//! Taken off it would be harmless; refused it is noticed: an agent that holds a secret of the tool's got it from somewhere. Looked for are
//! the headers and query keys by which tools take credentials. What stands in a body isn't: that is for rules. A query key is refused
//! wherever Aegis proves itself, for it can't be taken off what was read, and some tools (GitLab) believe it before a header.

use http::header::{AUTHORIZATION, HeaderMap};
use http::request::Parts;

use super::credential::TOKEN;
use super::way::Form;
use crate::enforce::is_credential;
use crate::pipeline::Foreign;

/// Query keys that are credentials, in lower case.
const KEYS: [&str; 9] = [
    "access_token",
    "api_key",
    "apikey",
    "auth_token",
    "job_token",
    "private_token",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-signature",
];

/// The first that a request brings and that isn't taken off, by its name. `injected`: Aegis has a credential of its own;
/// `refuses`: the operator wants no other.
pub(super) fn of(form: Form, head: &Parts, injected: bool, refuses: bool) -> Option<Foreign> {
    let name = || header(form, &head.headers).filter(|_| refuses).map(|name| format!("the header {name}"));
    let key = || key(head.uri.query()?).filter(|_| refuses || injected).map(|key| format!("the query key {key}"));
    name().or_else(key).map(Foreign)
}

/// On a route `Authorization` is for Aegis, unless a token for Aegis stands beside it.
fn header(form: Form, headers: &HeaderMap) -> Option<&str> {
    let ours = |name: &str| name == AUTHORIZATION.as_str() && form == Form::Route && !headers.contains_key(TOKEN);
    headers.keys().map(http::HeaderName::as_str).find(|name| is_credential(name) && !ours(name))
}

fn key(query: &str) -> Option<&'static str> {
    let mut named = form_urlencoded::parse(query.as_bytes());
    named.find_map(|(key, _)| KEYS.into_iter().find(|known| key.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(form: Form, target: &str, headers: &[(&str, &str)]) -> Option<String> {
        let mut request = http::Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        of(form, &request.body(()).expect("a request").into_parts().0, true, true).map(|found| found.0)
    }

    #[test]
    fn what_is_not_taken_off_is_refused_where_aegis_proves_itself() {
        let of = |target: &str, injected| {
            let request = http::Request::get(target).header("private-token", "theirs");
            of(Form::Route, &request.body(()).expect("a request").into_parts().0, injected, false).map(|found| found.0)
        };
        assert_eq!(of("/r/a/x", true), None);
        assert_eq!(of("/r/a/x?private_token=1", true).as_deref(), Some("the query key private_token"));
        assert_eq!(of("/r/a/x?private_token=1", false), None);
    }

    #[test]
    fn what_tools_take_for_a_credential_is_found_and_what_is_for_aegis_is_not() {
        let route = |headers: &[(&str, &str)]| found(Form::Route, "/r/a/x", headers);
        assert_eq!(route(&[("authorization", "Bearer ours"), ("accept", "*/*")]), None);
        assert_eq!(route(&[("aegis-token", "ours"), ("x-request-id", "1")]), None);
        let theirs = [("aegis-token", "ours"), ("authorization", "Bearer theirs")];
        assert_eq!(route(&theirs).as_deref(), Some("the header authorization"));
        assert!(found(Form::Within, "/x", &[("authorization", "Basic theirs")]).is_some());
        for name in [
            "PRIVATE-TOKEN",
            "x_api_key",
            "Cookie",
            "X-Vault-Token",
            "impersonate-user",
            "Job-Token",
            "X-Serverless-Authorization",
        ] {
            assert!(route(&[("aegis-token", "ours"), (name, "1")]).is_some(), "{name}");
        }
        for query in ["access_token=1", "a=1&Private_Token=2", "a=1&access%5Ftoken=2", "X-Amz-Signature=1"] {
            assert!(found(Form::Route, &format!("/r/a/x?{query}"), &[]).is_some(), "{query}");
        }
        assert_eq!(found(Form::Route, "/r/a/x?page_token=1&tokens=2", &[]), None);
    }
}
