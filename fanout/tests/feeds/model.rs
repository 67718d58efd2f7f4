//! The naive model: who sees what, by looking at everything.

use std::collections::{BTreeMap, BTreeSet};

use fama_protocol::{PostId, UnixMs, UserId};

#[derive(Default)]
pub struct Model {
    pub posts: BTreeMap<PostId, ModelPost>,
    /// (follower, author) → `None` while followed, the end where the history was kept.
    pub edges: BTreeMap<(UserId, UserId), Option<UnixMs>>,
    pub blocks: BTreeSet<(UserId, UserId)>,
    pub mutes: BTreeSet<(UserId, UserId)>,
}

pub struct ModelPost {
    pub author: UserId,
    pub followers_only: bool,
    pub deleted: bool,
}

impl Model {
    pub fn block(&mut self, user: &UserId, target: &UserId) {
        self.blocks.insert((user.clone(), target.clone()));
        for pair in [(user.clone(), target.clone()), (target.clone(), user.clone())] {
            if self.edges.get(&pair) == Some(&None) {
                self.edges.remove(&pair);
            }
        }
    }

    pub fn sees(&self, viewer: &UserId, id: PostId) -> bool {
        let Some(post) = self.posts.get(&id).filter(|post| !post.deleted) else { return false };
        if post.author == *viewer {
            return true;
        }
        let there = (viewer.clone(), post.author.clone());
        let back = (post.author.clone(), viewer.clone());
        let hidden =
            self.mutes.contains(&there) || self.blocks.contains(&there) || self.blocks.contains(&back);
        match self.edges.get(&there) {
            None => false,
            Some(None) => !hidden,
            Some(Some(until)) => !hidden && id < PostId::floor_of(*until) && !post.followers_only,
        }
    }

    pub fn feed(&self, viewer: &UserId) -> Vec<PostId> {
        self.posts.keys().rev().copied().filter(|id| self.sees(viewer, *id)).collect()
    }
}
