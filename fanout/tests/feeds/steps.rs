//! What happens at random.

use fama_fanout::Clock;
use fama_protocol::{PostId, UserId};
use fama_storage::{FollowOutcome, Mode, PostChange, Relation};

use crate::world::{World, person};

impl World {
    pub async fn step(&mut self) {
        let (user, other) = (self.some_user(), self.some_user());
        let celebrity = person(["SpeakerPelosi", "GOPLeader", "SenSchumer", "RepBobbyRush"][self.random(4)]);
        *self.done.entry("steps").or_default() += 1;
        match self.random(100) {
            0..30 => {
                let author = if self.random(2) == 0 { celebrity } else { user };
                let followers_only = self.random(4) == 0;
                self.publish_to(&author, followers_only).await;
            }
            30..36 => self.delete(&celebrity).await,
            36..56 => {
                let author = if self.random(2) == 0 { celebrity } else { other };
                self.follow_or_not(&user, &author).await;
            }
            56..60 => self.relate(&user, &celebrity).await,
            60..66 => self.pin(&celebrity).await,
            66..78 => self.check_in_flight(&user).await,
            78..84 => self.run_jobs().await,
            84..88 => self.rebuild_all().await,
            88..90 => {
                let forget = self.random(3) == 0;
                self.restart(forget);
            }
            90..92 => self.feeds.modes.reconcile_all().await.unwrap(),
            92..94 => drop(self.sweep().await),
            _ => self.advance([1, 100, 1_000, 6_000, 35_000][self.random(5)]),
        }
        let ms = self.random(50) as u64;
        self.advance(ms);
    }

    async fn delete(&mut self, author: &UserId) {
        let mine: Vec<PostId> =
            self.model.posts.iter().filter(|(_, post)| post.author == *author).map(|(id, _)| *id).collect();
        if mine.is_empty() {
            return;
        }
        let id = mine[self.random(mine.len())];
        let change = self.feeds.writer.delete(&self.app, Some(author), id).await.unwrap();
        let post = self.model.posts.get_mut(&id).unwrap();
        assert_eq!(matches!(change, PostChange::Changed(..)), !post.deleted);
        post.deleted = true;
    }

    async fn follow_or_not(&mut self, user: &UserId, author: &UserId) {
        if user == author {
            return;
        }
        let pair = (user.clone(), author.clone());
        let keep = self.random(2) == 0;
        if self.random(2) == 0 {
            let outcome =
                self.feeds.writer.follow(&self.app, user, std::slice::from_ref(author)).await.unwrap();
            if let FollowOutcome::Followed(_) = outcome {
                self.model.edges.insert(pair, None);
            }
            return;
        }
        let now = self.clock.now();
        let ended = self.feeds.writer.unfollow(&self.app, user, author, keep).await.unwrap();
        match self.model.edges.get(&pair).copied() {
            Some(None) if keep => drop(self.model.edges.insert(pair, Some(now))),
            Some(None) => drop(self.model.edges.remove(&pair)),
            Some(Some(_)) if !keep => drop(self.model.edges.remove(&pair)),
            _ => assert!(!ended),
        }
    }

    async fn relate(&mut self, user: &UserId, target: &UserId) {
        if user == target {
            return;
        }
        let active = self.random(2) == 0;
        let relation = if self.random(2) == 0 { Relation::Block } else { Relation::Mute };
        self.feeds.writer.relate(&self.app, user, relation, target, active).await.unwrap().unwrap();
        let pair = (user.clone(), target.clone());
        match (relation, active) {
            (Relation::Block, true) => self.model.block(user, target),
            (Relation::Block, false) => drop(self.model.blocks.remove(&pair)),
            (Relation::Mute, true) => drop(self.model.mutes.insert(pair)),
            (Relation::Mute, false) => drop(self.model.mutes.remove(&pair)),
        }
    }

    async fn pin(&mut self, author: &UserId) {
        let modes = &self.feeds.modes;
        match self.random(3) {
            0 => drop(modes.pin(&self.app, author, Mode::Pull).await.unwrap()),
            1 => drop(modes.pin(&self.app, author, Mode::Push).await.unwrap()),
            _ => assert!(modes.unpin(&self.app, author).await.unwrap(), "nobody else changes modes"),
        }
        *self.done.entry("pins").or_default() += 1;
    }
}
