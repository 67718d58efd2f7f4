//! The fama server: configuration, sign-in, the REST API, the connection engine, and what starts and stops them.
//!
//! This is the one crate that knows the time, randomness and the network; everything below takes them as arguments.

pub mod auth;
pub mod clock;
pub mod config;
pub mod error;
pub mod ids;
pub mod json;
pub mod net;
pub mod ratelimit;
pub mod role;
