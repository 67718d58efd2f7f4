//! From a channel to its members' sockets.

use bytes::Bytes;
use fama_fanout::live::ResetReason;
use fama_protocol::centrifuge::push::{self, Publication};
use fama_protocol::{Position, ScopedChannel};

use super::hub::is_app;
use super::{Shard, conn::Stage};
use crate::gateway::connection::{Names, Opened, Slot};
use crate::gateway::frames;
use crate::gateway::inbox::TableAction;
use crate::gateway::index::{Message, What};

/// Bytes of messages that go into one frame together.
const FRAME: usize = 32 << 10;

impl Shard {
    /// Something for members of a channel.
    pub(super) fn on_member(&mut self, action: TableAction) {
        match action {
            TableAction::Deliver { channel, position, payload } => {
                let offset = position.map_or(0, |position| position.offset);
                self.publish(
                    &channel,
                    Message { what: What::Publication, members: payload, offset, epoch: None },
                );
            }
            TableAction::Reply { subscriber, channel, position, recovered, publications } => {
                let Some(index) = self.find(subscriber) else { return };
                let opened = Opened { position, recovered, publications };
                self.open(index, &channel, opened);
            }
            TableAction::Failed { subscriber, channel } => {
                if let Some(index) = self.find(subscriber)
                    && let Some(slot) = self.index.find(&channel)
                {
                    self.with_logic(index, |logic, cx| logic.on_failed(slot, cx));
                }
            }
            TableAction::Reset { channel, position, reason } => self.reset(&channel, position, reason),
            TableAction::Register { .. } | TableAction::Read { .. } | TableAction::Unregister { .. } => {}
        }
    }

    fn publish(&mut self, channel: &ScopedChannel, message: Message) {
        let Some(slot) = self.index.find(channel) else { return };
        let Some(local) = self.index.get_mut(slot).filter(|local| local.len() > 0) else { return };
        if local.publish(message) {
            self.dirty.push_back(slot);
        }
    }

    /// A subscription is in: the reply goes out before anything that is published from now on.
    fn open(&mut self, index: u32, channel: &ScopedChannel, opened: Opened) {
        let Some(slot) = self.index.find(channel) else { return };
        // Otherwise it was given up, and the owner hears of that soon.
        if !self.conns.get(index).is_some_and(|conn| conn.logic.awaits(slot)) {
            return;
        }
        let Some(member) = self.index.get_mut(slot).map(|local| local.join(index)) else { return };
        self.with_logic(index, |logic, cx| logic.on_opened(slot, member, opened, cx));
        self.schedule(index);
    }

    /// Continuity is lost: users load their feed again, subscribers of the app's channels subscribe again.
    fn reset(&mut self, channel: &ScopedChannel, position: Position, reason: ResetReason) {
        if !is_app(channel) {
            let event = format!("\"data\":{{\"type\":\"feed.reset\",\"reason\":\"{}\"}}", reason.as_str());
            let (offset, epoch) = (position.offset, Some(position.epoch));
            let members = event.into();
            return self.publish(channel, Message { what: What::Publication, members, offset, epoch });
        }
        let Some(slot) = self.index.find(channel) else { return };
        if let Some(local) = self.index.get_mut(slot) {
            let gone = local.take_members();
            self.evictions.extend(gone.into_iter().map(|index| (index, slot)));
        }
    }

    /// Tells members of channels without continuity, at most so many; `true`: there are more.
    pub(super) fn evict(&mut self, limit: usize) -> bool {
        for _ in 0..limit {
            let Some((index, slot)) = self.evictions.pop_front() else { return false };
            let is_member = self
                .conns
                .get_mut(index)
                .and_then(|conn| conn.logic.sub_mut(slot))
                .is_some_and(|sub| sub.live);
            if is_member {
                self.with_logic(index, |logic, cx| logic.on_insufficient(slot, cx));
            }
        }
        !self.evictions.is_empty()
    }

    /// Writes publications to members, at most so many; `true`: there are more.
    pub(super) fn write_members(&mut self, limit: usize) -> bool {
        let mut left = limit;
        while left > 0 {
            let Some(&slot) = self.dirty.front() else { return false };
            let (written, more) = self.write_group(slot, left);
            left = left.saturating_sub(written.max(1));
            if !more {
                self.dirty.pop_front();
            }
        }
        // A channel of many must not keep others waiting until all its members have all that waits.
        if !self.dirty.is_empty() {
            self.dirty.rotate_left(1);
        }
        !self.dirty.is_empty()
    }

