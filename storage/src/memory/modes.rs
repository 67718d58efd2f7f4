//! Modes, profiles and leases.

use std::ops::Bound;

use async_trait::async_trait;
use fama_protocol::{AppId, UnixMs, UserId};

use super::{MemoryStore, check_count, check_limit, check_text};
use crate::{Lease, LeaseStore, Mode, ModeRecord, ModeStore, OutboxRow, Profile, Result, Task, UserStore};

#[async_trait]
impl ModeStore for MemoryStore {
    async fn mode(&self, app: &AppId, author: &UserId) -> Result<Option<ModeRecord>> {
        self.app(app, |rows| Ok(rows.modes.get(author).cloned()))
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
        self.app(app, |rows| {
            let old = rows.modes.get(author);
            if old.map_or(0, |old| old.version) != expected {
                return Ok(None);
            }
            let since = match old {
                Some(old) if old.mode == mode => old.since,
                None if mode == Mode::Push => UnixMs(0),
                _ => now,
            };
            let begins = mode == Mode::Draining && old.is_none_or(|old| old.mode != Mode::Draining);
            let new = ModeRecord { author: author.clone(), mode, since, version: expected + 1, pinned };
            rows.modes.insert(author.clone(), new.clone());
            let task = Task::Drain { author: author.clone(), version: new.version };
            let owed = begins.then(|| rows.owe(app, task, now));
            Ok(Some((new, owed)))
        })
    }

    async fn celebrities(&self, app: &AppId) -> Result<Vec<ModeRecord>> {
        self.app(app, |rows| {
            Ok(rows.modes.values().filter(|record| record.mode != Mode::Push).cloned().collect())
        })
    }

    async fn apps(&self) -> Result<Vec<AppId>> {
        self.all(|state| {
            let apps = state.apps.iter().filter(|(_, rows)| !rows.is_empty());
            Ok(apps.map(|(app, _)| app.clone()).collect())
        })
    }
}

#[async_trait]
impl UserStore for MemoryStore {
    async fn profiles(&self, app: &AppId, users: &[UserId]) -> Result<Vec<Option<Profile>>> {
        check_count(users.len(), 1_000)?;
        self.app(app, |rows| Ok(users.iter().map(|user| rows.profiles.get(user).cloned()).collect()))
    }

    async fn put_profile(&self, app: &AppId, user: &UserId, profile: &Profile) -> Result<()> {
        self.app(app, |rows| rows.profiles.insert(user.clone(), profile.clone()));
        Ok(())
    }

    async fn users(
        &self,
        app: &AppId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<(UserId, Profile)>> {
        check_limit(limit, 1_000)?;
        self.app(app, |rows| {
            let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.clone()));
            let page = rows.profiles.range((from, Bound::Unbounded)).take(limit);
            Ok(page.map(|(user, profile)| (user.clone(), profile.clone())).collect())
        })
    }
}

#[async_trait]
impl LeaseStore for MemoryStore {
    async fn acquire(&self, name: &str, holder: &str, ttl_ms: u64, now: UnixMs) -> Result<Option<Lease>> {
        check_text("a lease's name", name)?;
        check_text("a lease's holder", holder)?;
        self.all(|state| {
            let held = state.leases.get(name);
            if held.is_some_and(|held| held.holder != holder && held.until > now) {
                return Ok(None);
            }
            let lease = Lease { name: name.to_owned(), holder: holder.to_owned(), until: now.plus(ttl_ms) };
            state.leases.insert(name.to_owned(), lease.clone());
            Ok(Some(lease))
        })
    }

    async fn release(&self, name: &str, holder: &str) -> Result<()> {
        check_text("a lease's name", name)?;
        self.all(|state| {
            if state.leases.get(name).is_some_and(|held| held.holder == holder) {
                state.leases.remove(name);
            }
        });
        Ok(())
    }

    async fn raise_mark(&self, name: &str, at_least: u64) -> Result<u64> {
        check_text("a mark's name", name)?;
        self.all(|state| {
            let mark = state.marks.entry(name.to_owned()).or_default();
            *mark = (*mark).max(at_least);
            Ok(*mark)
        })
    }
}
