//! Into the store, while no server runs on it. What is owed for each record is written with it, and done by the server
//! when it starts.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use fama_fanout::Clock;
use fama_fanout::notify::quiet_mark;
use fama_protocol::{AppId, PostId, UserId};
use fama_storage::{Claim, Delivery, FollowOutcome, Mode, Post, RequestKey, StoredResponse, Stores};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{FollowBatch, ImportError, PostRecord, Target, WIDTH};
use crate::ids::Minter;

const ROUTE: &str = "fama import";

/// A store, opened for the import.
pub struct StoreTarget {
    stores: Stores,
    clock: Arc<dyn Clock>,
    app: AppId,
    follow_cap: u64,
    name: String,
    minter: tokio::sync::Mutex<Option<Arc<Minter>>>,
}

impl StoreTarget {
    /// `name` names the store, such as its folder.
    pub fn new(stores: Stores, clock: Arc<dyn Clock>, app: AppId, follow_cap: u64, name: String) -> Self {
        Self { stores, clock, app, follow_cap, name, minter: tokio::sync::Mutex::default() }
    }

    /// Hands back what was leased. Nobody is notified of what was imported: the server reads this mark.
    pub async fn close(self) -> Result<(), String> {
        let until = self.clock.now().0;
        let mark = self.stores.leases.raise_mark(&quiet_mark(&self.app), until).await;
        mark.map_err(|error| error.to_string())?;
        match self.minter.into_inner() {
            Some(minter) => minter.release().await.map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    /// Leases a node number whose ids reach back to the first post.
    async fn minter(&self, first: &PostRecord) -> Result<Arc<Minter>, String> {
        let mut held = self.minter.lock().await;
        if let Some(minter) = &*held {
            minter.renew().await.map_err(|error| error.to_string())?;
            return Ok(Arc::clone(minter));
        }
        let from = first.created_at.unwrap_or_else(|| self.clock.now());
        let minter = Minter::lease(self.stores.clone(), Arc::clone(&self.clock), from).await;
        let minter = Arc::new(minter.map_err(|error| error.to_string())?);
        *held = Some(Arc::clone(&minter));
        Ok(minter)
    }

    async fn insert(&self, record: PostRecord, id: PostId) -> Result<(), String> {
        let text = |error: fama_storage::StorageError| error.to_string();
        let key = RequestKey { user: record.author.clone(), route: ROUTE.into(), key: record.key };
        let now = self.clock.now();
        let mut hash = [0; 32];
        hash.copy_from_slice(
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, record.json.as_bytes()).as_ref(),
        );
        match self.stores.idempotency.claim(&self.app, &key, hash, id, now).await.map_err(text)? {
            Claim::Granted { id: granted, .. } if granted == id => {}
            // Published by the import that stopped.
            Claim::Granted { .. } | Claim::Done(_) => return Ok(()),
            Claim::Running => {
                return Err("another import is at it, or stopped less than 10 s ago: try again then".into());
            }
            Claim::Mismatch => return Err("the line was imported before with another content".into()),
        }
        let mode = self.stores.modes.mode(&self.app, &record.author).await.map_err(text)?;
        let delivery = match mode.map(|record| record.mode) {
            Some(Mode::Pull) => Delivery::Pull,
            _ => Delivery::Push,
        };
        let post: Post = record.draft.publish(id, record.author, delivery, record.created_at.unwrap_or(now));
        let response = StoredResponse { status: 201, body: format!("{{\"id\":\"{id}\"}}") };
        self.stores
            .posts
            .insert(&self.app, &post, Some((&key, &response)), now)
            .await
            .map(|_| ())
            .map_err(text)
    }
}

#[async_trait]
impl Target for StoreTarget {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn follow(&self, batch: FollowBatch) -> Result<(), String> {
        let FollowBatch { follower, authors, .. } = batch;
        let (graph, now) = (&self.stores.graph, self.clock.now());
        // No server works on this store, so there are no feeds to fill: they are built with these edges.
        let outcome = graph.import_follows(&self.app, &follower, &authors, self.follow_cap, now).await;
        match outcome.map_err(|error| error.to_string())? {
            FollowOutcome::Followed(_) => Ok(()),
            FollowOutcome::OverCap { following } => Err(format!(
                "`{follower}` would follow more than `graph.follow_cap`, {}; follows {following} now",
                self.follow_cap
            )),
            FollowOutcome::Blocked(author) => {
                Err(format!("`{follower}` and `{author}`: one blocks the other"))
            }
        }
    }

    /// In the order of the input, so that each author's are.
    async fn mint(&self, posts: &[PostRecord]) -> Result<Vec<PostId>, ImportError> {
        let Some(first) = posts.first() else { return Ok(Vec::new()) };
        let minter = self.minter(first).await.map_err(ImportError::File)?;
        let mut newest: HashMap<&UserId, PostId> = HashMap::new();
        let mut minted = Vec::with_capacity(posts.len());
        for post in posts {
            let wrong = |why: String| ImportError::Line { line: post.line, why };
            let above = if let Some(id) = newest.get(&post.author) {
                *id
            } else {
                let id = self.stores.posts.newest(&self.app, &post.author).await;
                id.map_err(|error| wrong(error.to_string()))?.unwrap_or_default()
            };
            let at = post.created_at.unwrap_or_else(|| self.clock.now());
            let id = minter.mint_at(at, above).await.map_err(|error| {
                wrong(format!(
                    "{error}: posts come in the order of created_at, and after those that their author has"
                ))
            })?;
            newest.insert(&post.author, id);
            minted.push(id);
        }
        Ok(minted)
    }

    async fn publish(&self, posts: Vec<PostRecord>) -> Result<(), ImportError> {
        let calls = stream::iter(posts).map(|record| async move {
            let line = record.line;
            let id = record.id.ok_or_else(|| "has no id".to_owned());
            let inserted = async { self.insert(record, id?).await };
            inserted.await.map_err(|why| ImportError::Line { line, why })
        });
        calls.buffer_unordered(WIDTH).try_collect::<()>().await
    }
}
