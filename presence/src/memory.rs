//! The backend within one process: for a node alone, and for tests of several.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use fama_protocol::ScopedChannel;
use futures_util::future::poll_fn;

use crate::backend::{Backend, Heard, Hint, Member, MemberChange, MemberCounts, Node, Result, UserKey};

/// Taken out of a dead node at once.
const SWEEP: usize = 1_000;

#[derive(Debug, Default)]
struct NodeState {
    until_ms: u64,
    users: HashMap<UserKey, u32>,
    /// Channels with members here.
    channels: BTreeSet<ScopedChannel>,
    watched: HashSet<UserKey>,
    heard: VecDeque<Hint>,
    lost: bool,
    waker: Option<Waker>,
}

impl NodeState {
    fn hear(&mut self, hint: Hint, limit: usize) {
        if self.heard.len() < limit {
            self.heard.push_back(hint);
        } else {
            self.lost = true;
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<Node, NodeState>,
    /// By channel and connection; the node that holds it.
    members: HashMap<ScopedChannel, BTreeMap<u128, (Node, Member)>>,
    count: usize,
    closed: bool,
}

/// See the module.
#[derive(Debug)]
pub struct MemoryBackend {
    state: Mutex<State>,
    max_members: usize,
    max_heard: usize,
}

impl MemoryBackend {
    /// Nobody is there. At `max_members` in all channels newcomers are not taken in; at `max_heard` hints that wait for a
    /// node more are dropped, and it hears [`Heard::Lost`].
    pub fn new(max_members: usize, max_heard: usize) -> Self {
        Self { state: Mutex::default(), max_members, max_heard }
    }

    /// Ends [`Backend::hear`] of all nodes.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.nodes.values_mut().filter_map(|node| node.waker.take()).for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_in(&self, state: &mut State, hint: &Hint) {
        for node in state.nodes.values_mut() {
            let concerned = match hint {
                Hint::User(user) => node.watched.contains(user),
                Hint::Relation(app, one, other) => {
                    let watches =
                        |user: &fama_protocol::UserId| node.watched.contains(&(app.clone(), user.clone()));
                    watches(one) || watches(other)
                }
                Hint::Member { channel, .. } => node.channels.contains(channel),
            };
            if concerned {
                node.hear(hint.clone(), self.max_heard);
            }
        }
    }

    /// `false`: there is no room.
    fn join(&self, state: &mut State, node: &Node, change: &MemberChange) -> bool {
        let client = change.member.client;
        let is_new = state.members.get(&change.channel).is_none_or(|inside| !inside.contains_key(&client));
        if is_new && state.count >= self.max_members {
            return false;
        }
        let inside = state.members.entry(change.channel.clone()).or_default();
        inside.insert(client, (node.clone(), change.member.clone()));
        state.nodes.entry(node.clone()).or_default().channels.insert(change.channel.clone());
        if is_new {
            state.count += 1;
            self.told(state, change, true, change.member.info.clone());
        }
        true
    }

    fn leave(&self, state: &mut State, node: &Node, change: &MemberChange) {
        let Some(inside) = state.members.get_mut(&change.channel) else { return };
        let Some((_, gone)) = inside.remove(&change.member.client) else { return };
        let others = inside.values().any(|(holder, _)| holder == node);
        if inside.is_empty() {
            state.members.remove(&change.channel);
        }
        state.count -= 1;
        if !others && let Some(node) = state.nodes.get_mut(node) {
            node.channels.remove(&change.channel);
        }
        self.told(state, change, false, gone.info);
    }

    fn told(&self, state: &mut State, change: &MemberChange, joined: bool, info: Bytes) {
        if change.tell {
            let channel = change.channel.clone();
            self.tell_in(state, &Hint::Member { channel, joined, info });
        }
    }

    /// Takes a part of what a dead node said out; the users who are nowhere now.
    fn bury(&self, state: &mut State, name: &Node, now_ms: u64) -> Vec<UserKey> {
        let Some(node) = state.nodes.get_mut(name) else { return Vec::new() };
        let users: Vec<UserKey> = node.users.keys().take(SWEEP).cloned().collect();
        for user in &users {
            node.users.remove(user);
        }
        let channels: Vec<ScopedChannel> = node.channels.iter().cloned().collect();
        let mut gone = Vec::new();
        for user in users {
            let alive = |node: &NodeState| node.until_ms > now_ms && node.users.contains_key(&user);
            if !state.nodes.values().any(alive) {
                self.tell_in(state, &Hint::User(user.clone()));
                gone.push(user);
            }
        }
        let mut changes = Vec::new();
        for channel in channels {
            let inside = state.members.get(&channel).into_iter().flatten();
            let here = inside.filter(|(_, (holder, _))| holder == name);
            changes.extend(here.take(SWEEP - changes.len()).map(|(_, (_, member))| MemberChange {
                channel: channel.clone(),
                member: member.clone(),
                joined: false,
                tell: true,
            }));
        }
        for change in &changes {
            self.leave(state, name, change);
        }
        if state.nodes.get(name).is_some_and(|node| node.users.is_empty() && node.channels.is_empty()) {
            let node = state.nodes.remove(name);
            // It may live and only have been slow: then it listens again.
            node.and_then(|node| node.waker).into_iter().for_each(Waker::wake);
        }
        gone
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    async fn report(&self, node: &Node, users: &[(UserKey, u32)]) -> Result<()> {
        let mut state = self.lock();
        for (user, devices) in users {
            let here = &mut state.nodes.entry(node.clone()).or_default().users;
            let before = if *devices == 0 { here.remove(user) } else { here.insert(user.clone(), *devices) };
            if before.is_some() != (*devices > 0) {
                self.tell_in(&mut state, &Hint::User(user.clone()));
            }
        }
        Ok(())
    }

    async fn elsewhere(&self, node: &Node, users: &[UserKey], now_ms: u64) -> Result<Vec<u32>> {
        let state = self.lock();
        let others = || state.nodes.iter().filter(|(name, it)| *name != node && it.until_ms > now_ms);
        let count = |user| others().filter_map(|(_, node)| node.users.get(user)).sum();
        Ok(users.iter().map(count).collect())
    }

    async fn watch(&self, node: &Node, user: &UserKey, on: bool) -> Result<()> {
        let mut state = self.lock();
        let watched = &mut state.nodes.entry(node.clone()).or_default().watched;
        if on {
            watched.insert(user.clone())
        } else {
            watched.remove(user)
        };
        Ok(())
    }

    async fn tell(&self, hint: Hint) -> Result<()> {
        self.tell_in(&mut self.lock(), &hint);
        Ok(())
    }

    async fn change_members(&self, node: &Node, changes: &[MemberChange]) -> Result<usize> {
        let mut state = self.lock();
        let mut refused = 0;
        for change in changes {
            if !change.joined {
                self.leave(&mut state, node, change);
            } else if !self.join(&mut state, node, change) {
                refused += 1;
            }
        }
        Ok(refused)
    }

    async fn members(
        &self,
        channel: &ScopedChannel,
        limit: usize,
        now_ms: u64,
    ) -> Result<Option<Vec<Member>>> {
        let state = self.lock();
        let inside = alive(&state, channel, now_ms).take(limit + 1);
        let members: Vec<Member> = inside.cloned().collect();
        Ok((members.len() <= limit).then_some(members))
    }

    async fn count(&self, channel: &ScopedChannel, now_ms: u64) -> Result<MemberCounts> {
        let state = self.lock();
        let users: HashSet<&str> = alive(&state, channel, now_ms).map(|member| &*member.user).collect();
        Ok(MemberCounts { clients: alive(&state, channel, now_ms).count(), users: users.len() })
    }

    async fn renew(&self, node: &Node, ttl_ms: u64, now_ms: u64) -> Result<bool> {
        let mut state = self.lock();
        let held = state.nodes.get(node).is_some_and(|node| node.until_ms > now_ms);
        if !held {
            // What it said before the lapse may be wrong by now.
            while state.nodes.get(node).is_some_and(|it| !it.users.is_empty() || !it.channels.is_empty()) {
                self.bury(&mut state, node, now_ms);
            }
        }
        let node = state.nodes.entry(node.clone()).or_default();
        node.until_ms = now_ms + ttl_ms;
        Ok(held)
    }

    async fn sweep(&self, now_ms: u64) -> Result<Vec<UserKey>> {
        let mut state = self.lock();
        let dead = state.nodes.iter().filter(|(_, node)| node.until_ms <= now_ms);
        let dead: Vec<Node> = dead.map(|(name, _)| name.clone()).collect();
        let mut gone = Vec::new();
        for name in dead {
            gone.extend(self.bury(&mut state, &name, now_ms));
            if gone.len() >= SWEEP {
                break;
            }
        }
        Ok(gone)
    }

    async fn hear(&self, node: &Node) -> Option<Heard> {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.closed {
                return Poll::Ready(None);
            }
            let node = state.nodes.entry(node.clone()).or_default();
            if std::mem::take(&mut node.lost) {
                return Poll::Ready(Some(Heard::Lost));
            }
            if let Some(hint) = node.heard.pop_front() {
                return Poll::Ready(Some(Heard::Hint(hint)));
            }
            node.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

fn alive<'s>(
    state: &'s State,
    channel: &ScopedChannel,
    now_ms: u64,
) -> impl Iterator<Item = &'s Member> + use<'s> {
    let inside = state.members.get(channel).into_iter().flat_map(BTreeMap::values);
    let is_alive = move |node: &Node| state.nodes.get(node).is_some_and(|node| node.until_ms > now_ms);
    inside.filter(move |(node, _)| is_alive(node)).map(|(_, member)| member)
}

#[cfg(test)]
mod tests {
    use fama_protocol::{AppId, UserId};

    use super::*;

    #[tokio::test]
    async fn passes_the_contract() {
        let backend = MemoryBackend::new(1_000, 1_000);
        crate::contract::users(&backend, "m").await;
        crate::contract::members(&backend, "m").await;
    }

    #[tokio::test]
    async fn without_room_newcomers_are_left_out_and_others_leave() {
        let (backend, node) = (MemoryBackend::new(1, 10), Node("1.1".into()));
        let channel = ScopedChannel::new(&AppId::default(), fama_protocol::Channel::new("room").unwrap());
        let change = |client, joined| MemberChange {
            channel: channel.clone(),
            member: Member { client, user: "ann".into(), info: Bytes::new() },
            joined,
            tell: true,
        };
        backend.renew(&node, 10, 0).await.unwrap();
        let changes = [change(1, true), change(2, true), change(1, true), change(2, false)];
        assert_eq!(backend.change_members(&node, &changes).await, Ok(1));
        assert_eq!(backend.members(&channel, 5, 0).await, Ok(Some(vec![change(1, true).member])));
        let changes = [change(1, false), change(2, true)];
        assert_eq!(backend.change_members(&node, &changes).await, Ok(0));
        assert_eq!(backend.members(&channel, 5, 0).await, Ok(Some(vec![change(2, true).member])));
    }

    #[tokio::test]
    async fn a_slow_node_hears_that_hints_were_lost() {
        let (backend, node) = (MemoryBackend::new(10, 2), Node("1.1".into()));
        let user = (AppId::default(), UserId::new("ann").unwrap());
        backend.watch(&node, &user, true).await.unwrap();
        for _ in 0..3 {
            backend.tell(Hint::User(user.clone())).await.unwrap();
        }
        assert_eq!(backend.hear(&node).await, Some(Heard::Lost));
        assert_eq!(backend.hear(&node).await, Some(Heard::Hint(Hint::User(user))));
        backend.close();
        assert_eq!(backend.hear(&node).await, None);
    }
}
