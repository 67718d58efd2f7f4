//! Which nodes hold subscribers of a channel. A projection under the nodes' leases.

use async_trait::async_trait;
use fama_protocol::ScopedChannel;

use crate::Result;

/// One start of one node: `<node number>.<incarnation>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub std::sync::Arc<str>);

/// The registry. Writes of one (node, channel) are the caller's to serialise.
#[async_trait]
pub trait Registry: Send + Sync {
    /// This node has subscribers of the channel.
    async fn register(&self, node: &NodeId, channel: &ScopedChannel) -> Result<()>;

    /// It has none any more.
    async fn unregister(&self, node: &NodeId, channel: &ScopedChannel) -> Result<()>;

    /// Nodes with subscribers and a lease, for each channel. At most 2,000 channels.
    async fn lookup(&self, channels: &[ScopedChannel], now_ms: u64) -> Result<Vec<Vec<NodeId>>>;

    /// Renews the node's lease for `ttl_ms`, only if it is still there. `false`: it ended, or the registry was lost; it is
    /// there again now, and the node must register its channels again and doubt all its positions.
    async fn renew(&self, node: &NodeId, ttl_ms: u64, now_ms: u64) -> Result<bool>;
}
