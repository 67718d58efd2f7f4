//! What inboxes must be: every act looked at one by one; and what is known of feeds and presence.

use std::collections::{BTreeMap, BTreeSet};

use fama_tests::model::Model as Feeds;

/// One who acts, and what: an event is in one group at most.
type Event = (String, String);

/// A notification as it must be.
#[derive(Debug, Clone)]
pub struct Group {
    kind: String,
    subject: Option<String>,
    events: BTreeSet<Event>,
    read: bool,
    seen: bool,
    archived: bool,
}

/// What is compared: type (and kind of reaction), subject, actors, seen, read.
pub type Shown = (String, Option<String>, Vec<String>, bool, bool);

/// One user's.
#[derive(Debug, Default)]
pub struct Inbox {
    groups: BTreeMap<usize, Group>,
    /// The group that began last, by key.
    open: BTreeMap<String, usize>,
    next: usize,
}

impl Inbox {
    /// An event joins the group of its key while that is unread, or begins one.
    pub fn add(&mut self, kind: &str, key: &str, subject: Option<&str>, event: Event) {
        let open = self.open.get(key).and_then(|id| self.groups.get_mut(id));
        if let Some(group) = open.filter(|group| !group.read && !group.archived) {
            group.events.insert(event);
            group.seen = false;
            return;
        }
        let group = Group {
            kind: kind.to_owned(),
            subject: subject.map(str::to_owned),
            events: BTreeSet::from([event]),
            read: false,
            seen: false,
            archived: false,
        };
        self.groups.insert(self.next, group);
        self.open.insert(key.to_owned(), self.next);
        self.next += 1;
    }

    fn remove(&mut self, leaves: impl Fn(&Event) -> bool) {
        self.groups.retain(|_, group| {
            group.events.retain(|event| !leaves(event));
            !group.events.is_empty()
        });
    }

    /// An event is undone.
    pub fn undo(&mut self, event: &Event) {
        self.remove(|other| other == event);
    }

    /// Somebody is blocked or muted.
    pub fn hide(&mut self, actor: &str) {
        self.remove(|event| event.0 == actor);
    }

    /// The list, in no order.
    pub fn shown(&self) -> Vec<Shown> {
        let mut shown: Vec<_> =
            self.groups.values().filter(|group| !group.archived).map(Group::shown).collect();
        shown.sort();
        shown
    }

    /// Unseen and unread.
    pub fn counts(&self) -> (u64, u64) {
        let listed = || self.groups.values().filter(|group| !group.archived);
        let unseen = listed().filter(|group| !group.seen && !group.read).count();
        (unseen as u64, listed().filter(|group| !group.read).count() as u64)
    }

    /// Changes those that are shown so.
    pub fn change(&mut self, shown: &[Shown], change: impl Fn(&mut Group)) {
        for group in self.groups.values_mut().filter(|group| !group.archived) {
            if shown.contains(&group.shown()) {
                change(group);
            }
        }
    }
}

impl Group {
    fn shown(&self) -> Shown {
        let actors: BTreeSet<String> = self.events.iter().map(|(actor, _)| actor.clone()).collect();
        (
            self.kind.clone(),
            self.subject.clone(),
            actors.into_iter().collect(),
            self.seen || self.read,
            self.read,
        )
    }

    /// Shown to the user.
    pub fn see(&mut self) {
        self.seen = true;
    }

    /// Read, and so seen.
    pub fn read(&mut self) {
        (self.read, self.seen) = (true, true);
    }

    /// Not read any more.
    pub fn unread(&mut self) {
        if self.read {
            (self.read, self.seen) = (false, true);
        }
    }

    /// Away.
    pub fn archive(&mut self) {
        self.archived = true;
    }
}

/// Everybody's acts and inboxes.
#[derive(Default)]
pub struct Model {
    pub feeds: Feeds,
    /// As what users want to be seen, where they said so.
    pub chosen: BTreeMap<String, &'static str>,
    pub inboxes: BTreeMap<String, Inbox>,
    pub posts: BTreeMap<String, Post>,
    pub reactions: BTreeSet<(String, String, String)>,
    pub follows: BTreeSet<(String, String)>,
    pub blocks: BTreeSet<(String, String)>,
    pub mutes: BTreeSet<(String, String)>,
    pub reposts: BTreeSet<(String, String)>,
}

/// A post that is not deleted.
#[derive(Debug, Clone)]
pub struct Post {
    pub author: String,
    /// Those notified.
    pub heard: Vec<String>,
}

fn number(id: &str) -> u64 {
    id.parse().expect("ids are numbers")
}

