//! The data directory: one process at a time, made in one step, with room to write.
//!
//! ```text
//! <path>/lock      held by the process that has the store open
//! <path>/db/       the database; <path>/db.new/ while it is being made
//! ```

use std::fs::{File, TryLockError};
use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};

use crate::{ErrorKind, Result, StorageError};

/// A data directory that this process holds.
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes the directory if need be, and takes its lock.
    pub fn hold(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|error| no_access(path, error))?;
        let lock_path = path.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|error| no_access(path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StorageError::new(
                ErrorKind::Unavailable,
                format!(
                    "the data directory {} is in use by another process: stop that one, or choose another directory",
                    path.display()
                ),
            )),
            Err(TryLockError::Error(error)) => Err(no_access(path, error)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the database is.
    pub fn database(&self) -> PathBuf {
        self.path.join("db")
    }

    /// Makes the database elsewhere with `make` and moves it to its place, unless it is there: a crash leaves all or
    /// nothing.
    pub fn ensure_database(&self, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let database = self.database();
        let io = |error| no_access(&self.path, error);
        if database.try_exists().map_err(io)? {
            return Ok(());
        }
        let unfinished = self.path.join("db.new");
        if unfinished.try_exists().map_err(io)? {
            std::fs::remove_dir_all(&unfinished).map_err(io)?;
        }
        make(&unfinished)?;
        std::fs::rename(&unfinished, &database).map_err(io)?;
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(io)
    }

    /// Bytes that may still be written. `None` if the file system does not say.
    pub fn free_bytes(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(&self.path).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

fn no_access(path: &Path, error: std::io::Error) -> StorageError {
    let path = path.display();
    let (kind, advice) = match error.kind() {
        IoKind::ReadOnlyFilesystem => {
            (ErrorKind::Unavailable, "mount it writable, or choose another directory".to_owned())
        }
        IoKind::PermissionDenied => {
            (ErrorKind::Unavailable, "give this user write access, or choose another directory".to_owned())
        }
        IoKind::StorageFull | IoKind::QuotaExceeded => (ErrorKind::Full, "free some space".to_owned()),
        IoKind::NotADirectory | IoKind::AlreadyExists => {
            (ErrorKind::Unavailable, "a file is there: move it, or choose another directory".to_owned())
        }
        _ => (ErrorKind::Unavailable, "check the path and the disk, or choose another directory".to_owned()),
    };
    let message = format!("can't write to the data directory {path}: {error}; {advice}");
    StorageError::with_source(kind, message, error)
}
