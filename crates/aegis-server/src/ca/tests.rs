use std::os::unix::fs::PermissionsExt as _;

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::Ca;

#[test]
fn it_is_made_once_and_its_key_is_private() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = Ca::open(dir.path(), Timestamp::now()).expect("made").certificate_pem().to_owned();
    let again = Ca::open(dir.path(), Timestamp::now()).expect("opened").certificate_pem().to_owned();
    assert_eq!(first, again);
    let mode = |file: &str| std::fs::metadata(dir.path().join(file)).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode("ca"), mode("ca/ca.key")), (0o700, 0o600));
}

#[test]
fn half_a_ca_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    Ca::open(dir.path(), Timestamp::now()).expect("made");
    let other = tempfile::tempdir().expect("a folder");
    Ca::open(other.path(), Timestamp::now()).expect("made");
    std::fs::copy(other.path().join("ca/ca.pem"), dir.path().join("ca/ca.pem")).expect("copied");
    let error = Ca::open(dir.path(), Timestamp::now()).expect_err("another key's certificate").to_string();
    assert!(error.contains("isn't the certificate of ca.key"), "{error}");
    std::fs::remove_file(dir.path().join("ca/ca.key")).expect("removed");
    assert!(Ca::open(dir.path(), Timestamp::now()).expect_err("no key").to_string().contains("its key ca.key is gone"));
}

#[test]
fn a_client_that_trusts_the_ca_accepts_the_leaf_for_its_names_only() {
    let dir = tempfile::tempdir().expect("a folder");
    for _ in 0..2 {
        // The second round has the CA from its files.
        let ca = Ca::open(dir.path(), Timestamp::now()).expect("a CA");
        let server =
            ca.server_config(&["localhost".to_owned(), "127.0.0.1".to_owned()], Timestamp::now()).expect("made");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.certificate_pem().as_bytes()).expect("PEM")).expect("added");
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = std::sync::Arc::new(client);
        for (name, accepted) in [("localhost", true), ("127.0.0.1", true), ("example.com", false)] {
            let mut client = rustls::ClientConnection::new(client.clone(), name.to_owned().try_into().expect("a name"))
                .expect("made");
            let mut server = rustls::ServerConnection::new(server.clone()).expect("made");
            assert_eq!(handshake(&mut client, &mut server), accepted, "{name}");
        }
    }
}

fn handshake(client: &mut rustls::ClientConnection, server: &mut rustls::ServerConnection) -> bool {
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("written");
        }
        server.read_tls(&mut bytes.as_slice()).expect("read");
        if server.process_new_packets().is_err() {
            return false;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("written");
        }
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).expect("read");
            if client.process_new_packets().is_err() {
                return false;
            }
        }
        if !client.is_handshaking() && !server.is_handshaking() {
            return true;
        }
    }
    false
}
