//! A bounded cache in process that loads each key once at a time.
//!
//! What is read while a key is invalidated is never kept: it may be older than the write that invalidated it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, FutureExt, Shared, WeakShared};

use crate::sync::lock;
use crate::{FanoutError, Result};

const SHARDS: usize = 16;
/// What an entry takes besides its value.
const OVERHEAD: usize = 96;

type Flight<V> = Shared<BoxFuture<'static, std::result::Result<V, Arc<FanoutError>>>>;

/// Key to value. Eviction is second chance: what was used since the hand passed stays for one more round.
pub(crate) struct Cache<K, V> {
    inner: Arc<Inner<K, V>>,
}

struct Inner<K, V> {
    shards: Box<[Mutex<Shard<K, V>>]>,
    shard_bytes: usize,
    weigh: fn(&V) -> usize,
}

struct Shard<K, V> {
    at: HashMap<K, usize>,
    slots: Vec<Option<Slot<K, V>>>,
    free: Vec<usize>,
    hand: usize,
    bytes: usize,
    flights: HashMap<K, Loading<V>>,
    loads: u64,
    changes: u64,
}

struct Slot<K, V> {
    key: K,
    value: V,
    loaded_ms: u64,
    bytes: usize,
    used: bool,
}

struct Loading<V> {
    number: u64,
    began_ms: u64,
    flight: WeakShared<BoxFuture<'static, std::result::Result<V, Arc<FanoutError>>>>,
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// At most `bytes`, by `weigh`.
    pub(crate) fn new(bytes: usize, weigh: fn(&V) -> usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::new())).collect();
        Self { inner: Arc::new(Inner { shards, shard_bytes: bytes / SHARDS, weigh }) }
    }

    /// The value, if one is there and it was loaded at a time that will do.
    pub(crate) fn get(&self, key: &K, fresh: impl Fn(u64) -> bool) -> Option<V> {
        let mut shard = self.inner.shard(key);
        let at = *shard.at.get(key)?;
        let slot = shard.slots.get_mut(at)?.as_mut()?;
        if !fresh(slot.loaded_ms) {
            return None;
        }
        slot.used = true;
        Some(slot.value.clone())
    }

    /// A number that changes when the key is invalidated: to be taken before reading for [`Cache::put`].
    pub(crate) fn changes(&self, key: &K) -> u64 {
        self.inner.shard(key).changes
    }

    /// Keeps what was read from `loaded_ms` on, unless something was invalidated since `changes` was taken.
    pub(crate) fn put(&self, key: K, value: V, loaded_ms: u64, changes: u64) {
        let bytes = (self.inner.weigh)(&value) + OVERHEAD;
        let mut shard = self.inner.shard(&key);
        if shard.changes == changes {
            shard.put(Slot { key, value, loaded_ms, bytes, used: false }, self.inner.shard_bytes);
        }
    }

    /// Forgets a key: what is being loaded for it is not kept, and nobody joins it any more.
    pub(crate) fn invalidate(&self, key: &K) {
        let mut shard = self.inner.shard(key);
        shard.changes += 1;
        shard.remove(key);
        shard.flights.remove(key);
    }

    /// The value, from here if it is fresh, else from a load that began at a time that will do, else from a new one.
    pub(crate) async fn get_or_load(
        &self,
        key: &K,
        now_ms: u64,
        fresh: impl Fn(u64) -> bool,
        load: impl FnOnce() -> BoxFuture<'static, Result<V>>,
    ) -> Result<V> {
        if let Some(value) = self.get(key, &fresh) {
            return Ok(value);
        }
        let flight = self.flight(key, now_ms, fresh, load);
        flight.await.map_err(|error| again(&error))
    }

    fn flight(
        &self,
        key: &K,
        now_ms: u64,
        fresh: impl Fn(u64) -> bool,
        load: impl FnOnce() -> BoxFuture<'static, Result<V>>,
    ) -> Flight<V> {
        let mut shard = self.inner.shard(key);
        if let Some(loading) = shard.flights.get(key)
            && fresh(loading.began_ms)
            && let Some(flight) = loading.flight.upgrade()
        {
            return flight;
        }
        if shard.flights.len() >= 64 {
            shard.flights.retain(|_, loading| loading.flight.upgrade().is_some());
        }
        shard.loads += 1;
        let number = shard.loads;
        let (inner, name, loads) = (Arc::clone(&self.inner), key.clone(), load());
        let flight = async move {
            let value = loads.await.map_err(Arc::new);
            inner.landed(name, number, now_ms, value.as_ref().ok());
            value
        }
        .boxed()
        .shared();
        if let Some(weak) = flight.downgrade() {
            shard.flights.insert(key.clone(), Loading { number, began_ms: now_ms, flight: weak });
        }
        flight
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Inner<K, V> {
    fn shard(&self, key: &K) -> std::sync::MutexGuard<'_, Shard<K, V>> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or(0);
        lock(&self.shards[at])
    }

    /// A load is over: kept if it is still the one in place.
    fn landed(&self, key: K, number: u64, loaded_ms: u64, value: Option<&V>) {
        let mut shard = self.shard(&key);
        if shard.flights.get(&key).is_none_or(|loading| loading.number != number) {
            return;
        }
        shard.flights.remove(&key);
        if let Some(value) = value {
            let bytes = (self.weigh)(value) + OVERHEAD;
            let slot = Slot { key, value: value.clone(), loaded_ms, bytes, used: false };
            shard.put(slot, self.shard_bytes);
        }
    }
}

