//! A map for what there is of every user: no room is left empty for growth, and growing never takes long.

use std::hash::{BuildHasher, Hash, RandomState};

/// Entries of a piece.
const PIECE: usize = 32;
/// Links of a piece: those are small.
const LINKS: usize = 128;
/// Entries for each bucket, on average and when it is full: a longer walk, and half of the room for buckets.
const FILL: usize = 2;
/// No entry.
const NONE: u32 = u32::MAX;

/// A list in pieces of `N` items, which never move as it grows.
#[derive(Debug)]
struct Pieces<T, const N: usize>(Vec<Vec<T>>);

impl<T, const N: usize> Pieces<T, N> {
    fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * N + last.len())
    }

    fn get(&self, place: usize) -> Option<&T> {
        self.0.get(place / N)?.get(place % N)
    }

    fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.0.get_mut(place / N)?.get_mut(place % N)
    }

    fn push(&mut self, item: T) {
        if self.0.last().is_none_or(|last| last.len() == N) {
            self.0.push(Vec::with_capacity(N));
        }
        if let Some(last) = self.0.last_mut() {
            last.push(item);
        }
    }

    fn pop(&mut self) -> Option<T> {
        let item = self.0.last_mut()?.pop();
        if self.0.last().is_some_and(Vec::is_empty) {
            self.0.pop();
            if self.0.len() < self.0.capacity() / 4 {
                self.0.shrink_to_fit();
            }
        }
        item
    }
}

/// A hash map whose entries lie close together. It grows by one bucket with each entry (linear hashing), so it costs
/// six bytes an entry, whatever its size, and no insert moves more than one bucket. Entries have places from 0 on: in
/// the order of insertion, until one is removed and the last one takes its place. Below 2^32 entries.
#[derive(Debug)]
pub struct DenseMap<K, V> {
    /// The first entry of each bucket.
    heads: Pieces<u32, LINKS>,
    /// The entry after each one in its bucket.
    next: Pieces<u32, LINKS>,
    entries: Pieces<(K, V), PIECE>,
    hasher: RandomState,
}

impl<K, V> Default for DenseMap<K, V> {
    fn default() -> Self {
        let (heads, next, entries) = (Pieces(Vec::new()), Pieces(Vec::new()), Pieces(Vec::new()));
        Self { heads, next, entries, hasher: RandomState::new() }
    }
}

