use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use aegis_store::{Durability, Store};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ApiKey, Credential, Identify, IdentifyError, OperatorToken, Rejected, Settings, api_key_hash};

struct House {
    dir: tempfile::TempDir,
    store: Store,
    identify: Identify,
    now: Timestamp,
}

impl House {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path(), Durability::Buffered).expect("a store");
        let entry = store.add_agent("ci/build@acme", vec!["deployers".to_owned()], "operator").await.expect("an agent");
        let identify = Identify::open(dir.path(), store.clone(), Settings::default()).expect("keys");
        // Whole seconds, as tokens have; the next one, so that nothing here was issued before the agent.
        let now = Timestamp::from_second(entry.created_at.as_second() + 1).expect("a time");
        Self { dir, store, identify, now }
    }

    fn token(&self) -> String {
        self.identify.issue("ci/build@acme", None, self.now).expect("a token").token
    }

    fn verify(&self, token: &str) -> Result<String, &'static str> {
        self.verify_at(token, self.now)
    }

    fn verify_at(&self, token: &str, now: Timestamp) -> Result<String, &'static str> {
        let verified = self.identify.verify(&Credential::Bearer(token.to_owned()), now);
        verified.map(|agent| agent.id).map_err(|Rejected(reason)| reason)
    }

    /// Header and claims of a good token.
    fn parts(&self) -> (Value, Value) {
        let token = self.token();
        let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64"));
        let mut json = || serde_json::from_slice(&parts.next().expect("a part")).expect("JSON");
        (json(), json())
    }

    /// A token with these parts, signed with our key whatever they say.
    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = encode(header, claims);
        let (key, _) = self.identify.keys.signing();
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, Algorithm::EdDSA).expect("a signature");
        format!("{message}.{signature}")
    }

    /// A good token but for one claim, which is replaced, or left out where the value is null.
    fn with_claim(&self, name: &str, value: Value) -> String {
        let (header, mut claims) = self.parts();
        set(&mut claims, name, value);
        self.sign(&header, &claims)
    }

    fn with_header(&self, name: &str, value: Value) -> String {
        let (mut header, claims) = self.parts();
        set(&mut header, name, value);
        self.sign(&header, &claims)
    }

    fn seconds(&self, offset: i64) -> Timestamp {
        self.now + SignedDuration::from_secs(offset)
    }
}

fn set(object: &mut Value, name: &str, value: Value) {
    let object = object.as_object_mut().expect("an object");
    match value {
        Value::Null => drop(object.remove(name)),
        value => drop(object.insert(name.to_owned(), value)),
    }
}

