//! Frames in, actions out, and closing.

use bytes::Bytes;
use fama_fanout::live::Publication;
use fama_presence::UserKey;
use fama_protocol::centrifuge::DisconnectCode;
use fama_protocol::{ChannelKind, ScopedChannel, UserId};

use super::Shard;
use super::conn::{Closing, Stage};
use crate::gateway::codec::{Event, Rules};
use crate::gateway::config::times;
use crate::gateway::connection::{Action, Connection, Context, Names, Slot};
use crate::gateway::frames;
use crate::gateway::inbox::{Answer, Mail, TableInput};
use crate::gateway::work::Job;
use crate::presence::WatchRefusal;

/// `{}` in a text frame.
const PING: Bytes = Bytes::from_static(&[0x81, 2, b'{', b'}']);
/// A ping frame.
const FRAME_PING: Bytes = Bytes::from_static(&[0x89, 0]);
/// Bytes read while the answer to our close frame is awaited.
const CLOSE_BYTES: usize = 1 << 20;

/// What to do after a frame.
enum Next {
    Go,
    Pong(Vec<u8>),
    Echo(Vec<u8>),
    Closed(Option<u16>),
    Violation(u16, &'static str),
    Done,
}

impl Shard {
    /// Reads frames of an open connection, in place.
    pub(super) fn read_frames(&mut self, index: u32, read: &mut [u8]) {
        let mut at = 0;
        while self.conns.get(index).is_some_and(|conn| matches!(conn.stage, Stage::Open)) {
            let next = self.next_frame(index, read, &mut at);
            self.act(index);
            match next {
                Next::Go => {}
                Next::Done => return,
                Next::Pong(frame) => {
                    let (limit, now_ms) = (self.config.limits.queue_bytes, self.now_ms);
                    let Some(conn) = self.conns.get_mut(index) else { return };
                    let before = conn.out.waiting();
                    let sent = conn.out.pong(&conn.socket, frame, limit, now_ms);
                    self.sent(index, before, sent);
                }
                Next::Echo(frame) => self.send_reply(index, frame),
                Next::Closed(code) => return self.answer_close(index, code),
                Next::Violation(code, reason) => return self.close(index, code, reason, true),
            }
        }
    }

    fn next_frame(&mut self, index: u32, read: &mut [u8], at: &mut usize) -> Next {
        let client = self.client_id(index);
        let Some(conn) = self.conns.get_mut(index) else { return Next::Done };
        let limits = &self.config.limits;
        let rules = if conn.echo {
            Rules { message_bytes: 64 << 20, fragments: u32::MAX, binary: true }
        } else {
            Rules { message_bytes: limits.message_bytes, fragments: limits.fragments, binary: false }
        };
        let began = *at;
        let event = match conn.decoder.next(read, at, rules, self.now_ms) {
            Ok(Some(event)) => event,
            Ok(None) => return Next::Done,
            Err(violation) => {
                let (code, reason) = violation.close();
                return Next::Violation(code, reason);
            }
        };
        let mut cx = Context {
            now_ms: self.now_ms,
            unix: self.ports.clock.now(),
            config: &self.config,
            names: &mut self.index,
            client,
            random: self.ports.clock.random(),
            out: &mut self.replies,
            actions: &mut self.actions,
        };
        if !conn.echo && !conn.logic.charge(*at - began, &mut cx) {
            return Next::Go;
        }
        match event {
            Event::Text(text) if conn.echo => {
                let mut frame = Vec::new();
                frames::text(&mut frame, text.as_bytes());
                return Next::Echo(frame);
            }
            Event::Binary(bytes) => {
                let mut frame = Vec::new();
                frames::binary(&mut frame, bytes);
                return Next::Echo(frame);
            }
            Event::Text(text) => {
                self.counts.messages_in += 1;
                conn.logic.on_text(text, &mut cx);
            }
            Event::Pong => conn.logic.on_pong(),
            Event::Ping(payload) => {
                let mut frame = Vec::new();
                frames::pong(&mut frame, payload);
                return Next::Pong(frame);
            }
            Event::Close(code) => return Next::Closed(code),
        }
        Next::Go
    }

    /// Does what a connection's logic decided.
    pub(super) fn act(&mut self, index: u32) {
        self.appear(index);
        let mut replies = std::mem::take(&mut self.replies.0);
        if !replies.is_empty() {
            let mut frame = Vec::new();
            frames::text(&mut frame, &replies);
            self.send_reply(index, frame);
            replies.clear();
            replies.shrink_to(64 << 10);
        }
        self.replies.0 = replies;
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            self.act_one(index, action);
        }
        if self.actions.is_empty() {
            self.actions = actions;
        }
        if self.conns.get(index).is_some_and(|conn| conn.stranger && conn.logic.is_connected()) {
            self.signed_in(index);
        }
    }

