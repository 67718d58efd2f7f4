//! The second half of a world: what is done to it, and what is judged at the end.

use super::*;

impl World {
    pub(super) async fn script(&self, actor: &str, ops: Vec<Op>) {
        let at = usize::from(self.sim.chance(500));
        for op in ops {
            self.sim.pause().await;
            let process = &self.processes[at];
            match op {
                Op::Walk(viewer) => {
                    let at = usize::from(self.sim.chance(500));
                    self.walk(&self.processes[at], &user(viewer)).await;
                }
                Op::Publish(author) => self.publish(at, user(author)).await,
                Op::Delete(author) => self.delete(process, &user(author)).await,
                Op::Follow(follower, author) => self.follow(process, follower, author, true).await,
                Op::Unfollow(follower, author) => self.follow(process, follower, author, false).await,
                Op::Relate(one, relation, other, active) => {
                    self.relate(process, one, relation, other, active).await;
                }
                Op::Up(author) | Op::Down(author) => {
                    let mode = if op == Op::Up(author) { Mode::Pull } else { Mode::Push };
                    let pinned = process.modes.pin(&self.app, &user(author), mode).await;
                    self.sim.log(|| format!("{} to {mode:?}: {pinned:?}", USERS[author]));
                }
                Op::Sleep(ms) => self.sim.sleep(ms).await,
                Op::Restart | Op::Split => {
                    let old = self.primary.replace();
                    self.sim.log(|| format!("{actor}: cache {op:?}"));
                    if op == Op::Split {
                        self.sim.sleep(1_500).await;
                    }
                    old.die();
                }
                Op::Expire => {
                    let _ = self.primary.now().cache.expire(u64::MAX, 1).await;
                    self.sim.log(|| "a feed is dropped".to_owned());
                }
                _ => {}
            }
        }
    }

    pub(super) async fn publish(&self, at: usize, author: UserId) {
        let process = &self.processes[at];
        let Ok(delivery) = process.writer.delivery_for(&self.app, &author).await else { return };
        let above = self.raw.posts.newest(&self.app, &author).await.unwrap().unwrap_or(PostId::ZERO);
        let minted = lock(&self.mint)[at].mint(self.clock.now(), above);
        let Ok(id) = minted else { return };
        self.sim.pause().await;
        let post = Self::post(author, id, delivery);
        let published = process.writer.publish(&self.app, &post, None).await;
        self.sim.log(|| format!("published {id}: {published:?}"));
    }

    pub(super) async fn delete(&self, process: &Feeds, author: &UserId) {
        let target = {
            let mut history = lock(&self.log.history);
            let mine = history.posts.iter_mut().filter(|(_, post)| post.author == *author);
            let mut mine: Vec<_> = mine.filter(|(_, post)| post.delete_called.is_none()).collect();
            if mine.is_empty() {
                return;
            }
            let at = usize::try_from(self.sim.below(mine.len() as u64)).unwrap();
            mine[at].1.delete_called = Some(self.sim.now_ms());
            *mine[at].0
        };
        let deleted = process.writer.delete(&self.app, Some(author), target).await;
        self.sim.log(|| format!("deleted {target}: {}", deleted.is_ok()));
        if deleted.is_ok()
            && let Some(post) = lock(&self.log.history).posts.get_mut(&target)
        {
            post.deleted = Some(self.sim.now_ms());
        }
    }

    pub(super) fn called(&self, log: &mut Vec<Change>, on: bool) -> usize {
        log.push(Change { called: self.sim.now_ms(), answered: None, on });
        log.len() - 1
    }

    pub(super) async fn follow(&self, process: &Feeds, follower: usize, author: usize, on: bool) {
        let (follower, author) = (user(follower), user(author));
        let key = (follower.clone(), author.clone());
        let at = self.called(lock(&self.log.history).follows.entry(key.clone()).or_default(), on);
        let done = if on {
            let followed = process.writer.follow(&self.app, &follower, std::slice::from_ref(&author)).await;
            self.sim.log(|| format!("{follower} follows {author}: {followed:?}"));
            match followed {
                Ok(fama_storage::FollowOutcome::Followed(_)) => true,
                // Refused: as if it had not been asked for.
                Ok(_) => {
                    lock(&self.log.history).follows.entry(key.clone()).or_default()[at].on = false;
                    true
                }
                Err(_) => false,
            }
        } else {
            let unfollowed = process.writer.unfollow(&self.app, &follower, &author, false).await;
            self.sim.log(|| format!("{follower} unfollows {author}: {unfollowed:?}"));
            unfollowed.is_ok()
        };
        if done {
            lock(&self.log.history).follows.entry(key).or_default()[at].answered = Some(self.sim.now_ms());
        }
    }

