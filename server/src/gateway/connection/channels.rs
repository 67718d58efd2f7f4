//! Subscriptions.

use bytes::Bytes;
use fama_fanout::live::Since;
use fama_protocol::centrifuge::command::{Recover, SubRefresh, Subscribe};
use fama_protocol::centrifuge::{DisconnectCode, ErrorCode, SubscribeResult, UnsubscribeCode, push, reply};
use fama_protocol::{Channel, ChannelKind, Position, UserId};

use super::connect::ttl;
use super::watching::watchable;
use super::work::{Busy, PendingSub, Purpose, Wanted};
use super::{Action, Connection, Context, Flow, Phase, Slot, Sub};
use crate::config::Recovery;
use crate::gateway::config::times;
use crate::gateway::namespaces::Verdict;
use crate::gateway::ports::{SubscriptionGrant, TokenRefusal};

/// A subscription is in.
#[derive(Debug, Clone)]
pub struct Opened {
    /// `None` on channels without a log.
    pub position: Option<Position>,
    /// `None` unless it was to resume.
    pub recovered: Option<bool>,
    /// What was missed, as members of publications.
    pub publications: Vec<(u64, Bytes)>,
}

impl Connection {
    pub(super) fn subscribe(&mut self, id: u32, it: &Subscribe<'_>, cx: &mut Context<'_>) -> Flow {
        if it.kind != 0 {
            return self.fail(id, ErrorCode::NOT_AVAILABLE, cx);
        }
        // Before anything else: also channels that the client may not ask for may be there already.
        if let Ok(channel) = Channel::new(&it.channel)
            && self.sub(cx.names.find(&self.scoped(channel))).is_some()
        {
            return self.fail(id, ErrorCode::ALREADY_SUBSCRIBED, cx);
        }
        if let Some(channel) = watchable(&it.channel) {
            return self.watch(id, channel, cx);
        }
        let channel = match self.app_channel(id, &it.channel, cx) {
            Ok(channel) => channel,
            Err(flow) => return flow,
        };
        if self.subs.iter().filter(|sub| !sub.server && !sub.watch).count() >= cx.config.limits.channels {
            return self.fail(id, ErrorCode::LIMIT_EXCEEDED, cx);
        }
        let Some(namespace) = cx.config.namespaces.of(&channel) else { return Flow::Done };
        let verdict = namespace.may_subscribe(&channel, self.user());
        let recover =
            Recover { recover: it.recover, offset: it.offset, epoch: it.epoch.clone().into_owned() };
        let wanted = Wanted { id, channel, recover, strict: it.flag & 2 != 0 };
        if !it.token.is_empty() && verdict != Verdict::Denied {
            self.work().busy = Some(Busy::Subscribe(wanted));
            cx.actions.push(Action::Grant { token: it.token.clone().into_owned() });
        } else if verdict == Verdict::Allowed || cx.config.insecure {
            self.open_wanted(&wanted, None, cx);
        } else {
            return self.fail(id, ErrorCode::PERMISSION_DENIED, cx);
        }
        Flow::Done
    }

    pub(super) fn sub_refresh(&mut self, id: u32, it: &SubRefresh<'_>, cx: &mut Context<'_>) -> Flow {
        let Ok(channel) = Channel::new(&it.channel) else { return self.fail(id, ErrorCode::BAD_REQUEST, cx) };
        let sub = self.sub(cx.names.find(&self.scoped(channel.clone())));
        match sub {
            _ if it.kind != 0 => self.fail(id, ErrorCode::NOT_AVAILABLE, cx),
            Some(sub) if !sub.live => Flow::Wait,
            Some(sub) if !sub.server && !it.token.is_empty() => {
                self.work().busy = Some(Busy::SubRefresh { id, slot: sub.slot, channel });
                cx.actions.push(Action::Grant { token: it.token.clone().into_owned() });
                Flow::Done
            }
            _ => self.fail(id, ErrorCode::BAD_REQUEST, cx),
        }
    }

    /// A subscription token was checked.
    pub fn on_granted(&mut self, result: Result<SubscriptionGrant, TokenRefusal>, cx: &mut Context<'_>) {
        if self.phase == Phase::Closed {
            return;
        }
        let (id, channel) = match self.work.as_ref().and_then(|work| work.busy.as_ref()) {
            Some(Busy::Subscribe(wanted)) => (wanted.id, wanted.channel.clone()),
            Some(Busy::SubRefresh { id, channel, .. }) => (*id, channel.clone()),
            _ => return,
        };
        let busy = self.work().busy.take();
        match result {
            Ok(grant) if !self.is_for_me(&grant, &channel) => self.close(DisconnectCode::INVALID_TOKEN, cx),
            Ok(grant) => {
                let expires = grant.expires_at.map(|at| cx.now_ms + at.since(cx.unix));
                match busy {
                    Some(Busy::Subscribe(wanted)) => self.open_wanted(&wanted, expires, cx),
                    Some(Busy::SubRefresh { slot, .. }) => self.sub_refreshed(id, slot, expires, cx),
                    _ => {}
                }
            }
            Err(refusal) => {
                let error = match refusal {
                    TokenRefusal::Expired => ErrorCode::TOKEN_EXPIRED,
                    TokenRefusal::Unavailable => ErrorCode::INTERNAL,
                    TokenRefusal::Missing | TokenRefusal::Invalid => ErrorCode::PERMISSION_DENIED,
                };
                let _ = self.fail(id, error, cx);
            }
        }
        self.resume(cx);
    }

