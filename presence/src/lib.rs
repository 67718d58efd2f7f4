//! Who is connected, what of it is shown to whom, and who is told. Pure where it decides: the caller brings the time.
//!
//! [`sessions`] knows the devices of this node's users, [`status`] what others see of them, [`watches`] who watches whom
//! and has been told what. [`backend`] is what nodes tell each other, with a contract suite (feature `contract`);
//! [`memory`] is the one within a process.

pub mod backend;
pub mod changes;
#[cfg(feature = "contract")]
pub mod contract;
pub mod memory;
pub mod sessions;
pub mod status;
pub mod watches;

pub use backend::{Backend, BackendError, Heard, Hint, Member, MemberChange, MemberCounts, Node, UserKey};
pub use changes::Changes;
pub use memory::MemoryBackend;
pub use sessions::{Connected, End, Sessions, Transition};
pub use status::{Chosen, Kept, Seen, Status};
pub use watches::{Due, Sight, Update, Watches};