impl<K: Hash + Eq + Clone, V> Shard<K, V> {
    fn new() -> Self {
        Self {
            at: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
            flights: HashMap::new(),
            loads: 0,
            changes: 0,
        }
    }

    fn put(&mut self, slot: Slot<K, V>, most_bytes: usize) {
        self.remove(&slot.key);
        if slot.bytes > most_bytes {
            return;
        }
        while self.bytes + slot.bytes > most_bytes {
            self.evict_one();
        }
        self.bytes += slot.bytes;
        let at = self.free.pop().unwrap_or(self.slots.len());
        self.at.insert(slot.key.clone(), at);
        match self.slots.get_mut(at) {
            Some(place) => *place = Some(slot),
            None => self.slots.push(Some(slot)),
        }
    }

    fn remove(&mut self, key: &K) {
        let Some(at) = self.at.remove(key) else { return };
        if let Some(slot) = self.slots.get_mut(at).and_then(Option::take) {
            self.bytes -= slot.bytes;
            self.free.push(at);
        }
    }

    /// Only called while something is kept, so that the hand ends at it.
    fn evict_one(&mut self) {
        loop {
            self.hand = if self.hand + 1 >= self.slots.len() { 0 } else { self.hand + 1 };
            let Some(Some(slot)) = self.slots.get_mut(self.hand) else { continue };
            if slot.used {
                slot.used = false;
                continue;
            }
            let key = slot.key.clone();
            return self.remove(&key);
        }
    }
}

/// The same error for each of those who waited for one load.
fn again(error: &FanoutError) -> FanoutError {
    match error {
        FanoutError::Storage(error) => {
            fama_storage::StorageError::new(error.kind(), error.to_string()).into()
        }
        FanoutError::Projection { what, why } => FanoutError::Projection { what, why: why.clone() },
        FanoutError::Full(what) => FanoutError::Full(what),
        FanoutError::Generation => FanoutError::Generation,
        FanoutError::TooLate => FanoutError::TooLate,
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::Poll;

    use futures_util::future::{join, pending, ready};

    use super::*;

    fn cache() -> Cache<u32, u64> {
        Cache::new(SHARDS * 10 * (OVERHEAD + 4), |_| 4)
    }

    #[tokio::test]
    async fn many_who_ask_share_one_load_and_errors_are_not_kept() {
        let cache = cache();
        let load = |value| move || ready(Ok(value)).boxed();
        let (a, b) = join(
            cache.get_or_load(&1, 5, |_| true, load(7)),
            cache.get_or_load(&1, 5, |_| true, || panic!("a second load")),
        )
        .await;
        assert_eq!((a.unwrap(), b.unwrap()), (7, 7));
        assert_eq!(cache.get(&1, |at| at == 5), Some(7));
        assert_eq!(cache.get_or_load(&1, 9, |at| at > 5, load(8)).await.unwrap(), 8);
        let failing = || ready(Err(FanoutError::Generation)).boxed();
        assert!(cache.get_or_load(&2, 5, |_| true, failing).await.is_err());
        assert_eq!(cache.get_or_load(&2, 5, |_| true, load(3)).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn what_was_begun_before_an_invalidation_is_not_kept() {
        let cache = cache();
        let (send, receive) = tokio::sync::oneshot::channel();
        let slow = cache.get_or_load(&1, 5, |_| true, || async move { Ok(receive.await.unwrap()) }.boxed());
        let mut slow = Box::pin(slow);
        assert!(std::future::poll_fn(|context| Poll::Ready(slow.as_mut().poll(context).is_pending())).await);
        let changes = cache.changes(&1);
        cache.invalidate(&1);
        cache.put(1, 6, 5, changes);
        assert_eq!(cache.get(&1, |_| true), None);
        send.send(7).unwrap();
        assert_eq!(slow.await.unwrap(), 7);
        assert_eq!(cache.get(&1, |_| true), None);
    }

    #[tokio::test]
    async fn a_load_that_everybody_left_is_begun_again() {
        let cache = cache();
        let left = cache.get_or_load(&1, 5, |_| true, || pending().boxed());
        assert!(futures_util::FutureExt::now_or_never(left).is_none());
        assert_eq!(cache.get_or_load(&1, 6, |_| true, || ready(Ok(2)).boxed()).await.unwrap(), 2);
    }

    #[test]
    fn bytes_are_bounded_and_what_is_used_stays_longer() {
        let cache = cache();
        for key in 0..10_000 {
            cache.put(key, 1, 0, 0);
            cache.get(&0, |_| true);
        }
        let kept = (0..10_000).filter(|key| cache.get(key, |_| true).is_some()).count();
        assert!(kept <= 160 && kept > 100, "{kept}");
        assert!(cache.get(&0, |_| true).is_some());
    }
}
