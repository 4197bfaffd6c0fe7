use aegis_core::policy::{Archive, FileDigest, Options, PolicySet, Source};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    BundleSource, KeyError, SIGNING_KEY_FILE, SignatureError, SigningKey, SourceError, SourceSettings, VerifyingKey,
    sign, verify,
};
use crate::ca::Ca;
use crate::enforce::{Roots, Secret};

fn key() -> (tempfile::TempDir, SigningKey) {
    let folder = tempfile::tempdir().expect("a folder");
    let key = SigningKey::open(folder.path()).expect("a key");
    (folder, key)
}

fn public(key: &SigningKey) -> VerifyingKey {
    VerifyingKey::from_pem(key.public_pem().as_bytes()).expect("a key")
}

fn bundle() -> Archive {
    let text = "agent: a\nactions: [{name: deploy}]\n".to_owned();
    let source = Source { file: "p.yaml".to_owned(), text };
    PolicySet::load(&[source], Options::default()).expect("it loads").archive(None)
}

fn at() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a time")
}

/// `archive` with a token over these claims, as `key` signs it.
fn with_claims(archive: Archive, key: &SigningKey, claims: &Value) -> Archive {
    let header = Header { kid: Some(key.id().to_owned()), ..Header::new(Algorithm::ES256) };
    let token = jsonwebtoken::encode(&header, claims, key.encoding()).expect("signed");
    with_token(archive, &token)
}

fn with_token(archive: Archive, token: &str) -> Archive {
    archive.with(Archive::SIGNATURES_FILE, json!({"signatures": [token]}).to_string().into_bytes())
}

#[test]
fn the_key_is_made_once_and_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, key) = key();
    let path = folder.path().join(SIGNING_KEY_FILE);
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    let again = SigningKey::open(folder.path()).expect("a key");
    assert_eq!((again.id(), again.public_pem()), (key.id(), key.public_pem()));
    assert_eq!(public(&key).id(), key.id());
    assert!(!format!("{key:?}{:?}", public(&key)).contains("PRIVATE"));

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
    assert!(matches!(SigningKey::read(&path), Err(KeyError::File(_))));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
    assert!(matches!(SigningKey::read(&folder.path().join("none")), Err(KeyError::Missing(_))));
    // Of another curve, another kind, no key at all.
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key").serialize_pem();
    let ed = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key").serialize_pem();
    for bad in [other.as_str(), ed.as_str(), key.public_pem(), "", "x"] {
        std::fs::write(&path, bad).expect("written");
        assert!(matches!(SigningKey::open(folder.path()), Err(KeyError::NotSigning(_))), "{bad}");
    }
    for bad in [other.as_str(), "", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        assert!(matches!(VerifyingKey::from_pem(bad.as_bytes()), Err(KeyError::NotPublic)), "{bad}");
    }
}

#[test]
fn what_is_signed_verifies_and_says_when_and_by_whom() {
    let (_folder, key) = key();
    let signed = sign(bundle(), &key, at()).expect("signed");
    let found = verify(signed.clone(), &[public(&key)]).expect("good");
    assert_eq!((found.at, found.key.as_str()), (Some(at()), key.id()));
    assert_eq!(found.archive, signed);
    // Signed again, it has one signature, over the same.
    let again = sign(signed, &key, at()).expect("signed");
    assert!(verify(again.clone(), &[public(&key)]).is_ok());
    // Any of several keys; and files that were packed anew are the same files.
    let other = self::key().1;
    let packed = Archive::read(&again.write()).expect("an archive");
    assert!(verify(packed, &[public(&other), public(&key)]).is_ok());
}

#[test]
fn json_may_be_laid_out_anew_and_nothing_else() {
    let (_folder, key) = key();
    let signed = sign(bundle(), &key, at()).expect("signed");
    let file = |name: &str| String::from_utf8(signed.file(name).expect("there").to_vec()).expect("text");
    let spaced = format!(" {}\n", file("data.json"));
    assert!(verify(signed.clone().with("data.json", spaced.into_bytes()), &[public(&key)]).is_ok());
    let spaced = format!("{}\n", file("aegis/sources.json"));
    let error = verify(signed.clone().with("aegis/sources.json", spaced.into_bytes()), &[public(&key)]);
    assert_eq!(error.expect_err("refused"), SignatureError::Changed("aegis/sources.json".to_owned()));
}

