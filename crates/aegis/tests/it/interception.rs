//! Real clients through intercepted connections: curl, Python, Node, git, kubectl; and a real squid in front of it all.

mod clients;
mod guide;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use aegis_server::ca::Ca;
use jiff::Timestamp;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// TLS in front of plain tools, under a CA of its own. It ends with this.
pub(crate) struct Secured {
    runtime: tokio::runtime::Runtime,
    ca: Ca,
    dir: tempfile::TempDir,
}

impl Secured {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let ca = Ca::open(dir.path(), Timestamp::now()).expect("a CA");
        Self { runtime: tokio::runtime::Runtime::new().expect("a runtime"), ca, dir }
    }

    /// The file with its CA's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.dir.path().join("ca/ca.pem")
    }

    /// `name` under TLS (HTTP/1.1), led to `plain`.
    pub(crate) fn front(&self, name: &str, plain: SocketAddr) -> SocketAddr {
        let config = self.ca.server_config(&[name.to_owned()], Timestamp::now()).expect("a certificate");
        let mut config = (*config).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = self.runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("bound");
        self.runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut client) = acceptor.accept(stream).await else { return };
                    let Ok(mut tool) = TcpStream::connect(plain).await else { return };
                    // How it ends is the ends' affair.
                    let _ = copy_bidirectional(&mut client, &mut tool).await;
                });
            }
        });
        address
    }

    pub(crate) fn runtime(&self) -> &tokio::runtime::Runtime {
        &self.runtime
    }
}
