//! The registry in this process's memory.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, RwLock};

use async_trait::async_trait;
use fama_protocol::{Channel, ScopedChannel, ScopedMap};

use super::registry::{NodeId, Registry};
use crate::sync::{lock, read, write};
use crate::{FanoutError, Result};

const SHARDS: usize = 16;

/// A node by its place in the list of nodes.
type NodeIndex = u32;

/// The nodes of some channels. Almost every channel has one.
#[derive(Debug, Default)]
struct Shard {
    one: ScopedMap<Channel, NodeIndex>,
    /// Two or more.
    more: HashMap<ScopedChannel, Vec<NodeIndex>>,
}

impl Shard {
    fn of(&self, channel: &ScopedChannel) -> &[NodeIndex] {
        match self.one.get(&channel.app, &channel.channel) {
            Some(only) => std::slice::from_ref(only),
            None => self.more.get(channel).map_or(&[], Vec::as_slice),
        }
    }

    fn add(&mut self, channel: &ScopedChannel, node: NodeIndex) {
        let ScopedChannel { app, channel: name } = channel;
        if let Some(nodes) = self.more.get_mut(channel) {
            nodes.push(node);
        } else if let Some(other) = self.one.remove(app, name) {
            self.more.insert(channel.clone(), vec![other, node]);
        } else {
            self.one.insert(app, name.clone(), node);
        }
    }

    /// Takes a node away from a channel; `true`: none is left.
    fn remove(&mut self, channel: &ScopedChannel, node: NodeIndex) -> bool {
        let ScopedChannel { app, channel: name } = channel;
        if self.one.get(app, name) == Some(&node) {
            self.one.remove(app, name);
            return true;
        }
        if let Some(nodes) = self.more.get_mut(channel) {
            nodes.retain(|other| *other != node);
            if let [only] = nodes[..] {
                self.more.remove(channel);
                self.one.insert(app, name.clone(), only);
            }
        }
        false
    }

    /// Takes nodes away from all channels; how many channels have none any more.
    fn remove_all(&mut self, gone: &[NodeIndex]) -> usize {
        let before = self.one.len() + self.more.len();
        self.one.retain(|_, _, node| !gone.contains(node));
        let one = &mut self.one;
        self.more.retain(|channel, nodes| {
            nodes.retain(|node| !gone.contains(node));
            if let [only] = nodes[..] {
                one.insert(&channel.app, channel.channel.clone(), only);
            }
            nodes.len() > 1
        });
        before - self.one.len() - self.more.len()
    }
}

/// A node and until when it holds its lease (monotonic ms).
#[derive(Debug, Clone)]
struct Node {
    id: NodeId,
    until_ms: u64,
}

/// The registry of the embedded node.
#[derive(Debug)]
pub struct MemoryRegistry {
    /// Places are used again only when no channel names them any more.
    nodes: RwLock<Vec<Option<Node>>>,
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    channels: AtomicUsize,
    max_channels: usize,
}

impl MemoryRegistry {
    /// Empty. At `max_channels`, registering another one is refused with [`FanoutError::Full`].
    pub fn new(max_channels: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let (nodes, hasher, channels) = (RwLock::default(), RandomState::new(), AtomicUsize::new(0));
        Self { nodes, shards, hasher, channels, max_channels }
    }

    /// How many channels have nodes.
    pub fn len(&self) -> usize {
        self.channels.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets nodes whose lease ended, and what they registered. To be called every few seconds.
    pub fn sweep(&self, now_ms: u64) {
        let mut dead = Vec::new();
        {
            let mut nodes = write(&self.nodes);
            for (index, place) in (0..).zip(nodes.iter_mut()) {
                if let Some(node) = place.as_mut().filter(|node| node.until_ms <= now_ms) {
                    // From here on nobody finds this place by name; it is free once no channel names it.
                    node.id = NodeId("".into());
                    dead.push(index);
                }
            }
        }
        if dead.is_empty() {
            return;
        }
        for shard in &self.shards {
            let gone = lock(shard).remove_all(&dead);
            self.channels.fetch_sub(gone, Ordering::Relaxed);
        }
        let mut nodes = write(&self.nodes);
        for index in dead {
            nodes[index as usize] = None;
        }
    }

    /// Loses everything, as a cache does: nodes find out when they renew.
    pub fn clear(&self) {
        {
            let mut nodes = write(&self.nodes);
            nodes.iter_mut().flatten().for_each(|node| node.until_ms = 0);
        }
        self.sweep(0);
    }

    fn shard(&self, channel: &ScopedChannel) -> MutexGuard<'_, Shard> {
        let at = (self.hasher.hash_one(channel) >> 57) as usize % SHARDS;
        lock(&self.shards[at])
    }

