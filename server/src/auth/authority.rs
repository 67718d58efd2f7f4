//! Who is believed: all ways of signing in together, with a memory of the tokens verified.

use std::sync::Arc;

use fama_fanout::Clock;

use super::api_keys::{ApiKeys, Service};
use super::jwks::{Keys, Source};
use super::jwt::{self, MAX_TOKEN, Rules};
use super::revoked::RevokedSet;
use super::seen::Seen;
use super::{Refusal, Verified, keys};
use crate::config;

/// Tokens remembered.
const REMEMBERED: usize = 1_000_000;

/// Verifies tokens and API keys.
pub struct Authority {
    keys: Keys,
    rules: Rules,
    api_keys: ApiKeys,
    insecure: bool,
    configured: bool,
    seen: Seen,
    revoked: Arc<RevokedSet>,
    clock: Arc<dyn Clock>,
}

impl Authority {
    /// From the configuration; the error says what is wrong with a key.
    pub fn new(config: &config::Auth, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let mut fixed = Vec::new();
        if let Some(secret) = &config.hmac_secret {
            fixed.push(keys::from_secret(secret.expose().as_bytes()));
        }
        if let Some(path) = &config.public_key_file {
            fixed.push(keys::from_pem_file(path)?);
        }
        let source = config.jwks_url.clone().map(|url| Source {
            url,
            refresh_ms: config.jwks_refresh_s * 1_000,
            overlap_ms: config.jwks_overlap_s * 1_000,
        });
        let api_keys = ApiKeys::parse(&config.api_keys).map_err(|why| format!("`auth.api_keys`: {why}"))?;
        Ok(Self {
            configured: !fixed.is_empty() || source.is_some() || !api_keys.is_empty() || config.insecure,
            keys: Keys::new(fixed, source, Arc::clone(&clock)),
            rules: Rules { issuer: config.issuer.clone(), audience: config.audience.clone() },
            api_keys,
            insecure: config.insecure,
            seen: Seen::new(REMEMBERED),
            revoked: Arc::default(),
            clock,
        })
    }

    /// Whether anybody can sign in at all.
    pub fn is_configured(&self) -> bool {
        self.configured
    }

    /// Whether callers without a token are let in.
    pub fn is_insecure(&self) -> bool {
        self.insecure
    }

    /// Keeps the keys fresh for as long as it is polled; returns at once if there is nothing to fetch.
    pub async fn run(&self) {
        self.keys.run().await;
    }

    /// The service of an API key.
    pub fn service(&self, key: &[u8]) -> Option<&Service> {
        self.api_keys.find(key)
    }

    /// Verifies a token: its signature once, its times on each call.
    pub async fn token(&self, token: &str) -> Result<Verified, Refusal> {
        if token.is_empty() {
            return Err(Refusal::Missing);
        }
        // Before anything is computed or remembered.
        if token.len() > MAX_TOKEN || token.bytes().filter(|b| *b == b'.').count() != 2 {
            return Err(Refusal::Malformed);
        }
        let mut result = self.check(token);
        if result == Err(Refusal::UnknownKey) && self.keys.look_again().await {
            result = self.check(token);
        }
        if result == Err(Refusal::UnknownKey) && !self.keys.current().complete {
            return Err(Refusal::KeysUnavailable);
        }
        let verified = result?;
        jwt::in_time(&verified, self.clock.now())?;
        if self.revoked.holds(&verified) {
            return Err(Refusal::Revoked);
        }
        Ok(verified)
    }

    /// What is not believed any more; whoever revokes adds to it.
    pub fn revoked(&self) -> &Arc<RevokedSet> {
        &self.revoked
    }

    /// Checks everything but time. Signatures that were found right with the present keys are not computed again.
    fn check(&self, token: &str) -> Result<Verified, Refusal> {
        let snapshot = self.keys.current();
        if self.seen.has(token, snapshot.version) {
            return jwt::read(token, &self.rules);
        }
        let verified = jwt::verify(token, &snapshot.keys, &self.rules)?;
        self.seen.add(token, snapshot.version, verified.expires_at, self.clock.now());
        Ok(verified)
    }
}
