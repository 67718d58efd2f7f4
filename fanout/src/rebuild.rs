//! Making feeds anew from the store. A rebuild says first that it is under way, then reads, only adds, and stores the
//! floor last, so that posts which are fanned out meanwhile are never lost.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use fama_protocol::{AppId, PostId, UserId};
use fama_storage::Delivery;

use crate::feed_cache::{FeedEntry, Rebuild};
use crate::merge::{Stretch, merge};
use crate::settings::Mutant;
use crate::shared::Shared;
use crate::sync::{Signal, all, lock};
use crate::{Clock, Result};

/// Rows read of each followee at first, and each time a followee is what ends the merge.
const FIRST_ROWS: usize = 8;
const MORE_ROWS: usize = 48;
/// Entries in one call to the feed cache.
const BATCH: usize = 1_000;

/// Who is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Urgency {
    /// The user is online, or reading.
    Online,
    /// Somebody else.
    Idle,
}

/// Rebuilds waiting to be done, each user once. The server drives it: some tasks that call [`Rebuilds::run_one`] for
/// ever.
pub struct Rebuilds {
    clock: Arc<dyn Clock>,
    capacity: usize,
    per_second: u64,
    state: Mutex<State>,
    signal: Signal,
}

#[derive(Default)]
struct State {
    online: VecDeque<(AppId, UserId)>,
    idle: VecDeque<(AppId, UserId)>,
    known: HashSet<(AppId, UserId)>,
    /// When the next may begin, in microseconds of the monotonic clock.
    next_us: u64,
}

impl Rebuilds {
    pub(crate) fn new(clock: Arc<dyn Clock>, capacity: usize, per_second: u64) -> Self {
        Self { clock, capacity, per_second, state: Mutex::default(), signal: Signal::default() }
    }

    /// Asks for a rebuild. `false`: too many wait; the next read asks again.
    pub fn request(&self, app: &AppId, user: &UserId, urgency: Urgency) -> bool {
        let key = (app.clone(), user.clone());
        let mut state = lock(&self.state);
        if state.known.contains(&key) {
            return true;
        }
        if state.known.len() >= self.capacity {
            return false;
        }
        state.known.insert(key.clone());
        match urgency {
            Urgency::Online => state.online.push_back(key),
            Urgency::Idle => state.idle.push_back(key),
        }
        drop(state);
        self.signal.notify();
        true
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        lock(&self.state).known.len()
    }

    /// Waits for the next one that may begin.
    pub(crate) async fn next(&self) -> (AppId, UserId) {
        loop {
            let seen = self.signal.seen();
            match self.poll() {
                Ok(key) => return key,
                Err(Some(wait_ms)) => self.clock.sleep(wait_ms).await,
                Err(None) => self.signal.changed(seen).await,
            }
        }
    }

    /// The next one, or how long to wait for the rate, or for a request.
    fn poll(&self) -> std::result::Result<(AppId, UserId), Option<u64>> {
        let now_us = self.clock.monotonic_ms() * 1_000;
        let mut state = lock(&self.state);
        if state.known.is_empty() {
            return Err(None);
        }
        if state.next_us > now_us {
            return Err(Some((state.next_us - now_us).div_ceil(1_000)));
        }
        let Some(key) = state.online.pop_front().or_else(|| state.idle.pop_front()) else {
            return Err(None);
        };
        state.known.remove(&key);
        if state.known.len() < state.known.capacity() / 8 {
            // After many came at once.
            let State { online, idle, known, .. } = &mut *state;
            let room = known.len() * 2;
            known.shrink_to(room);
            online.shrink_to(room);
            idle.shrink_to(room);
        }
        // A second's worth of rebuilds may begin at once after a quiet time.
        let burst_us = now_us.saturating_sub(1_000_000);
        let step_us = 1_000_000_u64.checked_div(self.per_second).unwrap_or(0);
        state.next_us = state.next_us.max(burst_us) + step_us;
        Ok(key)
    }
}

/// Rebuilds one feed. `false`: there was nothing to do, another is at it, or the feed is not this rebuild's any more.
pub(crate) async fn rebuild(shared: &Shared, app: &AppId, user: &UserId) -> Result<bool> {
    let (feeds, clock) = (&shared.feeds, &shared.clock);
    let token = clock.random();
    let lock_ms = shared.settings.rebuild_lock_ms;
    let begun = feeds.begin_rebuild(app, user, token, clock.monotonic_ms(), lock_ms).await?;
    if begun != Rebuild::Begun {
        return Ok(false);
    }
    // From here on fan-out adds to the feed. The edges are read after that: whoever is followed later is backfilled.
    let mut sources = sources(shared, app, user).await?;
    complete(shared, app, &mut sources).await?;
    let stretches = sources.iter().map(|source| source.stretch.clone());
    let merged = merge(stretches, PostId::MAX, PostId::ZERO);
    let entries: Vec<FeedEntry> = merged
        .ids
        .iter()
        .filter_map(|(id, place)| {
            sources.get(*place).map(|source| FeedEntry { id: *id, author: source.author.clone() })
        })
        .take(feeds.hot_cap())
        .collect();
    let users = std::slice::from_ref(user);
    if !shared.settings.planted(Mutant::ReplaceRebuild) {
        for batch in entries.chunks(BATCH) {
            feeds.add_to_many(app, users, batch).await?;
        }
    }
    #[cfg(feature = "mutants")]
    if shared.settings.planted(Mutant::ReplaceRebuild) {
        feeds.replace(app, user, &entries).await?;
    }
    // Entries beyond the cap were left out here: the floor says so.
    let kept_floor = if entries.len() < merged.ids.len() {
        entries.last().map_or(merged.floor, |entry| entry.id.max(merged.floor))
    } else {
        merged.floor
    };
    feeds.finish_rebuild(app, user, token, kept_floor).await
}

