//! `fama serve`.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use fama_fanout::Clock;

use super::{ConfigArgs, dev, runtime, say};
use crate::backends::{self, Backends};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::demo::Demo;
use crate::role::Role;
use crate::server::Server;
use crate::telemetry::logs;

#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// What this process does: gateway, api, fanout, janitor; all by default
    #[arg(long, value_delimiter = ',', value_name = "ROLES")]
    roles: Vec<Role>,
    /// For development: makes a secret in the store's folder if none is set, which `fama token --dev` uses too
    #[arg(long)]
    dev: bool,
}

pub fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let mut config = args.config.load()?;
    if !args.roles.is_empty() {
        config.server.roles.clone_from(&args.roles);
    }
    logs::start(&config.log).map_err(|why| anyhow::anyhow!(why))?;
    if args.dev {
        dev::prepare(&mut config)?;
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let backends = backends::connect(&config, &clock).map_err(|why| anyhow::anyhow!(why))?;
    let runtime = runtime()?;
    runtime.block_on(serve(&config, backends, clock, None))?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// Runs a server in the foreground until a signal ends it.
pub async fn serve(
    config: &Config,
    backends: Backends,
    clock: Arc<dyn Clock>,
    demo: Option<Demo>,
) -> anyhow::Result<()> {
    let shutdown = signals()?;
    crate::run(config, backends, clock, demo, shutdown, announce).await
}

async fn announce(server: &Server) -> io::Result<()> {
    say(&format!("listening on {}://{}", server.public_scheme(), server.public_address()))
        .map_err(io::Error::other)?;
    say(&format!("admin on http://{}", server.admin_address())).map_err(io::Error::other)
}

/// Ready at the first SIGTERM or SIGINT; the second ends the process at once.
pub fn signals() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping; a second signal ends at once");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(130);
        });
    })
}
