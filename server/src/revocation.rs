//! Revoking tokens: kept in the store, known to this process at once and to every other within seconds.

use std::sync::{Arc, OnceLock, Weak};

use fama_fanout::Clock;
use fama_protocol::UnixMs;
use fama_protocol::centrifuge::DisconnectCode;
use fama_storage::{Result, Revocation, RevocationStore, Revoked};

use crate::auth::revoked::RevokedSet;
use crate::gateway::GatewayHandle;

/// Between two looks at the store.
const POLL_MS: u64 = 2_000;
/// How far back each look goes: other nodes' clocks, and their writes that were slow.
const BACK_MS: u64 = 60_000;
/// For so long each look closes connections again: some were signed in just before the revocation was known.
const AGAIN_MS: u64 = 6_000;
/// Revocations that matter at the same time.
const MOST: usize = 1_000_000;
const PAGE: usize = 1_000;
/// Rows forgotten with one look.
const FORGET: usize = 1_000;

/// What revokes.
pub struct Revocations {
    store: Arc<dyn RevocationStore>,
    known: Arc<RevokedSet>,
    clock: Arc<dyn Clock>,
    /// Set once the gateway runs.
    gateway: Arc<OnceLock<Weak<GatewayHandle>>>,
}

impl Revocations {
    /// Knows nothing before [`Revocations::load`].
    pub fn new(
        store: Arc<dyn RevocationStore>,
        known: Arc<RevokedSet>,
        clock: Arc<dyn Clock>,
        gateway: Arc<OnceLock<Weak<GatewayHandle>>>,
    ) -> Self {
        Self { store, known, clock, gateway }
    }

    /// Reads all of them: before anybody signs in.
    pub async fn load(&self) -> Result<()> {
        self.read(UnixMs(0)).await?;
        self.known.forget(self.clock.now());
        Ok(())
    }

    /// Whether no more may be revoked before some of what was has ended.
    pub fn is_full(&self) -> bool {
        self.known.len() >= MOST
    }

    /// Keeps a revocation and applies it. Durable once it is `Ok`.
    pub async fn revoke(&self, revocation: &Revocation) -> Result<()> {
        self.store.revoke(revocation).await?;
        self.apply(revocation);
        Ok(())
    }

    /// Looks for new ones, again and again; may be dropped at any await.
    pub async fn run(&self) {
        self.clock.sleep(POLL_MS).await;
        let now = self.clock.now();
        if let Err(error) = self.read(UnixMs(now.0.saturating_sub(BACK_MS))).await {
            tracing::warn!(%error, "revocations could not be read; those known stay in force");
        }
        self.known.forget(now);
        if let Err(error) = self.store.forget_revocations(now, FORGET).await {
            tracing::debug!(%error, "ended revocations are forgotten later");
        }
    }

    async fn read(&self, from: UnixMs) -> Result<()> {
        let mut last = None;
        loop {
            let page = self.store.revocations(from, last.as_ref(), PAGE).await?;
            for revocation in &page {
                self.apply(revocation);
            }
            if page.len() < PAGE {
                return Ok(());
            }
            last = page.into_iter().next_back();
        }
    }

    fn apply(&self, revocation: &Revocation) {
        let is_news = self.known.add(revocation);
        if !is_news && self.clock.now().since(revocation.at) > AGAIN_MS {
            return;
        }
        let Some(gateway) = self.gateway.get().and_then(Weak::upgrade) else { return };
        let app = &revocation.app;
        match &revocation.revoked {
            Revoked::Token(jti) => gateway.disconnect_token(app, jti, DisconnectCode::INVALID_TOKEN),
            // Some of the user's connections may have a newer token: clients come back, and only with such a one are
            // let in.
            Revoked::User(user) => gateway.disconnect_user(app, user, DisconnectCode::EXPIRED),
        }
    }
}
