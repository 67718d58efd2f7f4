//! Live events of the work in the outbox: the same event, under the same name, whoever sends it.

use bytes::Bytes;
use fama_protocol::UserId;
use fama_protocol::event::Event;
use fama_storage::{OutboxRow, Post, Task};

use crate::live::{EventRef, LiveEvent, RelationKind};
use crate::view;

/// `post.created`
pub(crate) fn created(row: &OutboxRow, post: &Post) -> LiveEvent {
    of_post(row, post, EventRef::PostCreated { post: post.id }, view::created(post))
}

/// `post.updated`
pub(crate) fn updated(row: &OutboxRow, post: &Post) -> LiveEvent {
    let reference = EventRef::PostUpdated { post: post.id, rev: post.rev };
    of_post(row, post, reference, view::updated(post))
}

/// `post.deleted`
pub(crate) fn deleted(row: &OutboxRow, post: &Post) -> LiveEvent {
    of_post(row, post, EventRef::PostDeleted { post: post.id }, view::deleted(post))
}

fn of_post(row: &OutboxRow, post: &Post, reference: EventRef, data: Bytes) -> LiveEvent {
    LiveEvent { event_id: row.task.row_id().0, actor: post.author.clone(), reference, data }
}

/// `relation.changed`, and whose devices hear of it.
pub(crate) fn relation(row: &OutboxRow) -> Option<(&UserId, LiveEvent)> {
    let (user, target, kind, active, version) = match &row.task {
        Task::Backfill { follower, author, version } => {
            (follower, author, RelationKind::Follow, true, version)
        }
        Task::Cleanup { follower, author, version } => {
            (follower, author, RelationKind::Follow, false, version)
        }
        Task::RelationChanged { user, relation, target, active, version } => {
            (user, target, RelationKind::from(*relation), *active, version)
        }
        _ => return None,
    };
    let data = Event::RelationChanged { kind: kind.as_str().to_owned(), user: target.clone(), active };
    let event = LiveEvent {
        // Within the log of one user, whose id is left out so that names stay short.
        event_id: format!("{}{}/{target}/{version}", kind.as_str(), u8::from(active)),
        actor: user.clone(),
        reference: EventRef::RelationChanged { kind, target: target.clone(), active },
        data: view::event(&data),
    };
    Some((user, event))
}
