//! Which way an author's posts go. Pure: the stores and the clock are the caller's.

use fama_protocol::UnixMs;
use fama_storage::{Delivery, Mode, ModeRecord};

use crate::Settings;
use crate::settings::Mutant;

/// The mode that an author's follower count asks for, if it is another than now. Up above one mark, down below a lower
/// one and only after the dwell, so that no author goes back and forth. Pinned authors stay.
pub fn next_mode(
    record: Option<&ModeRecord>,
    followers: u64,
    now: UnixMs,
    settings: &Settings,
) -> Option<Mode> {
    let (mode, since, pinned) =
        record.map_or((Mode::Push, UnixMs(0), false), |record| (record.mode, record.since, record.pinned));
    if pinned {
        return None;
    }
    match mode {
        Mode::Push | Mode::Draining if followers > settings.celebrity_up => Some(Mode::Pull),
        Mode::Pull if followers < settings.celebrity_down && now.since(since) >= settings.dwell_ms => {
            Some(Mode::Draining)
        }
        _ => None,
    }
}

/// How a post published now is delivered, by a record that may be stale: the costlier way unless every reader has
/// heard that the author is a celebrity. Frozen on the post.
pub fn delivery(record: Option<&ModeRecord>, now: UnixMs, settings: &Settings) -> Delivery {
    match record {
        Some(record) if record.mode == Mode::Pull => {
            let wait = if settings.planted(Mutant::NoAnnouncementWait) { 0 } else { announced_ms(settings) };
            if now.since(record.since) >= wait { Delivery::Pull } else { Delivery::Push }
        }
        _ => Delivery::Push,
    }
}

/// Whether every reader merges the author's pull posts by now. By a record read at quorum.
pub fn readers_know(record: Option<&ModeRecord>, now: UnixMs, settings: &Settings) -> bool {
    let wait = if settings.planted(Mutant::RecheckNoWait) { 0 } else { announced_ms(settings) };
    record.is_some_and(|record| record.mode == Mode::Pull && now.since(record.since) >= wait)
}

/// Whether live events of the author go to the shared channel, and whether they go to each follower.
pub fn live_ways(record: Option<&ModeRecord>, now: UnixMs, settings: &Settings) -> (bool, bool) {
    match record {
        Some(record) if record.mode == Mode::Pull => (true, now.since(record.since) < settings.both_ways_ms),
        // Some connections may still have the shared channel only.
        Some(record) if record.mode == Mode::Draining => (true, true),
        _ => (false, true),
    }
}

/// The announcement has reached every reader after this long: their lists are this old at most, and their clocks
/// differ this much at most.
fn announced_ms(settings: &Settings) -> u64 {
    settings.staleness_ms + settings.clock_skew_ms
}

#[cfg(test)]
mod tests {
    use fama_protocol::UserId;
    use proptest::prelude::*;

    use super::*;

    fn record(mode: Mode, since: u64, pinned: bool) -> ModeRecord {
        ModeRecord { author: UserId::new("a").unwrap(), mode, since: UnixMs(since), version: 1, pinned }
    }

    proptest! {
        /// However the count moves, a mode that was taken is kept for the dwell on the way down, changes need the count
        /// beyond a mark, and a count between the marks changes nothing.
        #[test]
        fn modes_do_not_flap(steps in proptest::collection::vec((0u64..20_000, 0u64..40_000_000), 1..100)) {
            let settings = Settings::default();
            let (mut now, mut at): (u64, Option<ModeRecord>) = (1_000_000, None);
            for (followers, wait) in steps {
                now += wait;
                let Some(mode) = next_mode(at.as_ref(), followers, UnixMs(now), &settings) else {
                    let mode = at.as_ref().map_or(Mode::Push, |r| r.mode);
                    prop_assert!(followers <= settings.celebrity_up || mode == Mode::Pull);
                    continue;
                };
                match mode {
                    Mode::Pull => prop_assert!(followers > settings.celebrity_up),
                    Mode::Draining => {
                        prop_assert!(followers < settings.celebrity_down);
                        prop_assert!(now - at.as_ref().unwrap().since.0 >= settings.dwell_ms);
                    }
                    Mode::Push => prop_assert!(false, "only a drain job sets push"),
                }
                at = Some(record(mode, now, false));
            }
        }
    }

    #[test]
    fn pinned_authors_stay_and_the_first_pull_post_waits() {
        let settings = Settings::default();
        assert_eq!(next_mode(Some(&record(Mode::Push, 0, true)), 1 << 40, UnixMs(1 << 40), &settings), None);
        assert_eq!(next_mode(Some(&record(Mode::Pull, 0, true)), 0, UnixMs(1 << 40), &settings), None);
        let pull = record(Mode::Pull, 1_000_000, false);
        let wait = settings.staleness_ms + settings.clock_skew_ms;
        for (after, way) in [(0, Delivery::Push), (wait - 1, Delivery::Push), (wait, Delivery::Pull)] {
            assert_eq!(delivery(Some(&pull), UnixMs(1_000_000 + after), &settings), way);
        }
        assert_eq!(
            delivery(Some(&record(Mode::Draining, 0, false)), UnixMs(1 << 40), &settings),
            Delivery::Push
        );
        assert_eq!(live_ways(Some(&pull), UnixMs(1_059_999), &settings), (true, true));
        assert_eq!(live_ways(Some(&pull), UnixMs(1_060_000), &settings), (true, false));
    }
}
