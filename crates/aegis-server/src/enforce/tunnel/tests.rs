use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Closed, client_hello, converse};
use crate::enforce::settings::{Protocol, Roots, Timeouts, Tls};
use crate::enforce::testing::{pki, upstream};
use crate::enforce::{Meter, tls};

fn timeouts() -> Timeouts {
    Timeouts {
        client_hello: Duration::from_millis(200),
        tunnel_idle: Duration::from_millis(300),
        ..Timeouts::default()
    }
}

/// A tunnel to `host`, served by `address`; the client's end of it, and how it ends.
async fn tunnel(
    host: &'static str,
    address: std::net::SocketAddr,
) -> (DuplexStream, tokio::task::JoinHandle<(Result<(), Closed>, u64)>) {
    let (client, inside) = duplex(64 * 1024);
    let upstream = TcpStream::connect(address).await.expect("connected");
    let task = tokio::spawn(async move {
        let meter = Meter::default();
        let ended = converse(inside, upstream, host, &meter, &timeouts()).await;
        (ended, meter.up.load(Ordering::Relaxed))
    });
    (client, task)
}

/// An upstream that says `banner` first and then everything that it hears.
async fn speaking(banner: &'static [u8]) -> std::net::SocketAddr {
    upstream(move |mut stream: TcpStream| async move {
        stream.write_all(banner).await.expect("written");
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

/// A ClientHello as rustls writes it.
fn hello(name: &str) -> Vec<u8> {
    let roots = Tls { roots: Roots::Pem(pki(&["a.example"]).ca), ..Tls::default() };
    let config = tls::client_config(&roots, Protocol::Http1, &Err(String::new())).expect("a configuration");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut connection = rustls::ClientConnection::new(config, name).expect("a connection");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("written");
    bytes
}

#[tokio::test]
async fn tls_to_the_host_goes_through() {
    let pki = pki(&["a.example"]);
    let acceptor = TlsAcceptor::from(pki.server);
    let address = upstream(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.expect("a handshake");
            let mut heard = [0; 5];
            stream.read_exact(&mut heard).await.expect("five bytes");
            stream.write_all(&heard).await.expect("written");
            stream.shutdown().await.expect("closed");
        }
    })
    .await;
    let (client, task) = tunnel("a.example", address).await;
    let roots = Tls { roots: Roots::Pem(pki.ca), ..Tls::default() };
    let config = tls::client_config(&roots, Protocol::Http1, &Err(String::new())).expect("a configuration");
    let name = ServerName::try_from("a.example").expect("a name");
    let mut client = TlsConnector::from(config).connect(name, client).await.expect("a handshake");
    client.write_all(b"hello").await.expect("written");
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.expect("an answer");
    assert_eq!(heard, b"hello");
    client.shutdown().await.expect("closed");
    drop(client);
    assert_eq!(task.await.expect("ended").0, Ok(()));
}

#[tokio::test]
async fn what_is_not_tls_to_the_host_sends_nothing_upstream() {
    let other = hello("b.example");
    let cases: [(&[u8], Closed); 5] = [
        (b"SSH-2.0-OpenSSH_9.9\r\n", Closed::NotTls),
        (b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", Closed::NotTls),
        (b"\x15\x03\x03\x00\x02\x02\x28", Closed::NotTls),
        (&other, Closed::SniMismatch),
        (b"\x16\x03\x01", Closed::NoHello),
    ];
    let address = speaking(b"").await;
    for (said, why) in cases {
        let (mut client, task) = tunnel("a.example", address).await;
        client.write_all(said).await.expect("written");
        assert_eq!(task.await.expect("ended"), (Err(why), 0));
    }
    let (client, task) = tunnel("a.example", address).await;
    drop(client);
    assert_eq!(task.await.expect("ended"), (Err(Closed::ClientLeft), 0));
}

#[tokio::test]
async fn an_upstreams_banner_never_reaches_the_client() {
    let address = speaking(b"SSH-2.0-OpenSSH_9.9\r\n").await;
    let (mut client, task) = tunnel("a.example", address).await;
    let mut heard = [0; 1];
    let waited = tokio::time::timeout(Duration::from_millis(50), client.read(&mut heard)).await;
    assert!(waited.is_err(), "the upstream spoke first and was heard");
    client.write_all(&hello("a.example")).await.expect("written");
    assert_eq!(task.await.expect("ended").0, Err(Closed::NotTls));
    assert_eq!(client.read(&mut heard).await.expect("closed"), 0);
}

#[tokio::test]
async fn a_tunnel_that_nothing_moves_in_is_closed() {
    let address = upstream(|mut stream: TcpStream| async move {
        stream.write_all(b"\x16\x03\x03\x00\x05hello").await.expect("written");
        tokio::time::sleep(Duration::from_secs(5)).await;
    })
    .await;
    let (mut client, task) = tunnel("a.example", address).await;
    client.write_all(&hello("a.example")).await.expect("written");
    assert_eq!(task.await.expect("ended").0, Err(Closed::Relay("idle".to_owned())));
}

#[test]
fn a_hello_is_understood_in_whatever_pieces_it_comes() {
    let hello = Arc::new(hello("a.example"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    proptest!(ProptestConfig::with_cases(64), |(size in 1usize..600)| {
        let (mut client, mut inside) = duplex(size);
        let sent = Arc::clone(&hello);
        let seen = runtime.block_on(async move {
            let writer = tokio::spawn(async move { client.write_all(&sent).await.map(|()| client) });
            let seen = client_hello(&mut inside, "a.example").await;
            writer.await.expect("joined").expect("written");
            seen
        });
        prop_assert_eq!(seen.as_deref(), Ok(hello.as_slice()));
    });
    proptest!(|(bytes in proptest::collection::vec(any::<u8>(), 0..300))| {
        let seen = runtime.block_on(async { client_hello(&mut bytes.as_slice(), "a.example").await });
        prop_assert!(seen.is_err());
    });
    proptest!(|(at in 0..hello.len())| {
        let seen = runtime.block_on(async { client_hello(&mut &hello[..at], "a.example").await });
        prop_assert_eq!(seen, Err(Closed::ClientLeft), "a part is not enough");
    });
}
