//! Ids that come from outside, each checked once and then carried as its own type.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use arcstr::ArcStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::UnixMs;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty, or longer than the limit given.
    #[error("{kind} must have 1 to {max} characters")]
    Length {
        /// Which id.
        kind: &'static str,
        /// Most characters allowed.
        max: usize,
    },
    /// A character that is not allowed.
    #[error("{kind} may only have the characters {allowed}")]
    Characters {
        /// Which id.
        kind: &'static str,
        /// What is allowed.
        allowed: &'static str,
    },
    /// Not a number of 63 bits.
    #[error("{kind} must be a decimal number below 2^63")]
    Number {
        /// Which id.
        kind: &'static str,
    },
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $prefix:literal, $allowed:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(ArcStr);

        impl $name {
            /// Most characters an id has.
            pub const MAX: usize = $max;

            /// What is kept in front of the id.
            const PREFIX: &str = $prefix;

            /// Checks a text.
            pub fn new(text: &str) -> Result<Self, IdError> {
                if text.is_empty() || text.len() > $max {
                    return Err(IdError::Length { kind: $kind, max: $max });
                }
                let allowed: fn(u8) -> bool = $check;
                if !text.bytes().all(allowed) {
                    return Err(IdError::Characters { kind: $kind, allowed: $allowed });
                }
                Ok(Self::checked(text))
            }

            fn checked(text: &str) -> Self {
                let made = ArcStr::init_with(Self::PREFIX.len() + text.len(), |bytes| {
                    let (prefix, id) = bytes.split_at_mut(Self::PREFIX.len());
                    prefix.copy_from_slice(Self::PREFIX.as_bytes());
                    id.copy_from_slice(text.as_bytes());
                });
                // Both parts are ASCII.
                Self(made.unwrap_or_default())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                self.0.get(Self::PREFIX.len()..).unwrap_or_default()
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, hasher: &mut H) {
                self.as_str().hash(hasher);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(&text).map_err(de::Error::custom)
            }
        }
    };
}

text_id!(
    /// A tenant. Every key, row and channel begins with it; `default` when there is one.
    AppId, "an app id", 32, "", "a-z 0-9 _ -",
    |b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-')
);
text_id!(
    /// A user, or anything else that posts, under the app's own id.
    ///
    /// In memory it is the name of the user's channel, so that both are there once.
    UserId, "a user id", 64, "user:#", "A-Z a-z 0-9 _ - . : @",
    |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':' | b'@')
);

impl UserId {
    /// `user:#` and the id.
    pub(crate) fn with_prefix(&self) -> &ArcStr {
        &self.0
    }
}

impl Default for AppId {
    fn default() -> Self {
        Self::checked("default")
    }
}

/// The number of a node, leased in the store: 0 to 1023.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeNumber(u16);

impl NodeNumber {
    /// How many there are.
    pub const COUNT: u16 = 1024;

    /// `None` if the number does not fit in ten bits.
    pub fn new(number: u16) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for NodeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The id of a post: 41 bits of milliseconds since 2026-01-01 UTC, 10 bits node, 12 bits sequence. Ids order posts.
///
/// In JSON it is a string, because 63 bits do not survive a JavaScript number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct PostId(u64);

/// The id of a notification, or a position in an inbox: a number like a post's, unique within one inbox.
pub type NotificationId = PostId;

impl PostId {
    /// The epoch of ids, 2026-01-01T00:00:00Z.
    pub const EPOCH: UnixMs = UnixMs(1_767_225_600_000);
    /// Below every id.
    pub const ZERO: Self = Self(0);
    /// Above every id.
    pub const MAX: Self = Self(i64::MAX as u64);

    const NODE_BITS: u32 = 10;
    const SEQUENCE_BITS: u32 = 12;

    /// `None` for numbers of 64 bits.
    pub fn from_u64(number: u64) -> Option<Self> {
        (number <= Self::MAX.0).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Builds an id. Times before the epoch count as the epoch; 41 bits last until 2095.
    pub fn from_parts(at: UnixMs, node: NodeNumber, sequence: u16) -> Self {
        let ms = at.0.saturating_sub(Self::EPOCH.0).min((1 << 41) - 1);
        let sequence = u64::from(sequence) & ((1 << Self::SEQUENCE_BITS) - 1);
        Self(
            (ms << (Self::NODE_BITS + Self::SEQUENCE_BITS))
                | (u64::from(node.0) << Self::SEQUENCE_BITS)
                | sequence,
        )
    }

    /// When it was minted.
    pub fn minted_at(self) -> UnixMs {
        UnixMs((self.0 >> (Self::NODE_BITS + Self::SEQUENCE_BITS)) + Self::EPOCH.0)
    }

    /// The smallest id of that millisecond.
    pub fn floor_of(at: UnixMs) -> Self {
        Self::from_parts(at, NodeNumber(0), 0)
    }

    /// The sequence within its millisecond and node.
    pub fn sequence(self) -> u16 {
        (self.0 & ((1 << Self::SEQUENCE_BITS) - 1)) as u16
    }

    /// The next higher id, or the highest.
    #[must_use]
    pub fn next(self) -> Self {
        Self((self.0 + 1).min(Self::MAX.0))
    }

    /// Big-endian bytes: they sort as ids do.
    pub fn to_be_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// From big-endian bytes.
    pub fn from_be_bytes(bytes: [u8; 8]) -> Option<Self> {
        Self::from_u64(u64::from_be_bytes(bytes))
    }
}

impl fmt::Display for PostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for PostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for PostId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = IdError::Number { kind: "a post id" };
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error);
        }
        text.parse().ok().and_then(Self::from_u64).ok_or(error)
    }
}

impl Serialize for PostId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PostId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::Channel;

    #[test]
    fn a_user_is_its_own_id_and_nothing_of_what_is_kept_in_front_shows() {
        let user = UserId::new("alice").unwrap();
        assert_eq!(
            (user.as_str(), &*user.to_string(), &*format!("{user:?}")),
            ("alice", "alice", "\"alice\"")
        );
        assert_eq!(serde_json::to_string(&user).unwrap(), "\"alice\"");
        assert_eq!(HashMap::from([(user.clone(), 1)]).get("alice"), Some(&1), "found by its text");
        assert!(UserId::new("alicd").unwrap() < user && user < UserId::new("alice1").unwrap());
        let channel = Channel::user(&user);
        assert_eq!(channel, Channel::new("user:#alice").unwrap());
        assert!(std::ptr::eq(channel.as_str(), user.with_prefix().as_str()), "the text is there once");
        let longest = "x".repeat(UserId::MAX);
        assert_eq!(UserId::new(&longest).unwrap().as_str(), longest);
    }
}
