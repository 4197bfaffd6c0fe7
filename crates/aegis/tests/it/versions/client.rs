//! A client that keeps its connection: what a reload must not break.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection for all requests. An answer that doesn't come is a failed test: nothing is tried again.
pub(super) struct Client {
    stream: BufReader<TcpStream>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        stream.set_nodelay(true).expect("set");
        Self { stream: BufReader::new(stream) }
    }

    /// Asks, and waits for the whole answer.
    pub(super) fn send(&mut self, method: &str, path: &str, token: &str, body: &str) -> Answer {
        self.try_send(method, path, token, body).expect("an answer")
    }

    /// The same where the other side may be killed.
    pub(super) fn try_send(&mut self, method: &str, path: &str, token: &str, body: &str) -> std::io::Result<Answer> {
        let authorization = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length =
            headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
        let mut body = vec![0; length.expect("every answer here has a length")];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, headers, body: String::from_utf8(body).expect("text") })
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Asks for so many replicas.
    pub(super) fn scale(&mut self, token: &str, replicas: u32) -> Answer {
        let body = format!(
            r#"{{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{{"name":"web","namespace":"shop"}},"spec":{{"replicas":{replicas}}}}}"#
        );
        self.send("PUT", "/r/k8s/apis/apps/v1/namespaces/shop/deployments/web/scale", token, &body)
    }
}

impl Answer {
    /// The one version that decided.
    pub(super) fn version(&self) -> &str {
        let versions: Vec<&str> = self
            .headers
            .iter()
            .filter(|(name, _)| name == "aegis-policy-version")
            .map(|(_, value)| value.as_str())
            .collect();
        let [version] = versions.as_slice() else {
            panic!("{} versions in {:?}: {}", versions.len(), self.headers, self.body)
        };
        version
    }
}
