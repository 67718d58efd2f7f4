//! The channels that this shard's connections have: their numbers, their members, and what waits to be written to them.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use fama_protocol::{Epoch, Few, ScopedChannel};
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::connection::{Names, Slot};
use super::slots::Slots;

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A publication.
    Publication,
    /// Somebody came.
    Join,
    /// Somebody left.
    Leave,
}

/// Something to be written.
#[derive(Debug, Clone)]
pub struct Message {
    /// What.
    pub what: What,
    /// Of a publication its members; else JSON of who.
    pub members: Bytes,
    /// 0 on channels without positions.
    pub offset: u64,
    /// Only with a reset.
    pub epoch: Option<Epoch>,
}

/// Messages that go to the same members, together.
#[derive(Debug)]
pub struct Group {
    /// The messages.
    pub messages: SmallVec<[Message; 1]>,
    /// Members before this place get them; `None`: all who are there when writing begins.
    end: Option<usize>,
    /// The messages as frames, once writing began.
    pub frames: Option<Bytes>,
    /// Those who do not hear who comes and goes get these.
    pub quiet: Option<Bytes>,
}

impl Group {
    /// How many of its messages are no publications.
    pub fn news(&self) -> usize {
        self.messages.iter().filter(|message| message.what != What::Publication).count()
    }
}

/// What waits for a channel's members.
#[derive(Debug, Default)]
pub struct Batch {
    groups: VecDeque<Group>,
    /// Members before this place got the first group already.
    cursor: usize,
    /// Messages that are no publications.
    news: usize,
}

/// A channel.
#[derive(Debug)]
pub struct Local {
    /// Its name.
    pub channel: ScopedChannel,
    references: u32,
    /// Connections, in no order.
    members: Few<u32>,
    batch: Option<Box<Batch>>,
}

/// All of them.
#[derive(Debug)]
pub struct Index {
    numbers: HashTable<Slot>,
    hasher: RandomState,
    locals: Slots<Local>,
}

impl Index {
    /// Empty.
    pub fn new() -> Self {
        Self { numbers: HashTable::new(), hasher: RandomState::new(), locals: Slots::new() }
    }

    /// How many channels.
    pub fn len(&self) -> usize {
        self.locals.len()
    }