    /// Goes on writing to one channel: how many members were written to, and whether something is left.
    fn write_group(&mut self, slot: Slot, limit: usize) -> (usize, bool) {
        let Some(local) = self.index.get_mut(slot) else { return (0, false) };
        let (channel, is_alone) = (local.channel.clone(), local.len() == 1);
        let Some(group) = local.writing() else { return (0, false) };
        let single = (is_alone && group.messages.len() == 1 && group.frames.is_none())
            .then(|| group.messages.first().cloned())
            .flatten()
            .filter(|message| message.what == What::Publication);
        let count = group.messages.len();
        if single.is_none() && group.frames.is_none() {
            group.frames = Some(encode(&channel, group.messages.iter()));
            if group.news() > 0 {
                let publications = group.messages.iter().filter(|it| it.what == What::Publication);
                group.quiet = Some(encode(&channel, publications));
            }
        }
        let (encoded, quiet) = (group.frames.clone(), group.quiet.clone());
        let sample = group.messages.first().map(|message| message.members.clone());
        let mut members = std::mem::take(&mut self.members);
        members.clear();
        let more = local.next_members(limit, &mut members);
        for &index in &members {
            match (&single, &encoded, &quiet) {
                (Some(message), _, _) => self.write_single(index, &channel, message),
                (None, _, Some(quiet)) if !self.hears(index, slot) => {
                    if !quiet.is_empty() {
                        self.write_frames(index, quiet);
                    }
                }
                (None, Some(frames), _) => self.write_frames(index, frames),
                (None, None, _) => {}
            }
        }
        let written = members.len();
        self.members = members;
        self.counts.publications_out += (written * count) as u64;
        self.counts.writes += written as u64;
        if let Some(sample) = sample {
            self.counts.deliver(&sample, || self.ports.clock.now());
        }
        (written, more)
    }

    fn write_frames(&mut self, index: u32, frames: &Bytes) {
        let (limit, now_ms) = (self.config.limits.queue_bytes, self.now_ms);
        let Some(conn) = self.conns.get_mut(index).filter(|conn| matches!(conn.stage, Stage::Open)) else {
            return;
        };
        let before = conn.out.waiting();
        let sent = conn.out.send(&conn.socket, frames, limit, now_ms);
        self.sent(index, before, sent);
    }

    /// One message to the only member: the shared part is not even copied.
    fn write_single(&mut self, index: u32, channel: &ScopedChannel, message: &Message) {
        let (mut head, mut tail) = (Vec::with_capacity(128), Vec::with_capacity(48));
        push::head(&mut head, channel.channel.as_str());
        push::tail(&mut tail, message.offset, message.epoch);
        let (frame, frame_len) = frames::text_head(head.len() + message.members.len() + tail.len());
        head.splice(0..0, frame.into_iter().take(frame_len));
        let (limit, now_ms) = (self.config.limits.queue_bytes, self.now_ms);
        let Some(conn) = self.conns.get_mut(index).filter(|conn| matches!(conn.stage, Stage::Open)) else {
            return;
        };
        let before = conn.out.waiting();
        let sent = conn.out.send_parts(&conn.socket, (&head, &message.members, &tail), limit, now_ms);
        self.sent(index, before, sent);
    }
}

/// Messages of one channel as WebSocket frames, as many in one as is reasonable.
fn encode<'m>(channel: &ScopedChannel, messages: impl Iterator<Item = &'m Message> + Clone) -> Bytes {
    let size: usize = messages.clone().map(|message| message.members.len() + 128).sum();
    let (mut out, mut text) = (Vec::with_capacity(size), Vec::with_capacity(size.min(2 * FRAME)));
    for message in messages {
        if !text.is_empty() {
            if text.len() + message.members.len() > FRAME {
                frames::text(&mut out, &text);
                text.clear();
            } else {
                text.push(b'\n');
            }
        }
        let name = channel.channel.as_str();
        match message.what {
            What::Publication => {
                let publication =
                    Publication { members: &message.members, offset: message.offset, epoch: message.epoch };
                push::published(&mut text, name, &publication);
            }
            What::Join | What::Leave => {
                push::member(&mut text, name, message.what == What::Join, &message.members);
            }
        }
    }
    if !text.is_empty() {
        frames::text(&mut out, &text);
    }
    out.into()
}