    /// Runs with the node's index, which stays its own meanwhile.
    fn with_node<R>(&self, node: &NodeId, f: impl FnOnce(NodeIndex) -> R) -> R {
        let place = |nodes: &[Option<Node>]| {
            nodes.iter().position(|held| held.as_ref().is_some_and(|held| held.id == *node))
        };
        {
            let nodes = read(&self.nodes);
            if let Some(index) = place(&nodes) {
                return f(NodeIndex::try_from(index).unwrap_or(NodeIndex::MAX));
            }
        }
        let mut nodes = write(&self.nodes);
        let index = place(&nodes).unwrap_or_else(|| {
            let free = nodes.iter().position(Option::is_none).unwrap_or_else(|| {
                nodes.push(None);
                nodes.len() - 1
            });
            nodes[free] = Some(Node { id: node.clone(), until_ms: 0 });
            free
        });
        f(NodeIndex::try_from(index).unwrap_or(NodeIndex::MAX))
    }
}

#[async_trait]
impl Registry for MemoryRegistry {
    async fn register(&self, node: &NodeId, channel: &ScopedChannel) -> Result<()> {
        self.with_node(node, |index| {
            let mut shard = self.shard(channel);
            let held = shard.of(channel);
            if held.contains(&index) {
                return Ok(());
            }
            if held.is_empty() {
                if self.len() >= self.max_channels {
                    return Err(FanoutError::Full("the memory for registered channels"));
                }
                self.channels.fetch_add(1, Ordering::Relaxed);
            }
            shard.add(channel, index);
            Ok(())
        })
    }

    async fn unregister(&self, node: &NodeId, channel: &ScopedChannel) -> Result<()> {
        self.with_node(node, |index| {
            if self.shard(channel).remove(channel, index) {
                self.channels.fetch_sub(1, Ordering::Relaxed);
            }
        });
        Ok(())
    }

    async fn lookup(&self, channels: &[ScopedChannel], now_ms: u64) -> Result<Vec<Vec<NodeId>>> {
        let nodes = read(&self.nodes);
        let name = |index: &NodeIndex| {
            let node = nodes.get(*index as usize)?.as_ref()?;
            (node.until_ms > now_ms).then(|| node.id.clone())
        };
        let of = |channel| self.shard(channel).of(channel).iter().filter_map(name).collect();
        Ok(channels.iter().map(of).collect())
    }

    async fn renew(&self, node: &NodeId, ttl_ms: u64, now_ms: u64) -> Result<bool> {
        self.with_node(node, |_| ());
        let mut nodes = write(&self.nodes);
        let Some(held) = nodes.iter_mut().flatten().find(|held| held.id == *node) else {
            return Ok(false);
        };
        let kept = held.until_ms > now_ms;
        held.until_ms = now_ms.saturating_add(ttl_ms);
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;
    use crate::testing::TestClock;
    use fama_protocol::{AppId, Channel};

    #[tokio::test(start_paused = true)]
    async fn passes_the_contract() {
        contract::registry(&MemoryRegistry::new(100), &TestClock::new(1), "n").await;
    }

    #[tokio::test]
    async fn sweeping_forgets_dead_nodes_and_only_those() {
        let registry = MemoryRegistry::new(2);
        let channel = |name| ScopedChannel::new(&AppId::default(), Channel::new(name).unwrap());
        let node = |name: &str| NodeId(name.into());
        registry.renew(&node("1.1"), 10, 0).await.unwrap();
        registry.renew(&node("2.1"), 20, 0).await.unwrap();
        registry.register(&node("1.1"), &channel("a")).await.unwrap();
        registry.register(&node("1.1"), &channel("b")).await.unwrap();
        registry.register(&node("2.1"), &channel("b")).await.unwrap();
        let third = registry.register(&node("2.1"), &channel("c")).await;
        assert!(matches!(third, Err(FanoutError::Full(_))));
        registry.sweep(15);
        assert_eq!(registry.len(), 1);
        registry.register(&node("3.1"), &channel("c")).await.unwrap();
        assert!(!registry.renew(&node("3.1"), 10, 15).await.unwrap());
        let found = registry.lookup(&[channel("a"), channel("b"), channel("c")], 16).await.unwrap();
        assert_eq!(found, [vec![], vec![node("2.1")], vec![node("3.1")]]);
        registry.clear();
        assert!(registry.is_empty());
        assert!(!registry.renew(&node("2.1"), 20, 17).await.unwrap());
    }
}
