//! From `connect` to its answer, and the connection's token.

use fama_protocol::centrifuge::command::{Connect, Refresh};
use fama_protocol::centrifuge::{ConnectResult, DisconnectCode, ErrorCode, SubscribeResult, reply};
use fama_protocol::{Channel, UserId};

use super::work::{Busy, Connecting, Had, Purpose};
use super::{Action, Connection, Context, Flow, Identity, Phase, Slot, token_name};
use crate::gateway::config::times;
use crate::gateway::ports::{Principal, TokenRefusal};

/// The server's version, as clients see it.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Seconds until a token that ends so should be refreshed.
pub(super) fn ttl(ends_ms: u64, now_ms: u64) -> u32 {
    let left = ends_ms.saturating_sub(now_ms).saturating_sub(times::REFRESH_EARLY_MS) / 1000;
    u32::try_from(left).unwrap_or(u32::MAX).max(1)
}

/// The same for the connection's token, which may have no end.
fn token_ttl(expires_ms: u64, now_ms: u64) -> Option<u32> {
    (expires_ms < u64::MAX).then(|| ttl(expires_ms, now_ms))
}

impl Connection {
    pub(super) fn connect(&mut self, id: u32, connect: Connect<'_>, cx: &mut Context<'_>) -> Flow {
        self.phase = Phase::Connecting;
        self.beat_ms = cx.now_ms + times::STALE_MS;
        let connecting = Connecting { id, had: Had::Named(connect.subs), ..Connecting::default() };
        let work = self.work();
        work.connecting = Some(connecting);
        work.busy = Some(Busy::Connect { id });
        cx.actions.push(Action::Authenticate { token: connect.token.into_owned() });
        Flow::Done
    }

    /// What `connect` does, for a user who is known already.
    pub fn connect_as(&mut self, principal: Principal, had: Had, cx: &mut Context<'_>) {
        self.phase = Phase::Connecting;
        self.beat_ms = cx.now_ms + times::STALE_MS;
        self.work().connecting = Some(Connecting { id: 1, had, ..Connecting::default() });
        self.authenticated(1, Ok(principal), cx);
    }

    pub(super) fn refresh(&mut self, id: u32, refresh: &Refresh<'_>, cx: &mut Context<'_>) -> Flow {
        if refresh.token.is_empty() {
            return self.fail(id, ErrorCode::BAD_REQUEST, cx);
        }
        self.work().busy = Some(Busy::Refresh { id });
        cx.actions.push(Action::Authenticate { token: refresh.token.clone().into_owned() });
        Flow::Done
    }

    /// A token was checked.
    pub fn on_authenticated(&mut self, result: Result<Principal, TokenRefusal>, cx: &mut Context<'_>) {
        if self.phase == Phase::Closed {
            return;
        }
        match self.work().busy.take() {
            Some(Busy::Connect { id }) => self.authenticated(id, result, cx),
            Some(Busy::Refresh { id }) => self.refreshed(id, result, cx),
            other => self.work().busy = other,
        }
        self.resume(cx);
    }

    fn authenticated(&mut self, id: u32, result: Result<Principal, TokenRefusal>, cx: &mut Context<'_>) {
        let principal = match result {
            Ok(principal) => principal,
            Err(TokenRefusal::Invalid) => return self.close(DisconnectCode::INVALID_TOKEN, cx),
            Err(TokenRefusal::Missing) => return self.refuse(id, ErrorCode::UNAUTHORIZED, cx),
            Err(TokenRefusal::Expired) => return self.refuse(id, ErrorCode::TOKEN_EXPIRED, cx),
            Err(TokenRefusal::Unavailable) => return self.refuse(id, ErrorCode::INTERNAL, cx),
        };
        self.info = principal.info.clone().map(Box::new);
        let user = principal.user.clone();
        self.identity = Some(identity(principal, cx));
        let Some(user) = user else {
            self.work().connecting.get_or_insert_default().entered = true;
            return self.try_connected(cx);
        };
        cx.actions.push(Action::Join { user: user.clone() });
        cx.actions.push(Action::Hold);
        self.open_server(Channel::user(&user), Purpose::Connect, cx);
    }

    /// What matters of the user's relations is loaded: `authors` are the celebrities to hear.
    pub fn on_entered(&mut self, authors: Option<Vec<UserId>>, cx: &mut Context<'_>) {
        if self.phase != Phase::Connecting {
            return;
        }
        let Some(authors) = authors else { return self.abandon(cx) };
        self.work().connecting.get_or_insert_default().entered = true;
        for author in authors.iter().take(cx.config.limits.author_channels) {
            self.open_server(Channel::author(author), Purpose::Connect, cx);
        }
        self.try_connected(cx);
    }

