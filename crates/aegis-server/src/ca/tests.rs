use std::os::unix::fs::PermissionsExt as _;

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{Ca, CaError, Leaves, exported, rotate};

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
fn a_key_that_others_may_read_signs_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    Ca::open(dir.path(), Timestamp::now()).expect("made");
    let key = dir.path().join("ca/ca.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).expect("changed");
    let error = Ca::open(dir.path(), Timestamp::now()).expect_err("exposed").to_string();
    assert!(error.contains("may be read by others (mode 640)"), "{error}");
    assert!(Leaves::own(dir.path().to_owned(), Timestamp::now()).is_err());
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

fn leaf_of(config: &rustls::ServerConfig) -> Vec<CertificateDer<'static>> {
    let mut client = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let seen = std::sync::Arc::new(Seen::default());
    client.dangerous().set_certificate_verifier(std::sync::Arc::clone(&seen) as _);
    let name = "a.example".try_into().expect("a name");
    let mut client = rustls::ClientConnection::new(std::sync::Arc::new(client), name).expect("made");
    let mut server = rustls::ServerConnection::new(std::sync::Arc::new(config.clone())).expect("made");
    handshake(&mut client, &mut server);
    let chain = seen.0.lock().expect("no panic").clone();
    assert!(!chain.is_empty());
    chain
}

fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Remembers the chain that a server shows, and trusts nobody.
#[derive(Debug, Default)]
struct Seen(std::sync::Mutex<Vec<CertificateDer<'static>>>);

impl rustls::client::danger::ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        let all = [end_entity].into_iter().chain(intermediates).map(|one| one.clone().into_owned());
        *self.0.lock().expect("no panic") = all.collect();
        Err(rustls::Error::General("seen".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("seen".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("seen".to_owned()))
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn a_leaf_is_made_once_and_anew_before_it_ends_each_with_a_number_of_its_own() {
    let dir = tempfile::tempdir().expect("a folder");
    let now = Timestamp::now();
    let leaves = Leaves::own(dir.path().to_owned(), now).expect("leaves");
    let at = |days: i64| now + jiff::SignedDuration::from_hours(24 * days);
    let first = leaves.config("a.example", now).expect("a leaf");
    assert!(std::sync::Arc::ptr_eq(&first, &leaves.config("a.example", now).expect("a leaf")));
    let next_day = leaves.config("a.example", at(1)).expect("a leaf");
    assert!(!std::sync::Arc::ptr_eq(&first, &next_day));
    let other = leaves.config("192.0.2.7", now).expect("a leaf");
    let numbers: std::collections::BTreeSet<_> = [&first, &next_day, &other]
        .map(|config| {
            let chain = leaf_of(config);
            let (_, read) = x509_parser::parse_x509_certificate(&chain[0]).expect("a certificate");
            let days = (read.validity().not_after.timestamp() - read.validity().not_before.timestamp()) / 86400;
            assert!((6..=8).contains(&days), "{days}");
            read.raw_serial().to_vec()
        })
        .into();
    assert_eq!(numbers.len(), 3);
    assert!(leaves.config("ä.example", now).is_err(), "no certificate holds that");
}

#[test]
fn a_ca_that_has_ended_signs_nothing_and_one_that_is_gone_goes_on_as_it_was() {
    let dir = tempfile::tempdir().expect("a folder");
    let now = Timestamp::now();
    let leaves = Leaves::own(dir.path().to_owned(), now).expect("leaves");
    let later = now + jiff::SignedDuration::from_hours(24 * 3651);
    assert!(matches!(leaves.config("a.example", later), Err(CaError::Expired { .. })));
    std::fs::remove_file(dir.path().join("ca/ca.pem")).expect("removed");
    leaves.look_now().expect("a rotation may be under way");
    assert!(leaves.config("a.example", now).is_ok());
    std::fs::write(dir.path().join("ca/ca.pem"), "nonsense").expect("written");
    assert!(leaves.look_now().is_err(), "what it can't read, it doesn't sign for");
}

#[test]
fn a_rotation_that_was_cut_off_leaves_one_ca_whole() {
    let now = Timestamp::now();
    // After the old certificate was removed, and after the key was replaced.
    for new_key in [false, true] {
        let dir = tempfile::tempdir().expect("a folder");
        let old = Ca::open(dir.path(), now).expect("made").certificate_pem().to_owned();
        let key = std::fs::read(dir.path().join("ca/ca.key")).expect("there");
        rotate(dir.path(), now).expect("rotated");
        if !new_key {
            std::fs::write(dir.path().join("ca/ca.key"), key).expect("written");
        }
        std::fs::remove_file(dir.path().join("ca/ca.pem")).expect("removed");
        let ca = Ca::open(dir.path(), now).expect("whole");
        assert_eq!(ca.chain.len(), if new_key { 2 } else { 1 }, "the word is for the new key");
        assert!(exported(dir.path(), now).expect("exported").contains(&old));
    }
}

#[test]
fn former_cas_are_exported_until_they_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let now = Timestamp::now();
    let count = |at: Timestamp| exported(dir.path(), at).expect("exported").matches("BEGIN CERTIFICATE").count();
    assert_eq!(count(now), 1);
    rotate(dir.path(), now).expect("rotated");
    rotate(dir.path(), now).expect("rotated");
    assert_eq!(count(now), 3);
    assert_eq!(count(now + jiff::SignedDuration::from_hours(24 * 3652)), 1);
}

#[test]
fn an_operators_own_ca_is_read_and_what_is_none_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let now = Timestamp::now();
    let made = Ca::open(dir.path(), now).expect("made");
    let (pem, key) = (dir.path().join("ca/ca.pem"), dir.path().join("ca/ca.key"));
    let leaves = Leaves::given(pem.clone(), key.clone()).expect("read");
    assert!(leaves.config("a.example", now).is_ok());
    let leaf_key = rcgen::KeyPair::generate().expect("a key");
    let leaf = made.leaf(&["a.example".to_owned()], &leaf_key, 1, now).expect("a leaf");
    let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &leaf[0]);
    std::fs::write(&pem, format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")).expect("written");
    assert!(Ca::read(&pem, &key).expect_err("another key's").to_string().contains("isn't the certificate"));
    std::fs::write(&key, leaf_key.serialize_pem()).expect("written");
    assert!(Ca::read(&pem, &key).expect_err("no CA").to_string().contains("no certificate of an authority"));
}