    pub(super) async fn relate(
        &self,
        process: &Feeds,
        one: usize,
        relation: Relation,
        other: usize,
        active: bool,
    ) {
        let (one, other) = (user(one), user(other));
        let kinds: &[(UserId, UserId, u8)] = &match relation {
            Relation::Block => vec![(one.clone(), other.clone(), 0), (other.clone(), one.clone(), 1)],
            Relation::Mute => vec![(one.clone(), other.clone(), 2)],
        };
        let both = [(one.clone(), other.clone()), (other.clone(), one.clone())];
        let ends = active && relation == Relation::Block;
        let mut places = Vec::new();
        {
            let mut history = lock(&self.log.history);
            for key in kinds {
                places.push(self.called(history.hides.entry(key.clone()).or_default(), active));
            }
            if ends {
                for key in &both {
                    self.called(history.follows.entry(key.clone()).or_default(), false);
                }
            }
        }
        let related = process.writer.relate(&self.app, &one, relation, &other, active).await;
        self.sim.log(|| format!("{one} {relation:?} {other} {active}: {related:?}"));
        if related.is_err() {
            return;
        }
        let now = self.sim.now_ms();
        let mut history = lock(&self.log.history);
        for (key, at) in kinds.iter().zip(places) {
            history.hides.entry(key.clone()).or_default()[at].answered = Some(now);
        }
        if ends {
            for key in &both {
                // Another actor may have changed it meanwhile: the order is not known, so it stays open.
                let log = history.follows.entry(key.clone()).or_default();
                if let Some(last) = log.last_mut().filter(|last| !last.on && last.answered.is_none()) {
                    last.answered = Some(now);
                }
            }
        }
    }

    /// Reads a whole feed, page by page.
    pub(super) async fn walk(&self, process: &Feeds, viewer: &UserId) {
        let (start, mut got, mut before) = (self.sim.now_ms(), Vec::new(), None);
        let quiet = self.quiet.load(Ordering::Relaxed);
        self.sim.log(|| format!("begins to walk the feed of {viewer}"));
        for _ in 0..150 {
            match process.reader.page(&self.app, viewer, before, PAGE).await {
                Ok(page) => {
                    self.sim.log(|| {
                        let ids: Vec<_> = page.posts.iter().map(|post| post.id).collect();
                        format!(
                            "page below {before:?}: {ids:?} next {:?} partial {}",
                            page.next, page.partial
                        )
                    });
                    got.extend(page.posts.iter().map(|post| post.id));
                    if page.next.is_none() {
                        return self.judge(viewer, &got, start, quiet);
                    }
                    before = page.next;
                }
                Err(error) if error.is_retryable() => {}
                Err(error) => return self.violate(format!("error: a read failed: {error}")),
            }
        }
        if quiet {
            self.violate(format!("endless: the walk of {viewer} does not end, at {before:?}"));
        }
    }

    pub(super) fn violate(&self, what: String) {
        self.sim.log(|| what.clone());
        lock(&self.log.history).violation.get_or_insert(what);
    }

    pub(super) fn judge(&self, viewer: &UserId, got: &[PostId], start: u64, quiet: bool) {
        let (end, slack) = (self.sim.now_ms(), if quiet { 0 } else { FRESH_MS });
        self.sim.log(|| format!("walk of {viewer} from {start}: {got:?}"));
        if got.windows(2).any(|two| two[0] <= two[1]) {
            return self.violate(format!("order: the walk of {viewer} is {got:?}"));
        }
        let have: BTreeSet<_> = got.iter().copied().collect();
        let mut violation = None;
        let history = lock(&self.log.history);
        for (id, post) in &history.posts {
            let author = &post.author;
            let shown = have.contains(id);
            let own = author == viewer;
            let sure = |changes| settled(changes, start, end, slack);
            let follows =
                if own { Some(true) } else { sure(history.follows.get(&(viewer.clone(), author.clone()))) };
            let hidden: Vec<_> =
                (0..3).map(|kind| sure(history.hides.get(&(viewer.clone(), author.clone(), kind)))).collect();
            if shown {
                if post.deleted.is_some_and(|deleted| deleted + slack <= start) {
                    violation = Some(format!("deleted: the walk of {viewer} shows {id}"));
                } else if follows == Some(false) {
                    violation = Some(format!("unfollowed: the walk of {viewer} shows {id} of {author}"));
                } else if hidden.contains(&Some(true)) && !own {
                    violation = Some(format!("hidden: the walk of {viewer} shows {id} of {author}"));
                }
            } else if follows == Some(true)
                && (own || hidden.iter().all(|hidden| *hidden == Some(false)))
                && post.done.is_some_and(|done| done + slack.max(ROWS_TTL_MS) <= start)
                && post.delete_called.is_none_or(|called| called > end)
            {
                let kind = if quiet { "lost for good" } else { "missing in a walk" };
                violation = Some(format!(
                    "{kind}: {id} of {author} (done at {:?}) in the walk of {viewer} from {start}: {got:?}",
                    post.done
                ));
            }
        }
        drop(history);
        if let Some(violation) = violation {
            self.violate(violation);
        }
    }

    pub(super) fn violation(&self) -> Option<String> {
        lock(&self.log.history).violation.clone()
    }

    pub(super) fn at_rest(&self) -> bool {
        let now = |future| futures_util::FutureExt::now_or_never(future).unwrap();
        self.busy.load(Ordering::Relaxed) == 0 && now(self.raw.outbox.backlog()).unwrap() == 0
    }
}