struct Source {
    author: UserId,
    /// Rows below this are wanted: the end of kept history.
    upper: PostId,
    stretch: Stretch<usize>,
}

/// The newest rows of everybody whose posts the feed has: pull posts too, so that it is right whatever their mode
/// becomes.
async fn sources(shared: &Shared, app: &AppId, user: &UserId) -> Result<Vec<Source>> {
    let edges = shared.stores.graph.edges(app, user).await?;
    let mut reads = Vec::with_capacity(edges.len() + 1);
    for edge in edges {
        let upper = edge.until.map_or(PostId::MAX, PostId::floor_of);
        reads.push(source(shared, app, edge.author, upper, reads.len()));
    }
    reads.push(source(shared, app, user.clone(), PostId::MAX, reads.len()));
    all(reads, shared.settings.read_width).await
}

async fn source(shared: &Shared, app: &AppId, author: UserId, upper: PostId, place: usize) -> Result<Source> {
    let mut stretch = read(shared, app, &author, upper, FIRST_ROWS, place).await?;
    if shared.settings.planted(Mutant::RebuildSkipsPull) {
        let list = shared.modes.celebrities(app).await?;
        let ids: Vec<PostId> = stretch.ids.iter().map(|(id, _)| *id).collect();
        let posts = shared.bodies.get(app, &ids).await?;
        let mut pulls = posts.iter().map(|post| post.as_ref().is_some_and(|p| p.delivery == Delivery::Pull));
        stretch.ids.retain(|_| !pulls.next().unwrap_or(false) || !list.authors.contains_key(&author));
    }
    Ok(Source { author, upper, stretch })
}

async fn read(
    shared: &Shared,
    app: &AppId,
    author: &UserId,
    below: PostId,
    limit: usize,
    place: usize,
) -> Result<Stretch<usize>> {
    let rows = shared.rows.direct(app, author, below, limit).await?;
    Ok(Stretch { ids: rows.ids.into_iter().map(|(id, ())| (id, place)).collect(), floor: rows.floor })
}

/// Reads on wherever the merge is cut short, until it holds a full feed or everything.
async fn complete(shared: &Shared, app: &AppId, sources: &mut [Source]) -> Result<()> {
    let retention = shared.retention();
    loop {
        let floor = sources.iter().map(|source| source.stretch.floor).max().unwrap_or(PostId::ZERO);
        let whole = sources
            .iter()
            .map(|source| source.stretch.ids.iter().take_while(|(id, _)| *id >= floor).count())
            .sum::<usize>();
        if floor <= retention || whole >= shared.feeds.hot_cap() {
            return Ok(());
        }
        let ends: Vec<usize> = (0..sources.len())
            .filter(|place| sources.get(*place).is_some_and(|source| source.stretch.floor == floor))
            .collect();
        for place in ends {
            let Some(source) = sources.get_mut(place) else { continue };
            let below = source.stretch.floor.min(source.upper);
            let more = read(shared, app, &source.author, below, MORE_ROWS, place).await?;
            source.stretch.ids.extend(more.ids);
            source.stretch.floor = more.floor;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::testing::TestClock;

    fn rebuilds(capacity: usize, per_second: u64) -> (Rebuilds, AppId) {
        (Rebuilds::new(Arc::new(TestClock::new(1)), capacity, per_second), AppId::default())
    }

    fn user(number: usize) -> UserId {
        UserId::new(&format!("u{number}")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn each_user_waits_once_and_readers_come_first() {
        let (rebuilds, app) = rebuilds(3, 0);
        for _ in 0..100 {
            assert!(rebuilds.request(&app, &user(1), Urgency::Idle));
        }
        assert!(rebuilds.request(&app, &user(2), Urgency::Online));
        assert!(rebuilds.request(&app, &user(3), Urgency::Idle));
        assert_eq!(rebuilds.waiting(), 3);
        assert!(!rebuilds.request(&app, &user(4), Urgency::Online), "full: the next read asks again");
        assert!(rebuilds.request(&app, &user(3), Urgency::Online), "what waits already is not refused");
        let mut order = Vec::new();
        for _ in 0..3 {
            order.push(rebuilds.next().await.1);
        }
        assert_eq!(order, [user(2), user(1), user(3)]);
        assert!(
            rebuilds.request(&app, &user(1), Urgency::Idle),
            "it may be asked for again once it is begun"
        );
        let nothing = tokio::time::timeout(Duration::from_mins(1), async {
            rebuilds.next().await;
            rebuilds.next().await
        });
        assert!(nothing.await.is_err(), "one waits, not two");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_begin_than_the_rate_allows() {
        let (rebuilds, app) = rebuilds(10_000, 50);
        for number in 0..1_000 {
            assert!(rebuilds.request(&app, &user(number), Urgency::Idle));
        }
        tokio::time::sleep(Duration::from_secs(100)).await;
        // Several tasks take them, as in a server: the rate is of all together.
        let (began, mut last) = (Instant::now(), 0);
        for number in 1..=500_u64 {
            tokio::select! {
                _ = rebuilds.next() => {}
                _ = rebuilds.next() => {}
            }
            last = u64::try_from(began.elapsed().as_millis()).unwrap();
            assert!(number <= 52 + last / 20, "{number} after {last} ms");
        }
        assert!(last < 9_500, "500 of 50 a second, a second's worth at once: {last} ms");
    }
}
