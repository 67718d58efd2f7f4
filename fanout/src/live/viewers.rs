//! The users connected to this node: whom each does not see, and which celebrities each follows.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use fama_protocol::{AppId, ScopedMap, UserId};
use fama_storage::GraphStore;
use futures_util::lock::Mutex as AsyncMutex;

use crate::Result;
use crate::sync::lock;

/// Celebrities' channels of one connection, at most: those of the latest posters.
pub const MAX_CELEBRITIES: usize = 200;
/// Up to so many celebrities are looked up one by one, more by reading all followees.
const FEW: usize = 32;
/// Users asked about in one read.
const BATCH: usize = 1_000;

/// Who is a celebrity.
#[async_trait]
pub trait CelebrityList: Send + Sync {
    /// Authors whose posts go over `author:` channels, those that posted latest first. Cached by the implementer.
    async fn celebrities(&self, app: &AppId) -> Result<Arc<[UserId]>>;
}

/// What matters of one user's relations. Shared by the user's connections.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Viewer {
    /// Blocked, blocking or muted; sorted. Of more blockers than the store names, only celebrities: nobody else's
    /// events reach those they block, because a block ends the follow.
    pub hidden: Box<[UserId]>,
    /// Followed celebrities; sorted.
    pub celebrities: Box<[UserId]>,
}

impl Viewer {
    /// Whether events of this user are void for the viewer.
    pub fn hides(&self, actor: &UserId) -> bool {
        self.hidden.binary_search(actor).is_ok()
    }
}

/// `author:` channels to join and leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewerChange {
    /// The tenant.
    pub app: AppId,
    /// Whose connections.
    pub user: UserId,
    /// Celebrities followed now.
    pub joined: Vec<UserId>,
    /// And those not any more.
    pub left: Vec<UserId>,
}

type Key = (AppId, UserId);

#[derive(Debug)]
struct Slot {
    /// `None` until it was read first.
    viewer: Option<Arc<Viewer>>,
    connections: u32,
    /// Something changed since it was read.
    stale: bool,
}

#[derive(Default)]
struct Users {
    slots: ScopedMap<UserId, Slot>,
    /// Of each user whose relations are being read: one reads, the others wait.
    gates: HashMap<Key, Arc<AsyncMutex<()>>>,
}

/// Users with connections on this node.
pub struct Viewers {
    graph: Arc<dyn GraphStore>,
    list: Arc<dyn CelebrityList>,
    users: Mutex<Users>,
    /// One for each app that had connections.
    lists: Mutex<HashMap<AppId, List>>,
    /// Most users hide nobody and follow no celebrity: they share this.
    plain: Arc<Viewer>,
}

/// The celebrities of an app as connections were last told.
#[derive(Debug, Default)]
struct List {
    /// Grows with each change, so that a read which began before is done again.
    changes: u64,
    authors: Arc<[UserId]>,
}

/// A connection's hold on its user. Dropping it lets go.
pub struct Presence {
    viewers: Arc<Viewers>,
    key: Key,
    kept: bool,
}

impl Presence {
    /// Keeps the hold without this value: whoever does so calls [`Viewers::leave`] in the end. For those who hold a
    /// million and know the user anyway.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if !self.kept {
            self.viewers.release(&self.key);
        }
    }
}

impl Viewers {
    /// Nobody is connected.
    pub fn new(graph: Arc<dyn GraphStore>, list: Arc<dyn CelebrityList>) -> Self {
        Self { graph, list, users: Mutex::default(), lists: Mutex::default(), plain: Arc::default() }
    }

    /// A connection of this user is there. To be called when the user's own channel is registered: from then on changes
    /// are told. Reads the relations unless another connection has them already.
    pub async fn enter(self: &Arc<Self>, app: &AppId, user: &UserId) -> Result<(Presence, Arc<Viewer>)> {
        let key = (app.clone(), user.clone());
        {
            let mut users = lock(&self.users);
            let fresh = || Slot { connections: 0, viewer: None, stale: true };
            users.slots.get_or_insert_with(app, user.clone(), fresh).connections += 1;
        }
        let presence = Presence { viewers: Arc::clone(self), key, kept: false };
        self.know_list(app).await?;
        self.load(&presence.key).await?;
        let viewer = self.get(app, user).unwrap_or_default();
        Ok((presence, viewer))
    }

