//! Secrets at rest: private files, the operator's token, API keys.
//!
//! A secret file is made whole or not at all (written beside, synced, then linked), mode 0600, and is refused when
//! others may read it. API keys are kept as their SHA-256 only: they are 256 random bits, so a slow hash adds nothing.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aegis_core::sanitize::TokenKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::IdentifyError;

/// The name of the operator's token in the data directory.
pub const OPERATOR_TOKEN_FILE: &str = "operator.token";
/// The name of the key that redactions by token are made with.
const REDACTION_KEY_FILE: &str = "redaction.key";

/// More than any secret file of ours holds.
const MAX_SECRET_FILE: u64 = 64 * 1024;

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], IdentifyError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| IdentifyError::Random(error.to_string()))?;
    Ok(bytes)
}

/// Reads a secret file; `None` when there is none.
///
/// # Errors
/// When it can't be read, or when somebody else than its owner may.
pub(crate) fn read(path: &Path) -> Result<Option<String>, IdentifyError> {
    let failed = |source| IdentifyError::File { path: path.to_owned(), source };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(IdentifyError::Exposed { path: path.to_owned(), mode: mode & 0o777 });
    }
    let mut text = String::new();
    file.take(MAX_SECRET_FILE).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Makes a secret file with `content`, and its folder (0700) where that is missing. Never replaces one.
///
/// # Errors
/// When it can't be written, or exists.
pub(crate) fn create(path: &Path, content: &str) -> Result<(), IdentifyError> {
    let failed = |source| IdentifyError::File { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let beside = beside(path)?;
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::hard_link(&beside, path)?;
        fs::File::open(folder)?.sync_all()
    })();
    let removed = fs::remove_file(&beside);
    written.and(removed).map_err(failed)
}

fn beside(path: &Path) -> Result<PathBuf, IdentifyError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", URL_SAFE_NO_PAD.encode(random::<9>()?)));
    Ok(path.with_file_name(name))
}

/// What the operators' API is guarded by: one token per data directory. Holds its hash only.
#[derive(Debug, Clone)]
pub struct OperatorToken {
    hash: [u8; 32],
}

impl OperatorToken {
    /// Reads `operator.token` in the data directory; makes it at first start.
    ///
    /// # Errors
    /// When it can't be read or made, when others may read it, or when it is too short to be one of ours.
    pub fn open(data_dir: &Path) -> Result<Self, IdentifyError> {
        let path = data_dir.join(OPERATOR_TOKEN_FILE);
        let text = match read(&path)? {
            Some(text) => text,
            None => {
                let text = format!("aego_{}\n", URL_SAFE_NO_PAD.encode(random::<32>()?));
                create(&path, &text)?;
                text
            }
        };
        let token = text.trim();
        if token.len() < 32 {
            return Err(IdentifyError::NotASecret { path });
        }
        Ok(Self { hash: Sha256::digest(token).into() })
    }

    /// Whether `presented` is the operator's token. Takes equally long whatever is wrong with it.
    pub fn proves(&self, presented: &str) -> bool {
        let presented: [u8; 32] = Sha256::digest(presented).into();
        presented.ct_eq(&self.hash).into()
    }
}

/// What redactions by token are made with: `redaction.key` in the data directory. `None`: there is none yet.
///
/// # Errors
/// When it can't be read, when others may read it, or when it is none of ours.
pub fn redaction_key(data_dir: &Path) -> Result<Option<TokenKey>, IdentifyError> {
    let path = data_dir.join(REDACTION_KEY_FILE);
    let Some(text) = read(&path)? else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD.decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(|bytes| Some(TokenKey::new(bytes))).ok_or(IdentifyError::NotASecret { path })
}

/// Makes that key at first start.
///
/// # Errors
/// As [`redaction_key`], and when it can't be made.
pub fn make_redaction_key(data_dir: &Path) -> Result<(), IdentifyError> {
    if redaction_key(data_dir)?.is_none() {
        create(&data_dir.join(REDACTION_KEY_FILE), &format!("{}\n", URL_SAFE_NO_PAD.encode(random::<32>()?)))?;
    }
    Ok(())
}

/// A new API key. `text` is shown once; `id` and `hash` are kept.
pub struct ApiKey {
    /// Its public name, by which it is revoked: `key_…`.
    pub id: String,
    /// `aeg_` and 32 random bytes in base64url.
    pub text: String,
    /// See [`api_key_hash`].
    pub hash: [u8; 32],
}

impl ApiKey {
    /// A fresh one.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn generate() -> Result<Self, IdentifyError> {
        let text = format!("aeg_{}", URL_SAFE_NO_PAD.encode(random::<32>()?));
        let id = format!("key_{}", URL_SAFE_NO_PAD.encode(random::<9>()?));
        let hash = api_key_hash(&text);
        Ok(Self { id, text, hash })
    }
}

/// The form in which an API key is kept and looked up: its SHA-256.
pub fn api_key_hash(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}
