//! Who is in channels: this shard's connections come and go, and are told who else does.

use bytes::Bytes;
use fama_presence::{Member, MemberChange};
use fama_protocol::{ScopedChannel, UserId};

use super::Shard;
use crate::gateway::connection::{Action, Connection, Names, Slot};
use crate::gateway::inbox::{Mail, News};
use crate::gateway::index::{Message, What};
use crate::gateway::namespaces::Rules;

/// Comings and goings that wait for the members of one channel. Beyond it they are left out: members ask who is there.
const WAITING: usize = 256;
/// Connections looked at in one step, when all have to be.
const LOOKS: u32 = 64;

impl Shard {
    /// Who comes into a channel is there before the reply says so: whoever reads that may ask at once.
    pub(super) fn appear(&mut self, index: u32) {
        for at in 0..self.actions.len() {
            if let Some(Action::Appear { slot, info }) = self.actions.get_mut(at) {
                let (slot, info) = (*slot, std::mem::take(info));
                self.member(index, slot, Some(info));
            }
        }
    }

    /// A connection came into a channel, or left it.
    pub(super) fn member(&mut self, index: u32, slot: Slot, info: Option<Bytes>) {
        if let Some(change) = self.member_change(index, slot, info) {
            self.ports.presence.member(change);
        }
    }

    /// `info` is JSON of who is there; `None`: it left.
    fn member_change(&mut self, index: u32, slot: Slot, info: Option<Bytes>) -> Option<MemberChange> {
        let channel = self.index.name(slot)?.clone();
        let client = self.client_id(index);
        let rules = self.config.namespaces.of(&channel.channel);
        let tell = rules.is_none_or(Rules::tells_members);
        let owner = self.conns.get(index)?.logic.owner().and_then(|(_, user)| user);
        let joined = info.is_some();
        let user = owner.filter(|_| joined).map(UserId::as_str).unwrap_or_default();
        let member = Member { client, user: user.into(), info: info.unwrap_or_default() };
        Some(MemberChange { channel, member, joined, tell })
    }

    /// To the shards with members of the channel.
    pub(super) fn post_news(&mut self, news: &News) {
        for shard in self.shards_of(&news.channel) {
            self.post(shard, Mail::MemberNews(news.clone()));
        }
    }

    /// Somebody came or left: for members here who want to know.
    pub(super) fn on_news(&mut self, news: News) {
        let Some(slot) = self.index.find(&news.channel) else { return };
        let Some(local) = self.index.get_mut(slot).filter(|local| local.len() > 0) else { return };
        if local.news() >= WAITING {
            self.counts.news_dropped += 1;
            return;
        }
        let what = if news.joined { What::Join } else { What::Leave };
        if local.publish(Message { what, members: news.info, offset: 0, epoch: None }) {
            self.dirty.push_back(slot);
        }
    }

    /// Whether a connection is told who comes and goes.
    pub(super) fn hears(&mut self, index: u32, slot: Slot) -> bool {
        let sub = self.conns.get_mut(index).and_then(|conn| conn.logic.sub_mut(slot));
        sub.is_some_and(|sub| sub.hears)
    }

    /// Says again who is in channels, from now on, a few connections at a time.
    pub(super) fn begin_saying(&mut self) {
        self.saying = Some((0, self.conns.end()));
    }

    /// Goes on with it; `true`: there are more. Those who come meanwhile say so themselves.
    pub(super) fn say_members(&mut self) -> bool {
        let Some((next, end)) = self.saying.take() else { return false };
        let upto = end.min(next.saturating_add(LOOKS));
        for index in next..upto {
            let present = self.with_logic(index, |logic, cx| Connection::appearances(logic, cx));
            for (slot, info) in present.into_iter().flatten() {
                if let Some(change) = self.member_change(index, slot, Some(info)) {
                    self.ports.presence.member_again(change);
                }
            }
        }
        if upto < end {
            self.saying = Some((upto, end));
        }
        upto < end
    }

    /// The shards with members of a channel that this shard owns.
    pub(super) fn shards_of(&self, channel: &ScopedChannel) -> Vec<usize> {
        let mut shards = [false; 256];
        match self.table.few_members(channel) {
            Some(few) => few.iter().for_each(|key| shards[key.shard()] = true),
            None => shards.fill(true),
        }
        let all = shards.iter().take(self.shared.inboxes.len()).enumerate();
        all.filter(|(_, wanted)| **wanted).map(|(shard, _)| shard).collect()
    }
}
