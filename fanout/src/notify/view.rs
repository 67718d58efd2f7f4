//! Notifications as clients see them.

use std::collections::HashMap;

use bytes::Bytes;
use fama_protocol::event::{Event, NotificationView, Subject};
use fama_protocol::{AppId, NotificationId, UserId};
use fama_storage::{InboxCounts, Notification, UserStore};
use serde_json::value::RawValue;

use crate::{Result, view};

/// Actors that a text names.
const NAMED: usize = 2;
/// Profiles read at once.
const PROFILES: usize = 1_000;

/// Names of the actors that texts name.
pub(crate) struct NamedViews {
    names: HashMap<UserId, String>,
}

impl NamedViews {
    /// Reads the names that the texts of these notifications need.
    pub(crate) async fn of<'a>(
        users: &dyn UserStore,
        app: &AppId,
        groups: impl Iterator<Item = &'a Notification>,
    ) -> Result<Self> {
        let mut actors: Vec<UserId> =
            groups.flat_map(|group| group.actors.iter().take(NAMED).cloned()).collect();
        actors.sort_unstable();
        actors.dedup();
        let mut names = HashMap::new();
        for actors in actors.chunks(PROFILES) {
            let profiles = users.profiles(app, actors).await?;
            for (actor, profile) in actors.iter().zip(profiles) {
                if let Some(name) = profile.and_then(|profile| profile.name) {
                    names.insert(actor.clone(), name);
                }
            }
        }
        Ok(Self { names })
    }

    /// One of them.
    pub(crate) fn view(&self, group: Notification) -> NotificationView {
        NotificationView {
            text: self.text(&group),
            id: group.id,
            kind: group.kind,
            actors: group.actors,
            actor_count: group.actor_count,
            subject: group.subject.map(|id| Subject { kind: "post".to_owned(), id }),
            data: group.data.and_then(|json| RawValue::from_string(json).ok()),
            created_at: group.created_at,
            updated_at: group.updated_at,
            seen: group.seen,
            read: group.read,
        }
    }

    /// `notification.created` or `notification.updated`: it was created if nothing has moved it since.
    pub(crate) fn event(&self, group: Notification, counts: &InboxCounts) -> Bytes {
        let (unseen, unread) = (counts.unseen, counts.unread);
        let is_new = group.id == group.position && group.actor_count <= 1 && !group.read && !group.seen;
        let notification = Box::new(self.view(group));
        view::event(&if is_new {
            Event::NotificationCreated { notification, unseen, unread }
        } else {
            Event::NotificationUpdated { notification, unseen, unread }
        })
    }

    fn text(&self, group: &Notification) -> Option<String> {
        let did = match group.kind.as_str() {
            "follow" => "followed you",
            "mention" => "mentioned you",
            "reply" => "replied to you",
            "reaction" => "reacted to your post",
            "repost" => "reposted your post",
            _ => return None,
        };
        let name = |actor: &UserId| self.names.get(actor).map_or(actor.as_str(), String::as_str).to_owned();
        let first = name(group.actors.first()?);
        let others = group.actor_count.saturating_sub(1);
        Some(match (group.actors.get(1), others) {
            (None, _) | (_, 0) => format!("{first} {did}"),
            (Some(second), 1) => format!("{first} and {} {did}", name(second)),
            (Some(_), others) => format!("{first} and {others} others {did}"),
        })
    }
}

/// `notification.deleted`
pub(crate) fn deleted(id: NotificationId, counts: &InboxCounts) -> Bytes {
    let (unseen, unread) = (counts.unseen, counts.unread);
    view::event(&Event::NotificationDeleted { id, unseen, unread })
}

/// `inbox.marked`
pub(crate) fn marked(counts: &InboxCounts) -> Bytes {
    let InboxCounts { unseen, unread, seen_up_to, read_up_to, .. } = *counts;
    view::event(&Event::InboxMarked { seen_up_to, read_up_to, unseen, unread })
}

#[cfg(test)]
mod tests {
    use fama_protocol::{PostId, UnixMs};

    use super::*;

    #[test]
    fn texts_name_who_came_last_and_count_the_rest() {
        let user = |name: &str| UserId::new(name).unwrap();
        let names = HashMap::from([(user("u1"), "Ann".to_owned())]);
        let views = NamedViews { names };
        let text = |kind: &str, actors: &[&str], actor_count| {
            views.text(&Notification {
                id: PostId::ZERO,
                position: PostId::ZERO,
                kind: kind.to_owned(),
                actors: actors.iter().map(|actor| user(actor)).collect(),
                actor_count,
                subject: None,
                data: None,
                created_at: UnixMs(0),
                updated_at: UnixMs(0),
                seen: false,
                read: false,
            })
        };
        assert_eq!(text("follow", &["u1"], 1).unwrap(), "Ann followed you");
        assert_eq!(text("repost", &["u2", "u1"], 2).unwrap(), "u2 and Ann reposted your post");
        assert_eq!(text("reaction", &["u1", "u2"], 7).unwrap(), "Ann and 6 others reacted to your post");
        assert_eq!(text("sale", &["u1"], 1), None);
    }
}
