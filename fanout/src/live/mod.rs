//! Live delivery: from an event to the connections that should see it, without a hole.
//!
//! An event is appended to the [`log`] of each channel that has one, the [`registry`] names the nodes that hold
//! subscribers, the [`bus`] carries it there, numbered; each node keeps a position per channel and proves
//! that what it hands to connections is contiguous. The order append → lookup → send matters: any other loses something.

pub mod bus;
pub mod log;
pub mod registry;