    fn is_for_me(&self, grant: &SubscriptionGrant, channel: &Channel) -> bool {
        self.identity
            .as_ref()
            .is_some_and(|me| me.app == grant.app && me.user == grant.user && grant.channel == *channel)
    }

    fn sub_refreshed(&mut self, id: u32, slot: Slot, expires: Option<u64>, cx: &mut Context<'_>) {
        if self.sub(Some(slot)).is_none() {
            let _ = self.fail(id, ErrorCode::BAD_REQUEST, cx);
            return;
        }
        self.set_expiry(slot, expires);
        reply::sub_refresh(cx.out.message(), id, expires.map(|at| ttl(at, cx.now_ms)));
    }

    fn set_expiry(&mut self, slot: Slot, expires: Option<u64>) {
        let work = self.work();
        work.expiring.retain(|(it, _)| *it != slot);
        work.expiring.extend(expires.map(|at| (slot, at)));
    }

    fn open_wanted(&mut self, wanted: &Wanted, expires: Option<u64>, cx: &mut Context<'_>) {
        let Some(namespace) = cx.config.namespaces.of(&wanted.channel) else { return };
        let (epoch, offset) = (wanted.recover.epoch.parse().ok(), wanted.recover.offset);
        let since = match namespace.recovery() {
            _ if !wanted.recover.recover => None,
            Recovery::None => None,
            Recovery::Stream => Some(Since::Position { epoch, offset }),
            Recovery::Cache => Some(Since::Latest { epoch, offset }),
        };
        let positioned = namespace.limits().is_some();
        let purpose = Purpose::Command { id: wanted.id, strict: wanted.strict };
        let slot = self.open(wanted.channel.clone(), purpose, since, positioned, cx);
        if expires.is_some() {
            self.set_expiry(slot, expires);
        }
    }

    /// Opens a server-side subscription.
    pub(super) fn open_server(&mut self, channel: Channel, purpose: Purpose, cx: &mut Context<'_>) {
        let since = self.work().connecting.as_ref().and_then(|it| it.had.since(&channel));
        self.open(channel, purpose, since, true, cx);
    }

    fn open(
        &mut self,
        channel: Channel,
        purpose: Purpose,
        since: Option<Since>,
        positioned: bool,
        cx: &mut Context<'_>,
    ) -> Slot {
        let slot = cx.names.intern(&self.scoped(channel));
        let server = !matches!(purpose, Purpose::Command { .. });
        self.subs.push(Sub { slot, member: 0, live: false, server, watch: false });
        let offset = match since {
            Some(Since::Position { offset, .. } | Since::Latest { offset, .. }) => offset,
            None => 0,
        };
        self.work().pending.push(PendingSub { slot, purpose, offset });
        cx.actions.push(Action::Subscribe { slot, since, positioned });
        slot
    }

    /// A subscription is in, as member number `member` of its channel. `false`: it is not wanted any more.
    pub fn on_opened(&mut self, slot: Slot, member: u32, opened: Opened, cx: &mut Context<'_>) -> bool {
        let Some(at) = self.work.as_ref().and_then(|w| w.pending.iter().position(|sub| sub.slot == slot))
        else {
            return false;
        };
        let pending = self.work().pending.swap_remove(at);
        let Some(sub) = self.sub_mut(slot) else { return false };
        (sub.live, sub.member) = (true, member);
        let Some(name) = cx.names.name(slot).map(|name| name.channel.clone()) else { return false };
        let result = self.result(slot, &name, pending.offset, opened, cx);
        match pending.purpose {
            Purpose::Connect => self.joined(slot, result, cx),
            Purpose::Push => push::subscribed(cx.out.message(), name.as_str(), &result),
            Purpose::Command { id, strict: true } if result.recovered == Some(false) => {
                reply::error(cx.out.message(), id, ErrorCode::UNRECOVERABLE_POSITION);
                self.drop_sub(slot, cx);
            }
            Purpose::Command { id, .. } => reply::subscribe(cx.out.message(), id, &result),
        }
        self.resume(cx);
        true
    }

    fn result(
        &self,
        slot: Slot,
        name: &Channel,
        since: u64,
        opened: Opened,
        cx: &Context<'_>,
    ) -> SubscribeResult {
        let (recoverable, positioned) = match name.kind() {
            ChannelKind::App { .. } => cx.config.namespaces.of(name).map_or((false, false), |namespace| {
                (namespace.recovery() != Recovery::None, namespace.positioned())
            }),
            _ => (true, true),
        };
        let expires = self.work.as_ref().and_then(|w| w.expiring.iter().find(|(it, _)| *it == slot));
        SubscribeResult {
            ttl: expires.map(|(_, at)| ttl(*at, cx.now_ms)),
            recoverable,
            positioned,
            position: opened.position,
            recovered: opened.recovered,
            publications: opened.publications,
            since,
        }
    }

