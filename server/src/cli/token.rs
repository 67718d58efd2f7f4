//! `fama token`.

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use fama_fanout::Clock;
use fama_protocol::{AppId, UserId};

use super::{ConfigArgs, dev, say};
use crate::auth::Access;
use crate::auth::mint::{Grant, sign};
use crate::clock::SystemClock;

#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Whose token
    #[arg(long, value_name = "ID")]
    user: UserId,
    /// What its holder may do
    #[arg(long, value_enum, default_value_t = Role::User)]
    role: Role,
    /// For how long: seconds, or a number with s, m, h or d
    #[arg(long, default_value = "1h", value_parser = seconds)]
    ttl: u64,
    /// The tenant
    #[arg(long, default_value = "default")]
    app: AppId,
    /// With the secret that `fama serve --dev` made
    #[arg(long)]
    dev: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    User,
    Service,
    Admin,
}

/// Ten years: more is a mistake.
const MAX_TTL_S: u64 = 10 * 365 * 86_400;

fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not like 90, 15m, 12h or 30d");
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) => (number, text.get(number.len()..).unwrap_or_default()),
        None => (text, "s"),
    };
    let factor = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => 1,
    };
    let seconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(wrong)?;
    if (1..=MAX_TTL_S).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("the ttl is 1 second to 10 years".into())
    }
}

pub fn run(args: &TokenArgs) -> anyhow::Result<()> {
    let mut config = args.config.load()?;
    if args.dev {
        dev::prepare(&mut config)?;
    }
    let Some(secret) = &config.auth.hmac_secret else {
        bail!(
            "`auth.hmac_secret` is not set, and tokens are signed with it: set it (FAMA_AUTH__HMAC_SECRET, or --config), or use --dev; with a public key or JWKS, whoever holds the private key signs"
        );
    };
    let access = match args.role {
        Role::User => Access::User,
        Role::Service => Access::Service,
        Role::Admin => Access::Admin,
    };
    let grant = Grant {
        app: &args.app,
        user: &args.user,
        access,
        ttl_s: args.ttl,
        issuer: config.auth.issuer.as_deref(),
        audience: config.auth.audience.as_deref(),
    };
    let token = sign(&grant, secret.expose().as_bytes(), SystemClock::new().now()).context("the token")?;
    say(&token)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_have_units() {
        assert_eq!(
            ["90", "90s", "15m", "12h", "30d"].map(|t| seconds(t).unwrap()),
            [90, 90, 900, 43_200, 2_592_000]
        );
        for wrong in ["", "0", "-1", "1w", "h", "99999999999999999999", "11000d"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
