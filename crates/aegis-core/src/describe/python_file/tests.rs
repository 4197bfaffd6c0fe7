use serde_json::json;

use super::{agrees, document};

const TYPE: &str = "multipart/form-data; boundary=b";

fn upload(fields: &[(&str, &str)], file: &str) -> Vec<u8> {
    let field = |(name, value): &(&str, &str)| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let fields: String = fields.iter().map(field).collect();
    let file = format!(
        "--b\r\nContent-Disposition: form-data; name=\"content\"; filename=\"{file}\"\r\n\r\nwheel\r\n--b--\r\n"
    );
    (fields + &file).into_bytes()
}

const FIELDS: [(&str, &str); 5] =
    [(":action", "file_upload"), ("name", "Acme.X"), ("version", "1.0"), ("classifiers", "A"), ("classifiers", "B")];

#[test]
fn an_upload_is_its_fields_and_its_file() {
    let read = document(TYPE, &upload(&FIELDS, "acme_x-1.0-py3-none-any.whl")).expect("it can be read");
    assert_eq!((&read["project"], &read["version"]), (&json!("acme-x"), &json!("1.0")));
    assert_eq!(read["classifiers"], json!(["A", "B"]));
    let digest = read["digest"].as_str().expect("a digest").to_owned();
    let stated = |digest: &str| {
        let fields = [&FIELDS[..], &[("sha256_digest", digest)]].concat();
        document(TYPE, &upload(&fields, "acme_x-1.0-py3-none-any.whl")).map_err(|why| why.reason)
    };
    assert!(stated(digest.trim_start_matches("sha256:")).is_ok());
    assert_eq!(stated(&"0".repeat(64)), Err("digest_differs".to_owned()));
}

#[test]
fn what_says_two_things_is_refused() {
    let refused = |fields: &[(&str, &str)], file: &str| document(TYPE, &upload(fields, file)).map_err(|why| why.reason);
    for (fields, file) in [
        (FIELDS.to_vec(), "other-1.0.tar.gz"),
        (FIELDS.to_vec(), "acme_x-1.1.tar.gz"),
        ([&FIELDS[..], &[("name", "other")]].concat(), "acme_x-1.0.tar.gz"),
        ([&FIELDS[..], &[("project", "other")]].concat(), "acme_x-1.0.tar.gz"),
        (FIELDS.to_vec(), "acme_x-1.0.exe"),
        (FIELDS.to_vec(), "../acme_x-1.0.tar.gz"),
    ] {
        assert_eq!(refused(&fields, file), Err("upload_malformed".to_owned()), "{file}");
    }
}

#[test]
fn a_file_says_its_project_in_one_way() {
    assert!(agrees("acme-1-2.0.tar.gz", "acme-1", "2.0"));
    assert!(!agrees("acme-1-2.0.tar.gz", "acme", "1"));
    assert!(!agrees("acme-1-2.0.tar.gz", "acme", "1-2.0"));
    assert!(agrees("acme-1.0-1-cp311-cp311-any.whl", "acme", "1.0"));
    assert!(!agrees("acme-x-1.0-py3-none-any.whl", "acme", "x"));
}
