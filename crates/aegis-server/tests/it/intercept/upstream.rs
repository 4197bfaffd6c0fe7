//! A tool that remembers every byte that it is sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Upstream {
    /// Starts one that takes `pause` for each answer.
    pub(super) async fn start(pause: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let upstream = Self { address: listener.local_addr().expect("an address"), seen: Arc::default() };
        let this = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(this.clone().serve(stream, pause));
            }
        });
        upstream
    }

    /// Everything that it was sent.
    pub(super) fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("no panic")).into_owned()
    }

    /// Answers without an end, as fast as it is taken.
    async fn flood(&self, mut stream: TcpStream) {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = format!("10000\r\n{}\r\n", "e".repeat(0x10000));
        let mut sent = stream.write_all(head.as_bytes()).await;
        while sent.is_ok() {
            sent = stream.write_all(chunk.as_bytes()).await;
        }
        self.seen.lock().expect("no panic").extend_from_slice(b"cut off");
    }

    async fn serve(self, mut stream: TcpStream, pause: Duration) {
        let mut unanswered = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            self.seen.lock().expect("no panic").extend_from_slice(&buffer[..length]);
            unanswered.extend_from_slice(&buffer[..length]);
            if is_client_hello(&unanswered) {
                // A TLS alert: enough of TLS for a tunnel to open.
                let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).await;
                unanswered.clear();
            }
            while let Some((end, upgrade)) = whole_request(&unanswered) {
                let endless = unanswered.starts_with(b"GET /endless ");
                unanswered.drain(..end);
                if endless {
                    return self.flood(stream).await;
                }
                tokio::time::sleep(pause).await;
                let answer = if upgrade {
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello"
                } else {
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAegis-Decision: forged\r\n\r\nok"
                };
                // Whoever asked may have gone.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    }
}

fn is_client_hello(bytes: &[u8]) -> bool {
    bytes.starts_with(&[22, 3])
}

/// Where the first request ends, and whether it asks for an upgrade.
fn whole_request(bytes: &[u8]) -> Option<(usize, bool)> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let head_end = text.find("\r\n\r\n")? + 4;
    let head = text[..head_end].to_ascii_lowercase();
    let length =
        head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
    let end = match length {
        Some(length) => head_end + length,
        None if head.contains("transfer-encoding") => head_end + text[head_end..].find("0\r\n\r\n")? + 5,
        None => head_end,
    };
    (text.len() >= end).then(|| (end, head.contains("upgrade: websocket")))
}
