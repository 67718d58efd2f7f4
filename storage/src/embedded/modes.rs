//! Author modes.

use async_trait::async_trait;
use fama_protocol::{AppId, UnixMs, UserId};
use fjall::UserValue;

use super::EmbeddedStore;
use super::keys::{self, Key, behind, table};
use super::rows::{decode_mode, encode_mode};
use super::tables::{ALL_SPACES, Space};
use super::txn::Txn;
use crate::{Mode, ModeRecord, ModeStore, OutboxRow, Result, Task};

/// Authors in push are apart, so that the list of the others is no longer than they are many.
fn table_of(mode: Mode) -> u8 {
    if mode == Mode::Push { table::MODE_PUSH } else { table::MODE }
}

fn record(
    app: &AppId,
    author: &UserId,
    get: impl Fn(&[u8]) -> Result<Option<UserValue>>,
) -> Result<Option<ModeRecord>> {
    for table in [table::MODE, table::MODE_PUSH] {
        if let Some(row) = get(&keys::user(app, table, author))? {
            return decode_mode(author.clone(), &row).map(Some);
        }
    }
    Ok(None)
}

fn set_mode(
    txn: &mut Txn<'_>,
    app: &AppId,
    author: &UserId,
    expected: u64,
    (mode, pinned): (Mode, bool),
    now: UnixMs,
) -> Result<Option<(ModeRecord, Option<OutboxRow>)>> {
    let old = record(app, author, |key| txn.get(Space::Misc, key))?;
    if old.as_ref().map_or(0, |old| old.version) != expected {
        return Ok(None);
    }
    let since = match &old {
        Some(old) if old.mode == mode => old.since,
        None if mode == Mode::Push => UnixMs(0),
        _ => now,
    };
    let new = ModeRecord { author: author.clone(), mode, since, version: expected + 1, pinned };
    if let Some(old) = old.as_ref().filter(|old| table_of(old.mode) != table_of(mode)) {
        txn.delete(Space::Misc, keys::user(app, table_of(old.mode), author));
    }
    txn.put(Space::Misc, keys::user(app, table_of(mode), author), encode_mode(&new));
    let begins_draining = mode == Mode::Draining && old.is_none_or(|old| old.mode != Mode::Draining);
    let owed = begins_draining.then(|| {
        let task = Task::Drain { author: author.clone(), version: new.version };
        txn.owe(app, task, now)
    });
    Ok(Some((new, owed)))
}

#[async_trait]
impl ModeStore for EmbeddedStore {
    async fn mode(&self, app: &AppId, author: &UserId) -> Result<Option<ModeRecord>> {
        self.read(|tables| {
            let view = tables.view();
            record(app, author, |key| view.get(Space::Misc, key))
        })
    }

    async fn set_mode(
        &self,
        app: &AppId,
        author: &UserId,
        expected: u64,
        mode: Mode,
        pinned: bool,
        now: UnixMs,
    ) -> Result<Option<(ModeRecord, Option<OutboxRow>)>> {
        let (app, author) = (app.clone(), author.clone());
        self.write(0, move |txn| set_mode(txn, &app, &author, expected, (mode, pinned), now)).await
    }

    async fn celebrities(&self, app: &AppId) -> Result<Vec<ModeRecord>> {
        self.read(|tables| {
            let prefix = Key::of(app, table::MODE).done();
            let rows = tables.view().range(Space::Misc, prefix.clone(), behind(prefix.clone()));
            rows.map(|row| {
                let (key, value) = row?;
                decode_mode(keys::user_behind(&key, &prefix)?, &value)
            })
            .collect()
        })
    }

    async fn apps(&self) -> Result<Vec<AppId>> {
        self.read(|tables| {
            let view = tables.view();
            let mut apps = std::collections::BTreeSet::new();
            for space in ALL_SPACES.into_iter().filter(|space| !matches!(space, Space::Time | Space::Meta)) {
                let mut from = vec![0];
                // From each app straight to the next: reads one row of each.
                while let Some(row) = view.range(space, from, vec![0xff]).next() {
                    let app = keys::app_of(&row?.0)?;
                    from = behind(app_prefix(&app));
                    apps.insert(app);
                }
            }
            Ok(apps.into_iter().collect())
        })
    }
}

fn app_prefix(app: &AppId) -> Vec<u8> {
    let mut prefix = app.as_str().as_bytes().to_vec();
    prefix.push(0);
    prefix
}