    /// The list is known before the first user of an app is read: only what changes later has to be told.
    async fn know_list(&self, app: &AppId) -> Result<()> {
        if !lock(&self.lists).contains_key(app) {
            let authors = self.list.celebrities(app).await?;
            lock(&self.lists).entry(app.clone()).or_insert(List { changes: 0, authors });
        }
        Ok(())
    }

    /// A connection of this user is gone, whose hold was kept by [`Presence::keep`].
    pub fn leave(&self, app: &AppId, user: &UserId) {
        self.release(&(app.clone(), user.clone()));
    }

    fn release(&self, key: &Key) {
        let (app, user) = key;
        let mut users = lock(&self.users);
        let Some(slot) = users.slots.get_mut(app, user) else { return };
        slot.connections = slot.connections.saturating_sub(1);
        if slot.connections == 0 {
            users.slots.remove(app, user);
            users.gates.remove(key);
        }
    }

    /// What is known of a connected user; `None` if there is no connection, or before the first read.
    pub fn get(&self, app: &AppId, user: &UserId) -> Option<Arc<Viewer>> {
        lock(&self.users).slots.get(app, user).and_then(|slot| slot.viewer.clone())
    }

    /// Whether events of `actor` are void for the user.
    pub fn hides(&self, app: &AppId, user: &UserId, actor: &UserId) -> bool {
        self.get(app, user).is_some_and(|viewer| viewer.hides(actor))
    }

    /// The user's relations changed: they are read again by [`Viewers::reload`]. An actor blocked or muted is hidden at
    /// once.
    pub fn changed(&self, app: &AppId, user: &UserId, hidden: Option<&UserId>) {
        let mut users = lock(&self.users);
        let Some(slot) = users.slots.get_mut(app, user) else { return };
        slot.stale = true;
        if let (Some(actor), Some(viewer)) = (hidden, &slot.viewer)
            && let Err(at) = viewer.hidden.binary_search(actor)
        {
            let mut more = viewer.hidden.to_vec();
            more.insert(at, actor.clone());
            let celebrities = viewer.celebrities.clone();
            slot.viewer = Some(Arc::new(Viewer { hidden: more.into(), celebrities }));
        }
    }

    /// Messages may be lost: everything is read again by [`Viewers::reload`].
    pub fn doubt(&self) {
        lock(&self.users).slots.values_mut().for_each(|slot| slot.stale = true);
    }

    /// Reads what is stale, of at most `limit` users; what that means for their connections. To be called soon after
    /// [`Viewers::changed`] and every second: what fails stays stale.
    pub async fn reload(&self, limit: usize) -> Vec<ViewerChange> {
        let stale: Vec<Key> = {
            let users = lock(&self.users);
            let stale = users.slots.iter().filter(|(_, _, slot)| slot.stale && slot.viewer.is_some());
            stale.take(limit).map(|(app, user, _)| (app.clone(), user.clone())).collect()
        };
        let mut changes = Vec::new();
        for key in stale {
            match self.load(&key).await {
                Ok(change) => changes.extend(change),
                Err(error) => tracing::debug!(%error, user = %key.1, "relations are not read, again later"),
            }
        }
        changes
    }

    /// Compares the lists of celebrities with those of the last call, for every app that had connections; what changed
    /// means for connections. To be called every second.
    pub async fn compare_lists(&self) -> Vec<ViewerChange> {
        let apps: Vec<AppId> = lock(&self.lists).keys().cloned().collect();
        let mut changes = Vec::new();
        for app in apps {
            match self.compare_list(&app).await {
                Ok(more) => changes.extend(more),
                Err(error) => tracing::debug!(%error, %app, "celebrities are not read, again later"),
            }
        }
        changes
    }

    async fn compare_list(&self, app: &AppId) -> Result<Vec<ViewerChange>> {
        let now = self.list.celebrities(app).await?;
        let (before, changes) = {
            let lists = lock(&self.lists);
            lists.get(app).map_or_else(Default::default, |list| (Arc::clone(&list.authors), list.changes))
        };
        if Arc::ptr_eq(&before, &now) {
            return Ok(Vec::new());
        }
        let missing = |from: &[UserId], among: &[UserId]| -> Vec<UserId> {
            let among: HashSet<&UserId> = among.iter().collect();
            from.iter().filter(|author| !among.contains(author)).cloned().collect()
        };
        let (added, removed) = (missing(&now, &before), missing(&before, &now));
        let told = List { changes: changes + 1, authors: now };
        let kept = lock(&self.lists).insert(app.clone(), told);
        let changed = self.celebrities_changed(app, &added, &removed).await;
        if changed.is_err() {
            // Compared again next time, with what was told.
            lock(&self.lists).insert(app.clone(), List { changes: changes + 1, ..kept.unwrap_or_default() });
        }
        changed
    }

