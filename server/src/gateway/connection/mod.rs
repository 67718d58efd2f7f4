//! What a connection is and does, without its socket: events go in, replies and actions come out. Pure.
//!
//! Idle connections are many, so what only busy ones need is in [`Work`], a box that comes and goes.

mod channels;
mod commands;
mod connect;
#[cfg(test)]
mod tests;
mod watching;
mod work;

use bytes::Bytes;
use fama_fanout::live::Since;
use fama_protocol::centrifuge::reply::ClientInfo;
use fama_protocol::centrifuge::{DisconnectCode, ErrorCode, reply};
use fama_protocol::{AppId, Channel, ScopedChannel, UnixMs, UserId};
use smallvec::SmallVec;

use super::bucket::{Bucket, Rate};
use super::config::{GatewayConfig, times};
pub use channels::Opened;
pub use commands::{HistoryRead, app_members};
pub use work::{Had, HistoryAsked, Offsets};
use work::Work;

/// A channel by its number on this shard.
pub type Slot = u32;

/// The names of channels on this shard.
pub trait Names {
    /// The number of a channel, if it has one.
    fn find(&self, channel: &ScopedChannel) -> Option<Slot>;
    /// The number of a channel, given now if it had none. It stays until as many calls of [`Names::release`].
    fn intern(&mut self, channel: &ScopedChannel) -> Slot;
    /// Gives a number back.
    fn release(&mut self, slot: Slot);
    /// The channel behind a number.
    fn name(&self, slot: Slot) -> Option<&ScopedChannel>;
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Check a token, then [`Connection::on_authenticated`].
    Authenticate {
        /// The token.
        token: String,
    },
    /// Check a subscription token, then [`Connection::on_granted`].
    Grant {
        /// The token.
        token: String,
    },
    /// The connection belongs to this user from now on: count it.
    Join {
        /// The user.
        user: UserId,
    },
    /// Load what matters of the user's relations, then [`Connection::on_entered`].
    Enter {
        /// The user.
        user: UserId,
    },
    /// Subscribe, then [`Connection::on_opened`] or [`Connection::on_failed`].
    Subscribe {
        /// The channel.
        slot: Slot,
        /// Where the client stands.
        since: Option<Since>,
        /// Whether the channel has a log.
        positioned: bool,
    },
    /// Watch the user of a presence channel, then [`Connection::on_watched`].
    Watch {
        /// The channel.
        slot: Slot,
    },
    /// The subscription ended, or is given up.
    Unsubscribe {
        /// The channel; its number is not released yet.
        slot: Slot,
        /// Where it is among the channel's members, if it was live.
        member: Option<u32>,
    },
    /// Publish, then [`Connection::on_published`].
    Publish {
        /// The channel.
        channel: Channel,
        /// JSON.
        data: Bytes,
        /// JSON of who publishes.
        info: Bytes,
    },
    /// Read the history, then [`Connection::on_history`].
    History(HistoryAsked),
    /// Keep publications back until [`Action::Release`].
    Hold,
    /// Send what was kept back, behind the replies so far.
    Release,
    /// Send a ping.
    Ping,
    /// Send what was written, then a close frame.
    Close(DisconnectCode),
}

/// Replies, one message after another.
#[derive(Debug, Default)]
pub struct Replies(pub Vec<u8>);

impl Replies {
    /// Begins a message.
    pub fn message(&mut self) -> &mut Vec<u8> {
        if !self.0.is_empty() {
            self.0.push(b'\n');
        }
        &mut self.0
    }
}

/// What a connection is given with each event.
pub struct Context<'c> {
    /// Milliseconds since the shard's start.
    pub now_ms: u64,
    /// Wall clock.
    pub unix: UnixMs,
    /// Settings.
    pub config: &'c GatewayConfig,
    /// Names of channels.
    pub names: &'c mut dyn Names,
    /// The connection's id, as it is known outside.
    pub client: u128,
    /// A random number.
    pub random: u64,
    /// Replies.
    pub out: &'c mut Replies,
    /// Actions, to be done in order. Replies go out before the first [`Action::Release`] or [`Action::Close`].
    pub actions: &'c mut Vec<Action>,
}

