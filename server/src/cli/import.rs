//! `fama import`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;
use fama_fanout::Clock;
use fama_protocol::AppId;

use super::progress::Shown;
use super::{ConfigArgs, runtime};
use crate::backends;
use crate::clock::SystemClock;
use crate::config::Secret;
use crate::import::{self, HttpTarget, Input, Kind, StoreTarget, Target};
use crate::telemetry::logs;

#[derive(Debug, Args)]
pub struct ImportArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// CSV: follower,followee
    #[arg(long, value_name = "FILE.csv", required_unless_present = "posts")]
    follows: Option<PathBuf>,
    /// A post a line, as JSON: author, text, … and perhaps the time
    #[arg(long, value_name = "FILE.ndjson")]
    posts: Option<PathBuf>,
    /// Through the server at this address; without it into the store, while no server runs on it
    #[arg(long, requires = "api_key")]
    url: Option<String>,
    /// The key of a service of that server
    #[arg(long, value_name = "KEY", requires = "url")]
    api_key: Option<String>,
    /// The tenant, for an import into the store
    #[arg(long, default_value = "default")]
    app: AppId,
}

pub fn run(args: &ImportArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    logs::start(&config.log).map_err(|why| anyhow!(why))?;
    let runtime = runtime()?;
    if let (Some(url), Some(key)) = (&args.url, &args.api_key) {
        let target = HttpTarget::new(url, Secret::new(key)).map_err(|why| anyhow!(why))?;
        return runtime.block_on(import(args, &target));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let backends = backends::connect(&config, &clock).map_err(|why| {
        anyhow!("{why}. If a server runs on it, import through the server: --url http://… --api-key …")
    })?;
    let name = config.storage.path.display().to_string();
    let target = StoreTarget::new(backends.stores, clock, args.app.clone(), config.graph.follow_cap, name);
    runtime.block_on(async {
        let imported = import(args, &target).await;
        let closed = target.close().await.map_err(|why| anyhow!(why));
        imported.and(closed)
    })
}

async fn import(args: &ImportArgs, target: &dyn Target) -> anyhow::Result<()> {
    let inputs = [(Kind::Follows, "follows", &args.follows), (Kind::Posts, "posts", &args.posts)];
    for (kind, what, path) in inputs {
        let Some(path) = path else { continue };
        let mut shown = Shown::new(what);
        let records = import::run(kind, Input::File(path.clone()), target, &mut shown).await;
        let records = records.map_err(|error| anyhow!("{}: {error}", path.display()))?;
        shown.finish(records);
    }
    Ok(())
}
