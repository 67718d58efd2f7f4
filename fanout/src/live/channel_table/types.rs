//! What goes into a channel table and what comes out.

use bytes::Bytes;
use fama_protocol::{Epoch, Position, ScopedChannel};

/// Where a client says it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// After this publication. The epoch is `None` if the client's text is no epoch of ours: never recovered.
    Position {
        /// Epoch.
        epoch: Option<Epoch>,
        /// Offset of the last publication it has.
        offset: u64,
    },
    /// Cache mode: the latest publication, if the client is not there already.
    Latest {
        /// Epoch.
        epoch: Option<Epoch>,
        /// Offset of the last publication it has.
        offset: u64,
    },
}

/// Names one try of an I/O step; answers carry it back, and late ones are ignored.
pub type Attempt = u32;

/// A log as read for the table, entries in their final form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRead {
    /// Newest position.
    pub top: Position,
    /// What is kept after the offset asked for: contiguous up to the top, may begin later than asked.
    pub entries: Vec<(u64, Bytes)>,
}

/// What happened. Every [`Action::Register`], [`Action::Read`] and [`Action::Unregister`] is answered once, with an
/// error if its time is up.
#[derive(Debug, Clone)]
pub enum Input<S> {
    /// A connection wants the channel.
    Subscribe {
        /// The channel.
        channel: ScopedChannel,
        /// The connection.
        subscriber: S,
        /// Where it stands, if it wants to resume.
        since: Option<Since>,
        /// Whether the channel has a log. The first subscriber decides for as long as anybody is there.
        positioned: bool,
    },
    /// A connection leaves the channel, or ended.
    Unsubscribe {
        /// The channel.
        channel: ScopedChannel,
        /// The connection.
        subscriber: S,
    },
    /// Answer to [`Action::Register`].
    Registered {
        /// The channel.
        channel: ScopedChannel,
        /// Of the action.
        attempt: Attempt,
        /// Whether it is written.
        ok: bool,
    },
    /// Answer to [`Action::Read`].
    Read {
        /// The channel.
        channel: ScopedChannel,
        /// Of the action.
        attempt: Attempt,
        /// `None`: it failed.
        read: Option<ChannelRead>,
    },
    /// Answer to [`Action::Unregister`], whether or not it worked.
    Unregistered {
        /// The channel.
        channel: ScopedChannel,
    },
    /// A message of the bus.
    Incoming {
        /// The channel.
        channel: ScopedChannel,
        /// Where it stands in the log; `None` on channels without one.
        position: Option<Position>,
        /// Final form.
        payload: Bytes,
    },
    /// Messages may be lost: a number is missing, the bus lagged or was away, a sender went quiet.
    Doubt {
        /// The node's lease ended or the registry was lost: channels must be registered again as well.
        registrations: bool,
    },
    /// A log's top as read while keeping it for another ttl; `None`: there is none any more.
    Touched {
        /// The channel.
        channel: ScopedChannel,
        /// Newest position.
        top: Option<Position>,
    },
    /// Compare this channel with its log.
    Recheck {
        /// The channel.
        channel: ScopedChannel,
    },
    /// Time passed: see `ChannelTable::next_due`.
    Tick,
}

/// Why continuity was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetReason {
    /// The log is a new one: its old one was lost.
    NewEpoch,
    /// What is missing is no longer in the log.
    Trimmed,
}

impl ResetReason {
    /// As in `feed.reset`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewEpoch => "epoch_changed",
            Self::Trimmed => "history_lost",
        }
    }
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<S> {
    /// Write (node, channel) to the registry. Never while another registry write of the channel is under way.
    Register {
        /// The channel.
        channel: ScopedChannel,
        /// For the answer.
        attempt: Attempt,
    },
    /// Open the log, then read it after `since` (`u64::MAX`: only the top), see `live::read_channel`.
    Read {
        /// The channel.
        channel: ScopedChannel,
        /// For the answer.
        attempt: Attempt,
        /// Offset.
        since: u64,
        /// Entries are wanted only if the log has this epoch; `None`: whatever it has.
        epoch: Option<Epoch>,
    },
    /// Take (node, channel) out of the registry.
    Unregister {
        /// The channel.
        channel: ScopedChannel,
    },
    /// The subscriber is in, and live from this position on.
    Reply {
        /// The connection.
        subscriber: S,
        /// The channel.
        channel: ScopedChannel,
        /// `None` on channels without a log.
        position: Option<Position>,
        /// `None` unless it wanted to resume.
        recovered: Option<bool>,
        /// What it missed, oldest first, if recovered.
        publications: Vec<(u64, Bytes)>,
    },
    /// To every live subscriber. Positions are contiguous since the reply or the last reset.
    Deliver {
        /// The channel.
        channel: ScopedChannel,
        /// Its position; `None` on channels without a log.
        position: Option<Position>,
        /// Final form.
        payload: Bytes,
    },
    /// Continuity is lost: every live subscriber goes on from this position and reloads.
    Reset {
        /// The channel.
        channel: ScopedChannel,
        /// Where it goes on.
        position: Position,
        /// Why.
        reason: ResetReason,
    },
    /// The subscription failed for now; the subscriber is out.
    Failed {
        /// The connection.
        subscriber: S,
        /// The channel.
        channel: ScopedChannel,
    },
}
