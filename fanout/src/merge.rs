//! Merging sources of ids without loss. Pure.

use std::cmp::Reverse;

use fama_protocol::PostId;

/// A stretch of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch<T> {
    /// Newest first; each with what the caller needs to know of it.
    pub ids: Vec<(PostId, T)>,
    /// Down to this id, itself included, the source has nothing else. [`PostId::ZERO`]: down to its first.
    pub floor: PostId,
}

/// What the sources have together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged<T> {
    /// Newest first, each id once; all of them below the id asked for, and none below the floor.
    pub ids: Vec<(PostId, T)>,
    /// Down to this id nothing is missing: the highest of the floors.
    pub floor: PostId,
}

/// Merges the sources below an id, down to where the first of them ends or to `floor`. Of an id in several sources the
/// one given first is taken.
pub fn merge<T: Clone>(
    sources: impl IntoIterator<Item = Stretch<T>>,
    below: PostId,
    floor: PostId,
) -> Merged<T> {
    let mut ids = Vec::new();
    let mut highest = floor;
    for source in sources {
        highest = highest.max(source.floor);
        ids.extend(source.ids.into_iter().filter(|(id, _)| *id < below && *id >= highest));
    }
    ids.retain(|(id, _)| *id >= highest);
    ids.sort_by_key(|(id, _)| Reverse(*id));
    ids.dedup_by_key(|(id, _)| *id);
    Merged { ids, floor: highest }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> PostId {
        PostId::from_u64(number).unwrap()
    }

    proptest! {
        /// Reading in pages, each source in stretches of any size, gives the same as sorting everything.
        #[test]
        fn pages_of_merges_are_the_sorted_union(
            sources in proptest::collection::vec(proptest::collection::btree_set(1u64..500, 0..60), 0..8),
            sizes in proptest::collection::vec(1usize..9, 1..20),
        ) {
            let naive: Vec<PostId> =
                sources.iter().flatten().copied().collect::<BTreeSet<_>>().into_iter().rev().map(id).collect();
            let (mut found, mut below) = (Vec::new(), PostId::MAX);
            let mut sizes = sizes.iter().cycle();
            loop {
                let stretches: Vec<_> = sources.iter().map(|source| {
                    let size = *sizes.next().unwrap();
                    let rows: Vec<u64> = source.iter().rev().copied().filter(|row| id(*row) < below).collect();
                    let floor = if rows.len() > size { id(rows[size - 1]) } else { PostId::ZERO };
                    Stretch { ids: rows.iter().take(size).map(|row| (id(*row), ())).collect(), floor }
                }).collect();
                let merged = merge(stretches, below, PostId::ZERO);
                found.extend(merged.ids.iter().map(|(id, ())| *id));
                prop_assert!(merged.floor < below);
                below = merged.floor;
                if below == PostId::ZERO { break; }
            }
            prop_assert_eq!(found, naive);
        }
    }
}
