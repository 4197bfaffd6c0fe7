use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::enforce::settings::{Exec, Secret};

async fn shown(presented: &Presented) -> Result<String, String> {
    let Shown::Header(name, value) = presented.show().await?;
    assert!(value.is_sensitive());
    Ok(format!("{name}: {}", value.to_str().expect("text")))
}

#[tokio::test]
async fn a_secret_in_a_file_is_read_again_and_none_is_used_once_it_is_gone() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("token");
    let file = Credential::BearerFile(path.clone());
    assert!(Presented::new(&file).is_err_and(|why| why.contains("can't be read")));
    fs::write(&path, "\n").expect("written");
    assert!(Presented::new(&file).is_err_and(|why| why.contains("is empty")));

    fs::write(&path, "first\n").expect("written");
    let presented = Presented::looked_at(&file, Duration::ZERO).expect("a credential");
    assert_eq!(shown(&presented).await.as_deref(), Ok("authorization: Bearer first"));
    fs::write(&path, "second\r\n").expect("written");
    assert_eq!(shown(&presented).await.as_deref(), Ok("authorization: Bearer second"));
    for unusable in ["", "two\nlines", &"x".repeat(70_000)] {
        fs::write(&path, unusable).expect("written");
        let why = shown(&presented).await.expect_err("none");
        assert!(!why.contains("two") && !why.contains("second"), "{why}");
    }
    fs::remove_file(&path).expect("there");
    assert!(shown(&presented).await.is_err_and(|why| why.contains("can't be read")));
    fs::write(&path, "third").expect("written");
    assert_eq!(shown(&presented).await.as_deref(), Ok("authorization: Bearer third"));
}

#[tokio::test]
async fn a_file_is_not_read_for_every_call() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("token");
    fs::write(&path, "first").expect("written");
    let presented = Presented::looked_at(&Credential::BearerFile(path.clone()), Duration::from_mins(1));
    let presented = presented.expect("a credential");
    fs::write(&path, "second").expect("written");
    assert_eq!(shown(&presented).await.as_deref(), Ok("authorization: Bearer first"));
}

#[tokio::test]
async fn every_kind_is_one_header() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("secret");
    fs::write(&path, "s3cret\n").expect("written");
    let secret = || Secret::new("s3cret");
    let basic = format!("authorization: Basic {}", STANDARD.encode("ci:s3cret"));
    for (credential, expected) in [
        (Credential::Basic { user: "ci".to_owned(), password: secret() }, basic.as_str()),
        (Credential::BasicFile { user: "ci".to_owned(), path: path.clone() }, &basic),
        (Credential::Header { name: "PRIVATE-TOKEN".to_owned(), value: secret() }, "private-token: s3cret"),
        (Credential::HeaderFile { name: "x-api-key".to_owned(), path }, "x-api-key: s3cret"),
    ] {
        let presented = Presented::new(&credential).expect("a credential");
        assert_eq!(shown(&presented).await.as_deref(), Ok(expected), "{credential:?}");
    }
}

fn exec(script: &str) -> Exec {
    Exec {
        command: ["sh", "-c", script].map(str::to_owned).into(),
        env: BTreeMap::from([("GIVEN".to_owned(), "yes".to_owned())]),
        header: None,
        timeout: Duration::from_secs(5),
        ttl: Duration::from_mins(1),
    }
}

#[tokio::test]
async fn a_program_is_run_once_for_all_calls_until_its_credential_ends() {
    let dir = tempfile::tempdir().expect("a folder");
    let runs = dir.path().join("runs");
    let script = format!("echo run >> {}; echo token-$GIVEN-$CARGO_MANIFEST_DIR$KUBERNETES_EXEC_INFO", runs.display());
    let presented = Presented::new(&Credential::Exec(exec(&format!("{script} | tr -dc a-z-")))).expect("a credential");
    let (one, two, three) = tokio::join!(shown(&presented), shown(&presented), shown(&presented));
    let one = one.expect("a token");
    assert!(one.starts_with("authorization: Bearer token-yes-apiersionclientauthentication"), "{one}");
    assert_eq!((two.expect("a token"), three.expect("a token")), (one.clone(), one));
    assert_eq!(fs::read_to_string(&runs).expect("there"), "run\n");

    let short = Exec { ttl: Duration::ZERO, header: Some("x-token".to_owned()), ..exec(&format!("{script} | wc -c")) };
    let presented = Presented::new(&Credential::Exec(short)).expect("a credential");
    assert!(shown(&presented).await.expect("a token").starts_with("x-token: "));
    shown(&presented).await.expect("a token");
    assert_eq!(fs::read_to_string(&runs).expect("there"), "run\n".repeat(3));
}

#[tokio::test]
async fn a_program_that_fails_says_why_without_what_it_printed() {
    for (script, why) in [
        ("echo s3cret; echo s3cret >&2; exit 3", "exit status: 3"),
        ("true", "printed nothing"),
        ("echo s3cret; echo s3cret", "more than one line"),
        ("head -c 100000 /dev/zero | tr '\\0' s", "too much"),
        ("echo '{\"s3cret\":'", "no ExecCredential"),
        ("sleep 30", "took longer"),
    ] {
        let exec = Exec { timeout: Duration::from_secs(1), ..exec(script) };
        let presented = Presented::new(&Credential::Exec(exec)).expect("a credential");
        let said = shown(&presented).await.expect_err(script);
        assert!(said.contains(why) && !said.contains("s3cret"), "{script}: {said}");
    }
    let missing = Exec { command: vec!["/nowhere/at-all".to_owned()], ..exec("") };
    let presented = Presented::new(&Credential::Exec(missing)).expect("a credential");
    assert!(shown(&presented).await.is_err_and(|why| why.contains("can't be run")));
    assert!(Presented::new(&Credential::Exec(Exec { command: Vec::new(), ..exec("") })).is_err());
}

#[test]
fn an_answer_does_not_show_the_secret_back() {
    let bearer = Shown::Header(header::AUTHORIZATION, HeaderValue::from_static("Bearer s3cret-token"));
    let mut headers = HeaderMap::new();
    headers.insert("x-was-sent", HeaderValue::from_static("Authorization=Bearer s3cret-token"));
    headers.insert("location", HeaderValue::from_static("/?token=s3cret-token&x"));
    headers.insert("x-other", HeaderValue::from_static("s3cret"));
    bearer.hide_in(&mut headers);
    assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
    Shown::Header(header::AUTHORIZATION, HeaderValue::from_static("Bearer s3cret")).hide_in(&mut headers);
    assert_eq!(headers.len(), 1, "too short to be looked for");
}
