//! The data directory: made 0700, its files 0600, held by one process at a time.
//!
//! The lock is the operating system's (`flock`), so it goes with the process, however that ends; the process id in the file is
//! only for the message.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::StoreError;

/// A held data directory. Dropping it lets go.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if there is none, and takes hold of it.
    pub(crate) fn hold(path: &Path) -> Result<Self, StoreError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(StoreError::io(path))?;
        let lock_path = path.join("lock");
        let mut lock = private_file(&lock_path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder).map_err(StoreError::io(&lock_path))?;
                return Err(StoreError::Held { path: path.to_owned(), holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::io(&lock_path)(error)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(StoreError::io(&lock_path))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The database file, there with mode 0600 before SQLite opens it: its `-wal` and `-shm` take the mode over.
    pub(crate) fn database(&self) -> Result<PathBuf, StoreError> {
        let path = self.path.join("aegis.db");
        let left_over = self.path.join("aegis.db-wal");
        if !path.exists() && left_over.exists() {
            let detail = "its write-ahead log is there, the file itself is gone".to_owned();
            return Err(StoreError::Corrupt { path, detail });
        }
        private_file(&path)?;
        Ok(path)
    }
}

fn private_file(path: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(StoreError::io(path))?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(StoreError::io(path))?;
    Ok(file)
}
