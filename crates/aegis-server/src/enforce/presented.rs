//! What Aegis proves itself to an upstream with, as a header. A credential that stands in a file is read again while it is in use,
//! because its owner (a kubelet, an agent of a secret store) replaces it before it ends.
//!
//! A file that can't be read, is empty or holds no header's value leaves the last credential in use: the upstream says when that
//! one has ended. Deliberately absent: watching the file; a look from time to time works on every volume.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use base64::Engine as _;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::headers;
use super::settings::Credential;

/// How often a file is looked at, when there are calls.
const EVERY: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Presented {
    name: HeaderName,
    value: ArcSwap<HeaderValue>,
    file: Option<Renewal>,
}

struct Renewal {
    path: PathBuf,
    every: Duration,
    looked: Mutex<Instant>,
}

impl Presented {
    /// # Errors
    /// The credential can't be read, or can't stand in a header.
    pub(super) fn new(credential: &Credential) -> Result<Self, String> {
        Self::looked_at(credential, EVERY)
    }

    fn looked_at(credential: &Credential, every: Duration) -> Result<Self, String> {
        let (name, value) = header_of(credential)?;
        let file = match credential {
            Credential::BearerFile(path) => {
                Some(Renewal { path: path.clone(), every, looked: Mutex::new(Instant::now()) })
            }
            Credential::Bearer(_) | Credential::Basic { .. } | Credential::Header { .. } | Credential::SigV4(_) => None,
        };
        Ok(Self { name, value: ArcSwap::from_pointee(value), file })
    }

    /// The header, as of now.
    pub(super) fn header(&self) -> (HeaderName, HeaderValue) {
        self.renew();
        (self.name.clone(), HeaderValue::clone(&self.value.load()))
    }

    fn renew(&self) {
        let Some(renewal) = &self.file else { return };
        // Whoever is at it already does it for all.
        let Ok(mut looked) = renewal.looked.try_lock() else { return };
        if looked.elapsed() < renewal.every {
            return;
        }
        *looked = Instant::now();
        if let Ok(value) = bearer_of(&renewal.path) {
            self.value.store(Arc::new(value));
        }
    }
}

fn header_of(credential: &Credential) -> Result<(HeaderName, HeaderValue), String> {
    let (name, text) = match credential {
        Credential::BearerFile(path) => return Ok((header::AUTHORIZATION, bearer_of(path)?)),
        Credential::SigV4(_) => return Err("credential.sigv4: it is no header of its own".to_owned()),
        Credential::Bearer(token) => (header::AUTHORIZATION, format!("Bearer {}", token.expose())),
        Credential::Basic { user, .. } if user.contains(':') => {
            return Err("credential.basic: a user name has no colon".to_owned());
        }
        Credential::Basic { user, password } => {
            let pair = format!("{user}:{}", password.expose());
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
            (header::AUTHORIZATION, format!("Basic {encoded}"))
        }
        Credential::Header { name, value } => {
            let parsed: HeaderName =
                name.parse().map_err(|_| format!("credential.header: {name:?} can't be a header's name"))?;
            let mut alone = HeaderMap::new();
            alone.insert(&parsed, HeaderValue::from_static("x"));
            headers::strip_request(&mut alone, false);
            if alone.is_empty() {
                return Err(format!("credential.header: {name:?} is a header that Aegis sets or takes off"));
            }
            (parsed, value.expose().to_owned())
        }
    };
    Ok((name, sensitive(text)?))
}

/// The token in a file, which may end with a newline.
fn bearer_of(path: &Path) -> Result<HeaderValue, String> {
    let place = format!("credential.bearer_file: {}", path.display());
    let text = fs::read_to_string(path).map_err(|error| format!("{place} can't be read: {error}"))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{place} is empty")),
        token => sensitive(format!("Bearer {token}")),
    }
}

fn sensitive(text: String) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::try_from(text).map_err(|_| "credential: it can't stand in a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_a_file_is_read_again_and_the_last_good_one_holds() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("token");
        let file = Credential::BearerFile(path.clone());
        assert!(Presented::new(&file).is_err_and(|why| why.contains("can't be read")));
        fs::write(&path, "\n").expect("written");
        assert!(Presented::new(&file).is_err_and(|why| why.contains("is empty")));

        fs::write(&path, "first\n").expect("written");
        let presented = Presented::looked_at(&file, Duration::ZERO).expect("a credential");
        let shown = || presented.header().1.to_str().expect("text").to_owned();
        assert_eq!(shown(), "Bearer first");
        fs::write(&path, "second\r\n").expect("written");
        assert_eq!(shown(), "Bearer second");
        for unusable in ["", "two\nlines"] {
            fs::write(&path, unusable).expect("written");
            assert_eq!(shown(), "Bearer second");
        }
        fs::remove_file(&path).expect("there");
        assert_eq!(shown(), "Bearer second");
        assert!(presented.header().1.is_sensitive());
    }

    #[test]
    fn a_file_is_not_read_for_every_call() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("token");
        fs::write(&path, "first").expect("written");
        let presented = Presented::new(&Credential::BearerFile(path.clone())).expect("a credential");
        fs::write(&path, "second").expect("written");
        assert_eq!(presented.header().1, "Bearer first");
    }
}