impl<K: Hash + Eq, V> DenseMap<K, V> {
    /// Empty; takes no memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(self.find(key)?).map(|(_, value)| value)
    }

    /// The value of a key.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.find(key)?;
        self.entries.get_mut(place).map(|(_, value)| value)
    }

    /// Whether the key is there.
    pub fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_some()
    }

    /// The entry at a place below [`DenseMap::len`].
    pub fn get_index(&self, place: usize) -> Option<(&K, &V)> {
        self.entries.get(place).map(|(key, value)| (key, value))
    }

    /// Sets the value of a key; gives back the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(old) = self.get_mut(&key) {
            return Some(std::mem::replace(old, value));
        }
        self.add(key, value);
        None
    }

    /// The value of a key, made now if there was none.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let place = self.find(&key).unwrap_or_else(|| self.add(key, make()));
        let (_, value) = &mut self.entries.0[place / PIECE][place % PIECE];
        value
    }

    /// Takes a key out. The last entry takes its place.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.find(key).and_then(|place| self.remove_index(place)).map(|(_, value)| value)
    }

    /// Takes out the entry at a place, which the last one takes.
    pub fn remove_index(&mut self, place: usize) -> Option<(K, V)> {
        let after = *self.next.get(place)?;
        self.relink(self.bucket_of(place), place, after);
        let last = self.len() - 1;
        if place != last {
            self.relink(self.bucket_of(last), last, number(place));
            let after_last = self.next.get(last).copied().unwrap_or(NONE);
            if let Some(link) = self.next.get_mut(place) {
                *link = after_last;
            }
        }
        self.next.pop();
        let mut gone = self.entries.pop()?;
        if let Some(entry) = self.entries.get_mut(place) {
            std::mem::swap(entry, &mut gone);
        }
        // As many as one insert would have made, and one more.
        for _ in 0..2 {
            if self.heads.len() > self.len() + PIECE {
                self.merge();
            }
        }
        Some(gone)
    }

    /// Keeps the entries that `keep` says. Each is asked about once, the last one first.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        for place in (0..self.len()).rev() {
            if let Some((key, value)) = self.entries.get_mut(place)
                && !keep(key, value)
            {
                self.remove_index(place);
            }
        }
    }

    /// All entries, by place.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.0.iter().flatten().map(|(key, value)| (key, value))
    }

    /// All entries, by place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.0.iter_mut().flatten().map(|(key, value)| (&*key, value))
    }

    /// All values, by place.
    pub fn into_values(self) -> impl Iterator<Item = V> {
        self.entries.0.into_iter().flatten().map(|(_, value)| value)
    }

    fn find(&self, key: &K) -> Option<usize> {
        let mut link = self.heads.get(self.bucket(key))?;
        loop {
            let place = *link as usize;
            let (other, _) = self.entries.get(place)?;
            if other == key {
                return Some(place);
            }
            link = self.next.get(place)?;
        }
    }

    /// Adds a key that is not there; its place.
    fn add(&mut self, key: K, value: V) -> usize {
        let place = self.len();
        if self.heads.len() * FILL <= place {
            self.split();
        }
        let bucket = self.bucket(&key);
        let first = self.heads.get_mut(bucket).map_or(NONE, |head| std::mem::replace(head, number(place)));
        self.next.push(first);
        self.entries.push((key, value));
        place
    }

    /// One bucket more: takes its entries from the one that had them.
    fn split(&mut self) {
        let new = self.heads.len();
        self.heads.push(NONE);
        if new > 0
            && let Some(head) = self.heads.get_mut(parent(new))
        {
            let chain = std::mem::replace(head, NONE);
            self.spread(chain);
        }
    }

    /// One bucket fewer.
    fn merge(&mut self) {
        if let Some(chain) = self.heads.pop() {
            self.spread(chain);
        }
    }

    /// Puts a chain of entries into the buckets where they belong now.
    fn spread(&mut self, mut chain: u32) {
        while self.entries.get(chain as usize).is_some() {
            let place = chain as usize;
            let bucket = self.bucket_of(place);
            let (Some(head), Some(link)) = (self.heads.get_mut(bucket), self.next.get_mut(place)) else {
                return;
            };
            chain = std::mem::replace(link, std::mem::replace(head, number(place)));
        }
    }

    /// In a bucket, what leads to the entry at a place leads to another one.
    fn relink(&mut self, bucket: usize, place: usize, to: u32) {
        let mut link = self.heads.get_mut(bucket);
        while let Some(here) = link {
            if *here as usize == place {
                *here = to;
                return;
            }
            let at = *here as usize;
            link = self.next.get_mut(at);
        }
    }

    fn bucket_of(&self, place: usize) -> usize {
        self.entries.get(place).map_or(0, |(key, _)| self.bucket(key))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower bits")]
    fn bucket(&self, key: &K) -> usize {
        let buckets = self.heads.len();
        let bucket = self.hasher.hash_one(key) as usize & (buckets.next_power_of_two() - 1);
        if bucket < buckets || bucket == 0 { bucket } else { parent(bucket) }
    }
}

/// The bucket that had a bucket's entries before it was there: its number without the highest bit.
fn parent(bucket: usize) -> usize {
    bucket - (1 << bucket.ilog2())
}

fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn does_what_a_map_does(steps in proptest::collection::vec((0u8..5, 0u16..300, any::<u16>()), 1..800)) {
            let (mut map, mut model) = (DenseMap::new(), BTreeMap::new());
            for (what, key, value) in steps {
                match what {
                    0 | 1 => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    2 => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    3 => {
                        prop_assert_eq!(map.get_or_insert_with(key, || value), model.entry(key).or_insert(value));
                    }
                    _ if value < 3_000 => {
                        map.retain(|other, _| *other % 3 == key % 3);
                        model.retain(|other, _| *other % 3 == key % 3);
                    }
                    _ => prop_assert_eq!(map.get(&key), model.get(&key)),
                }
                prop_assert_eq!(map.len(), model.len());
                prop_assert!(map.heads.len() <= model.len() + PIECE + 1 && map.heads.len() * FILL >= model.len());
            }
            let all: BTreeMap<_, _> = map.iter().map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(&all, &model);
            for place in 0..map.len() {
                let (key, value) = map.get_index(place).unwrap();
                prop_assert_eq!((map.get(key), model.get(key)), (Some(value), Some(value)));
            }
        }
    }
}