    fn list_changes(&self, app: &AppId) -> u64 {
        lock(&self.lists).get(app).map_or(0, |list| list.changes)
    }

    /// The list of celebrities of an app changed.
    pub async fn celebrities_changed(
        &self,
        app: &AppId,
        added: &[UserId],
        removed: &[UserId],
    ) -> Result<Vec<ViewerChange>> {
        // Most new lists say the same as the last one.
        if added.is_empty() && removed.is_empty() {
            return Ok(Vec::new());
        }
        let online: Vec<UserId> = {
            let users = lock(&self.users);
            users.slots.iter_app(app).map(|(user, _)| user.clone()).collect()
        };
        let mut joined = HashMap::<UserId, Vec<UserId>>::new();
        for author in added {
            for batch in online.chunks(BATCH) {
                let edges = self.graph.edges_to(app, batch, author).await?;
                for (user, edge) in batch.iter().zip(edges) {
                    if edge.is_some_and(|edge| edge.until.is_none()) {
                        joined.entry(user.clone()).or_default().push(author.clone());
                    }
                }
            }
        }
        let mut changes = Vec::new();
        let mut users = lock(&self.users);
        for user in online {
            let more = joined.remove(&user).unwrap_or_default();
            let Some(slot) = users.slots.get_mut(app, &user) else { continue };
            let Some(viewer) = &slot.viewer else { continue };
            let mut celebrities: Vec<_> = viewer.celebrities.to_vec();
            celebrities.extend(more);
            celebrities.sort_unstable();
            celebrities.dedup();
            celebrities.retain(|author| !removed.contains(author));
            if celebrities == *viewer.celebrities {
                continue;
            }
            let hidden = viewer.hidden.clone();
            let next = Viewer { hidden, celebrities: celebrities.into() };
            changes.extend(difference(&(app.clone(), user), viewer, &next));
            slot.viewer = Some(Arc::new(next));
        }
        Ok(changes)
    }

    /// Reads one user's relations if they are stale, once for all who ask at the same time.
    async fn load(&self, key: &Key) -> Result<Option<ViewerChange>> {
        let (app, user) = key;
        let gate = {
            let mut users = lock(&self.users);
            if !users.slots.get(app, user).is_some_and(|slot| slot.stale) {
                return Ok(None);
            }
            Arc::clone(users.gates.entry(key.clone()).or_default())
        };
        let _reading = gate.lock().await;
        {
            // From here on changes count as newer than what is read.
            let mut users = lock(&self.users);
            let slot = users.slots.get_mut(app, user).filter(|slot| slot.stale);
            let Some(slot) = slot else { return Ok(None) };
            slot.stale = false;
        }
        let mut unread = Unread { viewers: self, key, failed: true };
        let list = self.list_changes(app);
        let next = self.read(key).await?;
        unread.failed = false;
        let other_list = self.list_changes(app) != list;
        let mut users = lock(&self.users);
        users.gates.remove(key);
        let Some(slot) = users.slots.get_mut(app, user) else { return Ok(None) };
        slot.stale |= other_list;
        let change = slot.viewer.as_ref().and_then(|before| difference(key, before, &next));
        slot.viewer = Some(if next == *self.plain { Arc::clone(&self.plain) } else { Arc::new(next) });
        Ok(change)
    }

    async fn read(&self, (app, user): &Key) -> Result<Viewer> {
        let relations = self.graph.relations(app, user).await?;
        let mut hidden: Vec<_> =
            relations.blocks.into_iter().chain(relations.blocked_by).chain(relations.mutes).collect();
        hidden.sort_unstable();
        hidden.dedup();
        let list = self.list.celebrities(app).await?;
        let mut celebrities = Vec::new();
        if list.len() <= FEW {
            for author in list.iter() {
                let edges = self.graph.edges_to(app, std::slice::from_ref(user), author).await?;
                if edges.into_iter().flatten().any(|edge| edge.until.is_none()) {
                    celebrities.push(author.clone());
                }
            }
        } else {
            let edges = self.graph.edges(app, user).await?;
            let mut followed: Vec<_> =
                edges.into_iter().filter(|edge| edge.until.is_none()).map(|edge| edge.author).collect();
            followed.sort_unstable();
            let followed = list.iter().filter(|author| followed.binary_search(author).is_ok());
            celebrities.extend(followed.take(MAX_CELEBRITIES).cloned());
        }
        if relations.blocked_by_more {
            let blocked = self.graph.blocked_by(app, user, &celebrities).await?;
            hidden.extend(
                celebrities.iter().zip(blocked).filter(|(_, by)| *by).map(|(author, _)| author.clone()),
            );
            hidden.sort_unstable();
            hidden.dedup();
        }
        celebrities.sort_unstable();
        Ok(Viewer { hidden: hidden.into(), celebrities: celebrities.into() })
    }
}

