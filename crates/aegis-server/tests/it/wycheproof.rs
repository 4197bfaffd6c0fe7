//! C2SP Wycheproof: signatures and tokens that look valid and aren't.

use aegis_server::identify::{Credential, Identify, Settings};
use aegis_store::{Durability, Store};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// The cases of one file, each with its group. `./test` sets `AEGIS_CORPORA`, or says that these were not run.
fn cases(file: &str) -> Option<Vec<(Value, Value)>> {
    let Some(corpora) = std::env::var_os("AEGIS_CORPORA") else {
        eprintln!("not run: AEGIS_CORPORA is not set");
        return None;
    };
    let path = std::path::Path::new(&corpora).join("wycheproof").join(file);
    let suite: Value = serde_json::from_slice(&std::fs::read(path).expect("the vectors")).expect("JSON");
    let groups = suite.get("testGroups").and_then(Value::as_array).expect("groups");
    let cases: Vec<_> = groups
        .iter()
        .flat_map(|group| group["tests"].as_array().expect("tests").iter().map(|test| (group.clone(), test.clone())))
        .collect();
    assert_eq!(Some(cases.len() as u64), suite.get("numberOfTests").and_then(Value::as_u64), "all of them");
    Some(cases)
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits = value.as_str().expect("hexadecimal").as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("a byte");
    digits.chunks(2).map(byte).collect()
}

/// The signature check that our tokens go through.
#[test]
fn ed25519_signatures() {
    let Some(cases) = cases("ed25519_test.json") else { return };
    for (group, test) in cases {
        let key = DecodingKey::from_ed_components(group["publicKeyJwk"]["x"].as_str().expect("x")).expect("a key");
        let signature = URL_SAFE_NO_PAD.encode(bytes(&test["sig"]));
        let holds = jsonwebtoken::crypto::verify(&signature, &bytes(&test["msg"]), &key, Algorithm::EdDSA);
        assert_eq!(holds.unwrap_or(false), test["result"] == "valid", "{}", test["tcId"]);
    }
}

/// No foreign JWS, valid ones included, is a token of ours.
#[tokio::test]
async fn foreign_signed_tokens() {
    let Some(cases) = cases("json_web_signature_test.json") else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), Durability::Buffered).expect("a store");
    let identify = Identify::open(dir.path(), store, Settings::default()).expect("keys");
    for (_, test) in cases {
        let jws = test["jws"].as_str().map_or_else(|| test["jws"].to_string(), str::to_owned);
        assert!(identify.verify(&Credential::Bearer(jws), Timestamp::now()).is_err(), "{}", test["tcId"]);
    }
}
