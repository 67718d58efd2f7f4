//! Who came into channels and left them, until the backend knows: in order, and bounded by who is there.
//!
//! A backend that does not answer for long would have more and more to hear of connections that came and went meanwhile.
//! Beyond a size only the last word on each is kept, and those who came and went while nobody was told are left out.

use std::collections::{HashMap, VecDeque};

use fama_protocol::ScopedChannel;

use crate::backend::MemberChange;

/// Changes that wait before the first clearing out.
const ROOM: usize = 4_096;

#[derive(Debug)]
struct Waiting {
    number: u64,
    change: MemberChange,
    /// Before it the backend did not have this connection there.
    fresh: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Changes {
    waiting: VecDeque<Waiting>,
    /// So many of the first are being told.
    telling: usize,
    pushed: u64,
    room: usize,
}

impl Default for Changes {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), telling: 0, pushed: 0, room: ROOM }
    }
}

impl Changes {
    /// A connection came or left. Comings and leavings of one connection in one channel take turns.
    pub fn push(&mut self, change: MemberChange) {
        self.add(change, true);
    }

    /// Who is there is said again: the backend may know it, or not.
    pub fn say_again(&mut self, change: MemberChange) {
        self.add(change, false);
    }

    fn add(&mut self, change: MemberChange, alternates: bool) {
        self.pushed += 1;
        let fresh = alternates && change.joined;
        self.waiting.push_back(Waiting { number: self.pushed, change, fresh });
        if self.waiting.len() - self.telling >= self.room {
            self.clear_out();
            self.room = ROOM.max(2 * (self.waiting.len() - self.telling));
        }
    }

    fn clear_out(&mut self) {
        type Key = (ScopedChannel, u128);
        let rest = self.waiting.split_off(self.telling);
        // For each connection: whether it was there before all this, and which word is the last.
        let mut last = HashMap::<Key, (bool, u64)>::new();
        for it in &rest {
            let key = (it.change.channel.clone(), it.change.member.client);
            last.entry(key).or_insert((it.fresh, 0)).1 = it.number;
        }
        self.waiting.extend(rest.into_iter().filter_map(|mut it| {
            let key = (it.change.channel.clone(), it.change.member.client);
            let (fresh, number) = *last.get(&key)?;
            it.fresh = fresh && it.change.joined;
            let came_and_went = fresh && !it.change.joined;
            (it.number == number && !came_and_went).then_some(it)
        }));
    }

    /// The first that wait, at most `most`, to be told now; [`Changes::told`] follows once they are. Called again without
    /// it, it begins with the same.
    pub fn tell(&mut self, most: usize) -> Vec<MemberChange> {
        self.telling = self.waiting.len().min(most);
        self.waiting.iter().take(self.telling).map(|it| it.change.clone()).collect()
    }

    /// Those of the last [`Changes::tell`] are told.
    pub fn told(&mut self) {
        self.waiting.drain(..std::mem::take(&mut self.telling));
        if self.waiting.is_empty() {
            self.waiting.shrink_to(ROOM);
        }
    }

    /// How many there ever were.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// How many of them, from the first, the backend knows.
    pub fn known(&self) -> u64 {
        self.waiting.front().map_or(self.pushed, |it| it.number - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use fama_protocol::{AppId, Channel};
    use proptest::prelude::*;

    use super::*;
    use crate::backend::Member;

    fn change(client: u128, joined: bool) -> MemberChange {
        let channel = ScopedChannel::new(&AppId::default(), Channel::new("room").unwrap());
        let member = Member { client, user: "ann".into(), info: Bytes::new() };
        MemberChange { channel, member, joined, tell: true }
    }

    fn apply(changes: &[MemberChange], backend: &mut BTreeSet<u128>) {
        for change in changes {
            if change.joined {
                backend.insert(change.member.client);
            } else {
                backend.remove(&change.member.client);
            }
        }
    }

    #[test]
    fn a_backend_that_is_silent_does_not_fill_the_memory() {
        let mut changes = Changes::default();
        changes.push(change(0, true));
        for client in 1..100_000 {
            changes.push(change(client, true));
            changes.push(change(client, false));
        }
        assert!(changes.waiting.len() <= 2 * ROOM, "{}", changes.waiting.len());
        let mut backend = BTreeSet::new();
        while changes.known() < changes.pushed() {
            apply(&changes.tell(1_000), &mut backend);
            changes.told();
        }
        assert_eq!(backend, BTreeSet::from([0]));
    }

    proptest! {
        /// Whoever comes, goes, is said again, whatever fails or is done without our hearing of it: in the end the backend
        /// has exactly those who are there.
        #[test]
        fn the_backend_ends_with_those_who_are_there(
            room in 2usize..12,
            steps in proptest::collection::vec((0u8..8, 0u128..4, any::<bool>()), 0..120)
        ) {
            let mut changes = Changes { room, ..Changes::default() };
            let (mut there, mut backend) = (BTreeSet::new(), BTreeSet::new());
            for (what, client, well) in steps {
                match what {
                    0..=4 => {
                        let joined = there.insert(client);
                        if !joined {
                            there.remove(&client);
                        }
                        changes.push(change(client, joined));
                        changes.room = changes.room.min(room);
                    }
                    5 => {
                        // It lost everything.
                        backend.clear();
                        for client in &there {
                            changes.say_again(change(*client, true));
                        }
                    }
                    _ => {
                        let batch = changes.tell(3);
                        apply(&batch, &mut backend);
                        if well {
                            changes.told();
                        }
                    }
                }
                prop_assert!(changes.known() <= changes.pushed());
            }
            while changes.known() < changes.pushed() {
                apply(&changes.tell(3), &mut backend);
                changes.told();
            }
            prop_assert_eq!(backend, there);
        }
    }
}