    /// One of the subscriptions of the answer is open.
    pub(super) fn joined(&mut self, slot: Slot, result: SubscribeResult, cx: &mut Context<'_>) {
        let is_own = {
            let connecting = self.work().connecting.get_or_insert_default();
            connecting.results.push((slot, result));
            !connecting.entered && connecting.results.len() == 1
        };
        match self.user().cloned() {
            // From here on changes of relations are told, so what is loaded now stays right.
            Some(user) if is_own => cx.actions.push(Action::Enter { user }),
            _ => self.try_connected(cx),
        }
    }

    /// Something that `connect` needs is not to be had.
    pub(super) fn abandon(&mut self, cx: &mut Context<'_>) {
        let id = self.work().connecting.as_ref().map_or(0, |connecting| connecting.id);
        self.refuse(id, ErrorCode::INTERNAL, cx);
    }

    fn refuse(&mut self, id: u32, error: ErrorCode, cx: &mut Context<'_>) {
        reply::error(cx.out.message(), id, error);
        self.phase = Phase::Refused;
        self.beat_ms = cx.now_ms + times::CLOSE_MS;
        self.work = None;
        for sub in std::mem::take(&mut self.subs) {
            cx.actions.push(Action::Unsubscribe { slot: sub.slot, member: sub.live.then_some(sub.member) });
        }
    }

    fn try_connected(&mut self, cx: &mut Context<'_>) {
        let Some(work) = &mut self.work else { return };
        let is_done = work.pending.is_empty() && work.connecting.as_ref().is_some_and(|it| it.entered);
        if self.phase != Phase::Connecting || !is_done {
            return;
        }
        let Some(connecting) = work.connecting.take() else { return };
        self.phase = Phase::Connected;
        self.first_beat(cx);
        let names = &*cx.names;
        let subs: Vec<_> = connecting
            .results
            .into_iter()
            .filter_map(|(slot, result)| Some((names.name(slot)?.channel.as_str(), result)))
            .collect();
        let client = cx.client_id();
        let ping = if self.frame_ping { 0 } else { cx.config.ping_s };
        let expires_ms = self.identity.as_ref().map_or(u64::MAX, |identity| identity.expires_ms);
        let result = ConnectResult {
            client: &client,
            version: VERSION,
            ttl: token_ttl(expires_ms, cx.now_ms),
            ping,
            pong: ping > 0,
            subs: &subs,
            ..ConnectResult::default()
        };
        reply::connect(cx.out.message(), connecting.id, &result);
        cx.actions.push(Action::Release);
        self.resume(cx);
    }

    /// The first ping comes at a random time of the period's second half, so that pings of many spread.
    fn first_beat(&mut self, cx: &Context<'_>) {
        let half = u64::from(cx.config.ping_s) * 500;
        self.beat_ms = if half == 0 { u64::MAX } else { cx.now_ms + half + cx.random % half };
    }

    fn refreshed(&mut self, id: u32, result: Result<Principal, TokenRefusal>, cx: &mut Context<'_>) {
        let principal = match result {
            Ok(principal) => principal,
            Err(TokenRefusal::Invalid) => return self.close(DisconnectCode::INVALID_TOKEN, cx),
            Err(TokenRefusal::Missing) => return self.reject(id, ErrorCode::BAD_REQUEST, cx),
            Err(TokenRefusal::Expired) => return self.reject(id, ErrorCode::TOKEN_EXPIRED, cx),
            Err(TokenRefusal::Unavailable) => return self.reject(id, ErrorCode::INTERNAL, cx),
        };
        let same =
            self.identity.as_ref().is_some_and(|it| it.app == principal.app && it.user == principal.user);
        if !same {
            return self.close(DisconnectCode::INVALID_TOKEN, cx);
        }
        let next = identity(principal, cx);
        if let Some(identity) = &mut self.identity {
            (identity.expires_ms, identity.token) = (next.expires_ms, next.token);
        }
        let ttl = token_ttl(next.expires_ms, cx.now_ms);
        let client = cx.client_id();
        reply::refresh(cx.out.message(), id, &client, VERSION, ttl);
    }

    fn reject(&mut self, id: u32, error: ErrorCode, cx: &mut Context<'_>) {
        let _ = self.fail(id, error, cx);
    }
}

fn identity(principal: Principal, cx: &Context<'_>) -> Identity {
    let token = principal.jti.as_deref().map_or(0, |jti| token_name(&principal.app, jti));
    let expires_ms = principal.expires_at.map_or(u64::MAX, |at| cx.now_ms.saturating_add(at.since(cx.unix)));
    Identity { app: principal.app, user: principal.user, expires_ms, token }
}