fn encode(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

#[tokio::test]
async fn an_issued_token_proves_its_agent_with_the_groups_of_now() {
    let house = House::new().await;
    let issued = house.identify.issue("ci/build@acme", Some(Duration::from_secs(60)), house.now).expect("a token");
    assert_eq!(issued.expires_at, house.seconds(60));
    for _ in 0..2 {
        let agent = house.identify.verify(&Credential::Bearer(issued.token.clone()), house.now).expect("an agent");
        assert_eq!(agent.id, "ci/build@acme");
        assert_eq!(agent.groups, ["deployers"]);
        assert_eq!(agent.token_id.as_deref(), Some(issued.jti.as_str()));
    }
    let (header, claims) = house.parts();
    assert_eq!(header.get("typ"), Some(&json!("at+jwt")));
    assert_eq!(header.get("alg"), Some(&json!("EdDSA")));
    assert_eq!(claims.get("client_id"), claims.get("sub"));
    assert_eq!(claims.get("groups"), None);
    assert_eq!(house.identify.inspect(&issued.token).expect("ours").jti, issued.jti);
}

#[tokio::test]
async fn time_is_judged_on_every_call_also_for_a_remembered_token() {
    let house = House::new().await;
    let token = house.identify.issue("ci/build@acme", Some(Duration::from_secs(60)), house.now).expect("a token").token;
    assert!(house.verify(&token).is_ok());
    assert!(house.verify_at(&token, house.seconds(64)).is_ok());
    assert_eq!(house.verify_at(&token, house.seconds(65)), Err("expired"));
    assert_eq!(house.verify_at(&token, house.seconds(-6)), Err("not_yet_valid"));
    assert!(house.verify_at(&token, house.seconds(-5)).is_ok());
}

#[tokio::test]
async fn suspension_revocation_and_removal_hold_at_once() {
    let house = House::new().await;
    let issued = house.identify.issue("ci/build@acme", None, house.now).expect("a token");
    assert!(house.verify(&issued.token).is_ok());

    house.store.suspend_agent("ci/build@acme", "operator").await.expect("suspended");
    assert_eq!(house.verify(&issued.token), Err("suspended"));
    let refused = house.identify.issue("ci/build@acme", None, house.now);
    assert!(matches!(refused, Err(IdentifyError::Suspended(_))));
    house.store.resume_agent("ci/build@acme", "operator").await.expect("resumed");
    assert!(house.verify(&issued.token).is_ok());

    house.store.revoke_token(&issued.jti, issued.expires_at, "operator").await.expect("revoked");
    assert_eq!(house.verify(&issued.token), Err("revoked"));

    let other = house.token();
    assert!(house.verify(&other).is_ok());
    house.store.remove_agent("ci/build@acme", "operator").await.expect("removed");
    assert_eq!(house.verify(&other), Err("unregistered"));
    house.store.add_agent("ci/build@acme", Vec::new(), "operator").await.expect("added again");
    assert_eq!(house.verify(&other), Err("registered_anew"));
    // The new one can work at once, also within the same second.
    assert!(house.verify_at(&house.token(), house.now).is_ok());
}

#[tokio::test]
async fn what_we_did_not_sign_for_us_is_refused() {
    let house = House::new().await;
    let (header, claims) = house.parts();
    let token = house.token();
    let (message, signature) = token.rsplit_once('.').expect("three parts");

    let mut none = header.clone();
    set(&mut none, "alg", json!("none"));
    assert_eq!(house.verify(&format!("{}.", encode(&none, &claims))), Err("alg_none"));
    assert_eq!(house.verify(&format!("{}.{signature}", encode(&none, &claims))), Err("alg_none"));
    set(&mut none, "alg", json!("NonE"));
    assert_eq!(house.verify(&format!("{}.", encode(&none, &claims))), Err("alg_none"));

    // HS256 with our public key as the secret, in the forms in which somebody may hold it.
    let jwks = serde_json::to_value(house.identify.jwks()).expect("JSON");
    let x = jwks.pointer("/keys/0/x").and_then(Value::as_str).expect("a public key");
    let raw = URL_SAFE_NO_PAD.decode(x).expect("base64");
    let mut hs256 = header.clone();
    set(&mut hs256, "alg", json!("HS256"));
    for secret in [raw.as_slice(), x.as_bytes()] {
        let message = encode(&hs256, &claims);
        let key = EncodingKey::from_secret(secret);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("a MAC");
        assert_eq!(house.verify(&format!("{message}.{signature}")), Err("forged"));
    }

    // Another key under our kid, and our signature over something else.
    let elsewhere = House::new().await;
    let (key, _) = elsewhere.identify.keys.signing();
    let foreign = jsonwebtoken::crypto::sign(message.as_bytes(), key, Algorithm::EdDSA).expect("a signature");
    assert_eq!(house.verify(&format!("{message}.{foreign}")), Err("forged"));
    let mut other = claims.clone();
    set(&mut other, "sub", json!("admin"));
    assert_eq!(house.verify(&format!("{}.{signature}", encode(&header, &other))), Err("forged"));
    assert_eq!(house.verify(&elsewhere.token()), Err("unknown_key"));
    assert!(house.verify(&token).is_ok());
}

#[tokio::test]
async fn headers_are_exact_and_never_name_a_key() {
    let house = House::new().await;
    let jwks = serde_json::to_value(house.identify.jwks()).expect("JSON");
    let jwk = jwks.pointer("/keys/0").cloned().expect("a key");
    for (name, value, reason) in [
        ("typ", json!("JWT"), "wrong_type"),
        ("typ", Value::Null, "wrong_type"),
        ("kid", Value::Null, "malformed"),
        ("kid", json!("other"), "unknown_key"),
        ("kid", json!("../../dev/null"), "unknown_key"),
        ("jku", json!("https://attacker.example/jwks.json"), "forged"),
        ("x5u", json!("https://attacker.example/cert.pem"), "forged"),
        ("x5c", json!(["MIIB"]), "forged"),
        ("jwk", jwk, "forged"),
        ("crit", json!(["exp"]), "forged"),
        ("alg", json!("RS256"), "forged"),
        ("alg", json!("EdDSA "), "forged"),
        ("alg", json!(7), "malformed"),
        ("alg", Value::Null, "malformed"),
    ] {
        assert_eq!(house.verify(&house.with_header(name, value.clone())), Err(reason), "{name}: {value}");
    }
    assert!(house.verify(&house.with_header("typ", json!("application/AT+JWT"))).is_ok());
}

#[tokio::test]
async fn claims_are_required_and_exact() {
    let house = House::new().await;
    for name in ["iss", "aud", "sub", "exp", "iat", "jti", "client_id", "registered"] {
        assert_eq!(house.verify(&house.with_claim(name, Value::Null)), Err("malformed"), "without {name}");
    }
    let second = house.now.as_second();
    for (name, value, reason) in [
        ("aud", json!("other"), "wrong_audience"),
        ("aud", json!(["other"]), "malformed"),
        ("aud", json!(["aegis", "other"]), "malformed"),
        ("aud", json!(["aegis"]), "malformed"),
        ("aud", json!(7), "malformed"),
        ("aud", json!("Aegis"), "wrong_audience"),
        ("iss", json!("other"), "wrong_issuer"),
        ("iss", json!(["aegis"]), "malformed"),
        ("sub", json!("nobody"), "malformed"),
        ("sub", json!(["ci/build@acme"]), "malformed"),
        ("client_id", json!("other"), "malformed"),
        ("jti", json!(""), "malformed"),
        ("exp", json!("9999999999"), "malformed"),
        ("exp", json!(1.5e300), "malformed"),
        ("exp", json!(second - 10), "expired"),
        ("exp", json!(second + 3601), "lives_too_long"),
        ("exp", json!(i64::MAX), "lives_too_long"),
        ("exp", json!(-1), "malformed"),
        ("iat", json!(second + 60), "not_yet_valid"),
        ("iat", json!(i64::MIN), "lives_too_long"),
        ("registered", json!(0), "registered_anew"),
    ] {
        assert_eq!(house.verify(&house.with_claim(name, value.clone())), Err(reason), "{name}: {value}");
    }
    let (header, mut claims) = house.parts();
    set(&mut claims, "sub", json!("nobody"));
    set(&mut claims, "client_id", json!("nobody"));
    assert_eq!(house.verify(&house.sign(&header, &claims)), Err("unregistered"));
}

#[tokio::test]
async fn a_claim_given_twice_is_refused() {
    let house = House::new().await;
    let (header, claims) = house.parts();
    let twice = claims.to_string().replacen('{', r#"{"sub":"admin","#, 1);
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(twice));
    let (key, _) = house.identify.keys.signing();
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, Algorithm::EdDSA).expect("a signature");
    assert_eq!(house.verify(&format!("{message}.{signature}")), Err("malformed"));
}