fn pair(one: &str, other: &str) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

impl Model {
    /// Whether one of them blocks the other.
    pub fn parted(&self, one: &str, other: &str) -> bool {
        self.blocks.contains(&pair(one, other)) || self.blocks.contains(&pair(other, one))
    }

    fn add(
        &mut self,
        to: &str,
        actor: &str,
        kind: &str,
        key: &str,
        subject: Option<&str>,
        name: &str,
    ) -> bool {
        if to == actor || self.parted(to, actor) || self.mutes.contains(&pair(to, actor)) {
            return false;
        }
        self.inboxes.entry(to.to_owned()).or_default().add(kind, key, subject, pair(actor, name));
        true
    }

    fn undo(&mut self, to: &str, actor: &str, name: &str) {
        self.inboxes.entry(to.to_owned()).or_default().undo(&pair(actor, name));
    }

    /// A post is published.
    pub fn publish(
        &mut self,
        id: &str,
        author: &str,
        reply_to: Option<&str>,
        repost_of: Option<&str>,
        mentions: &[String],
    ) {
        let by = |model: &Self, id: &str| model.posts[id].author.clone();
        self.feeds.publish(author, number(id));
        let name = format!("p/{id}");
        let mut heard: Vec<String> = Vec::new();
        if let Some(parent) = reply_to.map(|parent| by(self, parent)) {
            self.add(&parent, author, "reply", &name, Some(id), &name);
            heard.push(parent);
        }
        for user in mentions {
            if !heard.contains(user) {
                self.add(user, author, "mention", &name, Some(id), &name);
                heard.push(user.clone());
            }
        }
        if let Some(original) = repost_of {
            let user = by(self, original);
            self.reposts.insert(pair(author, original));
            if !heard.contains(&user) {
                self.add(&user, author, "repost", &format!("s/{original}"), Some(original), &name);
                heard.push(user);
            }
        }
        self.posts.insert(id.to_owned(), Post { author: author.to_owned(), heard });
    }

    /// A post is deleted.
    pub fn delete(&mut self, id: &str) {
        let Some(post) = self.posts.remove(id) else { return };
        self.feeds.delete(&post.author, number(id));
        for user in &post.heard {
            self.undo(user, &post.author, &format!("p/{id}"));
        }
    }

    /// A reaction is set or undone.
    pub fn react(&mut self, user: &str, post: &str, kind: &str, active: bool) {
        let row = (user.to_owned(), post.to_owned(), kind.to_owned());
        let changed = if active { self.reactions.insert(row) } else { self.reactions.remove(&row) };
        if !changed {
            return;
        }
        let (author, name) = (self.posts[post].author.clone(), format!("r/{post}/{kind}"));
        if active {
            self.add(&author, user, &format!("reaction {kind}"), &name, Some(post), &name);
        } else {
            self.undo(&author, user, &name);
        }
    }

    /// A follow is set or undone.
    pub fn follow(&mut self, user: &str, author: &str, active: bool) {
        self.feeds.follow(user, author, active);
        let row = pair(user, author);
        let changed = if active { self.follows.insert(row) } else { self.follows.remove(&row) };
        if changed && active {
            self.add(author, user, "follow", "f", None, "f");
        } else if changed {
            self.undo(author, user, "f");
        }
    }

    /// A block is set or undone.
    pub fn block(&mut self, user: &str, target: &str, active: bool) {
        self.feeds.block(user, target, active);
        if !active {
            self.blocks.remove(&pair(user, target));
        } else if self.blocks.insert(pair(user, target)) {
            for (one, other) in [(user, target), (target, user)] {
                self.follow(one, other, false);
                self.inboxes.entry(one.to_owned()).or_default().hide(other);
            }
        }
    }

    /// A mute is set or undone.
    pub fn mute(&mut self, user: &str, target: &str, active: bool) {
        self.feeds.mute(user, target, active);
        if !active {
            self.mutes.remove(&pair(user, target));
        } else if self.mutes.insert(pair(user, target)) {
            self.inboxes.entry(user.to_owned()).or_default().hide(target);
        }
    }

    /// How a user with so many devices connected looks to another: status and devices.
    pub fn seen(&self, viewer: &str, user: &str, devices: usize) -> (&'static str, usize) {
        match self.chosen.get(user).copied().unwrap_or("online") {
            _ if devices == 0 || self.blocks.contains(&pair(user, viewer)) => ("offline", 0),
            "invisible" => ("offline", 0),
            chosen => (chosen, devices),
        }
    }
}
