//! What can be set.

/// Options of the embedded store. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// Blocks kept in memory.
    pub cache_bytes: u64,
    /// A memtable is written out when it reaches this size. There are eight, each with up to four times as much while
    /// writing out lags.
    pub memtable_bytes: u64,
    /// Journals are kept below about this size and one file (64 MiB) more; at least 64 MiB. This and
    /// `memtable_bytes` bound the time that opening takes.
    pub journal_bytes: u64,
    /// Threads that write out and compact; at least 1.
    pub worker_threads: usize,
    /// Writes that may wait for the disk; one more is answered [`crate::ErrorKind::Unavailable`].
    pub queue_ops: usize,
    /// Bytes that may wait for the disk, likewise.
    pub queue_bytes: usize,
    /// Most writes in one commit.
    pub batch_ops: usize,
    /// Most bytes of requests in one commit, unless a single write is larger.
    pub batch_bytes: usize,
    /// Free space below which writes are refused with [`crate::ErrorKind::Full`], besides twice the batch. It is what
    /// writing out and compacting need while the last acknowledged rows settle.
    pub reserve_bytes: u64,
    /// Opens a store whose very last batch is damaged, though it was written completely: that batch may have been
    /// acknowledged, and is lost. A copy stays beside the journal. For an operator's deliberate use.
    pub accept_damaged_tail: bool,
    /// Answers before the data is on disk. For tests that must catch it.
    #[cfg(feature = "mutants")]
    pub acknowledge_early: bool,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            memtable_bytes: 16 << 20,
            journal_bytes: 128 << 20,
            worker_threads: 1,
            queue_ops: 4_096,
            queue_bytes: 32 << 20,
            batch_ops: 1_024,
            batch_bytes: 1 << 20,
            reserve_bytes: 128 << 20,
            accept_damaged_tail: false,
            #[cfg(feature = "mutants")]
            acknowledge_early: false,
        }
    }
}