#[tokio::test]
async fn the_text_is_taken_as_it_is_or_not_at_all() {
    let house = House::new().await;
    let token = house.token();
    assert_eq!(house.verify(""), Err("malformed"));
    assert_eq!(house.verify(&"a".repeat(8 * 1024 + 1)), Err("too_large"));
    for bad in [
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{token}="),
        format!("{token}."),
        format!("{token}.e30"),
        token.replacen('.', "..", 1),
        token.replacen('.', "", 1),
        token.to_uppercase(),
    ] {
        assert!(house.verify(&bad).is_err(), "{bad:?}");
    }
    assert_eq!(house.identify.verify(&Credential::Missing, house.now), Err(Rejected("missing")));
    assert_eq!(house.identify.verify(&Credential::Malformed, house.now), Err(Rejected("malformed")));
}

#[tokio::test]
async fn the_user_of_basic_is_a_placeholder_or_the_agent() {
    let house = House::new().await;
    let token = house.token();
    let basic = |user: &str| Credential::Basic { user: user.to_owned(), token: token.clone() };
    for user in ["", "agent", "aegis", "token", "ci/build@acme"] {
        assert!(house.identify.verify(&basic(user), house.now).is_ok(), "{user}");
    }
    for user in ["other", "Agent", "ci/build"] {
        assert_eq!(house.identify.verify(&basic(user), house.now), Err(Rejected("wrong_user")), "{user}");
    }
}

