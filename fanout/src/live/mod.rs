//! Live delivery: from an event to the connections that should see it, without a hole.
//!
//! An event is appended to the [`log`] of each channel that has one, the [`registry`] names the nodes that hold
//! subscribers, the [`bus`] carries it there, numbered; each node keeps a position per channel and proves
//! that what it hands to connections is contiguous. The order append → lookup → send matters: any other loses something.

pub mod bus;
mod channel_table;
mod delivery;
mod event;
pub mod log;
mod publication;
mod receiver;
pub mod registry;

pub use bus::{Bus, BusEvent, Envelope, NodeMessage};
pub use channel_table::{Action, Attempt, ChannelRead, Input, ResetReason, Since};
pub use delivery::Delivery;
pub use event::{EventRef, EventRefError, LiveEvent, RelationKind};
pub use log::{Appended, LiveLog, LogEntry, LogLimits, LogRead, Subject};
pub use publication::Publication;
pub use receiver::{BEAT_MS, Heard, NodeReceiver};
pub use registry::{NodeId, Registry};
