//! Leases and marks.

use async_trait::async_trait;
use fama_protocol::UnixMs;

use super::EmbeddedStore;
use super::keys::{Key, check_text, table};
use super::rows::{decode_lease, decode_numbers, encode_lease, encode_numbers};
use super::tables::Space;
use super::txn::Txn;
use crate::{Lease, LeaseStore, Result};

fn lease_key(name: &str) -> Vec<u8> {
    Key::global(table::LEASE).last(name)
}

fn acquire(txn: &mut Txn<'_>, wanted: Lease, now: UnixMs) -> Result<Option<Lease>> {
    let key = lease_key(&wanted.name);
    if let Some(row) = txn.get(Space::Meta, &key)? {
        let (holder, until) = decode_lease(&row)?;
        if holder != wanted.holder && until > now {
            return Ok(None);
        }
    }
    txn.put(Space::Meta, key, encode_lease(&wanted.holder, wanted.until));
    Ok(Some(wanted))
}

fn release(txn: &mut Txn<'_>, name: &str, holder: &str) -> Result<()> {
    let key = lease_key(name);
    let row = txn.get(Space::Meta, &key)?;
    if row.map(|row| decode_lease(&row)).transpose()?.is_some_and(|(held_by, _)| held_by == holder) {
        txn.delete(Space::Meta, key);
    }
    Ok(())
}

fn raise_mark(txn: &mut Txn<'_>, name: &str, at_least: u64) -> Result<u64> {
    let key = Key::global(table::MARK).last(name);
    let row = txn.get(Space::Meta, &key)?;
    let [mark] = row.as_ref().map_or(Ok([0]), |row| decode_numbers("mark", row))?;
    if row.is_none() || mark < at_least {
        txn.put(Space::Meta, key, encode_numbers([at_least]));
    }
    Ok(mark.max(at_least))
}

#[async_trait]
impl LeaseStore for EmbeddedStore {
    async fn acquire(&self, name: &str, holder: &str, ttl_ms: u64, now: UnixMs) -> Result<Option<Lease>> {
        check_text("a lease's name", name)?;
        check_text("a lease's holder", holder)?;
        let wanted = Lease { name: name.to_owned(), holder: holder.to_owned(), until: now.plus(ttl_ms) };
        self.write(0, move |txn| acquire(txn, wanted, now)).await
    }

    async fn release(&self, name: &str, holder: &str) -> Result<()> {
        check_text("a lease's name", name)?;
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.write(0, move |txn| release(txn, &name, &holder)).await
    }

    async fn raise_mark(&self, name: &str, at_least: u64) -> Result<u64> {
        check_text("a mark's name", name)?;
        let name = name.to_owned();
        self.write(0, move |txn| raise_mark(txn, &name, at_least)).await
    }
}
