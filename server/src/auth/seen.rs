//! Tokens whose signatures were found right, so that they are not computed again.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use fama_protocol::{DenseMap, UnixMs};

const SHARDS: usize = 16;
/// Entries looked at to choose the one that goes.
const SAMPLE: usize = 8;

/// Half of the token's SHA-256: nobody finds another token with it.
type Name = [u64; 2];

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// The end of the token, in seconds since 1970.
    ends_s: u32,
    /// The version of the keys it was checked with, its lower half.
    keys: u32,
}

/// A bounded set of tokens, of 24 bytes each, until they end.
pub struct Seen {
    shards: Box<[Mutex<Shard>]>,
    per_shard: usize,
}

#[derive(Default)]
struct Shard {
    tokens: DenseMap<Name, Entry>,
    /// Where the next look for ended tokens begins.
    hand: usize,
}

impl Seen {
    /// Of at most about `capacity` tokens. At the bound those that end soon go first.
    pub fn new(capacity: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, per_shard: (capacity / SHARDS).max(1) }
    }

    /// Whether this token's signature was found right with the keys of this version.
    pub fn has(&self, token: &str, keys: u64) -> bool {
        let name = name(token);
        let shard = self.shard(&name);
        shard.is_some_and(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.tokens.get(&name).is_some_and(|entry| entry.keys == lower(keys))
        })
    }

    /// Remembers it.
    pub fn add(&self, token: &str, keys: u64, ends: UnixMs, now: UnixMs) {
        let name = name(token);
        let Some(shard) = self.shard(&name) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.forget(self.per_shard, lower(now.0 / 1_000));
        let ends_s = u32::try_from(ends.0 / 1_000).unwrap_or(u32::MAX);
        shard.tokens.insert(name, Entry { ends_s, keys: lower(keys) });
    }

    fn shard(&self, name: &Name) -> Option<&Mutex<Shard>> {
        self.shards.get(usize::try_from(name[0] % SHARDS as u64).unwrap_or(0))
    }
}

impl Shard {
    /// Looks at a few: those that ended go, and if there is no room, so does the one that ends first.
    fn forget(&mut self, most: usize, now_s: u32) {
        let mut first: Option<(u32, usize)> = None;
        for _ in 0..SAMPLE.min(self.tokens.len()) {
            self.hand = if self.hand == 0 { self.tokens.len() - 1 } else { self.hand - 1 };
            let Some((_, entry)) = self.tokens.get_index(self.hand) else { continue };
            if entry.ends_s < now_s {
                self.tokens.remove_index(self.hand);
            } else if first.is_none_or(|(ends_s, _)| entry.ends_s < ends_s) {
                first = Some((entry.ends_s, self.hand));
            }
        }
        if self.tokens.len() >= most
            && let Some((_, place)) = first
        {
            self.tokens.remove_index(place);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
fn lower(number: u64) -> u32 {
    number as u32
}

fn name(token: &str) -> Name {
    let digest = digest(&SHA256, token.as_bytes());
    let half = |from: usize| {
        let bytes = digest.as_ref().get(from..from + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_be_bytes)
    };
    [half(0), half(8)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> UnixMs {
        UnixMs(s * 1_000)
    }

    #[test]
    fn tokens_are_known_with_their_keys_only() {
        let seen = Seen::new(100);
        seen.add("a", 7, at(50), at(1));
        assert_eq!([seen.has("a", 7), seen.has("a", 8), seen.has("b", 7)], [true, false, false]);
        seen.add("a", 8, at(50), at(1));
        assert_eq!([seen.has("a", 7), seen.has("a", 8)], [false, true]);
    }

    #[test]
    fn there_are_never_more_than_so_many_and_ended_ones_go() {
        let seen = Seen::new(SHARDS * 50);
        let len =
            |seen: &Seen| seen.shards.iter().map(|shard| shard.lock().unwrap().tokens.len()).sum::<usize>();
        let add = |from: u64, ends: u64, now: u64| {
            (from..from + 5_000).for_each(|n| seen.add(&format!("t{n}"), 1, at(ends), at(now)));
        };
        add(0, 50, 1);
        assert_eq!(len(&seen), SHARDS * 50);
        assert!(seen.has("t4999", 1), "the newest stays");
        add(10_000, 100, 60);
        let ended = (0..5_000).filter(|n| seen.has(&format!("t{n}"), 1)).count();
        assert_eq!(ended, 0);
    }
}