    /// A channel.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Local> {
        self.locals.get_mut(slot)
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl Names for Index {
    fn find(&self, channel: &ScopedChannel) -> Option<Slot> {
        let hash = self.hasher.hash_one(channel);
        let is_it = |slot: &Slot| self.locals.get(*slot).is_some_and(|local| local.channel == *channel);
        self.numbers.find(hash, is_it).copied()
    }

    fn intern(&mut self, channel: &ScopedChannel) -> Slot {
        if let Some(slot) = self.find(channel) {
            if let Some(local) = self.locals.get_mut(slot) {
                local.references += 1;
            }
            return slot;
        }
        let make = |_, _| Local { channel: channel.clone(), references: 1, members: Few::new(), batch: None };
        // Sockets run out long before numbers do.
        let slot = self.locals.insert(make).map_or(Slot::MAX, |(slot, _)| slot);
        let (locals, hasher) = (&self.locals, &self.hasher);
        let rehash = |slot: &Slot| locals.get(*slot).map_or(0, |local| hasher.hash_one(&local.channel));
        self.numbers.insert_unique(hasher.hash_one(channel), slot, rehash);
        slot
    }

    fn release(&mut self, slot: Slot) {
        let Some(local) = self.locals.get_mut(slot) else { return };
        local.references -= 1;
        if local.references > 0 {
            return;
        }
        let hash = self.hasher.hash_one(&local.channel);
        if let Ok(entry) = self.numbers.find_entry(hash, |it| *it == slot) {
            entry.remove();
        }
        self.locals.remove(slot);
    }

    fn name(&self, slot: Slot) -> Option<&ScopedChannel> {
        self.locals.get(slot).map(|local| &local.channel)
    }
}

impl Local {
    /// How many connections.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// A connection comes; its place. It gets what is published from now on, and nothing that waits.
    pub fn join(&mut self, connection: u32) -> u32 {
        let place = self.members.len();
        if let Some(group) = self.batch.as_mut().and_then(|batch| batch.groups.back_mut()) {
            group.end.get_or_insert(place);
        }
        self.members.push(connection);
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    /// A connection goes. `moved` is told who is at another place now.
    pub fn leave(&mut self, connection: u32, place: u32, mut moved: impl FnMut(u32, u32)) {
        let mut hole = place as usize;
        // A channel may have lost all its members at once, see [`Local::take_members`].
        if self.members.get(hole) != Some(&connection) {
            return;
        }
        let mut fill = |members: &mut Few<u32>, hole: usize, from: usize| {
            if from != hole {
                members[hole] = members[from];
                moved(members[hole], u32::try_from(hole).unwrap_or(u32::MAX));
            }
        };
        // What waits reaches members up to a place each; the last before each such place fills the hole, so that
        // nobody crosses one.
        if let Some(batch) = &mut self.batch {
            let ends = batch.groups.iter_mut().filter_map(|group| group.end.as_mut());
            for bound in std::iter::once(&mut batch.cursor).chain(ends) {
                if *bound > hole {
                    fill(&mut self.members, hole, *bound - 1);
                    hole = *bound - 1;
                    *bound -= 1;
                }
            }
        }
        let last = self.members.len() - 1;
        fill(&mut self.members, hole, last);
        self.members.pop();
    }

    /// All connections go at once, and what waited with them. They still say goodbye one by one.
    pub fn take_members(&mut self) -> Few<u32> {
        self.batch = None;
        std::mem::take(&mut self.members)
    }

    /// A publication for all who are there now. `true`: the channel had nothing that waited.
    pub fn publish(&mut self, message: Message) -> bool {
        let was_idle = self.batch.is_none();
        let batch = self.batch.get_or_insert_default();
        batch.news += usize::from(message.what != What::Publication);
        match batch.groups.back_mut() {
            Some(group) if group.end.is_none() => group.messages.push(message),
            _ => batch.groups.push_back(Group {
                messages: SmallVec::from_buf([message]),
                end: None,
                frames: None,
                quiet: None,
            }),
        }
        was_idle
    }

    /// How many comings and goings wait.
    pub fn news(&self) -> usize {
        self.batch.as_ref().map_or(0, |batch| batch.news)
    }

    /// The first group that waits, made ready for writing: from here on nothing is added to it.
    pub fn writing(&mut self) -> Option<&mut Group> {
        let len = self.members.len();
        let group = self.batch.as_mut()?.groups.front_mut()?;
        group.end.get_or_insert(len);
        Some(group)
    }

    /// The next connections to get the group that is being written, at most `limit`. Empty: that was all of them,
    /// and the group is done; `more` says whether another one waits.
    pub fn next_members(&mut self, limit: usize, into: &mut Vec<u32>) -> bool {
        let Some(batch) = &mut self.batch else { return false };
        let end = batch.groups.front().and_then(|group| group.end).unwrap_or(0);
        let upto = end.min(batch.cursor.saturating_add(limit));
        into.extend_from_slice(self.members.get(batch.cursor..upto).unwrap_or_default());
        batch.cursor = upto;
        if upto < end {
            return true;
        }
        if let Some(done) = batch.groups.pop_front() {
            batch.news -= done.news();
        }
        batch.cursor = 0;
        let more = !batch.groups.is_empty();
        if !more {
            self.batch = None;
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fama_protocol::{AppId, Channel};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_counted() {
        let mut index = Index::new();
        let channel = |name: &str| ScopedChannel::new(&AppId::default(), Channel::new(name).unwrap());
        let slot = index.intern(&channel("a"));
        assert_eq!((index.intern(&channel("a")), index.find(&channel("b"))), (slot, None));
        index.release(slot);
        assert_eq!(index.find(&channel("a")), Some(slot));
        index.release(slot);
        assert_eq!((index.find(&channel("a")), index.len()), (None, 0));
    }

    proptest! {
        /// Whoever comes and goes while groups are written in pieces: everyone gets exactly what was published while they
        /// were there, in order.
        #[test]
        fn members_get_what_was_published_while_they_were_there(
            steps in proptest::collection::vec((0u8..4, any::<u32>()), 1..200)
        ) {
            let mut index = Index::new();
            let slot = index.intern(&ScopedChannel::new(&AppId::default(), Channel::new("c").unwrap()));
            let local = index.get_mut(slot).unwrap();
            let mut places = BTreeMap::<u32, u32>::new();
            let (mut expected, mut got) = (BTreeMap::<u32, Vec<u64>>::new(), BTreeMap::<u32, Vec<u64>>::new());
            let (mut next, mut offset) = (0u32, 0u64);
            for (what, pick) in steps.into_iter().chain(std::iter::repeat_n((3, 2), 400)) {
                match what {
                    0 => {
                        places.insert(next, local.join(next));
                        next += 1;
                    }
                    1 if !places.is_empty() => {
                        let gone = *places.keys().nth(pick as usize % places.len()).unwrap();
                        let place = places.remove(&gone).unwrap();
                        local.leave(gone, place, |it, place| { places.insert(it, place); });
                        // It may miss what was waiting when it left.
                        let seen = got.remove(&gone).unwrap_or_default();
                        let all = expected.remove(&gone).unwrap_or_default();
                        prop_assert!(all.starts_with(&seen));
                    }
                    2 => {
                        offset += 1;
                        let what = if pick % 2 == 0 { What::Publication } else { What::Join };
                        local.publish(Message { what, members: Bytes::new(), offset, epoch: None });
                        for it in places.keys() {
                            expected.entry(*it).or_default().push(offset);
                        }
                    }
                    _ => {
                        let Some(group) = local.writing() else { continue };
                        let offsets: Vec<_> = group.messages.iter().map(|m| m.offset).collect();
                        let mut who = Vec::new();
                        local.next_members(pick as usize % 3 + 1, &mut who);
                        for it in who {
                            got.entry(it).or_default().extend(&offsets);
                        }
                    }
                }
                let groups = local.batch.iter().flat_map(|batch| &batch.groups);
                prop_assert_eq!(local.news(), groups.map(Group::news).sum::<usize>());
                for (it, place) in &places {
                    prop_assert_eq!(local.members.get(*place as usize), Some(it));
                }
            }
            prop_assert_eq!(got, expected);
        }
    }
}