#[tokio::test]
async fn lifetimes_are_bounded() {
    let house = House::new().await;
    for bad in [Duration::ZERO, Duration::from_millis(999), Duration::from_secs(3601), Duration::MAX] {
        assert!(matches!(house.identify.issue("ci/build@acme", Some(bad), house.now), Err(IdentifyError::Ttl(_))));
        let settings = Settings { token_ttl: bad, ..Settings::default() };
        assert!(Identify::open(house.dir.path(), house.store.clone(), settings).is_err());
    }
    assert!(house.identify.issue("ci/build@acme", Some(Duration::from_secs(3600)), house.now).is_ok());
    let nobody = house.identify.issue("nobody", None, house.now);
    assert!(matches!(nobody, Err(IdentifyError::Unregistered(_))));
}

#[tokio::test]
async fn keys_outlive_a_restart_and_rotate() {
    let house = House::new().await;
    let keys = house.dir.path().join("keys");
    let before = house.token();
    let open = || Identify::open(house.dir.path(), house.store.clone(), Settings::default());
    let mode = std::fs::metadata(keys.join("token.key")).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let again = open().expect("the same keys");
    assert_eq!(again.jwks(), house.identify.jwks());
    assert!(again.verify(&Credential::Bearer(before.clone()), house.now).is_ok());

    std::fs::rename(keys.join("token.key"), keys.join("token-2026.key")).expect("renamed");
    let rotated = open().expect("a new key beside the old one");
    assert_eq!(rotated.jwks().keys.len(), 2);
    assert_ne!(rotated.jwks().keys.first(), house.identify.jwks().keys.first());
    let after = rotated.issue("ci/build@acme", None, house.now).expect("a token").token;
    assert!(rotated.verify(&Credential::Bearer(before.clone()), house.now).is_ok());
    assert!(rotated.verify(&Credential::Bearer(after.clone()), house.now).is_ok());
    assert_eq!(house.verify(&after), Err("unknown_key"));

    std::fs::remove_file(keys.join("token-2026.key")).expect("removed");
    let ended = open().expect("one key");
    assert_eq!(ended.verify(&Credential::Bearer(before), house.now), Err(Rejected("unknown_key")));
}

#[tokio::test]
async fn a_key_that_others_may_read_or_that_is_none_refuses_to_start() {
    let house = House::new().await;
    let path = house.dir.path().join("keys/token.key");
    let open = || Identify::open(house.dir.path(), house.store.clone(), Settings::default()).map(drop);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("chmod");
    assert!(matches!(open(), Err(IdentifyError::Exposed { mode: 0o640, .. })));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    for bad in ["", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        std::fs::write(&path, bad).expect("written");
        assert!(matches!(open(), Err(IdentifyError::BadKey { .. })), "{bad:?}");
    }
}

#[test]
fn the_operator_token_is_made_once_and_proved_exactly() {
    let dir = tempfile::tempdir().expect("a folder");
    let operator = OperatorToken::open(dir.path()).expect("a token");
    let path = dir.path().join("operator.token");
    let token = std::fs::read_to_string(&path).expect("a file").trim().to_owned();
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 1, "nothing is left beside it");
    assert!(operator.proves(&token));
    assert!(OperatorToken::open(dir.path()).expect("the same").proves(&token));
    for wrong in ["", &token[1..], &format!("{token} "), &token.to_uppercase()] {
        assert!(!operator.proves(wrong), "{wrong:?}");
    }
    std::fs::write(&path, "\n").expect("written");
    assert!(matches!(OperatorToken::open(dir.path()), Err(IdentifyError::NotASecret { .. })));
}

#[test]
fn api_keys_are_random_and_kept_as_a_hash() {
    let (one, two) = (ApiKey::generate().expect("a key"), ApiKey::generate().expect("a key"));
    assert!(one.text.starts_with("aeg_") && one.text.len() == 4 + 43);
    assert_ne!((&one.id, &one.text, one.hash), (&two.id, &two.text, two.hash));
    assert_eq!(api_key_hash(&one.text), one.hash);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever bytes come, verification answers; and a good token with any one character changed is refused.
    #[test]
    fn no_other_text_is_a_token(text in ".{0,300}", at in any::<prop::sample::Index>(), with in "[A-Za-z0-9_.-]") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let house = runtime.block_on(House::new());
        prop_assert!(house.verify(&text).is_err());
        let token = house.token();
        let at = at.index(token.len());
        let changed = format!("{}{with}{}", &token[..at], &token[at + 1..]);
        prop_assert_eq!(house.verify(&changed).is_ok(), changed == token);
    }
}
