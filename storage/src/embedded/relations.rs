//! Blocks and mutes.

use fama_protocol::{AppId, UnixMs, UserId};
use fjall::UserValue;

use super::graph::{GraphStats, count, next_version, stats, unfollow};
use super::keys::{self, behind, table};
use super::rows::{decode_numbers, encode_numbers};
use super::tables::{Space, Tables, View};
use super::txn::Txn;
use crate::{BLOCKED_BY_MAX, OutboxRow, Relation, Relations, Result, Task};

/// Where the relations of a kind are.
pub(super) fn active_table(relation: Relation) -> u8 {
    match relation {
        Relation::Block => table::BLOCK,
        Relation::Mute => table::MUTE,
    }
}

/// Where the versions of those that ended are.
fn ended_table(relation: Relation) -> u8 {
    match relation {
        Relation::Block => table::BLOCK_ENDED,
        Relation::Mute => table::MUTE_ENDED,
    }
}

/// The number in a row of a version; 0 for no row.
pub(super) fn version_row(row: Option<UserValue>) -> Result<u64> {
    let [version] = row.map_or(Ok([0]), |row| decode_numbers("version", &row))?;
    Ok(version)
}

/// Whether one of two blocks the other.
pub(super) fn blocks_either_way(txn: &Txn<'_>, app: &AppId, one: &UserId, other: &UserId) -> Result<bool> {
    let there = txn.get(Space::Graph, &keys::pair(app, table::BLOCK, one, other))?;
    let back = txn.get(Space::Graph, &keys::pair(app, table::BLOCK, other, one))?;
    Ok(there.is_some() || back.is_some())
}

/// A block or mute, set or undone.
pub(super) struct Change {
    pub app: AppId,
    pub user: UserId,
    pub relation: Relation,
    pub target: UserId,
    pub active: bool,
    pub cap: u64,
    pub now: UnixMs,
}

impl Change {
    /// The rows owed; `None` beyond the cap.
    pub fn apply(&self, txn: &mut Txn<'_>) -> Result<Option<Vec<OutboxRow>>> {
        let (app, user, target) = (&self.app, &self.user, &self.target);
        let active_key = keys::pair(app, active_table(self.relation), user, target);
        let row = txn.get(Space::Graph, &active_key)?;
        if row.is_some() == self.active {
            return Ok(Some(Vec::new()));
        }
        let numbers = stats(txn, app, user)?;
        let there_are = match self.relation {
            Relation::Block => numbers.blocks,
            Relation::Mute => numbers.mutes,
        };
        if self.active && there_are >= self.cap {
            return Ok(None);
        }
        let ended_key = keys::pair(app, ended_table(self.relation), user, target);
        let last = match row {
            Some(row) => {
                let [_since, version] = decode_numbers("relation", &row)?;
                version
            }
            None => version_row(txn.get(Space::Graph, &ended_key)?)?,
        };
        let version = next_version(last, self.now);
        if self.active {
            txn.put(Space::Graph, active_key, encode_numbers([self.now.0, version]));
        } else {
            txn.delete(Space::Graph, active_key);
            txn.put(Space::Graph, ended_key, encode_numbers([version]));
        }
        self.keep_other_side(txn)?;
        let task = Task::RelationChanged {
            user: user.clone(),
            relation: self.relation,
            target: target.clone(),
            active: self.active,
            version,
        };
        let mut owed = vec![txn.owe(app, task, self.now)];
        if self.active && self.relation == Relation::Block {
            owed.extend(self.end_follow(txn, user, target)?);
            owed.extend(self.end_follow(txn, target, user)?);
        }
        Ok(Some(owed))
    }

    /// Counts, and the row that shows a block from the blocked one's side.
    fn keep_other_side(&self, txn: &mut Txn<'_>) -> Result<()> {
        let step = |number: &mut u64| {
            *number = if self.active { *number + 1 } else { number.saturating_sub(1) };
        };
        if self.relation == Relation::Mute {
            return count(txn, &self.app, &self.user, |user| step(&mut user.mutes));
        }
        let mirror = keys::pair(&self.app, table::BLOCKED_BY, &self.target, &self.user);
        if self.active {
            txn.put(Space::Graph, mirror, encode_numbers([self.now.0]));
        } else {
            txn.delete(Space::Graph, mirror);
        }
        count(txn, &self.app, &self.user, |user| step(&mut user.blocks))?;
        count(txn, &self.app, &self.target, |target| step(&mut target.blockers))
    }

    /// Ends a follow, if there is one; history that was kept stays.
    fn end_follow(&self, txn: &mut Txn<'_>, follower: &UserId, author: &UserId) -> Result<Option<OutboxRow>> {
        let followed = txn.get(Space::Graph, &keys::pair(&self.app, table::FOLLOWER, author, follower))?;
        if followed.is_none() {
            return Ok(None);
        }
        unfollow(txn, &self.app, follower, author, false, self.now)
    }
}

/// Everything that hides posts from a user. Most users have none, which one row tells.
pub(super) fn all(tables: &Tables, app: &AppId, user: &UserId) -> Result<Relations> {
    let key = keys::user(app, table::GRAPH_STATS, user);
    let Some(row) = tables.get(Space::Graph, &key)? else { return Ok(Relations::default()) };
    let numbers = GraphStats::decode(Some(&row))?;
    if numbers.blocks + numbers.mutes + numbers.blockers == 0 {
        return Ok(Relations::default());
    }
    let view = tables.view();
    let mut blocked_by = ids(&view, app, table::BLOCKED_BY, user, BLOCKED_BY_MAX + 1)?;
    let blocked_by_more = blocked_by.len() > BLOCKED_BY_MAX;
    blocked_by.truncate(BLOCKED_BY_MAX);
    Ok(Relations {
        blocks: ids(&view, app, table::BLOCK, user, usize::MAX)?,
        blocked_by,
        blocked_by_more,
        mutes: ids(&view, app, table::MUTE, user, usize::MAX)?,
    })
}

fn ids(view: &View<'_>, app: &AppId, table: u8, user: &UserId, limit: usize) -> Result<Vec<UserId>> {
    let prefix = keys::from_user(app, table, user).done();
    let rows = view.range(Space::Graph, prefix.clone(), behind(prefix.clone()));
    rows.take(limit).map(|row| keys::user_behind(&row?.0, &prefix)).collect()
}
