//! Notifications: from acts to inboxes and devices.
//!
//! [`acts`] says who is notified of what, and which group it joins; it is pure. The jobs of the acts (a post, a
//! reaction, a follow, a block) write it to the inboxes, at least once and in any order, because the store knows each
//! event by its version. Then devices are told, by [`tell`], which [`rate`] bounds for each user.

mod acts;
mod inbox;
mod rate;
mod tell;
mod view;
mod work;

pub use acts::quiet_mark;
pub use inbox::{Inbox, NotificationPage};

pub(crate) use rate::LiveRate;
pub(crate) use tell::LOCKS;
pub(crate) use view::{NamedViews, deleted, marked};
