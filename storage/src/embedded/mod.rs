//! The embedded store, on fjall: one directory, one process, no services.
//!
//! Reads run where they are called, on consistent views where they read several rows. Writes go through one thread
//! that commits many at once with one sync ([`writer`]). A row is seen only once it is on disk.
//!
//! # Layout
//!
//! Keys begin with the app and 0x00 and a letter for the table, then as shown; `·` stands for 0x00, `#` for eight bytes
//! big-endian. Values are rows ([`rows`], [`work_rows`]): a version byte, then fields. Keyspaces:
//!
//! | keyspace | key behind the app | value |
//! |---|---|---|
//! | `posts` | `p` post`#` | the post; deleted ones stay, emptied |
//! | `index` | `a` author`·` post`#` | delivery, deleted |
//! | | `p` author`·` post`#` | the same, of pull posts only |
//! | | `r` answered`#` post`#` | |
//! | | `s` author | posts not deleted, newest id |
//! | `graph` | `e` follower`·` author | the edge: followed, or history kept |
//! | | `f` author`·` follower | since |
//! | | `x` follower`·` author | last version of an edge that ended |
//! | | `b` user`·` blocked, `m` user`·` muted | since, version |
//! | | `c` blocked`·` user | since: `b` from the other side |
//! | | `y` user`·` blocked, `z` user`·` muted | last version of a block or mute that ended |
//! | | `s` user | followers, followees, kept edges, blocks, mutes, blockers |
//! | `work` | `o` row id | a queued outbox row |
//! | | `q` row id | an outbox row set aside |
//! | | `i` user`·` route`·` key | a claim, with its answer once done |
//! | `misc` | `m` author, `n` author | the mode: not push, push |
//! | | `r` post`#` user | the user's reactions: kind, time |
//! | | `k` post`#` | reactions: kind, count |
//! | | `x` post`#` user | the user's last change of reactions, once one was undone |
//! | | `u` user | the profile |
//! | | `p` user | presence: what the user chose, last seen |
//! | | `e` fingerprint (16 bytes) | the erasure of the user with this XXH3-128: times, place, counts |
//! | `inbox` | `h` user | last position, seen and read up to, groups listed, last version of a change |
//! | | `g` user`·` group`#` | the group |
//! | | `p` user`·` position`#` | a group listed: its id, its end |
//! | | `u` user`·` position`#` | the same of those unread: id, end, seen |
//! | | `o` user`·` group key | the group that began last |
//! | | `e` user`·` actor`·` event | version, in which group since which position, until when it is kept |
//! | | `m` user`·` group`#` actor | events of the actor in the group |
//! | | `t` user`·` group`#` position`#` | the event that joined; positions count down |
//! | | `s` dispatch`#` | what the app sends |
//!
//! Two keyspaces don't begin with the app. `time` orders what sweepers look for in all apps: `d` slot (2 bytes)
//! time`#` app`·` row id, `i` time`#` app`·` user`·` route`·` key, and `n` time`#` app`·` user`·` with `g` group`#` or
//! `e` actor`·` event, for what ends in inboxes; the app is in each key. `meta` has what
//! belongs to the store: `f` its format, `b` the number of queued rows, `l` name a lease, `k` name a mark.

mod codec;
mod core;
mod directory;
mod erasure;
mod graph;
mod idempotency;
mod inbox;
mod journal;
mod keys;
mod leases;
mod modes;
mod options;
mod outbox;
mod posts;
mod presence;
mod queue;
mod reactions;
mod relations;
mod rows;
mod tables;
mod txn;
mod users;
mod watermark;
mod work_rows;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

pub use self::core::Health;
pub use self::options::EmbeddedOptions;

use self::core::Core;
use self::queue::{Operation, Refusal};
use self::tables::Tables;
use self::txn::Txn;
use self::writer::Writer;
use crate::{ErrorKind, Result, StorageError, Stores};

/// The embedded store. Clones share it; it closes when the last one is dropped, after writing what waits.
#[derive(Clone)]
pub struct EmbeddedStore(Arc<Handle>);

struct Handle {
    core: Arc<Core>,
    writer: Option<JoinHandle<()>>,
}

/// Numbers since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EmbeddedStats {
    /// Commits, each with one sync.
    pub commits: u64,
    /// Writes in them.
    pub operations: u64,
    /// Writes that wait right now.
    pub waiting: usize,
}

impl EmbeddedStore {
    /// Opens the store in a directory, which is made if need be. Blocks while journals are read and replayed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if another process holds the directory or it can't be written, [`ErrorKind::Corrupt`]
    /// if a journal or table is damaged, [`ErrorKind::Invalid`] if a newer program wrote it. The message says what to do.
    pub fn open(path: &Path, options: EmbeddedOptions) -> Result<Self> {
        let core = Arc::new(Core::open(path, options)?);
        let writer = Writer::new(core.clone());
        let writer =
            std::thread::Builder::new().name("store-writer".into()).spawn(move || writer.run()).map_err(
                |error| StorageError::with_source(ErrorKind::Unavailable, "can't start the writer", error),
            )?;
        Ok(Self(Arc::new(Handle { core, writer: Some(writer) })))
    }

    /// The store as traits.
    pub fn stores(&self) -> Stores {
        let store = Arc::new(self.clone());
        Stores {
            posts: store.clone(),
            graph: store.clone(),
            modes: store.clone(),
            reactions: store.clone(),
            users: store.clone(),
            presence: store.clone(),
            outbox: store.clone(),
            idempotency: store.clone(),
            leases: store.clone(),
            inbox: store.clone(),
            erasures: store,
        }
    }

    /// Whether it takes writes, as of the last one.
    pub fn health(&self) -> Health {
        self.0.core.health()
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> EmbeddedStats {
        let core = &self.0.core;
        EmbeddedStats {
            commits: core.commits.load(Relaxed),
            operations: core.operations.load(Relaxed),
            waiting: core.queue.len(),
        }
    }

    fn core(&self) -> &Core {
        &self.0.core
    }

    fn read<T>(&self, read: impl FnOnce(&Tables) -> Result<T>) -> Result<T> {
        self.core().read(read)
    }

    /// Has the writer apply a write of about `bytes`, and waits until it is on disk.
    async fn write<T, F>(&self, bytes: usize, write: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Txn<'_>) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        // What a small request is in memory and on disk, roughly.
        let bytes = bytes + 256;
        self.core().queue.push(bytes, Box::new(Request { write: Some(write), result: None, reply }))?;
        answer.await.unwrap_or_else(|_| {
            Err(StorageError::new(ErrorKind::Poisoned, "the store's writer has stopped: restart the program"))
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.queue.close();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer had panicked");
        }
    }
}

/// A write with the channel for its answer.
struct Request<T, F> {
    write: Option<F>,
    result: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Operation for Request<T, F>
where
    T: Send,
    F: FnOnce(&mut Txn<'_>) -> Result<T> + Send,
{
    fn run(&mut self, txn: &mut Txn<'_>) {
        if let Some(write) = self.write.take() {
            self.result = Some(txn.attempt(write));
        }
    }

    fn answer(self: Box<Self>, refusal: Option<&Refusal>) {
        let result = match (refusal, self.result) {
            (Some(refusal), _) => Err(refusal.error()),
            (None, Some(result)) => result,
            (None, None) => Err(StorageError::new(ErrorKind::Unavailable, "the write was not run")),
        };
        // Whoever asked may be gone; the write stands.
        let _ = self.reply.send(result);
    }
}
