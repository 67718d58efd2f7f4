//! Profiles.

use async_trait::async_trait;
use fama_protocol::{AppId, UserId};

use super::EmbeddedStore;
use super::keys::{self, Key, behind, just_after, table};
use super::rows::{check_count, check_limit, decode_profile, encode_profile, invalid};
use super::tables::Space;
use crate::{Profile, Result, UserStore};

/// A profile's row is at most so large.
const PROFILE_BYTES_MAX: usize = 64 << 10;

#[async_trait]
impl UserStore for EmbeddedStore {
    async fn profiles(&self, app: &AppId, users: &[UserId]) -> Result<Vec<Option<Profile>>> {
        check_count(users.len(), 1_000)?;
        self.read(|tables| {
            let get = |user: &UserId| {
                let row = tables.get(Space::Misc, &keys::user(app, table::PROFILE, user))?;
                row.map(|row| decode_profile(&row)).transpose()
            };
            users.iter().map(get).collect()
        })
    }

    async fn put_profile(&self, app: &AppId, user: &UserId, profile: &Profile) -> Result<()> {
        let row = encode_profile(profile);
        if row.len() > PROFILE_BYTES_MAX {
            return Err(invalid(format!("a profile may have {PROFILE_BYTES_MAX} bytes, not {}", row.len())));
        }
        let key = keys::user(app, table::PROFILE, user);
        self.write(row.len(), move |txn| {
            txn.put(Space::Misc, key, row);
            Ok(())
        })
        .await
    }

    async fn users(
        &self,
        app: &AppId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<(UserId, Profile)>> {
        check_limit(limit, 1_000)?;
        self.read(|tables| {
            let prefix = Key::of(app, table::PROFILE).done();
            let from =
                after.map_or(prefix.clone(), |after| just_after(keys::user(app, table::PROFILE, after)));
            let rows = tables.view().range(Space::Misc, from, behind(prefix.clone()));
            rows.take(limit)
                .map(|row| {
                    let (key, value) = row?;
                    Ok((keys::user_behind(&key, &prefix)?, decode_profile(&value)?))
                })
                .collect()
        })
    }
}
