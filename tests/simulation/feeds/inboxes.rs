//! What inboxes hold when all is done.

use super::*;

impl World {
    /// Who is notified of as a follower follows, and is not hidden; and whoever followed and was never hidden is there.
    pub(super) async fn judge_inboxes(&self) {
        if self.violation().is_some() {
            return;
        }
        for me in (0..USERS.len()).map(user) {
            let now = self.clock.now();
            let list = self.raw.inbox.list(&self.app, &me, None, 1_000, false, now).await.unwrap();
            let actors: Vec<UserId> = list.iter().flat_map(|group| group.actors.iter().cloned()).collect();
            for other in (0..USERS.len()).map(user).filter(|other| *other != me) {
                let times = actors.iter().filter(|actor| **actor == other).count();
                if let Some(wrong) = self.judge_follower(&me, &other, times).await {
                    self.violate(format!("inbox: {other} is {times} times in that of {me}, {wrong}"));
                }
            }
        }
    }

    async fn judge_follower(&self, me: &UserId, other: &UserId, times: usize) -> Option<&'static str> {
        let graph = &self.raw.graph;
        let (follows, version) = graph.edge_state(&self.app, other, me).await.unwrap();
        let relations = graph.relations(&self.app, me).await.unwrap();
        let hidden = [&relations.blocks, &relations.blocked_by, &relations.mutes];
        let history = lock(&self.log.history);
        let ever_hidden = (0..3).any(|kind| history.hides.contains_key(&(me.clone(), other.clone(), kind)));
        if times > 1 {
            return Some("of one follow");
        }
        if times == 1 && !follows {
            return Some("but does not follow");
        }
        if times == 1 && hidden.iter().any(|list| list.contains(other)) {
            return Some("but is hidden");
        }
        // Those that followed from the beginning were never told of.
        let since_then = version >= START.0;
        (times == 0 && follows && since_then && !ever_hidden).then_some("but follows")
    }
}