impl Context<'_> {
    /// The connection's id as text.
    pub fn client_id(&self) -> String {
        let id = self.client;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            id >> 96,
            (id >> 80) & 0xffff,
            (id >> 64) & 0xffff,
            (id >> 48) & 0xffff,
            id & 0xffff_ffff_ffff
        )
    }
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for `connect`.
    New,
    /// Checks the token, loads and subscribes.
    Connecting,
    /// Everything else.
    Connected,
    /// `connect` was answered with an error: the client is to go.
    Refused,
    /// Being closed: nothing matters any more.
    Closed,
}

/// A subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sub {
    /// The channel.
    pub slot: Slot,
    /// Its place among the channel's members.
    pub member: u32,
    /// Publications are delivered.
    pub live: bool,
    /// Not asked for by the client, and not for the client to end.
    pub server: bool,
    /// A user is watched: not a channel with members.
    pub watch: bool,
}

/// Whose a connection is.
#[derive(Debug, Clone)]
struct Identity {
    app: AppId,
    user: Option<UserId>,
    /// When the token ends, by the shard's clock; `u64::MAX` = never.
    expires_ms: u64,
    /// Names the token; 0 = nothing does.
    token: u64,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    identity: Option<Identity>,
    subs: SmallVec<[Sub; 1]>,
    work: Option<Box<Work>>,
    /// JSON shown with what it publishes.
    info: Option<Box<Bytes>>,
    /// When to send a ping or to have got a pong; before `connect`, when to give up.
    beat_ms: u64,
    frames: Bucket,
    bytes: Bucket,
    phase: Phase,
    errors: u8,
    awaits_pong: bool,
    /// This period's ping was sent.
    pinged: bool,
    frame_ping: bool,
}

/// Whether a command is done with or has to wait for an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Done,
    Wait,
}

impl Connection {
    /// A socket that just became a WebSocket.
    pub fn new(now_ms: u64, frame_ping: bool) -> Self {
        Self {
            identity: None,
            subs: SmallVec::new(),
            work: None,
            info: None,
            beat_ms: now_ms + times::STALE_MS,
            frames: Bucket::full(now_ms),
            bytes: Bucket::full(now_ms),
            phase: Phase::New,
            errors: 0,
            awaits_pong: false,
            pinged: false,
            frame_ping,
        }
    }

    /// Counts a frame of so many bytes. `false`: that was one too many, and the connection is being closed.
    pub fn charge(&mut self, bytes: usize, cx: &mut Context<'_>) -> bool {
        let limits = &cx.config.limits;
        let frames = Rate { per_s: limits.frames_per_s, burst: limits.frames_burst };
        let volume = Rate { per_s: limits.bytes_per_s, burst: limits.bytes_burst };
        let amount = u32::try_from(bytes).unwrap_or(u32::MAX);
        let fits = self.frames.take(frames, 1, cx.now_ms) && self.bytes.take(volume, amount, cx.now_ms);
        if !fits {
            self.close(DisconnectCode::TOO_MANY_REQUESTS, cx);
        }
        fits
    }

    /// The client answered a ping, in whichever way.
    pub fn on_pong(&mut self) {
        self.awaits_pong = false;
    }

    /// When [`Connection::on_time`] wants to be called.
    pub fn deadline(&self) -> u64 {
        if self.phase == Phase::Closed {
            return u64::MAX;
        }
        let expiry = self.identity.as_ref().map_or(u64::MAX, |identity| identity.expires_ms);
        let expiry = expiry.saturating_add(times::EXPIRY_GRACE_MS);
        let subs = self.work.as_ref().and_then(|work| work.next_expiry());
        self.beat_ms.min(expiry).min(subs.map_or(u64::MAX, |at| at + times::EXPIRY_GRACE_MS))
    }

    /// Time passed.
    pub fn on_time(&mut self, cx: &mut Context<'_>) {
        if self.phase == Phase::Closed || cx.now_ms < self.deadline() {
            return;
        }
        match self.phase {
            Phase::New | Phase::Refused if cx.now_ms >= self.beat_ms => {
                return self.close(DisconnectCode::STALE, cx);
            }
            Phase::Connecting if cx.now_ms >= self.beat_ms => {
                return self.close(DisconnectCode::SERVER_ERROR, cx);
            }
            _ => {}
        }
        let ends = self.identity.as_ref().map_or(u64::MAX, |identity| identity.expires_ms);
        if cx.now_ms >= ends.saturating_add(times::EXPIRY_GRACE_MS) {
            return self.close(DisconnectCode::EXPIRED, cx);
        }
        self.expire_subs(cx);
        if self.phase == Phase::Connected && cx.now_ms >= self.beat_ms {
            self.beat(cx);
        }
    }

