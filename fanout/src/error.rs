//! What can go wrong between a write and a reader.

use fama_storage::StorageError;

/// Result of this crate's calls.
pub type Result<T> = std::result::Result<T, FanoutError>;

/// An error. Callers look at [`FanoutError::is_retryable`].
#[derive(Debug, thiserror::Error)]
pub enum FanoutError {
    /// The durable store.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A projection (feed cache, live log, registry): it does not answer. Readers go on without it.
    #[error("{what} is unavailable: {why}")]
    Projection {
        /// Which.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// A queue is at its bound.
    #[error("{0} is full")]
    Full(&'static str),
    /// The projection is another one than when the work began (it came back empty or old): begin again.
    #[error("the feed cache changed its generation")]
    Generation,
    /// The post's id was minted too long ago: readers may already rely on there being no such post. Mint another.
    #[error("the id was minted too long before the write")]
    TooLate,
}

impl FanoutError {
    /// Whether the same call may work later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Storage(error) => error.is_retryable(),
            Self::Projection { .. } | Self::Full(_) | Self::Generation | Self::TooLate => true,
        }
    }
}
