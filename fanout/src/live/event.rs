//! Events on their way to users: the JSON that goes over the wire, and the reference that the logs keep of it.

use bytes::Bytes;
use fama_protocol::{NotificationId, PostId, UserId};
use fama_storage::Relation;

/// What a live log keeps of an event of `user:#` and `author:` channels. Replays read the post again, so that they
/// never show what was edited or deleted since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventRef {
    /// A new post.
    PostCreated {
        /// The post.
        post: PostId,
    },
    /// An edit.
    PostUpdated {
        /// The post.
        post: PostId,
        /// The revision it made.
        rev: u32,
    },
    /// A deletion.
    PostDeleted {
        /// The post.
        post: PostId,
    },
    /// The user of the channel changed a relation.
    RelationChanged {
        /// Which.
        kind: RelationKind,
        /// Towards whom.
        target: UserId,
        /// Set or undone.
        active: bool,
    },
    /// A notification came, changed or went.
    Notification {
        /// Which.
        id: NotificationId,
    },
    /// The inbox was marked.
    InboxMarked,
}

/// A relation as clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelationKind {
    /// Follows.
    Follow,
    /// Blocks.
    Block,
    /// Mutes.
    Mute,
}

impl RelationKind {
    /// As in `relation.changed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Follow => "follow",
            Self::Block => "block",
            Self::Mute => "mute",
        }
    }
}

impl From<Relation> for RelationKind {
    fn from(relation: Relation) -> Self {
        match relation {
            Relation::Block => Self::Block,
            Relation::Mute => Self::Mute,
        }
    }
}

/// The bytes are not a reference that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an event reference")]
pub struct EventRefError;

impl EventRef {
    /// Most bytes of an encoded reference.
    pub const MAX: usize = 3 + UserId::MAX;

    /// Compact bytes: 9 to 13 for posts.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(16);
        match self {
            Self::PostCreated { post } => {
                out.push(b'c');
                out.extend_from_slice(&post.to_be_bytes());
            }
            Self::PostUpdated { post, rev } => {
                out.push(b'u');
                out.extend_from_slice(&post.to_be_bytes());
                out.extend_from_slice(&rev.to_be_bytes());
            }
            Self::PostDeleted { post } => {
                out.push(b'd');
                out.extend_from_slice(&post.to_be_bytes());
            }
            Self::RelationChanged { kind, target, active } => {
                let kind = match kind {
                    RelationKind::Follow => b'f',
                    RelationKind::Block => b'b',
                    RelationKind::Mute => b'm',
                };
                out.extend_from_slice(&[b'r', kind, u8::from(*active)]);
                out.extend_from_slice(target.as_str().as_bytes());
            }
            Self::Notification { id } => {
                out.push(b'n');
                out.extend_from_slice(&id.to_be_bytes());
            }
            Self::InboxMarked => out.push(b'i'),
        }
        out.into()
    }

    /// The reference in the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, EventRefError> {
        let (tag, rest) = bytes.split_first().ok_or(EventRefError)?;
        let post = |bytes: &[u8]| bytes.try_into().ok().and_then(PostId::from_be_bytes).ok_or(EventRefError);
        match (tag, rest) {
            (b'c', id) => Ok(Self::PostCreated { post: post(id)? }),
            (b'd', id) => Ok(Self::PostDeleted { post: post(id)? }),
            (b'n', id) => Ok(Self::Notification { id: post(id)? }),
            (b'i', []) => Ok(Self::InboxMarked),
            (b'u', rest) => {
                let (id, rev) = rest.split_at_checked(8).ok_or(EventRefError)?;
                let rev = u32::from_be_bytes(rev.try_into().map_err(|_| EventRefError)?);
                Ok(Self::PostUpdated { post: post(id)?, rev })
            }
            (b'r', [kind, active @ (0 | 1), target @ ..]) => {
                let kind = match kind {
                    b'f' => RelationKind::Follow,
                    b'b' => RelationKind::Block,
                    b'm' => RelationKind::Mute,
                    _ => return Err(EventRefError),
                };
                let target = std::str::from_utf8(target).map_err(|_| EventRefError)?;
                let target = UserId::new(target).map_err(|_| EventRefError)?;
                Ok(Self::RelationChanged { kind, target, active: *active == 1 })
            }
            _ => Err(EventRefError),
        }
    }

    /// The post it is about.
    pub fn post(&self) -> Option<PostId> {
        match self {
            Self::PostCreated { post } | Self::PostUpdated { post, .. } | Self::PostDeleted { post } => {
                Some(*post)
            }
            Self::RelationChanged { .. } | Self::Notification { .. } | Self::InboxMarked => None,
        }
    }
}

/// An event to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveEvent {
    /// Names the event: the row id of the task it comes from. Repeated work has the same id and is delivered once.
    pub event_id: String,
    /// Whose act it is: viewers who hide this user get `void` instead.
    pub actor: UserId,
    /// What logs keep.
    pub reference: EventRef,
    /// JSON of [`fama_protocol::event::Event`], the same for all viewers.
    pub data: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn references_come_back(id in 0u64..(1 << 63), rev: u32, name in "[a-z0-9_.:@-]{1,64}", on: bool) {
            let post = PostId::from_u64(id).unwrap();
            let target = UserId::new(&name).unwrap();
            for event in [
                EventRef::PostCreated { post },
                EventRef::PostUpdated { post, rev },
                EventRef::PostDeleted { post },
                EventRef::RelationChanged { kind: RelationKind::Mute, target, active: on },
                EventRef::Notification { id: post },
                EventRef::InboxMarked,
            ] {
                let bytes = event.encode();
                prop_assert!(bytes.len() <= EventRef::MAX);
                prop_assert_eq!(EventRef::decode(&bytes), Ok(event));
            }
        }

        #[test]
        fn foreign_bytes_are_an_error_or_a_reference(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(event) = EventRef::decode(&bytes) {
                prop_assert_eq!(event.encode(), bytes);
            }
        }
    }
}
