//! Configuration: one TOML file and the environment. The structs are the documentation; see [`sections`].
//!
//! Values come from, in this order of strength: `FAMA_<SECTION>__<KEY>`, the file, the defaults. A key that does not
//! exist is an error that names the nearest one that does; what makes no sense together is an error that says how to
//! mend it. Nothing here reads the process environment: the caller passes it in.

pub mod namespaces;
mod print;
pub mod section;
pub mod sections;
mod source;
mod validate;

pub use namespaces::{ChannelRules, Namespace, Permission, Recovery};
pub use print::print_defaults;
pub use section::Secret;
pub use sections::{
    Auth, Bus, Cluster, Demo, Fanout, Feed, Graph, Limits, Log, LogFormat, Presence, PresenceVisibility,
    Server, Storage,
};
pub use validate::RouteRate;

use std::path::Path;

/// Everything that can be configured. [`Config::default`] is what `fama print-config` prints.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// Addresses, deadlines, origins.
    pub server: Server,
    /// The embedded store.
    pub storage: Storage,
    /// The services of a cluster.
    pub cluster: Cluster,
    /// Who is believed.
    pub auth: Auth,
    /// How posts reach feeds.
    pub fanout: Fanout,
    /// Feeds.
    pub feed: Feed,
    /// The follow graph.
    pub graph: Graph,
    /// What is refused.
    pub limits: Limits,
    /// Who is online.
    pub presence: Presence,
    /// The demonstration.
    pub demo: Demo,
    /// Logs.
    pub log: Log,
    /// Channels without a namespace.
    pub channels: ChannelRules,
    /// Channels with one.
    pub namespaces: Vec<Namespace>,
}

/// Why a configuration is refused; the message names the key, where it was set, and the fix.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub(crate) String);

impl Config {
    /// Reads the file, if one is given, and the environment (pairs of name and value; others than `FAMA_…` are
    /// ignored), and checks the whole.
    pub fn load<E>(file: Option<&Path>, environment: E) -> Result<Self, ConfigError>
    where
        E: IntoIterator<Item = (String, String)>,
    {
        let config = source::read(file, environment)?;
        config.validate()?;
        Ok(config)
    }
}
