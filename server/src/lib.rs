//! The fama server: configuration, sign-in, the REST API, the connection engine, and what starts and stops them.
//!
//! This is the one crate that knows the time, randomness and the network; everything below takes them as arguments.

pub mod admin;
pub mod api;
pub mod auth;
pub mod backends;
mod capacity;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
mod drain;
pub mod error;
pub mod gateway;
pub mod health;
mod http_server;
pub mod ids;
pub mod import;
pub mod json;
pub mod net;
pub mod presence;
pub mod ratelimit;
pub mod revocation;
pub mod role;
pub mod server;
mod sockets;
pub mod supervisor;
pub mod telemetry;

pub use server::{Server, run};
