//! Minting post ids: pure, the caller brings the time.

use crate::{NodeNumber, PostId, UnixMs};

/// Why no id can be minted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The id would have to lie further ahead of the clock than [`Snowflake::MAX_AHEAD_MS`].
    #[error("the clock is {behind_ms} ms behind the last id; wait, or check the clocks of the nodes")]
    ClockBehind {
        /// By how much.
        behind_ms: u64,
    },
}

/// Mints ids for one node. Never repeats one, never goes back, whatever the clock does.
#[derive(Debug, Clone)]
pub struct Snowflake {
    node: NodeNumber,
    last: PostId,
}

impl Snowflake {
    /// How far ahead of the clock an id may lie: a clock set back, a burst, or an author's last id from a node
    /// with a faster clock.
    pub const MAX_AHEAD_MS: u64 = 10_000;

    /// `last` is the last id that this node number may have minted before.
    pub fn new(node: NodeNumber, last: PostId) -> Self {
        Self { node, last }
    }

    /// An id above `above` and above all this node has minted.
    pub fn mint(&mut self, now: UnixMs, above: PostId) -> Result<PostId, MintError> {
        let fresh = PostId::from_parts(now, self.node, 0);
        let floor = self.last.max(above);
        let id = if fresh > floor { fresh } else { self.after(floor) };
        let behind_ms = id.minted_at().0.saturating_sub(now.0);
        if behind_ms > Self::MAX_AHEAD_MS {
            return Err(MintError::ClockBehind { behind_ms });
        }
        self.last = id;
        Ok(id)
    }

    /// The smallest id of this node above `floor`.
    fn after(&self, floor: PostId) -> PostId {
        let same_ms = PostId::from_parts(floor.minted_at(), self.node, floor.sequence());
        if same_ms > floor {
            return same_ms;
        }
        let full = floor.sequence() == 0xfff;
        if full {
            PostId::from_parts(UnixMs(floor.minted_at().0 + 1), self.node, 0)
        } else {
            let next = PostId::from_parts(floor.minted_at(), self.node, floor.sequence() + 1);
            if next > floor {
                next
            } else {
                PostId::from_parts(UnixMs(floor.minted_at().0 + 1), self.node, 0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the clock and the other nodes do, ids of a node only grow, and lie above what they must.
        #[test]
        fn ids_grow(steps in proptest::collection::vec((0u64..50, -40i64..40, 0u16..1024, 0u16..4096, any::<bool>()), 1..200)) {
            let node = NodeNumber::new(7).unwrap();
            let mut mint = Snowflake::new(node, PostId::ZERO);
            let (mut now, mut last) = (PostId::EPOCH.0 + 1_000_000, PostId::ZERO);
            for (forward, jump, other, sequence, foreign) in steps {
                now = (now + forward).saturating_add_signed(jump);
                let above = if foreign {
                    PostId::from_parts(UnixMs(now + 3), NodeNumber::new(other).unwrap(), sequence)
                } else { PostId::ZERO };
                let id = mint.mint(UnixMs(now), above).unwrap();
                prop_assert!(id > last && id > above);
                prop_assert_eq!((id.get() >> 12) & 0x3ff, 7);
                last = id;
            }
        }
    }

    #[test]
    fn a_clock_far_behind_is_an_error_and_loses_nothing() {
        let mut mint = Snowflake::new(NodeNumber::new(1).unwrap(), PostId::ZERO);
        let now = UnixMs(PostId::EPOCH.0 + 1_000_000);
        let first = mint.mint(now, PostId::ZERO).unwrap();
        let back = UnixMs(now.0 - Snowflake::MAX_AHEAD_MS - 1);
        assert!(matches!(mint.mint(back, PostId::ZERO), Err(MintError::ClockBehind { .. })));
        assert!(mint.mint(now, PostId::ZERO).unwrap() > first);
    }

    #[test]
    fn a_millisecond_holds_4096_ids_and_then_borrows_from_the_next() {
        let mut mint = Snowflake::new(NodeNumber::new(1023).unwrap(), PostId::ZERO);
        let now = UnixMs(PostId::EPOCH.0 + 5);
        let ids: Vec<_> = (0..4097).map(|_| mint.mint(now, PostId::ZERO).unwrap()).collect();
        assert_eq!(ids[4095].minted_at(), now);
        assert_eq!(ids[4096].minted_at().0, now.0 + 1);
    }
}
