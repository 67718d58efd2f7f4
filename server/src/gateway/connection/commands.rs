//! Commands, in the order in which they came.

use bytes::Bytes;
use fama_protocol::Channel;
use fama_protocol::centrifuge::command::{self, Command, History, Method, Publish};
use fama_protocol::centrifuge::push::members;
use fama_protocol::centrifuge::{DisconnectCode, ErrorCode, reply};
use fama_protocol::{ChannelKind, Position};

use super::work::{Busy, HistoryAsked};
use super::{Action, Connection, Context, Flow, MembersAsked, Phase};

/// What reading a history gave.
pub type HistoryRead = Result<(Position, Vec<(u64, Bytes)>), ErrorCode>;

impl Connection {
    /// A text message: one or more commands.
    pub fn on_text(&mut self, message: &str, cx: &mut Context<'_>) {
        for line in command::split(message) {
            if matches!(self.phase, Phase::Closed | Phase::Refused) {
                return;
            }
            if line == "{}" {
                self.on_pong();
                continue;
            }
            let waits = self.work.as_ref().is_some_and(|work| work.busy.is_some() || !work.queue.is_empty());
            let waits = waits || (self.phase == Phase::Connecting);
            if waits || self.command(line, cx) == Flow::Wait {
                self.enqueue(line, cx);
            }
        }
        self.tidy();
    }

    fn enqueue(&mut self, line: &str, cx: &mut Context<'_>) {
        let work = self.work.get_or_insert_default();
        if work.queued_bytes + line.len() > cx.config.limits.command_bytes {
            return self.close(DisconnectCode::TOO_MANY_REQUESTS, cx);
        }
        work.queued_bytes += line.len();
        work.queue.push_back(line.into());
    }

    /// Goes on with what waited.
    pub(super) fn resume(&mut self, cx: &mut Context<'_>) {
        while matches!(self.phase, Phase::New | Phase::Connected) {
            let Some(work) = &mut self.work else { return };
            if work.busy.is_some() {
                return;
            }
            let Some(line) = work.queue.pop_front() else { break };
            work.queued_bytes -= line.len();
            if self.command(&line, cx) == Flow::Wait {
                let work = self.work();
                work.queued_bytes += line.len();
                work.queue.push_front(line);
                return;
            }
        }
        self.tidy();
    }

    fn command(&mut self, line: &str, cx: &mut Context<'_>) -> Flow {
        let Ok(Command { id, method }) = command::decode(line) else {
            self.close(DisconnectCode::BAD_REQUEST, cx);
            return Flow::Done;
        };
        match (self.phase, method) {
            (_, Method::Pong) => {
                self.on_pong();
                Flow::Done
            }
            (Phase::New, Method::Connect(connect)) => self.connect(id, connect, cx),
            (Phase::New, _) | (_, Method::Connect(_)) => {
                self.close(DisconnectCode::BAD_REQUEST, cx);
                Flow::Done
            }
            (_, method) => self.connected_command(id, method, cx),
        }
    }

    fn connected_command(&mut self, id: u32, method: Method<'_>, cx: &mut Context<'_>) -> Flow {
        match method {
            Method::Subscribe(it) => self.subscribe(id, &it, cx),
            Method::Unsubscribe(it) => self.unsubscribe(id, &it.channel, cx),
            Method::Publish(it) => self.publish(id, &it, cx),
            Method::History(it) => self.history(id, &it, cx),
            Method::Refresh(it) => self.refresh(id, &it, cx),
            Method::SubRefresh(it) => self.sub_refresh(id, &it, cx),
            Method::Rpc(_) => self.fail(id, ErrorCode::METHOD_NOT_FOUND, cx),
            Method::Presence(it) => self.members(id, &it.channel, MembersAsked::List, cx),
            Method::PresenceStats(it) => self.members(id, &it.channel, MembersAsked::Count, cx),
            Method::Ping => self.fail(id, ErrorCode::NOT_AVAILABLE, cx),
            Method::Send(_) => {
                self.close(DisconnectCode::NOT_AVAILABLE, cx);
                Flow::Done
            }
            Method::Pong | Method::Connect(_) => Flow::Done,
        }
    }

