//! Watching: from a connection's wish to what it is told.

use std::collections::HashMap;
use std::mem;

use bytes::Bytes;
use fama_presence::watches::Begun;
use fama_presence::{Due, Seen, Sight, Update, UserKey};
use fama_protocol::{AppId, UserId};

use super::{Presence, Result, lock};
use crate::gateway::ConnKey;

/// Users looked at in one go.
const BATCH: usize = 500;

/// Why a connection does not get to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchRefusal {
    /// It may not.
    Denied,
    /// Not now.
    Unavailable,
}

impl Presence {
    /// A connection wants to watch a user; [`Presence::watch`] follows, unless this is `false`: there are too many.
    pub fn begin_watch(&self, user: &UserKey, connection: ConnKey, viewer: Option<UserId>) -> bool {
        match lock(&self.watches).begin(user, connection, viewer) {
            Begun::Full => return false,
            Begun::First => drop(lock(&self.interest).insert(user.clone())),
            Begun::More => {}
        }
        true
    }

    /// Lets in a connection that began to watch: `admitted` gets what it is told first, before anything else is told it. If
    /// it is refused, [`Presence::end_watch`] is still to be called.
    pub async fn watch(
        &self,
        user: &UserKey,
        connection: ConnKey,
        viewer: Option<&UserId>,
        admitted: impl FnOnce(Seen) + Send,
    ) -> std::result::Result<(), WatchRefusal> {
        let found = async {
            // What changes from here on is heard.
            self.tell_interest().await?;
            let users = std::slice::from_ref(&user.1);
            let sight = self.sights(&user.0, viewer, users).await?.first().copied();
            let seen = self.look(&user.0, users).await?.first().copied();
            Ok::<_, super::PresenceError>((sight.unwrap_or(Sight::Denied), seen.unwrap_or_default()))
        };
        let (sight, seen) = found.await.map_err(|error| {
            tracing::debug!(%error, "a user is not watched");
            WatchRefusal::Unavailable
        })?;
        // Changes are told by whoever looks at them next, who needs this lock first.
        let mut watches = lock(&self.watches);
        admitted(watches.admit(user, connection, sight, seen).ok_or(WatchRefusal::Denied)?);
        Ok(())
    }

    /// A connection does not watch a user any more.
    pub fn end_watch(&self, user: &UserKey, connection: ConnKey) {
        if lock(&self.watches).end(user, connection) {
            lock(&self.interest).insert(user.clone());
        }
    }

    /// Tells the backend whom this node watches now.
    pub(super) async fn tell_interest(&self) -> Result<()> {
        let _telling = self.telling.lock().await;
        let changed = mem::take(&mut *lock(&self.interest));
        let mut left = changed.into_iter();
        while let Some(user) = left.next() {
            let on = lock(&self.watches).is_watched(&user);
            if let Err(error) = self.deps.backend.watch(&self.deps.node, &user, on).await {
                lock(&self.interest).extend(left.chain([user]));
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Looks at watched users who may have changed, and tells those who watch them. `true`: there are more.
    pub(super) async fn look_at_due(&self) -> bool {
        let due = lock(&self.watches).take_due(BATCH);
        let more = due.len() == BATCH;
        let mut by_app = HashMap::<AppId, Vec<Due>>::new();
        for due in due {
            by_app.entry(due.user.0.clone()).or_default().push(due);
        }
        let mut letters = HashMap::<ConnKey, Vec<(UserId, Update)>>::new();
        for (app, due) in by_app {
            let users: Vec<UserId> = due.iter().map(|due| due.user.1.clone()).collect();
            match self.look(&app, &users).await {
                Ok(seen) => {
                    for (due, seen) in due.into_iter().zip(seen) {
                        self.look_again(&due, seen, &mut letters).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "presence can't be read, again soon");
                    let mut watches = lock(&self.watches);
                    for due in &due {
                        watches.again(due);
                    }
                }
            }
        }
        if let Some(outlet) = self.outlet.get() {
            for (connection, updates) in letters {
                outlet.updates(connection, updates);
            }
        }
        more
    }

    async fn look_again(&self, due: &Due, seen: Seen, letters: &mut HashMap<ConnKey, Vec<(UserId, Update)>>) {
        let (app, user) = &due.user;
        let mut sights = Vec::new();
        for viewer in &due.viewers {
            match self.sights(app, Some(viewer), std::slice::from_ref(user)).await {
                Ok(sight) => sights.extend(sight.into_iter().map(|sight| (viewer.clone(), sight))),
                Err(error) => {
                    tracing::warn!(%error, "who may see a user can't be read, again soon");
                    return lock(&self.watches).again(due);
                }
            }
        }
        let mut ended = Vec::new();
        let mut watches = lock(&self.watches);
        watches.apply(due, seen, &sights, |connection, update| {
            ended.extend((update == Update::Ended).then_some(connection));
            letters.entry(connection).or_default().push((user.clone(), update));
        });
        drop(watches);
        for connection in ended {
            self.end_watch(&due.user, connection);
        }
    }
}

/// What a watcher is told, as members of a publication.
pub fn members_of(user: &UserId, seen: Seen) -> Bytes {
    let last_seen = seen.last_seen.map_or_else(|| "null".to_owned(), |at| format!("\"{at}\""));
    // Ids have no characters that JSON escapes.
    let (user, status) = (user.as_str(), seen.status.as_str());
    format!("\"data\":{{\"user\":\"{user}\",\"status\":\"{status}\",\"last_seen\":{last_seen}}}").into()
}