    /// A subscription could not be opened for now. It is out already.
    pub fn on_failed(&mut self, slot: Slot, cx: &mut Context<'_>) {
        let Some(at) = self.work.as_ref().and_then(|w| w.pending.iter().position(|sub| sub.slot == slot))
        else {
            return;
        };
        let pending = self.work().pending.swap_remove(at);
        self.drop_sub(slot, cx);
        match pending.purpose {
            Purpose::Connect => self.abandon(cx),
            Purpose::Command { id, .. } => reply::error(cx.out.message(), id, ErrorCode::INTERNAL),
            // The client does not know that it was being opened; it loads the list again when it connects again.
            Purpose::Push => self.close(DisconnectCode::INSUFFICIENT_STATE, cx),
        }
        self.resume(cx);
    }

    pub(super) fn unsubscribe(&mut self, id: u32, channel: &str, cx: &mut Context<'_>) -> Flow {
        let Ok(channel) = Channel::new(channel) else { return self.fail(id, ErrorCode::BAD_REQUEST, cx) };
        match self.sub(cx.names.find(&self.scoped(channel))) {
            Some(sub) if sub.server => return self.fail(id, ErrorCode::PERMISSION_DENIED, cx),
            Some(sub) if self.work.as_ref().is_some_and(|work| work.is_pending(sub.slot)) => {
                return Flow::Wait;
            }
            Some(sub) => self.drop_sub(sub.slot, cx),
            None => {}
        }
        reply::done(cx.out.message(), id, "unsubscribe");
        Flow::Done
    }

    /// Ends a subscription without a word.
    pub(super) fn drop_sub(&mut self, slot: Slot, cx: &mut Context<'_>) {
        if let Some(at) = self.subs.iter().position(|sub| sub.slot == slot) {
            let sub = self.subs.swap_remove(at);
            if let Some(work) = &mut self.work {
                work.expiring.retain(|(it, _)| *it != slot);
                work.pending.retain(|it| it.slot != slot);
            }
            cx.actions.push(Action::Unsubscribe { slot, member: sub.live.then_some(sub.member) });
        }
        if self.subs.is_empty() {
            self.subs.shrink_to_fit();
        }
    }

    /// Ends a subscription and tells the client.
    pub(super) fn end_sub(&mut self, slot: Slot, code: UnsubscribeCode, cx: &mut Context<'_>) {
        if let Some(name) = cx.names.name(slot) {
            push::unsubscribed(cx.out.message(), name.channel.as_str(), code);
        }
        self.drop_sub(slot, cx);
    }

    pub(super) fn expire_subs(&mut self, cx: &mut Context<'_>) {
        let over = |at: u64| cx.now_ms >= at + times::EXPIRY_GRACE_MS;
        let expired: Vec<Slot> = self
            .work
            .iter()
            .flat_map(|work| &work.expiring)
            .filter(|(slot, at)| over(*at) && self.sub(Some(*slot)).is_some_and(|sub| sub.live))
            .map(|(slot, _)| *slot)
            .collect();
        for slot in expired {
            self.end_sub(slot, UnsubscribeCode::EXPIRED, cx);
        }
        self.tidy();
    }

    /// The continuity of a channel of the app's own is lost: the client subscribes again.
    pub fn on_insufficient(&mut self, slot: Slot, cx: &mut Context<'_>) {
        self.end_sub(slot, UnsubscribeCode::INSUFFICIENT_STATE, cx);
        self.tidy();
    }

    /// The celebrities to hear are now these: joins and leaves their channels.
    pub fn on_authors(&mut self, authors: &[UserId], cx: &mut Context<'_>) {
        if self.phase != Phase::Connected {
            // A connection that is just being made may have been told an older list.
            if self.phase == Phase::Connecting {
                self.close(DisconnectCode::FORCE_RECONNECT, cx);
            }
            return;
        }
        let wanted: Vec<Channel> =
            authors.iter().take(cx.config.limits.author_channels).map(Channel::author).collect();
        let mut held = Vec::new();
        for sub in &self.subs {
            if let Some(name) = cx.names.name(sub.slot)
                && matches!(name.channel.kind(), ChannelKind::Author(_))
            {
                held.push((sub.slot, name.channel.clone()));
            }
        }
        for (slot, channel) in &held {
            if !wanted.contains(channel) {
                self.end_sub(*slot, UnsubscribeCode::SERVER, cx);
            }
        }
        for channel in wanted {
            if !held.iter().any(|(_, it)| *it == channel) {
                self.open_server(channel, Purpose::Push, cx);
            }
        }
        self.tidy();
    }
}
