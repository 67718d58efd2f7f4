//! `fama demo`.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use fama_fanout::Clock;
use fama_protocol::{AppId, UnixMs};
use fama_storage::{Profile, Stores};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use super::progress::Shown;
use super::serve::signals;
use super::{dev, runtime, say};
use crate::backends;
use crate::clock::SystemClock;
use crate::config::{ChannelRules, Config, LogFormat, Namespace, Permission, Recovery, Secret};
use crate::demo::authors::Authors;
use crate::demo::guests::Guests;
use crate::demo::texts::{self, Dice};
use crate::demo::vitals::Last;
use crate::demo::{Demo, Member, graph};
use crate::import::{self, Input, Kind, StoreTarget};
use crate::server::Server;
use crate::telemetry::logs;

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the page is; 0 takes any free port
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Milliseconds between two simulated posts; 0 posts nothing
    #[arg(long, default_value_t = 700, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=3_600_000))]
    post_every_ms: u64,
    /// Followers above which an author is a celebrity, whose posts are pulled and not pushed
    #[arg(long, default_value_t = 60, value_name = "FOLLOWERS", value_parser = clap::value_parser!(u64).range(5..))]
    celebrity_up: u64,
    /// Posts there are at the start
    #[arg(long, default_value_t = 600, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(..=100_000))]
    posts: u64,
    /// Open the page in a browser
    #[arg(long)]
    open: bool,
}

/// The posts that are there at the start were written in so many milliseconds before it.
const PAST_MS: u64 = 6 * 3_600_000;
/// Waits at most so long for the posts of the past to reach their feeds.
const SETTLE_MS: u64 = 30_000;
/// Requests a minute of a visitor: a lively page asks often.
const PER_MINUTE: u32 = 6_000;

pub fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("fama-demo-").tempdir().context("no temporary folder")?;
    let mut config = configure(args);
    config.storage.path = folder.path().to_path_buf();
    logs::start(&config.log).map_err(|why| anyhow!(why))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let runtime = runtime()?;
    runtime.block_on(demonstrate(args, &config, clock))?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    folder.close().context("the temporary folder")
}

fn configure(args: &DemoArgs) -> Config {
    let mut config = Config::default();
    config.server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    config.server.admin_listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.server.drain_s = 3;
    config.auth.hmac_secret = Some(Secret::new(dev::random_hex()));
    config.fanout.celebrity_up = args.celebrity_up;
    config.fanout.celebrity_down = args.celebrity_up * 6 / 10;
    config.fanout.dwell_s = 60;
    config.limits.user_per_minute = PER_MINUTE;
    config.limits.address_per_minute = PER_MINUTE * 10;
    config.demo.page = true;
    config.log.level = "warn".into();
    config.log.format = LogFormat::Text;
    config.namespaces = vec![Namespace {
        name: "public".into(),
        rules: ChannelRules {
            history_size: 100,
            history_ttl_s: 300,
            recovery: Recovery::Stream,
            subscribe: Permission::User,
            publish: Permission::User,
            ..ChannelRules::default()
        },
    }];
    config
}

async fn demonstrate(args: &DemoArgs, config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<()> {
    let shutdown = signals()?;
    let backends = backends::connect(config, &clock).map_err(|why| anyhow!(why))?;
    let members = graph::members();
    fill(args, config, &backends.stores, &clock, &members).await?;
    let secret = config.auth.hmac_secret.clone().context("the demonstration has a secret")?;
    let guests = Arc::new(Guests::default());
    let demo = Demo {
        members: members.clone(),
        secret: secret.clone(),
        celebrity_up: args.celebrity_up,
        post_every_ms: args.post_every_ms,
        guests: Arc::clone(&guests),
        vitals: Last::default(),
    };
    let mut simulation = tokio::task::JoinSet::new();
    let stores = backends.stores.clone();
    let started = async |server: &Server| {
        settle(&stores, &*clock).await;
        let url = format!("{}://{}", server.public_scheme(), server.public_address());
        announce(&url, server).map_err(io::Error::other)?;
        if args.post_every_ms > 0 {
            let authors = Authors::new(url.clone(), secret, members, guests, Arc::clone(&clock))
                .map_err(io::Error::other)?;
            simulation.spawn(authors.run(args.post_every_ms));
        }
        if args.open {
            open(&url);
        }
        Ok(())
    };
    crate::run(config, backends, Arc::clone(&clock), Some(demo), shutdown, started).await
}

/// Waits until the posts of the past are in their feeds: they are not to arrive as news of hours ago.
async fn settle(stores: &Stores, clock: &dyn Clock) {
    let begun = clock.monotonic_ms();
    while clock.monotonic_ms() - begun < SETTLE_MS && !matches!(stores.outbox.backlog().await, Ok(0) | Err(_))
    {
        clock.sleep(20).await;
    }
}

fn announce(url: &str, server: &Server) -> anyhow::Result<()> {
    say(&format!("listening on {url}"))?;
    say(&format!("admin on http://{}", server.admin_address()))?;
    say(&format!("\n  Open {url} and choose who to be. Ctrl-C ends the demo and removes its data.\n"))
}

/// The graph, names for its members, and some posts, through the import that every app has.
async fn fill(
    args: &DemoArgs,
    config: &Config,
    stores: &Stores,
    clock: &Arc<dyn Clock>,
    members: &[Member],
) -> anyhow::Result<()> {
    let app = AppId::default();
    let target = StoreTarget::new(
        stores.clone(),
        Arc::clone(clock),
        app.clone(),
        config.graph.follow_cap,
        "demo".into(),
    );
    let mut shown = Shown::new("follows");
    let follows = import::run(Kind::Follows, Input::Bytes(graph::FOLLOWS), &target, &mut shown).await?;
    shown.finish(follows);
    let profiles = stream::iter(members).map(|member| {
        let profile = Profile { name: Some(member.name.clone()), ..Profile::default() };
        let (stores, app) = (stores.clone(), app.clone());
        async move { stores.users.put_profile(&app, &member.id, &profile).await }
    });
    profiles.buffer_unordered(64).try_collect::<()>().await?;
    let mut shown = Shown::new("posts");
    let text = past(args.posts, clock, members);
    let posts = import::run(Kind::Posts, Input::Bytes(text.as_bytes()), &target, &mut shown).await?;
    shown.finish(posts);
    target.close().await.map_err(|why| anyhow!(why))
}

/// What was written before the demonstration began, as the import takes it.
fn past(count: u64, clock: &Arc<dyn Clock>, members: &[Member]) -> String {
    let mut dice = || clock.random();
    let begin = UnixMs(clock.now().0.saturating_sub(PAST_MS));
    let mut lines = String::new();
    for number in 0..count {
        let Some(member) = members.get(dice.roll(members.len())) else { break };
        let at = begin.plus(PAST_MS * number / count.max(1));
        let line = json!({ "author": member.id, "created_at": at, "text": texts::post(&mut dice) });
        let _ = writeln!(lines, "{line}");
    }
    lines
}

/// With whatever the system opens addresses with. That there is nothing is no error: the address is printed.
fn open(url: &str) {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = std::process::Stdio::null;
    let _ =
        std::process::Command::new(opener).arg(url).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn();
}
