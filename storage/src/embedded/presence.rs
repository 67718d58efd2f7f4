//! What is kept of presence.

use async_trait::async_trait;
use fama_protocol::{AppId, UnixMs, UserId};

use super::EmbeddedStore;
use super::keys::{self, table};
use super::rows::{check_count, decode_presence, encode_presence};
use super::tables::Space;
use super::txn::Txn;
use crate::{ChosenStatus, PresenceRow, PresenceStore, Result};

fn row_in(txn: &Txn<'_>, key: &[u8]) -> Result<PresenceRow> {
    let row = txn.get(Space::Misc, key)?;
    Ok(row.map(|row| decode_presence(&row)).transpose()?.unwrap_or_default())
}

#[async_trait]
impl PresenceStore for EmbeddedStore {
    async fn presence(&self, app: &AppId, users: &[UserId]) -> Result<Vec<PresenceRow>> {
        check_count(users.len(), 1_000)?;
        self.read(|tables| {
            let view = tables.view();
            let get = |user: &UserId| {
                let row = view.get(Space::Misc, &keys::user(app, table::PRESENCE, user))?;
                Ok(row.map(|row| decode_presence(&row)).transpose()?.unwrap_or_default())
            };
            users.iter().map(get).collect()
        })
    }

    async fn choose(
        &self,
        app: &AppId,
        user: &UserId,
        chosen: ChosenStatus,
        seen: Option<UnixMs>,
    ) -> Result<PresenceRow> {
        let key = keys::user(app, table::PRESENCE, user);
        self.write(key.len(), move |txn| {
            let row = row_in(txn, &key)?.choose(chosen, seen);
            txn.put(Space::Misc, key, encode_presence(&row));
            Ok(row)
        })
        .await
    }

    async fn seen(&self, app: &AppId, users: &[(UserId, UnixMs)]) -> Result<()> {
        check_count(users.len(), 1_000)?;
        let rows: Vec<_> =
            users.iter().map(|(user, at)| (keys::user(app, table::PRESENCE, user), *at)).collect();
        self.write(rows.len() * 64, move |txn| {
            for (key, at) in rows {
                let before = row_in(txn, &key)?;
                let after = before.seen(at);
                if after != before {
                    txn.put(Space::Misc, key, encode_presence(&after));
                }
            }
            Ok(())
        })
        .await
    }
}
