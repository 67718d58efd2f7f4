//! What can go wrong in a store. The kind decides what callers do; the message is for people.

use std::error::Error as StdError;

/// Result of every store call.
pub type Result<T> = std::result::Result<T, StorageError>;

/// What callers act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The store does not answer, or not in time. A write may have happened. Try again.
    Unavailable,
    /// No room: disk full or quota. Nothing was written. Reads go on; writes work again once there is room.
    Full,
    /// The store refuses writes until restart, after a failed sync: what is on disk is unknown.
    Poisoned,
    /// The claim that this write completes is another's by now, or was given back. Nothing was written.
    Conflict,
    /// Data on disk fails its checksum or can't be understood.
    Corrupt,
    /// The arguments break a limit of the contract: a bug in the caller. Nothing was written.
    Invalid,
}

/// An error of a store.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StorageError {
    kind: ErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl StorageError {
    /// An error without a cause below it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// An error with its cause.
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self { kind, message: message.into(), source: Some(source.into()) }
    }

    /// What to act on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may work later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Full)
    }
}