    fn act_one(&mut self, index: u32, action: Action) {
        let key = self.key(index);
        match action {
            Action::Authenticate { token } => self.jobs.push(Job::Authenticate(key, token)),
            Action::Grant { token } => self.jobs.push(Job::Grant(key, token)),
            Action::Join { user } => {
                if let Some(app) = self.app_of(index) {
                    let owner = self.shared.owner_of_user(&app, &user);
                    self.post(owner, Mail::Join { key, app, user });
                }
            }
            Action::Enter { user } => {
                if let Some(app) = self.app_of(index) {
                    self.jobs.push(Job::Enter(key, app, user));
                }
            }
            Action::Subscribe { slot, since, positioned } => {
                if let Some(channel) = self.index.name(slot).cloned() {
                    let owner = self.shared.owner(&channel);
                    let input = TableInput::Subscribe { channel, subscriber: key, since, positioned };
                    self.post(owner, Mail::Table(input));
                }
            }
            Action::Watch { slot } => self.watch(index, slot),
            Action::Unsubscribe { slot, member, present } => {
                if present {
                    self.member(index, slot, None);
                }
                self.unsubscribe(index, slot, member);
            }
            // Done already.
            Action::Appear { .. } => {}
            Action::Members { channel, asked } => {
                if let Some(app) = self.app_of(index) {
                    self.jobs.push(Job::Members(key, ScopedChannel { app, channel }, asked));
                }
            }
            Action::Publish { channel, data, info } => {
                if let Some(app) = self.app_of(index) {
                    let publication = Publication { data, info: Some(info) };
                    self.jobs.push(Job::Publish(key, ScopedChannel { app, channel }, publication));
                }
            }
            Action::History(asked) => {
                if let Some(app) = self.app_of(index) {
                    let channel = ScopedChannel { app, channel: asked.channel.clone() };
                    self.jobs.push(Job::History(key, channel, asked));
                }
            }
            Action::Hold => {
                if let Some(conn) = self.conns.get_mut(index) {
                    conn.out.hold();
                }
            }
            Action::Release => {
                let now_ms = self.now_ms;
                if let Some(conn) = self.conns.get_mut(index) {
                    let before = conn.out.waiting();
                    let sent = conn.out.release(&conn.socket, now_ms);
                    self.sent(index, before, sent);
                }
            }
            Action::Ping => self.ping(index),
            Action::Close(code) => self.close(index, code.code, code.reason, is_flood(code)),
        }
    }

    fn app_of(&self, index: u32) -> Option<fama_protocol::AppId> {
        self.conns.get(index)?.logic.owner().map(|(app, _)| app.clone())
    }

    fn unsubscribe(&mut self, index: u32, slot: Slot, member: Option<u32>) {
        let key = self.key(index);
        if let Some(channel) = self.index.name(slot).cloned() {
            if let Some(user) = watched(&channel) {
                self.ports.presence.end_watch(&user, key);
            } else {
                let owner = self.shared.owner(&channel);
                self.post(owner, Mail::Table(TableInput::Unsubscribe { channel, subscriber: key }));
            }
        }
        if let (Some(member), Some(local)) = (member, self.index.get_mut(slot)) {
            let conns = &mut self.conns;
            local.leave(index, member, |moved, place| {
                if let Some(sub) = conns.get_mut(moved).and_then(|conn| conn.logic.sub_mut(slot)) {
                    sub.member = place;
                }
            });
        }
        self.index.release(slot);
    }

    /// Watches a user, or says at once that there are too many who do.
    fn watch(&mut self, index: u32, slot: Slot) {
        let key = self.key(index);
        let Some(user) = self.index.name(slot).and_then(watched) else { return };
        let owner = self.conns.get(index).and_then(|conn| conn.logic.owner());
        let viewer = owner.and_then(|(_, user)| user.cloned());
        if self.ports.presence.begin_watch(&user, key, viewer.clone()) {
            self.jobs.push(Job::Watch(key, user, viewer));
        } else {
            let refused = Answer::Watched(user.1, Err(WatchRefusal::Unavailable));
            self.letters.push_back(Mail::Answer(key, refused));
        }
    }

    fn ping(&mut self, index: u32) {
        let (limit, now_ms) = (self.config.limits.queue_bytes, self.now_ms);
        let Some(conn) = self.conns.get_mut(index) else { return };
        let frame = if conn.logic.frame_ping() { FRAME_PING } else { PING };
        let before = conn.out.waiting();
        let sent = conn.out.send(&conn.socket, &frame, limit, now_ms);
        self.sent(index, before, sent);
    }

