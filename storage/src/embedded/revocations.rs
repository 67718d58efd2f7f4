//! Revocations, in the order of time.

use async_trait::async_trait;
use fama_protocol::{AppId, UnixMs, UserId};

use super::EmbeddedStore;
use super::keys::{Key, be_number, behind, check_text, just_after, split_text, table};
use super::rows::{check_limit, decode_numbers, encode_numbers};
use super::tables::Space;
use crate::{ErrorKind, Result, Revocation, RevocationStore, Revoked, StorageError};

const TOKEN: u8 = b't';
const USER: u8 = b'u';

fn made_from(at: UnixMs) -> Key {
    Key::global(table::REVOKED).number(at.0)
}

fn key(revocation: &Revocation) -> Vec<u8> {
    let key = made_from(revocation.at).text(revocation.app.as_str());
    match &revocation.revoked {
        Revoked::Token(jti) => key.byte(TOKEN).last(jti),
        Revoked::User(user) => key.byte(USER).last(user.as_str()),
    }
}

fn parse(key: &[u8], row: &[u8]) -> Result<Revocation> {
    let broken = || StorageError::new(ErrorKind::Corrupt, "the key of a revocation can't be read");
    let (head, rest) = key.split_at_checked(9).ok_or_else(broken)?;
    let at = be_number(head.get(1..).unwrap_or_default()).ok_or_else(broken)?;
    let (app, rest) = split_text(rest).ok_or_else(broken)?;
    let (kind, name) = rest.split_first().ok_or_else(broken)?;
    let name = std::str::from_utf8(name).map_err(|_| broken())?;
    let revoked = match *kind {
        TOKEN => Revoked::Token(name.to_owned()),
        USER => Revoked::User(UserId::new(name).map_err(|_| broken())?),
        _ => return Err(broken()),
    };
    let [until] = decode_numbers("revocation", row)?;
    let app = AppId::new(app).map_err(|_| broken())?;
    Ok(Revocation { at: UnixMs(at), app, revoked, until: UnixMs(until) })
}

#[async_trait]
impl RevocationStore for EmbeddedStore {
    async fn revoke(&self, revocation: &Revocation) -> Result<()> {
        if let Revoked::Token(jti) = &revocation.revoked {
            check_text("a token's id", jti)?;
        }
        let (key, until) = (key(revocation), revocation.until.0);
        self.write(key.len(), move |txn| {
            let before = txn.get(Space::Time, &key)?;
            let [before] = before.map_or(Ok([0]), |row| decode_numbers("revocation", &row))?;
            txn.put(Space::Time, key, encode_numbers([until.max(before)]));
            Ok(())
        })
        .await
    }

    async fn revocations(
        &self,
        from: UnixMs,
        after: Option<&Revocation>,
        limit: usize,
    ) -> Result<Vec<Revocation>> {
        check_limit(limit, 1_000)?;
        let from = after.map_or_else(|| made_from(from).done(), |after| just_after(key(after)));
        self.read(|tables| {
            let end = behind(Key::global(table::REVOKED).done());
            let rows = tables.view().range(Space::Time, from, end);
            rows.take(limit)
                .map(|row| {
                    let (key, value) = row?;
                    parse(&key, &value)
                })
                .collect()
        })
    }

    async fn forget_revocations(&self, now: UnixMs, limit: usize) -> Result<usize> {
        check_limit(limit, 10_000)?;
        let over: Vec<Vec<u8>> = self.read(|tables| {
            let prefix = Key::global(table::REVOKED).done();
            let rows = tables.view().range(Space::Time, prefix.clone(), behind(prefix));
            let over = rows.filter_map(|row| match row {
                Ok((key, value)) => match decode_numbers("revocation", &value) {
                    Ok([until]) => (until < now.0).then(|| Ok(key.to_vec())),
                    Err(error) => Some(Err(error)),
                },
                Err(error) => Some(Err(error)),
            });
            over.take(limit).collect::<Result<_>>()
        })?;
        if over.is_empty() {
            return Ok(0);
        }
        let (count, bytes) = (over.len(), over.iter().map(Vec::len).sum());
        self.write(bytes, move |txn| {
            for key in over {
                txn.delete(Space::Time, key);
            }
            Ok(())
        })
        .await?;
        Ok(count)
    }
}
