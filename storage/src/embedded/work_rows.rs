//! Rows of the outbox and of idempotency records, and their bytes.

use fama_protocol::{PostId, UnixMs};

use super::codec::{Decoder, Encoder};
use super::rows::{post_id, user_id};
use crate::{Priority, Relation, Result, StoredResponse, Task};

/// Claims.
const V: u8 = 1;
/// Rows with a task. Version 2 knows tasks from 8 on, version 3 from 12 on.
const TASK_V: u8 = 3;

/// A queued row, without its app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueuedRow {
    pub at: UnixMs,
    pub attempts: u32,
    pub task: Task,
}

impl QueuedRow {
    pub fn encode(&self) -> Vec<u8> {
        let row = Encoder::row(TASK_V).uint(self.at.0).uint(self.attempts.into());
        encode_task(row, &self.task).finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut row = Decoder::row("outbox", bytes, TASK_V)?;
        let at = UnixMs(row.uint()?);
        let attempts = row.uint()?;
        let attempts = u32::try_from(attempts).map_err(|_| row.broken())?;
        let task = decode_task(&mut row)?;
        row.finish(Self { at, attempts, task })
    }
}

/// A row set aside.
pub(super) fn encode_set_aside(reason: &str, task: &Task) -> Vec<u8> {
    encode_task(Encoder::row(TASK_V).text(reason), task).finish()
}

pub(super) fn decode_set_aside(bytes: &[u8]) -> Result<(String, Task)> {
    let mut row = Decoder::row("quarantine", bytes, TASK_V)?;
    let reason = row.text()?.to_owned();
    let task = decode_task(&mut row)?;
    row.finish((reason, task))
}

fn encode_task(row: Encoder, task: &Task) -> Encoder {
    match task {
        Task::FanOut { post, author } => row.byte(1).uint(post.get()).text(author.as_str()),
        Task::PostUpdated { post, author, rev } => {
            row.byte(2).uint(post.get()).text(author.as_str()).uint((*rev).into())
        }
        Task::PostDeleted { post, author, mentions } => {
            let row = row.byte(8).uint(post.get()).text(author.as_str()).uint(mentions.len() as u64);
            mentions.iter().fold(row, |row, user| row.text(user.as_str()))
        }
        Task::Backfill { follower, author, version } => {
            row.byte(4).text(follower.as_str()).text(author.as_str()).uint(*version)
        }
        Task::Cleanup { follower, author, version } => {
            row.byte(5).text(follower.as_str()).text(author.as_str()).uint(*version)
        }
        Task::RelationChanged { user, relation, target, active, version } => row
            .byte(6)
            .text(user.as_str())
            .byte(u8::from(*relation == Relation::Mute))
            .text(target.as_str())
            .byte(u8::from(*active))
            .uint(*version),
        Task::Drain { author, version } => row.byte(7).text(author.as_str()).uint(*version),
        Task::Reacted { post, user, kind, active, version } => {
            row.byte(9).uint(post.get()).text(user.as_str()).text(kind).byte(u8::from(*active)).uint(*version)
        }
        Task::Notify { dispatch, priority } => row.byte(10).uint(dispatch.get()).byte(match priority {
            Priority::Urgent => 0,
            Priority::Normal => 1,
            Priority::Bulk => 2,
        }),
        Task::InboxChanged { user, groups, version } => {
            let row = row.byte(11).text(user.as_str()).uint(*version).uint(groups.len() as u64);
            groups.iter().fold(row, |row, id| row.uint(id.get()))
        }
        Task::Erase { user, version } => row.byte(12).text(user.as_str()).uint(*version),
    }
}

fn decode_task(row: &mut Decoder<'_>) -> Result<Task> {
    Ok(match row.byte()? {
        1 => Task::FanOut { post: post_id(row)?, author: user_id(row)? },
        2 => {
            let (post, author, rev) = (post_id(row)?, user_id(row)?, row.uint()?);
            Task::PostUpdated { post, author, rev: u32::try_from(rev).map_err(|_| row.broken())? }
        }
        // Of version 1.
        3 => Task::PostDeleted { post: post_id(row)?, author: user_id(row)?, mentions: Vec::new() },
        8 => {
            let (post, author) = (post_id(row)?, user_id(row)?);
            let mentions = (0..row.uint()?).map(|_| user_id(row)).collect::<Result<_>>()?;
            Task::PostDeleted { post, author, mentions }
        }
        4 => Task::Backfill { follower: user_id(row)?, author: user_id(row)?, version: row.uint()? },
        5 => Task::Cleanup { follower: user_id(row)?, author: user_id(row)?, version: row.uint()? },
        6 => Task::RelationChanged {
            user: user_id(row)?,
            relation: if row.flag()? { Relation::Mute } else { Relation::Block },
            target: user_id(row)?,
            active: row.flag()?,
            version: row.uint()?,
        },
        7 => Task::Drain { author: user_id(row)?, version: row.uint()? },
        9 => Task::Reacted {
            post: post_id(row)?,
            user: user_id(row)?,
            kind: row.text()?.to_owned(),
            active: row.flag()?,
            version: row.uint()?,
        },
        10 => Task::Notify {
            dispatch: post_id(row)?,
            priority: match row.byte()? {
                0 => Priority::Urgent,
                1 => Priority::Normal,
                2 => Priority::Bulk,
                _ => return Err(row.broken()),
            },
        },
        11 => {
            let (user, version) = (user_id(row)?, row.uint()?);
            let groups = (0..row.uint()?).map(|_| post_id(row)).collect::<Result<_>>()?;
            Task::InboxChanged { user, groups, version }
        }
        12 => Task::Erase { user: user_id(row)?, version: row.uint()? },
        _ => return Err(row.broken()),
    })
}

/// An idempotency record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimRow {
    pub hash: [u8; 32],
    pub id: PostId,
    pub at: UnixMs,
    pub response: Option<StoredResponse>,
}

impl ClaimRow {
    pub fn encode(&self) -> Vec<u8> {
        let row = Encoder::row(V).raw(&self.hash).uint(self.id.get()).uint(self.at.0);
        match &self.response {
            Some(response) => row.byte(1).uint(response.status.into()).text(&response.body),
            None => row.byte(0),
        }
        .finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut row = Decoder::row("claim", bytes, V)?;
        let hash = row.raw(32)?;
        let hash = hash.try_into().map_err(|_| row.broken())?;
        let id = post_id(&mut row)?;
        let at = UnixMs(row.uint()?);
        let response = if row.flag()? {
            let status = row.uint()?;
            let status = u16::try_from(status).map_err(|_| row.broken())?;
            Some(StoredResponse { status, body: row.text()?.to_owned() })
        } else {
            None
        };
        row.finish(Self { hash, id, at, response })
    }
}
