//! A small real HTTP tool, and a listener that only counts what reaches it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// Serves an app on a free loopback port, until its runtime ends.
pub async fn serve(app: axum::Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// A tool that answers every request with 200 and `done`, and keeps the raw bytes that reached it.
#[derive(Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Upstream {
    /// Starts it on a free loopback port. With a `banner`, it speaks first, as an SSH server does, and never answers.
    pub fn start(banner: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let this = Self { address: listener.local_addr().expect("bound"), bytes: Arc::default() };
        let seen = Arc::clone(&this.bytes);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || {
                    if let Some(banner) = banner {
                        let _ = stream.write_all(banner.as_bytes());
                    }
                    let mut buffer = [0; 4096];
                    while let Ok(read @ 1..) = stream.read(&mut buffer) {
                        seen.lock().unwrap().extend_from_slice(&buffer[..read]);
                        if banner.is_none() && buffer[..read].windows(4).any(|four| four == b"\r\n\r\n") {
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n");
                        }
                    }
                });
            }
        });
        this
    }

    /// What has reached it, as text.
    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }
}
