//! Files in a `.tar.gz`: written so that equal files are equal bytes, read within bounds.
//!
//! Bytes come from outside. What is read is bounded in all, whatever they claim; names are plain relative paths, each once;
//! links, devices and sparse files are refused.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};

use flate2::read::MultiGzDecoder;
use tar::EntryType;

/// The most that the files of a bundle may hold together, in bytes.
pub const MAX_UNPACKED: u64 = 50 << 20;
/// The most files in a bundle.
const MAX_FILES: usize = 10_000;
/// The longest name of a file, in bytes.
const MAX_NAME: usize = 255;
/// The most bytes that are unpacked: the files, and for each its head, its padding and its long name.
const MAX_TAR: u64 = MAX_UNPACKED + MAX_FILES as u64 * 3 * 1024;

/// Why an archive isn't read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It isn't gzip, isn't tar, or breaks off.
    #[error("it is no whole .tar.gz: {0}")]
    Broken(#[from] io::Error),
    /// It unpacks to too much.
    #[error("it unpacks to more than {} MiB", MAX_UNPACKED >> 20)]
    TooLarge,
    /// It has too many files.
    #[error("it has more than {MAX_FILES} files")]
    TooManyFiles,
    /// A name that is no plain relative path.
    #[error("the name {0:?} in it is no plain relative path")]
    BadName(String),
    /// A name that comes twice.
    #[error("{0} is in it twice")]
    Duplicate(String),
    /// A link, a device, or another thing that holds no bytes of its own.
    #[error("{0} in it is neither a file nor a folder")]
    NotAFile(String),
}

/// The files of a bundle, by name, without a slash in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    files: BTreeMap<String, Vec<u8>>,
}

impl Archive {
    pub(super) fn of(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self { files }
    }

    /// Reads a `.tar.gz`.
    ///
    /// # Errors
    /// Whatever is unusual about it.
    pub fn read(bytes: &[u8]) -> Result<Self, ArchiveError> {
        let mut tar = tar::Archive::new(MultiGzDecoder::new(bytes).take(MAX_TAR));
        let mut files = BTreeMap::new();
        let (mut unpacked, mut count) = (0_u64, 0_usize);
        for entry in tar.entries()? {
            let mut entry = entry?;
            count += 1;
            if count > MAX_FILES {
                return Err(ArchiveError::TooManyFiles);
            }
            let name = name(&entry.path_bytes())?;
            match entry.header().entry_type() {
                EntryType::Directory => continue,
                EntryType::Regular => {}
                _ => return Err(ArchiveError::NotAFile(name)),
            }
            unpacked = unpacked.saturating_add(entry.size());
            if unpacked > MAX_UNPACKED {
                return Err(ArchiveError::TooLarge);
            }
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            if files.insert(name.clone(), content).is_some() {
                return Err(ArchiveError::Duplicate(name));
            }
        }
        // To the end, so that the checksum is compared and nothing follows unseen.
        let mut rest = tar.into_inner();
        io::copy(&mut rest, &mut io::sink())?;
        if rest.limit() == 0 { Err(ArchiveError::TooLarge) } else { Ok(Self { files }) }
    }

    /// The `.tar.gz`: files sorted, no times, no owners.
    pub fn write(&self) -> Vec<u8> {
        self.try_write().expect("an archive of checked names is written to memory")
    }

    fn try_write(&self) -> io::Result<Vec<u8>> {
        let gzip = flate2::GzBuilder::new().mtime(0).operating_system(255);
        let mut tar = tar::Builder::new(gzip.write(Vec::new(), flate2::Compression::default()));
        for (name, content) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            tar.append_data(&mut header, name, content.as_slice())?;
        }
        let mut gzip = tar.into_inner()?;
        gzip.flush()?;
        gzip.finish()
    }

    /// A file's content.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// All files, by name.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, content)| (name.as_str(), content.as_slice()))
    }

    /// The same with this file, in place of one of that name. The name must be a plain relative path.
    pub fn with(mut self, name: &str, content: Vec<u8>) -> Self {
        self.files.insert(name.to_owned(), content);
        self
    }
}

/// A name as it was written, which must be a plain relative path; a slash or `./` in front is taken off, as OPA does.
fn name(written: &[u8]) -> Result<String, ArchiveError> {
    let bad = || ArchiveError::BadName(String::from_utf8_lossy(written).chars().take(80).collect());
    let text = std::str::from_utf8(written).map_err(|_| bad())?;
    let text = text.strip_prefix("./").or_else(|| text.strip_prefix('/')).unwrap_or(text);
    // A folder's name ends in a slash; the archive's own folder is "./".
    let path = text.strip_suffix('/').unwrap_or(text);
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(|c: char| c.is_control() || c == '\\');
    let folder_itself = path.is_empty() && written.ends_with(b"/");
    if folder_itself || (path.len() <= MAX_NAME && path.split('/').all(plain)) {
        Ok(path.to_owned())
    } else {
        Err(bad())
    }
}
