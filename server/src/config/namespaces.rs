//! The app's own channels: what a namespace allows.

use serde::{Deserialize, Serialize};

use super::section::section;

/// How a reader who was away catches up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recovery {
    /// Not at all.
    None,
    /// Every publication missed, or the word that it can't be had.
    Stream,
    /// The newest publication.
    Cache,
}

/// Who may do something with a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// Anyone connected.
    Anyone,
    /// Users signed in; where the channel's name ends in `#id,id`, only those.
    User,
    /// Holders of a subscription token.
    Token,
    /// Nobody but services.
    None,
}

section! {
    /// What channels without a namespace allow: nothing, unless it is set here. The same keys, and `name`, make a
    /// namespace: `[[namespaces]]`, once for each.
    pub struct ChannelRules {
        /// Publications kept. 0: none.
        history_size: usize = 0,
        /// Seconds for which they are kept.
        history_ttl_s: u64 = 0,
        /// How a reader who was away catches up: `none`, `stream` or `cache`. Needs history.
        recovery: Recovery = Recovery::None,
        /// Whether it is known who is there, for about 300 bytes of memory each.
        presence: bool = false,
        /// Whether comings and goings are told to those who are there, asked for it and have
        /// `allow_presence_for_subscriber`. At most once, without history.
        join_leave: bool = false,
        /// Who may subscribe: `anyone`, `user` (signed in), `token`, `none`.
        subscribe: Permission = Permission::None,
        /// Who may publish: `anyone`, `user` (signed in), `token`, `none`.
        publish: Permission = Permission::None,
        /// Whether whoever is subscribed may publish.
        allow_publish_for_subscriber: bool = false,
        /// Whether whoever is subscribed may read the history.
        allow_history_for_subscriber: bool = false,
        /// Whether whoever is subscribed may ask who is there, or to be told who comes and goes.
        allow_presence_for_subscriber: bool = false,
        /// Recovery for every subscription, also where the client did not ask.
        force_recovery: bool = false,
        /// Positions for every subscription, also where the client did not ask.
        force_positioning: bool = false,
        /// Comings and goings for every subscription, also where the client did not ask.
        force_push_join_leave: bool = false,
        /// Kinds of delta that a client may ask for: `fossil`. Not in this version, which does not start with it.
        allowed_delta_types: Vec<String> = Vec::new(),
        /// Whether publications are sent as deltas. Not in this version, which does not start with it.
        delta_publish: bool = false,
    }
}

/// The channels whose names begin with `<name>:`.
#[derive(Debug, Clone, PartialEq)]
pub struct Namespace {
    /// The part of a channel's name before the first colon.
    pub name: String,
    /// What they allow.
    pub rules: ChannelRules,
}

/// Prefixes that are Fama's own.
pub const RESERVED: [&str; 3] = ["user", "author", "presence"];