    /// The app's own channel of that name; `Err` was answered.
    pub(super) fn app_channel(&mut self, id: u32, name: &str, cx: &mut Context<'_>) -> Result<Channel, Flow> {
        let Ok(channel) = Channel::new(name) else {
            return Err(self.fail(id, ErrorCode::BAD_REQUEST, cx));
        };
        let error = match channel.kind() {
            ChannelKind::User(_) | ChannelKind::Author(_) => ErrorCode::PERMISSION_DENIED,
            ChannelKind::Presence(_) => ErrorCode::NOT_AVAILABLE,
            ChannelKind::App { .. } if cx.config.namespaces.of(&channel).is_none() => {
                ErrorCode::UNKNOWN_CHANNEL
            }
            ChannelKind::App { .. } => return Ok(channel),
        };
        Err(self.fail(id, error, cx))
    }

    /// Whether the client is subscribed; `None`: it is about to be.
    pub(super) fn is_subscribed(&self, channel: &Channel, cx: &Context<'_>) -> Option<bool> {
        let slot = cx.names.find(&self.scoped(channel.clone()));
        match self.sub(slot) {
            Some(sub) if !sub.live => None,
            sub => Some(sub.is_some()),
        }
    }

    fn publish(&mut self, id: u32, publish: &Publish<'_>, cx: &mut Context<'_>) -> Flow {
        let channel = match self.app_channel(id, &publish.channel, cx) {
            Ok(channel) => channel,
            Err(flow) => return flow,
        };
        let Some(subscribed) = self.is_subscribed(&channel, cx) else { return Flow::Wait };
        let Some(data) = publish.data else { return self.fail(id, ErrorCode::BAD_REQUEST, cx) };
        let Some(namespace) = cx.config.namespaces.of(&channel) else { return Flow::Done };
        if !cx.config.insecure && !namespace.may_publish(&channel, self.user(), subscribed) {
            return self.fail(id, ErrorCode::PERMISSION_DENIED, cx);
        }
        let data = Bytes::copy_from_slice(data.get().as_bytes());
        let slot = cx.names.find(&self.scoped(channel.clone()));
        let info = self.info_json(slot, cx);
        self.work().busy = Some(Busy::Publish { id });
        cx.actions.push(Action::Publish { channel, data, info });
        Flow::Done
    }

    /// Publishing worked or not.
    pub fn on_published(&mut self, ok: bool, cx: &mut Context<'_>) {
        if let Some(work) = &mut self.work
            && let Some(Busy::Publish { id }) = work.busy
        {
            work.busy = None;
            if ok {
                reply::done(cx.out.message(), id, "publish");
            } else {
                reply::error(cx.out.message(), id, ErrorCode::INTERNAL);
            }
        }
        self.resume(cx);
    }

    fn history(&mut self, id: u32, history: &History<'_>, cx: &mut Context<'_>) -> Flow {
        let channel = match self.app_channel(id, &history.channel, cx) {
            Ok(channel) => channel,
            Err(flow) => return flow,
        };
        let Some(subscribed) = self.is_subscribed(&channel, cx) else { return Flow::Wait };
        let Some(namespace) = cx.config.namespaces.of(&channel) else { return Flow::Done };
        let Some(limits) = namespace.limits() else {
            return self.fail(id, ErrorCode::NOT_AVAILABLE, cx);
        };
        if !cx.config.insecure && !namespace.may_read(subscribed) {
            return self.fail(id, ErrorCode::PERMISSION_DENIED, cx);
        }
        let most = limits.size.min(cx.config.limits.recover);
        let limit = usize::try_from(history.limit).map_or(most, |limit| limit.min(most));
        let since = history.since.as_ref().map(|it| (it.offset, it.epoch.parse().ok()));
        self.work().busy = Some(Busy::History { id });
        cx.actions.push(Action::History(HistoryAsked { channel, limit, since, reverse: history.reverse }));
        Flow::Done
    }

    /// A history was read, entries already as members of publications.
    pub fn on_history(&mut self, read: HistoryRead, cx: &mut Context<'_>) {
        if let Some(work) = &mut self.work
            && let Some(Busy::History { id }) = work.busy
        {
            work.busy = None;
            match read {
                Ok((position, entries)) => reply::history(cx.out.message(), id, position, &entries),
                Err(error) => reply::error(cx.out.message(), id, error),
            }
        }
        self.resume(cx);
    }
}

/// A publication of an app's channel as it goes over the wire, from the parts that logs and the bus carry.
pub fn app_members(data: &[u8], info: Option<&[u8]>) -> Bytes {
    let mut out = members(data, None);
    if let Some(info) = info {
        out.extend_from_slice(b",\"info\":");
        out.extend_from_slice(info);
    }
    out.into()
}
