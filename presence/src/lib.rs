//! Who is connected. Pure: the caller brings the time.

pub mod sessions;

pub use sessions::{Connected, End, Sessions, Transition};
