//! What Aegis proves itself to an upstream with: a header of fixed value, one whose secret stands in a file that its owner replaces
//! (a kubelet, an agent of a secret store), or one that a program prints.
//!
//! Invariant: without a credential that is good now nothing is sent; an earlier one isn't used instead. A file that is gone or empty says
//! that its owner took the credential back. Deliberately absent: watching the file; a look from time to time works on every volume.

mod exec;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Mutex;

use self::exec::Program;
use super::settings::Credential;
use super::{AnyBody, headers};

/// How often a file is looked at, when there are calls.
const EVERY: Duration = Duration::from_secs(1);
/// The largest file that is read, in bytes.
const LARGEST: u64 = 64 << 10;
/// The shortest secret that an answer is looked through for: a shorter one would be found by chance.
const SHORTEST: usize = 8;

/// See the module.
pub(super) struct Presented {
    name: HeaderName,
    form: Form,
    source: Source,
}

/// What a secret looks like in its header.
#[derive(Debug, Clone)]
enum Form {
    Bearer,
    /// With this user's name.
    Basic(String),
    Plain,
}

enum Source {
    Fixed(HeaderValue),
    File(Box<File>),
    Program(Box<Program>),
}

struct File {
    path: PathBuf,
    every: Duration,
    seen: Mutex<(Instant, Result<HeaderValue, String>)>,
}

/// What one request proves itself with. (What covers the whole request, as a signature does, is another kind.)
#[derive(Debug, Clone)]
pub(super) enum Shown {
    /// A header.
    Header(HeaderName, HeaderValue),
}

impl Shown {
    /// Adds it to a request that is complete otherwise.
    pub(super) fn apply(self, request: &mut Request<AnyBody>) {
        match self {
            Self::Header(name, value) => drop(request.headers_mut().insert(name, value)),
        }
    }

    /// Takes off what of an answer's headers holds the secret: an upstream that shows what it was sent must not show it to the agent.
    pub(super) fn hide_in(&self, headers: &mut HeaderMap) {
        let Self::Header(_, shown) = self;
        let shown = shown.as_bytes();
        let secret = shown.strip_prefix(b"Bearer ").or_else(|| shown.strip_prefix(b"Basic ")).unwrap_or(shown);
        if secret.len() < SHORTEST {
            return;
        }
        let tells = |value: &HeaderValue| value.as_bytes().windows(secret.len()).any(|window| window == secret);
        let telling: Vec<HeaderName> =
            headers.iter().filter(|(_, value)| tells(value)).map(|(name, _)| name.clone()).collect();
        for name in telling {
            headers.remove(name);
        }
    }
}

impl Presented {
    /// # Errors
    /// The credential can't be read, or can't stand in a header.
    pub(super) fn new(credential: &Credential) -> Result<Self, String> {
        Self::looked_at(credential, EVERY)
    }

    fn looked_at(credential: &Credential, every: Duration) -> Result<Self, String> {
        let bearer = (header::AUTHORIZATION, Form::Bearer);
        let ((name, form), secret) = match credential {
            Credential::Bearer(token) => (bearer, Secret::Text(token.expose())),
            Credential::BearerFile(path) => (bearer, Secret::File(path)),
            Credential::Basic { user, password } => (basic(user)?, Secret::Text(password.expose())),
            Credential::BasicFile { user, path } => (basic(user)?, Secret::File(path)),
            Credential::Header { name, value } => ((own(name)?, Form::Plain), Secret::Text(value.expose())),
            Credential::HeaderFile { name, path } => ((own(name)?, Form::Plain), Secret::File(path)),
            Credential::Exec(exec) => {
                let placed = exec.header.as_deref().map(|name| Ok((own(name)?, Form::Plain)));
                let (name, form) = placed.unwrap_or(Ok::<_, String>(bearer))?;
                let source = Source::Program(Box::new(Program::new(exec.clone())?));
                return Ok(Self { name, form, source });
            }
            Credential::SigV4(_) => return Err("credential.sigv4: it is no header of its own".to_owned()),
        };
        let source = match secret {
            Secret::Text(text) => Source::Fixed(form.value(text)?),
            Secret::File(path) => {
                let value = form.value(&secret_in(path)?)?;
                let seen = Mutex::new((Instant::now(), Ok(value)));
                Source::File(Box::new(File { path: path.to_owned(), every, seen }))
            }
        };
        Ok(Self { name, form, source })
    }

    /// What a request proves itself with now.
    ///
    /// # Errors
    /// Why there is nothing, without the secret.
    pub(super) async fn show(&self) -> Result<Shown, String> {
        let value = match &self.source {
            Source::Fixed(value) => value.clone(),
            Source::File(file) => file.value(&self.form).await?,
            Source::Program(program) => program.value(|text| self.form.value(text)).await?,
        };
        Ok(Shown::Header(self.name.clone(), value))
    }
}

enum Secret<'a> {
    Text(&'a str),
    File(&'a Path),
}

impl Form {
    fn value(&self, secret: &str) -> Result<HeaderValue, String> {
        let text = match self {
            Self::Bearer => format!("Bearer {secret}"),
            Self::Basic(user) => format!("Basic {}", STANDARD.encode(format!("{user}:{secret}"))),
            Self::Plain => secret.to_owned(),
        };
        let mut value = HeaderValue::try_from(text).map_err(|_| "credential: it can't stand in a header".to_owned())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl File {
    async fn value(&self, form: &Form) -> Result<HeaderValue, String> {
        let mut seen = self.seen.lock().await;
        if seen.0.elapsed() >= self.every {
            let (path, form) = (self.path.clone(), form.clone());
            let read = tokio::task::spawn_blocking(move || form.value(&secret_in(&path)?)).await;
            *seen = (Instant::now(), read.unwrap_or_else(|_| Err("the credential's file can't be read".to_owned())));
        }
        seen.1.clone()
    }
}

fn basic(user: &str) -> Result<(HeaderName, Form), String> {
    match user.contains(':') {
        true => Err("credential.basic: a user name has no colon".to_owned()),
        false => Ok((header::AUTHORIZATION, Form::Basic(user.to_owned()))),
    }
}

/// A header of the tool's own.
fn own(name: &str) -> Result<HeaderName, String> {
    let parsed: HeaderName =
        name.parse().map_err(|_| format!("credential.header: {name:?} can't be a header's name"))?;
    let mut alone = HeaderMap::new();
    alone.insert(&parsed, HeaderValue::from_static("x"));
    headers::strip_request(&mut alone, false);
    match alone.is_empty() {
        true => Err(format!("credential.header: {name:?} is a header that Aegis sets or takes off")),
        false => Ok(parsed),
    }
}

/// The secret in a file, which may end with a newline.
fn secret_in(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let place = format!("credential: the file {}", path.display());
    let unreadable = |error| format!("{place} can't be read: {error}");
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LARGEST {
        return Err(format!("{place} is too large for a credential"));
    }
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{place} is empty")),
        secret => Ok(secret.to_owned()),
    }
}
