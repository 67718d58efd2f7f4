//! Channels: named streams that connections subscribe to.

use std::fmt;

use arcstr::ArcStr;

use crate::{AppId, UserId};

/// Why a text is not a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// Empty, or more than [`Channel::MAX`] bytes.
    #[error("a channel has 1 to 255 bytes")]
    Length,
    /// Space, control characters, or anything but ASCII.
    #[error("a channel has printable ASCII characters without spaces")]
    Characters,
    /// `user:`, `author:` or `presence:` without a user id behind it.
    #[error("no such channel: user:#, author: and presence: are followed by a user id")]
    Reserved,
}

/// What a channel is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind<'a> {
    /// `user:#<id>`: everything for one user.
    User(&'a str),
    /// `author:<id>`: the posts of one celebrity.
    Author(&'a str),
    /// `presence:<id>`: one user's status.
    Presence(&'a str),
    /// `<namespace>:<name>` or, without a namespace, `<name>`: the app's own.
    App {
        /// The part before the first colon.
        namespace: Option<&'a str>,
        /// The rest.
        name: &'a str,
    },
}

/// The name of a channel, checked.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(ArcStr);

impl Channel {
    /// Most bytes of a name.
    pub const MAX: usize = 255;

    /// Checks a name that came from outside.
    pub fn new(name: &str) -> Result<Self, ChannelError> {
        if name.is_empty() || name.len() > Self::MAX {
            return Err(ChannelError::Length);
        }
        if !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ChannelError::Characters);
        }
        let reserved =
            ["user:", "author:", "presence:"].iter().find_map(|p| name.strip_prefix(p).map(|r| (*p, r)));
        if let Some((prefix, rest)) = reserved {
            let id = if prefix == "user:" { rest.strip_prefix('#') } else { Some(rest) };
            if id.is_none_or(|id| UserId::new(id).is_err()) {
                return Err(ChannelError::Reserved);
            }
        }
        Ok(Self(name.into()))
    }

    /// `user:#<id>`
    pub fn user(user: &UserId) -> Self {
        Self(user.with_prefix().clone())
    }

    /// `author:<id>`
    pub fn author(author: &UserId) -> Self {
        Self(format!("author:{author}").into())
    }

    /// `presence:<id>`
    pub fn presence(user: &UserId) -> Self {
        Self(format!("presence:{user}").into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is for.
    pub fn kind(&self) -> ChannelKind<'_> {
        if let Some(id) = self.0.strip_prefix("user:#") {
            return ChannelKind::User(id);
        }
        match self.0.split_once(':') {
            Some(("author", id)) => ChannelKind::Author(id),
            Some(("presence", id)) => ChannelKind::Presence(id),
            Some((namespace, name)) => ChannelKind::App { namespace: Some(namespace), name },
            None => ChannelKind::App { namespace: None, name: &self.0 },
        }
    }

    /// The user bound by `#`, as in `chat:room#alice` (one) or `chat:room#alice,bob`: who may subscribe.
    pub fn bound_users(&self) -> Option<impl Iterator<Item = &str>> {
        self.0.split_once('#').map(|(_, users)| users.split(','))
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A channel of one app: what hubs, logs and registries are keyed by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopedChannel {
    /// The tenant.
    pub app: AppId,
    /// The channel.
    pub channel: Channel,
}

impl ScopedChannel {
    /// Both together.
    pub fn new(app: &AppId, channel: Channel) -> Self {
        Self { app: app.clone(), channel }
    }
}

impl fmt::Display for ScopedChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_told_apart() {
        let kind = |name: &str| format!("{:?}", Channel::new(name).unwrap().kind());
        assert_eq!(kind("user:#a@b.c"), "User(\"a@b.c\")");
        assert_eq!(kind("author:x:y"), "Author(\"x:y\")");
        assert_eq!(kind("presence:p"), "Presence(\"p\")");
        assert_eq!(kind("chat:room:1"), "App { namespace: Some(\"chat\"), name: \"room:1\" }");
        assert_eq!(kind("room"), "App { namespace: None, name: \"room\" }");
        for (bad, why) in [
            ("", ChannelError::Length),
            (&*"x".repeat(256), ChannelError::Length),
            ("a b", ChannelError::Characters),
            ("a\n", ChannelError::Characters),
            ("user:alice", ChannelError::Reserved),
            ("user:#*", ChannelError::Reserved),
            ("author:", ChannelError::Reserved),
        ] {
            assert_eq!(Channel::new(bad), Err(why), "{bad:?}");
        }
    }
}
