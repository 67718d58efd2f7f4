//! What every feed must be, computed the slow way: all posts, filtered.

use std::collections::{BTreeMap, BTreeSet};

/// Who follows, blocks and mutes whom, and every post there is.
#[derive(Default)]
pub struct Model {
    follows: BTreeMap<String, BTreeSet<String>>,
    blocks: BTreeSet<(String, String)>,
    mutes: BTreeSet<(String, String)>,
    posts: BTreeMap<String, BTreeSet<u64>>,
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

impl Model {
    /// `follower` follows `author` from now on, or stops.
    pub fn follow(&mut self, follower: &str, author: &str, active: bool) {
        let authors = self.follows.entry(follower.to_owned()).or_default();
        if active {
            authors.insert(author.to_owned());
        } else {
            authors.remove(author);
        }
    }

    /// A block ends follows both ways; its end does not bring them back.
    pub fn block(&mut self, user: &str, target: &str, active: bool) {
        if active {
            self.blocks.insert(pair(user, target));
            self.follow(user, target, false);
            self.follow(target, user, false);
        } else {
            self.blocks.remove(&pair(user, target));
        }
    }

    /// A mute hides without ending anything.
    pub fn mute(&mut self, user: &str, target: &str, active: bool) {
        if active {
            self.mutes.insert(pair(user, target));
        } else {
            self.mutes.remove(&pair(user, target));
        }
    }

    /// A post exists.
    pub fn publish(&mut self, author: &str, id: u64) {
        self.posts.entry(author.to_owned()).or_default().insert(id);
    }

    /// A post is gone.
    pub fn delete(&mut self, author: &str, id: u64) {
        if let Some(ids) = self.posts.get_mut(author) {
            ids.remove(&id);
        }
    }

    /// Whether `user` follows `author`.
    pub fn follows(&self, user: &str, author: &str) -> bool {
        self.follows.get(user).is_some_and(|authors| authors.contains(author))
    }

    /// How many follow `author`.
    pub fn followers(&self, author: &str) -> usize {
        self.follows.values().filter(|authors| authors.contains(author)).count()
    }

    fn hidden(&self, user: &str, author: &str) -> bool {
        self.blocks.contains(&pair(user, author))
            || self.blocks.contains(&pair(author, user))
            || self.mutes.contains(&pair(user, author))
    }

    /// The feed of `user`, newest first.
    pub fn feed(&self, user: &str) -> Vec<u64> {
        let followed = self.follows.get(user).into_iter().flatten().map(String::as_str);
        let authors = followed.filter(|author| !self.hidden(user, author)).chain([user]);
        let posts = authors.filter_map(|author| self.posts.get(author)).flatten().copied();
        let mut feed: Vec<u64> = posts.collect::<BTreeSet<_>>().into_iter().collect();
        feed.reverse();
        feed
    }

    /// How many posts there are.
    pub fn size(&self) -> usize {
        self.posts.values().map(BTreeSet::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_is_what_the_followed_and_the_user_posted() {
        let mut model = Model::default();
        for (author, id) in [("b", 1), ("c", 2), ("a", 3), ("b", 4), ("d", 5)] {
            model.publish(author, id);
        }
        model.follow("a", "b", true);
        model.follow("a", "c", true);
        assert_eq!(model.feed("a"), [4, 3, 2, 1]);
        model.delete("b", 1);
        model.mute("a", "c", true);
        assert_eq!(model.feed("a"), [4, 3]);
        model.mute("a", "c", false);
        model.block("b", "a", true);
        assert_eq!(model.feed("a"), [3, 2]);
        model.block("b", "a", false);
        assert_eq!(model.feed("a"), [3, 2], "the follow is gone");
        assert_eq!((model.size(), model.followers("c"), model.follows("a", "b")), (4, 1, false));
    }
}
