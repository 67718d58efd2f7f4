//! `fama demo`: a real follow graph, simulated authors, and a page on which a visitor becomes any of the members.
//! Everything goes through what every app uses: the import, the REST API, the sockets.

pub mod authors;
pub mod graph;
pub mod guests;
pub mod page;
pub mod routes;
pub mod texts;
pub mod vitals;

use std::sync::Arc;

use fama_protocol::UserId;

use crate::config::Secret;

/// A member of the demonstration.
#[derive(Debug, Clone)]
pub struct Member {
    /// The id.
    pub id: UserId,
    /// The name to show.
    pub name: String,
    /// In lower case, for searching.
    pub haystack: String,
}

/// What the demonstration's own routes answer from.
pub struct Demo {
    /// Those with most followers first.
    pub members: Vec<Member>,
    /// Signs the tokens of visitors.
    pub secret: Secret,
    /// Followers above which an author is a celebrity.
    pub celebrity_up: u64,
    /// Milliseconds between two simulated posts; 0: none.
    pub post_every_ms: u64,
    /// Whom visitors became.
    pub guests: Arc<guests::Guests>,
    /// What the process measured of itself last.
    pub vitals: vitals::Last,
}