    /// Takes a connection out of everything: channels, sessions.
    pub(super) fn part(&mut self, index: u32, goodbye: bool) {
        let Some(conn) = self.conns.get_mut(index) else { return };
        let entered = std::mem::take(&mut conn.entered);
        let owner = conn.logic.owner().map(|(app, user)| (app.clone(), user.cloned()));
        if let Some((app, Some(user))) = owner {
            if entered {
                self.ports.viewers.leave(&app, &user);
            }
            let key = self.key(index);
            let owner = self.shared.owner_of_user(&app, &user);
            self.post(owner, Mail::Leave { key, app, user, goodbye });
        }
        self.with_logic(index, Connection::leave);
    }

    /// Closes with a code of the protocol.
    pub(super) fn close_for(&mut self, index: u32, code: DisconnectCode) {
        self.close(index, code.code, code.reason, is_flood(code));
    }

    /// Sends a close frame and waits for the peer's. `discard`: what the peer sends is only thrown away.
    pub(super) fn close(&mut self, index: u32, code: u16, reason: &str, discard: bool) {
        if !self.begin_close(index, code, discard, false) {
            return;
        }
        let mut frame = Vec::new();
        frames::close(&mut frame, code, reason);
        self.send_reply(index, frame);
        self.schedule(index);
    }

    fn begin_close(&mut self, index: u32, code: u16, discard: bool, goodbye: bool) -> bool {
        let Some(conn) = self.conns.get(index) else { return false };
        if !matches!(conn.stage, Stage::Open) {
            return false;
        }
        self.counts.closed(code);
        let deadline_ms = self.now_ms + if discard { times::LINGER_MS } else { times::CLOSE_MS };
        let left = if discard { times::LINGER_BYTES } else { CLOSE_BYTES };
        if let Some(conn) = self.conns.get_mut(index) {
            conn.stage = Stage::Closing(Box::new(Closing { deadline_ms, discard, left, shut: false }));
            self.signed_in(index);
        }
        self.part(index, goodbye);
        true
    }

    /// More waits for the client than may: what waits is dropped, it can resume.
    pub(super) fn close_slow(&mut self, index: u32) {
        self.drop_queue(index);
        self.close_for(index, DisconnectCode::SLOW);
    }

    fn drop_queue(&mut self, index: u32) {
        if let Some(conn) = self.conns.get_mut(index) {
            let before = conn.out.waiting();
            conn.out.clear();
            let waits = conn.out.waiting();
            self.requeue(before, waits);
        }
    }

    /// The peer closes: the same code goes back, and nothing more.
    fn answer_close(&mut self, index: u32, code: Option<u16>) {
        let goodbye = matches!(code, None | Some(1000));
        if !self.begin_close(index, 0, true, goodbye) {
            return;
        }
        let mut frame = Vec::new();
        match code {
            Some(code) => frames::close(&mut frame, code, ""),
            None => frames::close_empty(&mut frame),
        }
        self.send_reply(index, frame);
        self.schedule(index);
    }

    /// Reads on until the peer answers our close frame.
    pub(super) fn await_close(&mut self, index: u32, read: &mut [u8]) {
        let mut at = 0;
        let rules = Rules { message_bytes: CLOSE_BYTES, fragments: u32::MAX, binary: true };
        loop {
            let now_ms = self.now_ms;
            let Some(conn) = self.conns.get_mut(index) else { return };
            match conn.decoder.next(read, &mut at, rules, now_ms) {
                Ok(Some(Event::Close(_))) => return self.gone(index, false),
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => {
                    if let Stage::Closing(closing) = &mut conn.stage {
                        closing.discard = true;
                    }
                    return;
                }
            }
        }
    }

    /// An open connection's time has come.
    pub(super) fn on_open_time(&mut self, index: u32) {
        let now_ms = self.now_ms;
        let Some(conn) = self.conns.get(index) else { return };
        if conn.decoder.incomplete_since().is_some_and(|since| now_ms >= since + times::MESSAGE_MS) {
            return self.close(index, 1008, "a message took too long", true);
        }
        if conn.out.blocked_since().is_some_and(|since| now_ms >= since + times::WRITE_MS) {
            self.drop_queue(index);
            return self.close_for(index, DisconnectCode::WRITE_ERROR);
        }
        if !conn.echo {
            self.with_logic(index, Connection::on_time);
        }
    }
}

/// The user whom a channel watches.
fn watched(channel: &ScopedChannel) -> Option<UserKey> {
    match channel.channel.kind() {
        ChannelKind::Presence(user) => UserId::new(user).ok().map(|user| (channel.app.clone(), user)),
        _ => None,
    }
}

/// Whoever floods is not read any more.
fn is_flood(code: DisconnectCode) -> bool {
    code == DisconnectCode::TOO_MANY_REQUESTS
}
