//! What a connection keeps only while it is busy.

use std::collections::{BTreeMap, VecDeque};

use fama_fanout::live::Since;
use fama_protocol::centrifuge::SubscribeResult;
use fama_protocol::centrifuge::command::Recover;
use fama_protocol::{Channel, Epoch};

use super::Slot;

/// State of a connection that is not idle.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Commands that wait for an earlier one.
    pub(super) queue: VecDeque<Box<str>>,
    pub(super) queued_bytes: usize,
    /// The command whose answer everything waits for.
    pub(super) busy: Option<Busy>,
    pub(super) pending: Vec<PendingSub>,
    pub(super) connecting: Option<Connecting>,
    /// Subscriptions whose token ends, and when.
    pub(super) expiring: Vec<(Slot, u64)>,
}

impl Work {
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.busy.is_none()
            && self.pending.is_empty()
            && self.connecting.is_none()
            && self.expiring.is_empty()
    }

    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.expiring.iter().map(|(_, at)| *at).min()
    }

    pub(super) fn is_pending(&self, slot: Slot) -> bool {
        self.pending.iter().any(|sub| sub.slot == slot)
    }
}

/// Where a client that was here before stands in the channels it had.
#[derive(Debug)]
pub enum Had {
    /// By their names.
    Named(BTreeMap<String, Recover>),
    /// By a function of the name, for whoever does not know the names: the epoch is compared by the asker.
    Offsets(Box<dyn Offsets>),
}

impl Default for Had {
    fn default() -> Self {
        Self::Named(BTreeMap::new())
    }
}

impl Had {
    /// Where to go on in a channel, if the client had it.
    pub(super) fn since(&self, channel: &Channel) -> Option<Since> {
        match self {
            Self::Named(had) => {
                let had = had.get(channel.as_str()).filter(|had| had.recover)?;
                Some(Since::Position { epoch: had.epoch.parse().ok(), offset: had.offset })
            }
            Self::Offsets(had) => {
                let (epoch, offset) = had.of(channel)?;
                Some(Since::Position { epoch, offset })
            }
        }
    }
}

/// Channels that a client had.
pub trait Offsets: std::fmt::Debug + Send {
    /// Epoch and offset of a channel that it had.
    fn of(&self, channel: &Channel) -> Option<(Option<Epoch>, u64)>;
}

/// A command that waits for an answer from outside.
#[derive(Debug)]
pub(super) enum Busy {
    Connect { id: u32 },
    Refresh { id: u32 },
    Subscribe(Wanted),
    SubRefresh { id: u32, slot: Slot, channel: Channel },
    Publish { id: u32 },
    History { id: u32 },
}

/// A subscription that a client asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) id: u32,
    pub(super) channel: Channel,
    pub(super) recover: Recover,
    /// Error 112 instead of `recovered: false`.
    pub(super) strict: bool,
}

/// Why a subscription is being opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A command, to be answered.
    Command { id: u32, strict: bool },
    /// It belongs to the answer to `connect`.
    Connect,
    /// The server's idea, while connected.
    Push,
}

/// A subscription being opened.
#[derive(Debug)]
pub(super) struct PendingSub {
    pub(super) slot: Slot,
    pub(super) purpose: Purpose,
    /// Where the client stood.
    pub(super) offset: u64,
}

/// A `connect` that is under way.
#[derive(Debug, Default)]
pub(super) struct Connecting {
    pub(super) id: u32,
    /// Where the client stood in its server-side subscriptions.
    pub(super) had: Had,
    pub(super) entered: bool,
    pub(super) results: Vec<(Slot, SubscribeResult)>,
}

/// A part of a channel's history that a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryAsked {
    /// The channel.
    pub channel: Channel,
    /// How many at most.
    pub limit: usize,
    /// After (or before) which publication; the epoch is `None` if it is none of ours.
    pub since: Option<(u64, Option<Epoch>)>,
    /// Newest first.
    pub reverse: bool,
}
