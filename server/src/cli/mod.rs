//! The command line.

mod demo;
mod dev;
mod doctor;
mod import;
mod progress;
mod serve;
mod token;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::config::{Config, print_defaults};

/// Fama: real-time feeds and notifications, self-hosted.
#[derive(Debug, Parser)]
#[command(name = "fama", version, about, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a command: serve.
    #[command(flatten)]
    serve: serve::ServeArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server (the default)
    Serve(serve::ServeArgs),
    /// Show it: a real follow graph, simulated authors, a page; everything in a temporary folder
    Demo(demo::DemoArgs),
    /// Check the configuration and say what is wrong with it
    CheckConfig(ConfigArgs),
    /// Look at this machine and the configuration, and say what is wrong and what to do about it
    Doctor(doctor::DoctorArgs),
    /// Print every key of the configuration with its default and its documentation
    PrintConfig,
    /// Sign a token with `auth.hmac_secret`
    Token(token::TokenArgs),
    /// Import follows or posts, into the store or through a running server; goes on where it stopped
    Import(import::ImportArgs),
}

/// Where the configuration is.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// TOML file; FAMA_<SECTION>__<KEY> in the environment wins over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    /// The file and the environment, checked.
    fn load(&self) -> anyhow::Result<Config> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Ok(Config::load(self.config.as_deref(), environment)?)
    }
}

/// Runs a command.
pub fn main(cli: Cli) -> ExitCode {
    let result = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::CheckConfig(args) => check(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::PrintConfig => say(print_defaults().trim_end()),
        Command::Token(args) => token::run(&args),
        Command::Import(args) => import::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The whole chain: the last cause is often the one to mend.
            let _ = writeln!(io::stderr(), "fama: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A line on standard output, at once: others wait for it. A reader that went away is no error.
fn say(line: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(()),
    }
}

fn check(args: &ConfigArgs) -> anyhow::Result<()> {
    let config = args.load()?;
    crate::server::check(&config)?;
    say("the configuration is good")
}

/// The runtime for everything that is not a socket's.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    // One provider of cryptography for everything; a second installation is refused and does no harm.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("work").build().context("no runtime")
}
