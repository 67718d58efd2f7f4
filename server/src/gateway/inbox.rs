//! What reaches a shard from outside: letters, and which sockets are ready.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use bytes::Bytes;
use fama_fanout::live;
use fama_presence::{Seen, Update};
use fama_protocol::centrifuge::DisconnectCode;
use fama_protocol::{AppId, UserId};
use futures_util::task::AtomicWaker;

use super::connection::{Had, HistoryRead};
use super::local::ShardEnd;
use super::ports::{Principal, SubscriptionGrant, TokenRefusal};
use crate::presence::WatchRefusal;

/// A connection of this node: shard, number and generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnKey(u64);

impl ConnKey {
    /// Of shard `shard`.
    pub fn new(shard: u8, index: u32, generation: u32) -> Self {
        Self(u64::from(shard) << 56 | u64::from(generation & 0x00ff_ffff) << 32 | u64::from(index))
    }

    /// The shard.
    pub fn shard(self) -> usize {
        (self.0 >> 56) as usize
    }

    /// The number on the shard.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    pub fn index(self) -> u32 {
        self.0 as u32
    }

    /// All of it.
    pub fn bits(self) -> u64 {
        self.0
    }
}

/// What happened to a channel, for the shard that owns it.
pub type TableInput = live::Input<ConnKey>;
/// What is to be done about a channel, for shards with members.
pub type TableAction = live::Action<ConnKey>;

/// The answer to something that a connection asked for.
pub enum Answer {
    /// A token was checked.
    Authenticated(Result<Principal, TokenRefusal>),
    /// A subscription token was checked.
    Granted(Result<SubscriptionGrant, TokenRefusal>),
    /// The user's relations are loaded: the hold on them, and the celebrities to hear.
    Entered(Option<(live::Presence, Vec<UserId>)>),
    /// A publication was taken or not.
    Published(bool),
    /// A history was read.
    History(HistoryRead),
    /// A user is watched, and how the user is.
    Watched(UserId, Result<Seen, WatchRefusal>),
}

/// A letter to a shard.
pub enum Mail {
    /// To the owner of a channel.
    Table(TableInput),
    /// To shards with members of a channel: `Reply`, `Deliver`, `Reset` or `Failed`.
    Member(TableAction),
    /// To a connection.
    Answer(ConnKey, Answer),
    /// To the owner of a user: a connection of theirs is there.
    Join {
        /// The connection.
        key: ConnKey,
        /// The tenant.
        app: AppId,
        /// The user.
        user: UserId,
    },
    /// To the owner of a user: a connection of theirs is gone.
    Leave {
        /// The connection.
        key: ConnKey,
        /// The tenant.
        app: AppId,
        /// The user.
        user: UserId,
        /// The client said so.
        goodbye: bool,
    },
    /// Close a connection.
    Close(ConnKey, DisconnectCode),
    /// To the owner of a user: close all their connections.
    DisconnectUser {
        /// The tenant.
        app: AppId,
        /// The user.
        user: UserId,
        /// Why.
        code: DisconnectCode,
    },
    /// To all: close the connections that came with this token.
    DisconnectToken {
        /// See `connection::token_name`.
        token: u64,
        /// Why.
        code: DisconnectCode,
    },
    /// To the owner of a user: their connections hear these celebrities from now on.
    Authors {
        /// The tenant.
        app: AppId,
        /// The user.
        user: UserId,
        /// All of them.
        authors: Arc<[UserId]>,
    },
    /// To a connection: the same.
    ConnAuthors(ConnKey, Arc<[UserId]>),
    /// To a connection: users it watches look different now.
    Updates(ConnKey, Vec<(UserId, Update)>),
    /// Close everything, evenly over so many milliseconds.
    Drain(u64),
    /// A handler of this process connects for this user, who had these channels before.
    Local(ShardEnd, Box<Principal>, Had),
    /// End.
    Stop,
}

#[derive(Default)]
struct Queues {
    /// From the bus: hints, at most so many.
    bus: VecDeque<Mail>,
    /// The rest: answers to what this node began, which is bounded where it begins.
    rest: VecDeque<Mail>,
    /// Something of the bus was dropped.
    lost: bool,
}

/// The inbox of one shard.
#[derive(Default)]
pub struct Inbox {
    queues: Mutex<Queues>,
    ready: Mutex<Vec<u32>>,
    waker: AtomicWaker,
    limit: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inbox {
    /// Of at most `limit` letters from the bus.
    pub fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// A letter of something that this node began.
    pub fn send(&self, mail: Mail) {
        lock(&self.queues).rest.push_back(mail);
        self.waker.wake();
    }

    /// Several; `letters` is empty after.
    pub fn send_all(&self, letters: &mut Vec<Mail>) {
        lock(&self.queues).rest.extend(letters.drain(..));
        self.waker.wake();
    }

    /// A letter from the bus. If there are too many it is dropped, which the shard learns.
    pub fn hint(&self, mail: Mail) {
        {
            let mut queues = lock(&self.queues);
            if queues.bus.len() < self.limit {
                queues.bus.push_back(mail);
            } else {
                queues.lost = true;
            }
        }
        self.waker.wake();
    }

    /// Wakes this when something comes.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Takes all letters; those from the bus only if `hints`. `true`: some from the bus were dropped.
    pub fn take(&self, into: &mut VecDeque<Mail>, hints: bool) -> bool {
        let mut queues = lock(&self.queues);
        into.append(&mut queues.rest);
        if hints {
            into.append(&mut queues.bus);
            return std::mem::take(&mut queues.lost);
        }
        false
    }

    /// Letters that wait, save for hints.
    pub fn backlog(&self) -> usize {
        lock(&self.queues).rest.len()
    }

    /// Takes the numbers of sockets that became ready.
    pub fn take_ready(&self, into: &mut Vec<u32>) {
        into.append(&mut lock(&self.ready));
    }

    /// Whether there is anything.
    pub fn is_empty(&self) -> bool {
        let queues = lock(&self.queues);
        queues.rest.is_empty() && queues.bus.is_empty() && lock(&self.ready).is_empty()
    }
}

/// Wakes one connection: puts its number into the shard's list of ready sockets.
pub struct ConnWaker {
    inbox: Arc<Inbox>,
    index: u32,
}

impl ConnWaker {
    /// For the connection of that number.
    pub fn new(inbox: &Arc<Inbox>, index: u32) -> Arc<Self> {
        Arc::new(Self { inbox: Arc::clone(inbox), index })
    }
}

impl Wake for ConnWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // A socket wakes once for reading and once for writing until it is polled again, so this stays small.
        lock(&self.inbox.ready).push(self.index);
        self.inbox.waker.wake();
    }
}

/// The data of an event as a publication of `user:#` and `author:` channels.
pub fn event_members(data: &Bytes) -> Bytes {
    fama_protocol::centrifuge::push::members(data, None).into()
}