#[test]
fn every_way_to_be_wrong_is_told() {
    let (_folder, key) = key();
    let (_other_folder, other) = self::key();
    let signed = sign(bundle(), &key, at()).expect("signed");
    let keys = [public(&key)];
    let refused = |archive: Archive| verify(archive, &keys).expect_err("refused");
    assert_eq!(refused(bundle()), SignatureError::Unsigned);
    assert_eq!(refused(signed.clone().with("x", Vec::new())), SignatureError::Added("x".to_owned()));
    assert_eq!(
        refused(signed.clone().with("data.json", b"{}".to_vec())),
        SignatureError::Changed("data.json".to_owned())
    );
    assert!(matches!(refused(signed.clone().with("data.json", b"{".to_vec())), SignatureError::Malformed(_)));
    let foreign = sign(bundle(), &other, at()).expect("signed");
    let unknown = SignatureError::UnknownKey { key: Some(other.id().to_owned()), known: format!("{:?}", key.id()) };
    assert_eq!(refused(foreign), unknown);

    let digests = bundle().digests().expect("digests");
    let claims = |files: &[FileDigest]| json!({ "files": files });
    let token = |claims: Value| with_claims(bundle(), &key, &claims);
    assert!(verify(token(claims(&digests)), &keys).is_ok());
    let mut more = digests.clone();
    more.push(FileDigest { name: "gone".to_owned(), ..digests[0].clone() });
    assert_eq!(refused(token(claims(&more))), SignatureError::Removed("gone".to_owned()));
    assert_eq!(refused(token(claims(&digests[1..]))), SignatureError::Added(digests[0].name.clone()));
    let twice = [&digests[..], &digests[..1]].concat();
    let weak: Vec<FileDigest> =
        digests.iter().map(|file| FileDigest { algorithm: "MD5".to_owned(), ..file.clone() }).collect();
    for malformed in [
        token(claims(&twice)),
        token(claims(&weak)),
        token(json!({})),
        token(json!({"files": digests, "scope": "write"})),
        token(json!({"files": digests, "iat": i64::MAX})),
        with_token(bundle(), ""),
        with_token(bundle(), "a.b.c"),
        signed.clone().with(Archive::SIGNATURES_FILE, b"[]".to_vec()),
        signed.clone().with(Archive::SIGNATURES_FILE, br#"{"signatures": []}"#.to_vec()),
        signed.with(Archive::SIGNATURES_FILE, br#"{"signatures": ["a", "b"]}"#.to_vec()),
    ] {
        let error = refused(malformed);
        assert!(matches!(error, SignatureError::Malformed(_)), "{error}");
    }
}

/// The key fixes the algorithm: what the token's header says of it is not obeyed.
#[test]
fn a_token_can_not_choose_its_algorithm() {
    let (_folder, key) = key();
    let claims = json!({"files": bundle().digests().expect("digests")});
    let header = |algorithm| Header { kid: Some(key.id().to_owned()), ..Header::new(algorithm) };
    // The public key as a shared secret, the classic.
    let secret = EncodingKey::from_secret(key.public_pem().as_bytes());
    let token = jsonwebtoken::encode(&header(Algorithm::HS256), &claims, &secret).expect("signed");
    let forged = SignatureError::Forged(key.id().to_owned());
    assert_eq!(verify(with_token(bundle(), &token), &[public(&key)]).expect_err("refused"), forged);
    // Without any.
    let good = jsonwebtoken::encode(&header(Algorithm::ES256), &claims, key.encoding()).expect("signed");
    let (head_and_claims, _) = good.rsplit_once('.').expect("three parts");
    let (_, body) = head_and_claims.split_once('.').expect("two parts");
    use base64::Engine as _;
    let none = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    assert!(verify(with_token(bundle(), &format!("{none}.{body}.")), &[public(&key)]).is_err());
    assert!(verify(with_token(bundle(), &format!("{head_and_claims}.")), &[public(&key)]).is_err());
}

#[test]
fn ed25519_and_rsa_sign_too() {
    let ed = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let public = VerifyingKey::from_pem(ed.public_key_pem().as_bytes()).expect("a key");
    let encoding = EncodingKey::from_ed_pem(ed.serialize_pem().as_bytes()).expect("a key");
    let claims = json!({"files": bundle().digests().expect("digests")});
    let token = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &encoding).expect("signed");
    assert!(verify(with_token(bundle(), &token), &[public]).is_ok());

    let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("a key");
    let private = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&rsa).expect("DER");
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&private.as_ref().into(), &rcgen::PKCS_RSA_SHA256);
    let pair = pair.expect("a key");
    let public = VerifyingKey::from_pem(pair.public_key_pem().as_bytes()).expect("a key");
    let encoding = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let token = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &encoding).expect("signed");
    assert!(verify(with_token(bundle(), &token), &[public]).is_ok());
}

