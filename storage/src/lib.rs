//! The durable store: what is acknowledged is here, and nowhere else.
//!
//! Traits and their contracts in [`posts`], [`graph`], [`modes`], [`reactions`], [`users`], [`presence`],
//! [`outbox`], [`idempotency`], [`inbox`], [`erasure`] and [`leases`]; the rows in [`model`]. A backend implements all of them and passes the suites
//! in `contract` (feature `contract`). The embedded backend is `embedded` (feature `embedded`).
//!
//! Common to all traits:
//! - The app comes first, and rows of two apps never meet.
//! - `Ok` of a write means durable: it survives kill -9 and power loss. An error that `is_retryable` may have been
//!   written; all writes may be repeated with the same arguments and then change nothing more.
//! - Every call may be dropped at any await; a write that was begun may then still happen.
//! - Lists and pages have the bounds that their methods name: an argument outside of them is
//!   [`ErrorKind::Invalid`].
//! - A call that reads several rows sees them as of one moment, unless it says otherwise.
//! - Time is an argument. A store never reads a clock.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod erasure;
pub mod error;
pub mod graph;
pub mod idempotency;
pub mod inbox;
pub mod leases;
#[cfg(feature = "memory")]
pub mod memory;
pub mod model;
pub mod modes;
pub mod outbox;
pub mod posts;
pub mod presence;
pub mod reactions;
pub mod users;

use std::sync::Arc;

pub use erasure::{Erasure, ErasureNext, ErasureStep, ErasureStore};
pub use error::{ErrorKind, Result, StorageError};
pub use graph::{BLOCKED_BY_MAX, FollowOutcome, GraphStore, KEPT_MAX};
pub use idempotency::{Claim, IdempotencyStore, RequestKey, StoredResponse};
pub use inbox::{
    Archived, Audience, Dispatch, EventKey, ExpiredNotifications, InboxAct, InboxCounts, InboxStore, Mark,
    Notice, Notification, Placed, Priority,
};
pub use leases::{Lease, LeaseStore};
pub use model::{
    Counts, Delivery, Edge, Follower, Mode, ModeRecord, Post, PostPatch, PostRef, Profile, Relation,
    RelationRow, Relations, Visibility,
};
pub use modes::ModeStore;
pub use outbox::{OutboxRow, OutboxState, OutboxStore, RowId, SLOTS, Task, slot_of};
pub use posts::{AuthorPage, PostChange, PostStore};
pub use presence::{ChosenStatus, PresenceRow, PresenceStore};
pub use reactions::{Reaction, ReactionStore, ReactionSummary};
pub use users::UserStore;

/// All stores of one backend.
#[derive(Clone)]
pub struct Stores {
    /// Posts and the index by author.
    pub posts: Arc<dyn PostStore>,
    /// Who follows, blocks and mutes whom.
    pub graph: Arc<dyn GraphStore>,
    /// How each author's posts are delivered.
    pub modes: Arc<dyn ModeStore>,
    /// Reactions to posts.
    pub reactions: Arc<dyn ReactionStore>,
    /// Profiles.
    pub users: Arc<dyn UserStore>,
    /// What users chose to be seen as, and when they were seen last.
    pub presence: Arc<dyn PresenceStore>,
    /// Work that an acknowledged write still owes.
    pub outbox: Arc<dyn OutboxStore>,
    /// Answers to repeated requests.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// Node numbers and other things that one node at a time may hold.
    pub leases: Arc<dyn LeaseStore>,
    /// Notifications.
    pub inbox: Arc<dyn InboxStore>,
    /// Users who are to be forgotten.
    pub erasures: Arc<dyn ErasureStore>,
}