    /// Sends a ping, or notices that the last one stayed without an answer.
    fn beat(&mut self, cx: &mut Context<'_>) {
        let period = u64::from(cx.config.ping_s) * 1000;
        let pong = times::PONG_MS.min(period / 2);
        if self.awaits_pong {
            return self.close(DisconnectCode::NO_PONG, cx);
        }
        if self.pinged {
            // The pong came in time; the next ping is due when the period is over.
            self.pinged = false;
            self.beat_ms = cx.now_ms + period.saturating_sub(pong);
            return;
        }
        (self.pinged, self.awaits_pong, self.errors) = (true, true, 0);
        self.beat_ms = cx.now_ms + pong;
        cx.actions.push(Action::Ping);
    }

    /// Ends the connection for a reason of the server's.
    pub fn close(&mut self, code: DisconnectCode, cx: &mut Context<'_>) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            cx.actions.push(Action::Close(code));
        }
    }

    /// The socket is gone, or will be: gives up all subscriptions.
    pub fn leave(&mut self, cx: &mut Context<'_>) {
        self.phase = Phase::Closed;
        self.work = None;
        for sub in std::mem::take(&mut self.subs) {
            cx.actions.push(Action::Unsubscribe { slot: sub.slot, member: sub.live.then_some(sub.member) });
        }
    }

    /// Whose it is, once it is connecting.
    pub fn owner(&self) -> Option<(&AppId, Option<&UserId>)> {
        self.identity.as_ref().map(|identity| (&identity.app, identity.user.as_ref()))
    }

    /// Whether the token of this name is its own, see [`token_name`].
    pub fn has_token(&self, token: u64) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.token == token)
    }

    /// Whether pings are WebSocket pings.
    pub fn frame_ping(&self) -> bool {
        self.frame_ping
    }

    /// Whether it waits for this channel to open.
    pub fn awaits(&self, slot: Slot) -> bool {
        self.work.as_ref().is_some_and(|work| work.is_pending(slot))
    }

    /// Its subscription of a channel, for the shard to keep the member's place.
    pub fn sub_mut(&mut self, slot: Slot) -> Option<&mut Sub> {
        self.subs.iter_mut().find(|sub| sub.slot == slot)
    }

    fn sub(&self, slot: Option<Slot>) -> Option<Sub> {
        slot.and_then(|slot| self.subs.iter().find(|sub| sub.slot == slot).copied())
    }

    fn scoped(&self, channel: Channel) -> ScopedChannel {
        let app = self.identity.as_ref().map(|identity| identity.app.clone()).unwrap_or_default();
        ScopedChannel { app, channel }
    }

    fn user(&self) -> Option<&UserId> {
        self.identity.as_ref().and_then(|identity| identity.user.as_ref())
    }

    fn info_json(&self, cx: &Context<'_>) -> Bytes {
        let client = cx.client_id();
        let user = self.user().map(UserId::as_str).unwrap_or_default();
        let info = ClientInfo {
            user,
            client: &client,
            conn_info: self.info.as_deref().map(AsRef::as_ref),
            chan_info: None,
        };
        let mut out = Vec::with_capacity(96);
        info.write(&mut out);
        out.into()
    }

    fn work(&mut self) -> &mut Work {
        self.work.get_or_insert_default()
    }

    fn tidy(&mut self) {
        if self.work.as_ref().is_some_and(|work| work.is_idle()) {
            self.work = None;
        }
    }

    /// Answers with an error. Too many of the client's own making end the connection.
    fn fail(&mut self, id: u32, error: ErrorCode, cx: &mut Context<'_>) -> Flow {
        reply::error(cx.out.message(), id, error);
        if !error.temporary && error != ErrorCode::TOKEN_EXPIRED {
            if self.errors >= cx.config.limits.errors {
                self.close(DisconnectCode::TOO_MANY_ERRORS, cx);
            }
            self.errors = self.errors.saturating_add(1);
        }
        Flow::Done
    }
}

/// A number for a token's `jti`, never 0.
pub fn token_name(app: &AppId, jti: &str) -> u64 {
    // FNV-1a: names are minted by whoever signs tokens, so nobody chooses collisions.
    let text = app.as_str().bytes().chain([0]).chain(jti.bytes());
    text.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
        .max(1)
}
