//! A JSON Web Key Set, fetched over HTTP: at start, now and then, and when a token names a key that is not in it, but
//! for that at most once a minute whatever arrives. Keys that left the set are believed a little longer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use fama_fanout::Clock;
use futures_util::StreamExt;
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use tokio::sync::{Notify, watch};

use super::keys::{Key, KeySet, from_jwk};

/// How long one fetch may take.
const FETCH_MS: u64 = 2_000;
/// Fetches that tokens cause are so far apart at least.
const ASKED_APART_MS: u64 = 60_000;
/// After a failed fetch the next one comes so much later, doubling up to the regular time.
const RETRY_MS: u64 = 2_000;
/// Bytes of a set.
const MAX_BYTES: usize = 256 * 1024;
/// Keys of a set.
const MAX_KEYS: usize = 100;

/// The keys as they are now.
pub struct Snapshot {
    /// All that verify: configured, fetched, and lately retired ones.
    pub keys: KeySet,
    /// Grows with each change.
    pub version: u64,
    /// Whether a set was ever fetched, or none is configured.
    pub complete: bool,
}

/// Where a set comes from, and how long its keys are kept.
pub struct Source {
    /// Its address.
    pub url: String,
    /// Milliseconds between fetches.
    pub refresh_ms: u64,
    /// Milliseconds for which a key that left is believed.
    pub overlap_ms: u64,
}

/// The keys that verify tokens: those of the configuration, and those of a set if there is one.
pub struct Keys {
    snapshot: ArcSwap<Snapshot>,
    fixed: Vec<Key>,
    source: Option<Source>,
    clock: Arc<dyn Clock>,
    /// When a token last caused a fetch, plus one: 0 is never.
    asked_at: AtomicU64,
    asked: Notify,
    /// Counts fetches that ended, whatever came of them.
    fetched: watch::Sender<u64>,
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<serde_json::Value>,
}

/// What the fetching task knows of each fetched key.
type Known = HashMap<String, (Key, Option<u64>)>;

impl Keys {
    /// Keys of the configuration, and a set to be fetched by [`Keys::run`].
    pub fn new(fixed: Vec<Key>, source: Option<Source>, clock: Arc<dyn Clock>) -> Self {
        let snapshot = Snapshot { keys: KeySet::new(fixed.clone()), version: 0, complete: source.is_none() };
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            fixed,
            source,
            clock,
            asked_at: AtomicU64::new(0),
            asked: Notify::new(),
            fetched: watch::Sender::new(0),
        }
    }

    /// The keys as they are now.
    pub fn current(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// A token named a key that is not here: waits for the set to be fetched again, unless that was done for another
    /// token less than a minute ago. `true`: look again.
    pub async fn look_again(&self) -> bool {
        if self.source.is_none() {
            return false;
        }
        let now = self.clock.monotonic_ms() + 1;
        let mut fetched = self.fetched.subscribe();
        let before = *fetched.borrow_and_update();
        let last = self.asked_at.load(Ordering::Acquire);
        if last == 0 || now - last.min(now) >= ASKED_APART_MS {
            if self.asked_at.compare_exchange(last, now, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                self.asked.notify_one();
            }
        } else if now - last.min(now) > FETCH_MS {
            return false;
        }
        let changed = fetched.wait_for(|count| *count > before);
        tokio::time::timeout(Duration::from_millis(FETCH_MS), changed).await.is_ok_and(|r| r.is_ok())
    }

    /// Fetches the set for as long as it is polled; returns at once if there is none.
    pub async fn run(&self) {
        let Some(source) = &self.source else { return };
        let client = match client() {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(%error, "no client for the key set");
                return;
            }
        };
        let mut known = Known::new();
        let mut wait_ms = 0;
        let mut retry_ms = RETRY_MS;
        loop {
            tokio::select! {
                () = self.clock.sleep(wait_ms) => {}
                () = self.asked.notified() => {}
            }
            wait_ms = match fetch(&client, &source.url).await {
                Ok(keys) => {
                    self.take(&mut known, keys, source.overlap_ms);
                    retry_ms = RETRY_MS;
                    source.refresh_ms
                }
                Err(why) => {
                    tracing::warn!(url = %source.url, %why, "the key set could not be fetched; the keys known stay");
                    retry_ms = (retry_ms * 2).min(source.refresh_ms);
                    retry_ms
                }
            };
            self.fetched.send_modify(|count| *count += 1);
        }
    }

    /// Takes a fetched set over: new keys join, missing ones retire and go after the overlap.
    fn take(&self, known: &mut Known, fetched: Vec<Key>, overlap_ms: u64) {
        let now = self.clock.monotonic_ms();
        for (key, retired) in known.values_mut() {
            if !fetched.iter().any(|new| new.id == key.id) {
                retired.get_or_insert(now);
            }
        }
        known.retain(|_, (_, retired)| retired.is_none_or(|at| now.saturating_sub(at) < overlap_ms));
        for key in fetched {
            known.insert(key.id.clone().unwrap_or_default(), (key, None));
        }
        let all = self.fixed.iter().cloned().chain(known.values().map(|(key, _)| key.clone()));
        let version = self.snapshot.load().version + 1;
        self.snapshot.store(Arc::new(Snapshot { keys: KeySet::new(all.collect()), version, complete: true }));
    }
}

fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(Duration::from_millis(FETCH_MS))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("fama/", env!("CARGO_PKG_VERSION")))
        .build()
}

async fn fetch(client: &reqwest::Client, url: &str) -> Result<Vec<Key>, String> {
    let response = client.get(url).send().await.map_err(|error| error.to_string())?;
    if !response.status().is_success() {
        return Err(format!("status {}", response.status()));
    }
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk.map_err(|error| error.to_string())?);
        if body.len() > MAX_BYTES {
            return Err(format!("more than {MAX_BYTES} bytes"));
        }
    }
    let set: RawSet = serde_json::from_slice(&body).map_err(|error| format!("not a key set: {error}"))?;
    let keys: Vec<Key> = set
        .keys
        .into_iter()
        .take(MAX_KEYS)
        // Sets hold kinds of keys that we don't know as well: those are not for us.
        .filter_map(|key| serde_json::from_value::<Jwk>(key).ok())
        .filter_map(|jwk| from_jwk(&jwk))
        .collect();
    if keys.is_empty() {
        return Err("the set has no key for RS256, ES256 or EdDSA".into());
    }
    Ok(keys)
}
