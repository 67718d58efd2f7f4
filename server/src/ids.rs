//! Minting post ids: the node's number is leased in the store, the highest id minted under it is kept there, so that
//! neither two processes nor a restart with the clock set back ever repeat one.

use std::sync::{Arc, Mutex, PoisonError};

use fama_fanout::Clock;
use fama_protocol::{AppId, MintError, NodeNumber, PostId, Snowflake, UnixMs, UserId};
use fama_storage::{LeaseStore, StorageError, Stores};

/// The lease of a node number lasts so long …
pub const LEASE_MS: u64 = 30_000;
/// … is renewed so often …
pub const RENEW_MS: u64 = 10_000;
/// … and ids are minted under it until so long before its end: clocks of nodes differ.
const MARGIN_MS: u64 = 5_000;
/// The mark in the store lies so far ahead of the clock when it is raised: one write for many ids.
const AHEAD_MS: u64 = 3_000;

/// Why there is no id.
#[derive(Debug, thiserror::Error)]
pub enum IdError {
    /// The store.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The clock is behind the ids that exist.
    #[error(transparent)]
    Clock(#[from] MintError),
    /// The lease ended before it was renewed: another node may have the number.
    #[error("this node's number is not leased at the moment")]
    LeaseLost,
    /// All numbers are held.
    #[error("all {count} node numbers are taken; a stopped node's number is free after {LEASE_MS} ms", count = NodeNumber::COUNT)]
    NoNumber,
}

/// Mints ids for this process.
pub struct Minter {
    stores: Stores,
    clock: Arc<dyn Clock>,
    holder: String,
    number: NodeNumber,
    state: Mutex<State>,
}

struct State {
    snowflake: Snowflake,
    /// Ids up to here are reserved in the store.
    mark: PostId,
    /// By the boot-time clock.
    lease_ends_ms: u64,
}

fn lease_name(number: NodeNumber) -> String {
    format!("node/{number}")
}

/// Milliseconds since boot, also while the machine slept.
fn boot_ms() -> u64 {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (s, ns) = (u64::try_from(at.tv_sec).unwrap_or(0), u64::try_from(at.tv_nsec).unwrap_or(0));
    s * 1_000 + ns / 1_000_000
}

impl Minter {
    /// Leases a number under which ids from `from` on can be minted: the first free one whose mark is not ahead of it.
    pub async fn lease(stores: Stores, clock: Arc<dyn Clock>, from: UnixMs) -> Result<Self, IdError> {
        let holder = format!("{:016x}", clock.random());
        let latest = PostId::floor_of(from.plus(AHEAD_MS + 1_000));
        for number in (0..NodeNumber::COUNT).filter_map(NodeNumber::new) {
            let name = lease_name(number);
            let asked_at = boot_ms();
            if stores.leases.acquire(&name, &holder, LEASE_MS, clock.now()).await?.is_none() {
                continue;
            }
            let mark = stores.leases.raise_mark(&name, 0).await?;
            let mark = PostId::from_u64(mark).unwrap_or(PostId::MAX);
            if mark > latest {
                stores.leases.release(&name, &holder).await?;
                continue;
            }
            let state = State {
                snowflake: Snowflake::new(number, mark),
                mark,
                lease_ends_ms: asked_at + LEASE_MS - MARGIN_MS,
            };
            return Ok(Self { stores, clock, holder, number, state: Mutex::new(state) });
        }
        Err(IdError::NoNumber)
    }

    /// The number held.
    pub fn number(&self) -> NodeNumber {
        self.number
    }

    /// An id for a new post of this author: above the author's newest, whoever minted that.
    pub async fn mint(&self, app: &AppId, author: &UserId) -> Result<PostId, IdError> {
        let newest = self.stores.posts.newest(app, author).await?.unwrap_or_default();
        self.mint_at(self.clock.now(), newest).await
    }

    /// An id of a given time (imports bring their own) above another.
    pub async fn mint_at(&self, at: UnixMs, above: PostId) -> Result<PostId, IdError> {
        let (id, mark) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if boot_ms() > state.lease_ends_ms {
                return Err(IdError::LeaseLost);
            }
            (state.snowflake.mint(at, above)?, state.mark)
        };
        if id > mark {
            let ahead = PostId::floor_of(id.minted_at().plus(AHEAD_MS));
            let raised = self.stores.leases.raise_mark(&lease_name(self.number), ahead.get()).await?;
            let raised = PostId::from_u64(raised).unwrap_or(PostId::MAX);
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.mark = state.mark.max(raised);
        }
        Ok(id)
    }

    /// Renews the lease. `false`: somebody else has the number now, and this process must stop.
    pub async fn renew(&self) -> Result<bool, StorageError> {
        let asked_at = boot_ms();
        let leases: &dyn LeaseStore = &*self.stores.leases;
        let name = lease_name(self.number);
        let held = leases.acquire(&name, &self.holder, LEASE_MS, self.clock.now()).await?.is_some();
        if held {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.lease_ends_ms = asked_at + LEASE_MS - MARGIN_MS;
        }
        Ok(held)
    }

    /// Hands the number back; nothing is minted afterwards.
    pub async fn release(&self) -> Result<(), StorageError> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lease_ends_ms = 0;
        self.stores.leases.release(&lease_name(self.number), &self.holder).await
    }
}
