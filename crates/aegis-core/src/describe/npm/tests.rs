use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use super::document;

fn package() -> Value {
    let file = b"a tarball";
    let integrity = format!("sha512-{}", STANDARD.encode(Sha512::digest(file)));
    json!({
        "_id": "@acme/x", "name": "@acme/x", "access": "public", "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": {
            "name": "@acme/x", "version": "1.0.0", "scripts": {"postinstall": "node x"}, "dist": {"integrity": integrity},
        }},
        "_attachments": {"@acme/x-1.0.0.tgz": {
            "content_type": "application/octet-stream", "data": STANDARD.encode(file), "length": file.len(),
        }},
    })
}

fn read(package: &Value) -> Result<Value, String> {
    document(package.to_string().as_bytes()).map_err(|why| why.message)
}

#[test]
fn what_is_published_is_one_file() {
    let read = read(&package()).expect("it can be read");
    assert_eq!((&read["name"], &read["tags"]), (&json!("@acme/x"), &json!(["latest"])));
    let published = &read["published"];
    assert_eq!((&published["version"], &published["scripts"]), (&json!("1.0.0"), &json!(["postinstall"])));
    assert_eq!((&published["size"], &published["provenance"]), (&json!(9), &json!(false)));
}

#[test]
fn a_document_without_a_file_publishes_none() {
    let mut package = package();
    package["versions"]["1.0.0"]["deprecated"] = json!("use @acme/y");
    package["versions"]["0.9.0"] = json!({"deprecated": ""});
    package["maintainers"] = json!([{"name": "a"}, "b <b@example.org>"]);
    package["_attachments"] = json!({});
    let read = read(&package).expect("it can be read");
    assert_eq!(read.get("published"), None);
    assert_eq!((&read["versions"], &read["deprecated"]), (&json!(["0.9.0", "1.0.0"]), &json!(["1.0.0"])));
    assert_eq!(read["maintainers"], json!(["a", "b <b@example.org>"]));
}

#[test]
fn what_says_two_things_is_refused() {
    let changed = |pointer: &str, value: Value| {
        let mut package = package();
        *package.pointer_mut(pointer).expect("a place") = value;
        read(&package).expect_err(pointer)
    };
    let file = "/_attachments/@acme~1x-1.0.0.tgz";
    assert!(changed("/versions/1.0.0/name", json!("other")).contains("another name"));
    assert!(changed("/versions/1.0.0/version", json!("2.0.0")).contains("another name"));
    assert!(changed("/versions/1.0.0/dist/integrity", json!("sha512-AAAA")).contains("integrity"));
    assert!(changed("/versions/1.0.0/dist", json!({})).contains("integrity"));
    assert!(changed(&format!("{file}/data"), json!("b3RoZXI=")).contains("length"));
    assert!(changed(&format!("{file}/data"), json!("!")).contains("base64"));
    assert!(changed("/_attachments", json!({"@acme/x-2.0.0.tgz": {}})).contains("no file of"));
    assert!(changed("/versions", json!({})).contains("number of versions"));
    let mut twice = package();
    twice["_Attachments"] = json!({});
    assert!(read(&twice).expect_err("two keys").contains("_Attachments"));
}
