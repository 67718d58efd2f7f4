//! Revocations.

use async_trait::async_trait;
use fama_protocol::UnixMs;

use super::{MemoryStore, check_limit, check_text};
use crate::{Result, Revocation, RevocationStore, Revoked};

#[async_trait]
impl RevocationStore for MemoryStore {
    async fn revoke(&self, revocation: &Revocation) -> Result<()> {
        if let Revoked::Token(jti) = &revocation.revoked {
            check_text("a token's id", jti)?;
        }
        let Revocation { at, app, revoked, until } = revocation.clone();
        self.all(|state| {
            let kept = state.revocations.entry((at, app, revoked)).or_default();
            *kept = until.max(*kept);
        });
        Ok(())
    }

    async fn revocations(
        &self,
        from: UnixMs,
        after: Option<&Revocation>,
        limit: usize,
    ) -> Result<Vec<Revocation>> {
        check_limit(limit, 1_000)?;
        let after = after.map(|row| (row.at, row.app.clone(), row.revoked.clone()));
        Ok(self.all(|state| {
            let rows = state.revocations.iter().filter(|(key, _)| match &after {
                Some(after) => *key > after,
                None => key.0 >= from,
            });
            let row = |((at, app, revoked), until): (&super::RevocationKey, &UnixMs)| Revocation {
                at: *at,
                app: app.clone(),
                revoked: revoked.clone(),
                until: *until,
            };
            rows.take(limit).map(row).collect()
        }))
    }

    async fn forget_revocations(&self, now: UnixMs, limit: usize) -> Result<usize> {
        check_limit(limit, 10_000)?;
        Ok(self.all(|state| {
            let mut left = limit;
            state.revocations.retain(|_, until| {
                let goes = left > 0 && *until < now;
                left -= usize::from(goes);
                !goes
            });
            limit - left
        }))
    }
}