/// A read that fails, or is dropped, leaves the user stale.
struct Unread<'a> {
    viewers: &'a Viewers,
    key: &'a Key,
    failed: bool,
}

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        if self.failed
            && let Some(slot) = lock(&self.viewers.users).slots.get_mut(&self.key.0, &self.key.1)
        {
            slot.stale = true;
        }
    }
}

fn difference(key: &Key, before: &Viewer, after: &Viewer) -> Option<ViewerChange> {
    let missing = |from: &[UserId], among: &[UserId]| -> Vec<UserId> {
        from.iter().filter(|author| among.binary_search(author).is_err()).cloned().collect()
    };
    let joined = missing(&after.celebrities, &before.celebrities);
    let left = missing(&before.celebrities, &after.celebrities);
    let (app, user) = key.clone();
    (!joined.is_empty() || !left.is_empty()).then_some(ViewerChange { app, user, joined, left })
}

#[cfg(test)]
mod tests {
    use fama_protocol::UnixMs;
    use fama_storage::Relation;
    use fama_storage::memory::MemoryStore;
    use futures_util::future::join_all;

    use super::*;

    struct List(Mutex<Arc<[UserId]>>);

    #[async_trait]
    impl CelebrityList for List {
        async fn celebrities(&self, _: &AppId) -> Result<Arc<[UserId]>> {
            Ok(Arc::clone(&lock(&self.0)))
        }
    }

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    #[tokio::test]
    async fn viewers_are_read_once_and_follow_what_changes() {
        let (stores, app, now) = (MemoryStore::new().stores(), AppId::default(), UnixMs(1));
        let list = Arc::new(List(Mutex::new(Arc::from([user("star")]))));
        let viewers = Arc::new(Viewers::new(Arc::clone(&stores.graph), Arc::clone(&list) as _));
        let me = user("me");
        stores.graph.follow(&app, &me, &[user("star"), user("rising")], 9, now).await.unwrap();
        let relate = async |relation, target: &str, active| {
            stores.graph.relate(&app, &me, relation, &user(target), active, 9, now).await.unwrap();
        };
        relate(Relation::Mute, "loud", true).await;
        let entered = join_all((0..3).map(|_| viewers.enter(&app, &me))).await;
        for one in &entered {
            let (_, viewer) = one.as_ref().unwrap();
            assert!(viewer.hides(&user("loud")) && !viewer.hides(&user("star")));
            assert_eq!(viewer.celebrities[..], [user("star")]);
        }
        assert!(viewers.reload(9).await.is_empty(), "nothing is stale");

        relate(Relation::Block, "star", true).await;
        viewers.changed(&app, &me, Some(&user("star")));
        assert!(viewers.hides(&app, &me, &user("star")), "at once");
        let left =
            ViewerChange { app: app.clone(), user: me.clone(), joined: vec![], left: vec![user("star")] };
        assert_eq!(viewers.reload(9).await, [left]);
        relate(Relation::Block, "star", false).await;
        viewers.doubt();
        viewers.reload(9).await;
        assert!(!viewers.hides(&app, &me, &user("star")));

        *lock(&list.0) = Arc::from([user("rising"), user("other")]);
        let changes = viewers.celebrities_changed(&app, &[user("rising"), user("other")], &[]).await.unwrap();
        assert_eq!((changes.len(), &changes[0].joined), (1, &vec![user("rising")]));
        drop(entered);
        assert!(viewers.get(&app, &me).is_none(), "nobody is connected");

        let (_held, _) = viewers.enter(&app, &user("plain")).await.unwrap();
        let changes = viewers.celebrities_changed(&app, &[user("stranger")], &[user("star")]).await.unwrap();
        let viewer = viewers.get(&app, &user("plain")).unwrap();
        assert!(changes.is_empty() && Arc::ptr_eq(&viewer, &viewers.plain), "most users share one");
    }
}
