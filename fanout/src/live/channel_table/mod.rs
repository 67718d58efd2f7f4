//! The channels of one shard.

mod types;

pub use types::{Action, Attempt, ChannelRead, Input, ResetReason, Since};
