//! Live delivery: from an event to the connections that should see it, without a hole.
//!
//! An event is appended to the [`log`] of each channel that has one, the [`registry`] names the nodes that hold
//! subscribers, the [`bus`] carries it there, numbered; each node keeps a position per channel and proves
//! that what it hands to connections is contiguous. The order append → lookup → send matters: any other loses something.

pub mod bus;
mod bus_memory;
mod channel_table;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod delivery;
mod event;
pub mod log;
mod log_memory;
mod publication;
mod receiver;
pub mod registry;
mod registry_memory;
mod resolver;
mod viewers;

pub use bus::{Bus, BusEvent, Envelope, NodeMessage};
pub use bus_memory::MemoryBus;
pub use channel_table::{Action, Attempt, ChannelRead, ChannelTable, Input, ResetReason, Since, TableLimits};
pub use delivery::Delivery;
pub use event::{EventRef, EventRefError, LiveEvent, RelationKind};
pub use log::{Appended, LiveLog, LogEntry, LogLimits, LogRead, Subject};
pub use log_memory::{MemoryLiveLog, MemoryLogLimits};
pub use publication::Publication;
pub use receiver::{BEAT_MS, Heard, NodeReceiver};
pub use registry::{NodeId, Registry};
pub use registry_memory::MemoryRegistry;
pub use resolver::{Resolver, VOID};
pub use viewers::{CelebrityList, MAX_CELEBRITIES, Presence, Viewer, ViewerChange, Viewers};