/// Answers every request with `bundle` under a certificate of `ca`, and gives the head of the last one.
async fn serve_tls(ca: &Ca, bundle: Vec<u8>) -> (std::net::SocketAddr, tokio::sync::watch::Receiver<String>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let config = ca.server_config(&["localhost".to_owned()], Timestamp::now()).expect("a certificate");
    let mut config = rustls::ServerConfig::clone(&config);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (told, seen) = tokio::sync::watch::channel(String::new());
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap_or(0);
            told.send_replace(String::from_utf8_lossy(&head[..length]).to_lowercase());
            let answer = format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {}\r\n\r\n", bundle.len());
            let _ = stream.write_all(&[answer.as_bytes(), &bundle].concat()).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, seen)
}

#[tokio::test]
async fn a_source_is_known_by_its_certificate() {
    let (folder, key) = key();
    let ca = Ca::open(folder.path(), Timestamp::now()).expect("a CA");
    let bundle = sign(bundle(), &key, at()).expect("signed").write();
    let (address, mut seen) = serve_tls(&ca, bundle).await;
    let token = ["a", "secret"].join("-");
    let settings = SourceSettings {
        url: format!("https://localhost:{}/b", address.port()).parse().expect("a URL"),
        keys: vec![public(&key)],
        token: Some(Secret::new(token.clone())),
        roots: Roots::Pem(ca.certificate_pem().as_bytes().to_vec()),
        poll: std::time::Duration::from_secs(1),
        long_poll: true,
        allow_rollback: false,
    };
    let mut source = BundleSource::new(settings.clone()).expect("a source");
    let taken = source.next().await.expect("good").expect("new");
    source.put_in_force(&taken);
    let head = seen.borrow_and_update().clone();
    assert!(head.starts_with("get /b http/1.1") && head.contains(&format!("bearer {token}")), "{head}");
    assert!(!head.contains("if-none-match") && head.contains("prefer: modes=snapshot;wait=30"), "{head}");
    // A server that gives the same again and says nothing of waiting is left alone for a while.
    assert!(source.next().await.expect("good").is_none());
    assert!(source.pause() > std::time::Duration::ZERO);
    let head = seen.borrow_and_update().clone();
    assert!(head.contains("if-none-match: \"1\""), "{head}");

    // Another authority, another name: nothing is asked.
    let other = tempfile::tempdir().expect("a folder");
    let other = Ca::open(other.path(), Timestamp::now()).expect("a CA");
    let strangers =
        SourceSettings { roots: Roots::Pem(other.certificate_pem().as_bytes().to_vec()), ..settings.clone() };
    let misnamed = format!("https://127.0.0.1:{}/b", address.port()).parse().expect("a URL");
    for wrong in [strangers, SourceSettings { url: misnamed, ..settings }] {
        let mut source = BundleSource::new(wrong).expect("a source");
        let error = source.next().await.expect_err("refused");
        assert!(matches!(&error, SourceError::Unreachable(why) if why.contains("certificate")), "{error}");
        assert!(!seen.has_changed().expect("open") && source.pause() > std::time::Duration::ZERO);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_signature_file_gets_an_answer(text in prop_oneof![".{0,200}", "\\{\"signatures\": \\[\"[A-Za-z0-9_.-]{0,80}\"\\]\\}"]) {
        let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key").public_key_pem();
        let keys = [VerifyingKey::from_pem(pem.as_bytes()).expect("a key")];
        prop_assert!(verify(bundle().with(Archive::SIGNATURES_FILE, text.into_bytes()), &keys).is_err());
    }
}
