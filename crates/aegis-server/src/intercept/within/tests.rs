use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use tokio::io::{AsyncWriteExt as _, duplex};

use super::{Refused, handshake};
use crate::ca::Leaves;

/// How a handshake ends in which the client says `said` and then nothing.
async fn ended(said: &[u8], config: Arc<rustls::ServerConfig>) -> Option<String> {
    let (mut client, inside) = duplex(64 * 1024);
    client.write_all(said).await.expect("said");
    client.shutdown().await.expect("and closed");
    match handshake(inside, config, "a.example", Duration::from_secs(5)).await {
        Ok(_) => Some("spoken".to_owned()),
        Err(Refused::ClientLeft) => None,
        Err(Refused::Unread(why)) => Some(why.reason),
    }
}

#[test]
fn no_bytes_but_a_clients_hello_for_the_host_begin_anything() {
    let dir = tempfile::tempdir().expect("a folder");
    let leaves = Leaves::own(dir.path().to_owned(), Timestamp::now()).expect("leaves");
    let config = leaves.config("a.example", Timestamp::now()).expect("a leaf");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let ended = |said: &[u8]| runtime.block_on(ended(said, Arc::clone(&config)));
    assert_eq!(ended(b"SSH-2.0-OpenSSH_9.9\r\n").as_deref(), Some("not_tls"));
    assert_eq!(ended(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").as_deref(), Some("not_tls"));
    assert_eq!(ended(b""), None);
    let hello = hello("b.example");
    assert_eq!(ended(&hello).as_deref(), Some("sni_mismatch"));
    proptest!(ProptestConfig::with_cases(256), |(bytes in proptest::collection::vec(any::<u8>(), 0..400))| {
        prop_assert_ne!(ended(&bytes), Some("spoken".to_owned()));
    });
    // A real one with some of its bytes changed.
    proptest!(ProptestConfig::with_cases(256), |(at in 0..hello.len(), byte in any::<u8>())| {
        let mut changed = hello.clone();
        changed[at] = byte;
        prop_assert_ne!(ended(&changed), Some("spoken".to_owned()));
    });
}

fn hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = name.to_owned().try_into().expect("a name");
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("written");
    bytes
}
