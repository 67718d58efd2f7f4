//! `fama doctor`: what is wrong, or will be, with this machine and configuration, and what to do about it.
//!
//! Each part looks at one thing and gives findings; a part for a service of a cluster is one more function.

mod machine;
mod network;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use super::{ConfigArgs, runtime, say};
use crate::config::Config;

#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also asks a running server here, such as `http://127.0.0.1:8000`
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    /// It works, and will not for ever or under load.
    Warn,
    /// It does not work.
    Fail,
}

/// What was found out.
#[derive(Debug, Serialize)]
struct Finding {
    /// What was looked at, a fixed word.
    check: &'static str,
    status: Status,
    /// How it is.
    message: String,
    /// What to do, unless it is fine.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, message: message.into(), fix: None }
    }

    fn warn(check: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, status: Status::Warn, message: message.into(), fix: Some(fix.into()) }
    }

    fn fail(check: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { status: Status::Fail, ..Self::warn(check, message, fix) }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    /// The worst.
    status: Status,
    version: &'static str,
    findings: &'a [Finding],
}

/// Looks at everything. The error says how many checks failed.
pub fn run(args: &DoctorArgs) -> anyhow::Result<()> {
    let (config, mut findings) = configuration(args);
    findings.push(machine::descriptors(&config));
    findings.push(machine::backlog());
    findings.push(machine::clock());
    findings.extend(machine::data_folder(&config));
    let runtime = runtime()?;
    findings.extend(runtime.block_on(network::ports(&config)));
    if let Some(url) = &args.url {
        findings.extend(runtime.block_on(network::running(url)));
    }
    let failed = findings.iter().filter(|finding| finding.status == Status::Fail).count();
    report(&findings, args.json)?;
    if failed > 0 {
        bail!("{failed} of {} checks failed", findings.len());
    }
    Ok(())
}

fn report(findings: &[Finding], json: bool) -> anyhow::Result<()> {
    if json {
        let status = findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok);
        let report = Report { status, version: env!("CARGO_PKG_VERSION"), findings };
        return say(&serde_json::to_string(&report)?);
    }
    for finding in findings {
        let status = match finding.status {
            Status::Ok => "ok  ",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        say(&format!("{status}  {:<13} {}", finding.check, finding.message))?;
        if let Some(fix) = &finding.fix {
            say(&format!("{:<20}-> {fix}", ""))?;
        }
    }
    Ok(())
}

/// The configuration, or the defaults if there is something wrong with it, so that the machine is looked at anyhow.
fn configuration(args: &DoctorArgs) -> (Config, Vec<Finding>) {
    let name = "configuration";
    let config = match args.config.load() {
        Ok(config) => config,
        Err(error) => {
            let fix =
                "correct it; `fama print-config` explains every key. What follows is about the defaults";
            return (Config::default(), vec![Finding::fail(name, format!("{error:#}"), fix)]);
        }
    };
    let mut findings = vec![match crate::server::check(&config) {
        Ok(()) => Finding::ok(name, "good"),
        Err(error) => {
            Finding::fail(name, format!("{error:#}"), "correct it; `fama print-config` explains every key")
        }
    }];
    findings.push(keys(&config));
    (config, findings)
}

/// Fewer different characters than this in a secret, and it was typed by hand.
const VARIETY: usize = 10;

fn keys(config: &Config) -> Finding {
    let auth = &config.auth;
    let has_key = auth.hmac_secret.is_some() || auth.public_key_file.is_some() || auth.jwks_url.is_some();
    if auth.insecure {
        let message = "`auth.insecure` is set: anybody reads and writes as anybody";
        return Finding::warn("keys", message, "take it out, unless this is a machine of development");
    }
    if !has_key && auth.api_keys.is_empty() {
        let fix =
            "set `auth.hmac_secret` (`openssl rand -hex 32`), `auth.public_key_file` or `auth.jwks_url`";
        return Finding::fail("keys", "nobody can sign in", fix);
    }
    let weak = auth.hmac_secret.as_ref().is_some_and(|secret| {
        let characters: std::collections::HashSet<char> = secret.expose().chars().collect();
        characters.len() < VARIETY
    });
    if weak {
        let message = "`auth.hmac_secret` has few different characters: it can be guessed";
        return Finding::warn(
            "keys",
            message,
            "make one with `openssl rand -hex 32`, and sign tokens with it",
        );
    }
    Finding::ok("keys", "there is something to verify tokens or services with")
}
