//! The program from outside: each test starts the real binary and talks to it as an app would.

mod access;
mod auth;
mod channels;
mod errors;
mod feed;
mod follow;
mod hardening;
mod idempotency;
mod import;
mod jwt;
mod life;
mod limits;
mod members;
mod namespaces;
mod notifications;
mod operations;
mod overload;
mod pages;
mod posts;
mod presence;
mod realtime;
mod relations;
mod revocation;
mod tls;

use std::time::Duration;

/// Longer than anything live may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(5);

/// Whom the entries of a follow list name, sorted.
pub fn users(entries: &[serde_json::Value]) -> Vec<&str> {
    let mut users: Vec<_> = entries.iter().filter_map(|entry| entry["user"].as_str()).collect();
    users.sort_unstable();
    users
}
