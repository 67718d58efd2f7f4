//! A JSON Web Key Set, fetched over HTTP: at start, now and then, and when a token names a key that is not in it, but
//! for that at most once a minute whatever arrives. Keys that left the set are believed a little longer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use fama_fanout::Clock;
use futures_util::StreamExt;
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use tokio::sync::{Notify, watch};

use super::keys::{Key, KeySet, from_jwk, name};

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
    asked: Notify,
    fetches: watch::Sender<Fetches>,
}

/// What tokens that name an unknown key have to know.
#[derive(Debug, Default)]
struct Fetches {
    /// How many ended, whatever came of them.
    ended: u64,
    /// When a token last caused one, plus one: 0 is never.
    asked_at: u64,
    /// That one has not ended.
    awaited: bool,
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<serde_json::Value>,
}

/// What the fetching task knows of each fetched key: when it left the set, if it did. Keys of different kinds may have
/// the same id, or none.
type Known = HashMap<(Option<String>, &'static str), (Key, Option<u64>)>;

impl Keys {
    /// Keys of the configuration, and a set to be fetched by [`Keys::run`].
    pub fn new(fixed: Vec<Key>, source: Option<Source>, clock: Arc<dyn Clock>) -> Self {
        let snapshot = Snapshot { keys: KeySet::new(fixed.clone()), version: 0, complete: source.is_none() };
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            fixed,
            source,
            clock,
            asked: Notify::new(),
            fetches: watch::Sender::default(),
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
        let mut fetches = self.fetches.subscribe();
        let (mut is_first, mut before) = (false, None);
        // Nobody is woken by this.
        self.fetches.send_if_modified(|fetches| {
            is_first = fetches.asked_at == 0 || now.saturating_sub(fetches.asked_at) >= ASKED_APART_MS;
            if is_first {
                (fetches.asked_at, fetches.awaited) = (now, true);
            }
            before = fetches.awaited.then_some(fetches.ended);
            false
        });
        if is_first {
            self.asked.notify_one();
        }
        let Some(before) = before else { return false };
        let ended = fetches.wait_for(|fetches| fetches.ended > before);
        tokio::time::timeout(Duration::from_millis(FETCH_MS), ended).await.is_ok_and(|r| r.is_ok())
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
        let mut due = self.clock.monotonic_ms();
        let mut retry_ms = RETRY_MS;
        loop {
            let now = self.clock.monotonic_ms();
            let next = due.min(next_end(&known, source.overlap_ms));
            let asked = tokio::select! {
                () = self.clock.sleep(next.saturating_sub(now)) => false,
                () = self.asked.notified() => true,
            };
            // Keys end on time, whether or not the set can be fetched then.
            self.retire(&mut known, source.overlap_ms);
            if !asked && self.clock.monotonic_ms() < due {
                continue;
            }
            let wait_ms = match fetch(&client, &source.url).await {
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
            due = self.clock.monotonic_ms().saturating_add(wait_ms);
            self.fetches.send_modify(|fetches| {
                fetches.ended += 1;
                fetches.awaited = false;
            });
        }
    }

    /// Takes a fetched set over: new keys join, missing ones retire and go after the overlap.
    fn take(&self, known: &mut Known, fetched: Vec<Key>, overlap_ms: u64) {
        let now = self.clock.monotonic_ms();
        for (key, retired) in known.values_mut() {
            if !fetched.iter().any(|new| place(new) == place(key)) {
                retired.get_or_insert(now);
            }
        }
        known.retain(|_, (_, retired)| end(*retired, overlap_ms) > now);
        for key in fetched {
            known.insert(place(&key), (key, None));
        }
        self.publish(known);
    }

    /// Forgets keys that left the set so long ago.
    fn retire(&self, known: &mut Known, overlap_ms: u64) {
        let (now, before) = (self.clock.monotonic_ms(), known.len());
        known.retain(|_, (_, retired)| end(*retired, overlap_ms) > now);
        if known.len() < before {
            self.publish(known);
        }
    }

    fn publish(&self, known: &Known) {
        let all = self.fixed.iter().cloned().chain(known.values().map(|(key, _)| key.clone()));
        let version = self.snapshot.load().version + 1;
        self.snapshot.store(Arc::new(Snapshot { keys: KeySet::new(all.collect()), version, complete: true }));
    }
}

fn place(key: &Key) -> (Option<String>, &'static str) {
    (key.id.clone(), name(key.algorithm))
}

/// Until when a key is believed.
fn end(retired: Option<u64>, overlap_ms: u64) -> u64 {
    retired.map_or(u64::MAX, |at| at.saturating_add(overlap_ms))
}

fn next_end(known: &Known, overlap_ms: u64) -> u64 {
    known.values().map(|(_, retired)| end(*retired, overlap_ms)).min().unwrap_or(u64::MAX)
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
