//! What every part of Fama and every client shares: ids, channels, positions, times, codes and the frames of the
//! Centrifuge client protocol. A leaf crate: no I/O, no clock, no randomness.

pub mod centrifuge;
mod channel;
mod dense;
pub mod event;
mod few;
mod ids;
mod position;
mod scoped;
mod snowflake;
mod time;

pub use channel::{Channel, ChannelError, ChannelKind, ScopedChannel};
pub use dense::DenseMap;
pub use few::Few;
pub use ids::{AppId, IdError, NodeNumber, NotificationId, PostId, UserId};
pub use position::{Epoch, Position};
pub use scoped::ScopedMap;
pub use snowflake::{MintError, Snowflake};
pub use time::UnixMs;
