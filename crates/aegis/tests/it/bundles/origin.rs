//! A stand-in for whoever serves bundles: it says what it is told to, well or badly.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What it answers next.
#[derive(Clone)]
pub enum Says {
    /// A bundle, by OPA's protocol.
    Bundle(Vec<u8>),
    /// Half of what its head promises.
    Half(Vec<u8>),
    /// So many bytes of nothing.
    Zeros(usize),
    /// Exactly this.
    Raw(&'static str),
    /// Nothing, ever.
    Nothing,
}

#[derive(Clone)]
pub struct Origin {
    pub address: SocketAddr,
    says: Arc<Mutex<(u32, Says)>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    pub fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let this = Self { address, says: Arc::new(Mutex::new((1, says))), asked: Arc::default() };
        let origin = this.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let origin = origin.clone();
                std::thread::spawn(move || drop(origin.answer(stream)));
            }
        });
        this
    }

    pub fn say(&self, says: Says) {
        let mut current = self.says.lock().unwrap();
        *current = (current.0 + 1, says);
    }

    /// The heads of the requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        self.asked.lock().unwrap().push(head.clone());
        let (number, says) = self.says.lock().unwrap().clone();
        let etag = format!("\"{number}\"");
        let ok = |length: usize| {
            format!(
                "HTTP/1.1 200 OK\r\nETag: {etag}\r\nContent-Type: application/gzip\r\nContent-Length: {length}\r\n\r\n"
            )
        };
        match says {
            Says::Bundle(_) if head.contains(&format!("if-none-match: {etag}")) => {
                stream.write_all(format!("HTTP/1.1 304 Not Modified\r\nETag: {etag}\r\n\r\n").as_bytes())
            }
            Says::Bundle(bytes) => {
                stream.write_all(ok(bytes.len()).as_bytes())?;
                stream.write_all(&bytes)
            }
            Says::Half(bytes) => {
                stream.write_all(ok(bytes.len()).as_bytes())?;
                stream.write_all(&bytes[..bytes.len() / 2])
            }
            Says::Zeros(length) => {
                stream.write_all(ok(length).as_bytes())?;
                let zeros = vec![0; 1 << 20];
                (0..length >> 20).try_for_each(|_| stream.write_all(&zeros))
            }
            Says::Raw(text) => stream.write_all(text.as_bytes()),
            Says::Nothing => {
                std::thread::sleep(Duration::from_secs(300));
                Ok(())
            }
        }
    }
}
