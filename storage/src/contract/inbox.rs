//! Inboxes.

use fama_protocol::{AppId, NotificationId, PostId, UserId};

use super::{NOW, app, at, at_once, due, id, kind, user, users_of};
use crate::inbox::{ACTORS_SHOWN, COUNT_MAX, LISTED_MAX, NOTIFICATION_KEPT_MS, ONCE_MS, RECIPIENTS_MAX};
use crate::{
    Archived, Audience, Claim, Dispatch, ErrorKind, EventKey, InboxAct, InboxCounts, Mark, Notice,
    Notification, Placed, Priority, RequestKey, StoredResponse, Stores, Task,
};

/// Checks [`crate::InboxStore`].
pub async fn inbox(stores: &Stores) {
    events_join_while_unread(stores).await;
    doing_and_undoing_converge(stores).await;
    actors_are_counted_once(stores).await;
    marks_only_grow(stores).await;
    the_later_exception_wins(stores).await;
    archived_groups_stay_away(stores).await;
    an_actor_can_be_taken_out(stores).await;
    what_comes_once_is_not_repeated(stores).await;
    groups_end(stores).await;
    dispatches_are_kept_until_done(stores).await;
    events_join_at_once(stores).await;
}

/// Checks the bounds of [`crate::InboxStore`].
pub async fn inbox_bounds(stores: &Stores) {
    lists_and_counts_are_bounded(stores).await;
    large_groups_are_exact_and_go_whole(stores).await;
    limits_hold(stores).await;
}

fn event(actor: &str, name: &str) -> EventKey {
    EventKey { actor: (!actor.is_empty()).then(|| user(actor)), name: name.to_owned() }
}

fn notice(actor: &str, name: &str, version: u64, group: &str) -> Notice {
    Notice {
        event: event(actor, name),
        version,
        kind: "reaction".to_owned(),
        group_key: group.to_owned(),
        subject: Some(id(7)),
        data: Some(format!("\"{actor}\"")),
        expires_at: None,
        once: false,
    }
}

/// One user's inbox.
struct Of<'a> {
    stores: &'a Stores,
    app: AppId,
    me: UserId,
}

impl<'a> Of<'a> {
    fn new(stores: &'a Stores, name: &str) -> Self {
        Self { stores, app: app(name), me: user("me") }
    }

    async fn apply(&self, act: InboxAct, ms: u64) -> Option<Placed> {
        let acts = [(self.me.clone(), act)];
        self.stores.inbox.apply(&self.app, &acts, at(ms)).await.unwrap().pop().unwrap()
    }

    async fn add(&self, actor: &str, name: &str, version: u64, group: &str, ms: u64) -> Notification {
        let placed = self.apply(InboxAct::Add(notice(actor, name, version, group)), ms).await;
        placed.unwrap().group.unwrap()
    }

    async fn undo(&self, actor: &str, name: &str, version: u64, ms: u64) -> Option<Placed> {
        self.apply(InboxAct::Undo { event: event(actor, name), version }, ms).await
    }

    async fn list(&self, ms: u64) -> Vec<Notification> {
        self.stores.inbox.list(&self.app, &self.me, None, 1_000, false, at(ms)).await.unwrap()
    }

    async fn counts(&self, ms: u64) -> InboxCounts {
        self.stores.inbox.inbox_counts(&self.app, &self.me, at(ms)).await.unwrap()
    }

    /// Unseen and unread.
    async fn numbers(&self, ms: u64) -> (u64, u64) {
        let counts = self.counts(ms).await;
        (counts.unseen, counts.unread)
    }

    /// Whether it changed anything.
    async fn mark(&self, mark: Mark, ms: u64) -> bool {
        let owed = self.stores.inbox.mark(&self.app, &self.me, &mark, at(ms)).await.unwrap();
        if let Some(row) = &owed {
            assert!(due(self.stores, &self.app, at(ms)).await.contains(row));
            assert!(matches!(&row.task, Task::InboxChanged { user, .. } if *user == self.me));
        }
        owed.is_some()
    }

    async fn archive(&self, id: NotificationId, ms: u64) -> Archived {
        self.stores.inbox.archive(&self.app, &self.me, id, at(ms)).await.unwrap()
    }
}

fn names(group: &Notification) -> Vec<&str> {
    group.actors.iter().map(UserId::as_str).collect()
}

async fn events_join_while_unread(stores: &Stores) {
    let of = Of::new(stores, "inbox-join");
    let first = of.add("ann", "r", 1, "g", 0).await;
    assert_eq!((first.id, first.created_at, first.updated_at), (first.position, NOW, NOW));
    assert_eq!((first.kind.as_str(), first.subject, first.actor_count), ("reaction", Some(id(7)), 1));
    assert!(!first.seen && !first.read);
    let other = of.add("ann", "x", 1, "other", 1).await;
    assert!(other.position > first.position);
    let joined = of.add("bob", "r", 1, "g", 2).await;
    assert_eq!((joined.id, joined.created_at, joined.updated_at), (first.id, NOW, at(2)));
    assert!(joined.position > other.position, "back to the top");
    assert_eq!((names(&joined), joined.actor_count), (vec!["bob", "ann"], 2));
    assert_eq!(joined.data.as_deref(), Some("\"bob\""), "the latest event's");
    assert_eq!(of.list(2).await, [joined.clone(), other.clone()]);
    let again = of.add("ann", "r", 1, "g", 3).await;
    assert_eq!(again, joined, "repeated, it changes nothing");

    assert!(of.mark(Mark::Read(first.id), 4).await);
    let next = of.add("cem", "r", 1, "g", 5).await;
    assert_ne!(next.id, first.id, "once read, the next event begins a new one");
    assert_eq!((names(&next), next.actor_count), (vec!["cem"], 1));
    assert!(!of.add("ann", "r", 1, "g", 6).await.actors.contains(&user("cem")), "still in the old one");
    let page = stores.inbox.list(&of.app, &of.me, Some(next.position), 1, false, at(6)).await.unwrap();
    assert_eq!(page.iter().map(|group| group.id).collect::<Vec<_>>(), [first.id]);
    let unread = stores.inbox.list(&of.app, &of.me, None, 9, true, at(6)).await.unwrap();
    assert_eq!(unread, std::slice::from_ref(&next));
    let by_id = stores.inbox.groups(&of.app, &of.me, &[id(1), next.id], at(6)).await.unwrap();
    assert_eq!(by_id, [None, Some(next)]);
    let stranger = stores.inbox.list(&of.app, &user("me-"), None, 9, false, at(6)).await.unwrap();
    assert!(stranger.is_empty());
}

/// The clock may go back, positions do not.
async fn doing_and_undoing_converge(stores: &Stores) {
    let of = Of::new(stores, "inbox-undo");
    assert_eq!(of.undo("ann", "r", 2, 0).await, None, "before it was done");
    assert_eq!(of.apply(InboxAct::Add(notice("ann", "r", 1, "g")), 1).await, None);
    assert!(of.list(1).await.is_empty());
    let group = of.add("ann", "r", 3, "g", 2).await;
    let bob = of.add("bob", "r", 1, "g", 1).await;
    assert!(bob.position > group.position);
    let left = of.undo("ann", "r", 4, 3).await.unwrap();
    assert_eq!(names(left.group.as_ref().unwrap()), ["bob"]);
    assert_eq!(of.undo("ann", "r", 4, 4).await, Some(left.clone()), "repeated");
    assert_eq!(of.undo("ann", "r", 2, 4).await, Some(left), "an older one");
    assert_eq!(of.numbers(4).await, (1, 1));
    let gone = of.undo("bob", "r", 2, 5).await.unwrap();
    assert_eq!(gone, Placed { id: group.id, group: None }, "an empty group vanishes");
    assert!(of.list(5).await.is_empty());
    assert_eq!(of.numbers(5).await, (0, 0));
    let anew = of.add("ann", "r", 5, "g", 6).await;
    assert!(anew.id > bob.position);
    // Done again before the undoing in between has come.
    let later = of.add("ann", "r", 7, "g", 7).await;
    assert_eq!((later.actor_count, of.list(7).await.len()), (1, 1));
    assert_eq!(of.undo("ann", "r", 6, 8).await.unwrap().group.unwrap(), later);
}

async fn actors_are_counted_once(stores: &Stores) {
    let of = Of::new(stores, "inbox-actors");
    for (number, ms) in (0..15_u64).zip(0..) {
        of.add(&format!("u{number:02}"), "p/1", 1, "g", ms).await;
    }
    let twice = of.add("u03", "p/2", 1, "g", 20).await;
    assert_eq!((twice.actor_count, twice.actors.len(), names(&twice)[0]), (15, ACTORS_SHOWN, "u03"));
    let once = of.undo("u03", "p/2", 2, 21).await.unwrap().group.unwrap();
    assert_eq!((once.actor_count, names(&once)[0]), (15, "u14"));
    assert_eq!(once.position, twice.position, "an undoing moves nothing");
    let gone = of.undo("u14", "p/1", 2, 22).await.unwrap().group.unwrap();
    let expected: Vec<_> = (4..14).rev().map(|n| format!("u{n:02}")).collect();
    assert_eq!((gone.actor_count, names(&gone)), (14, expected.iter().map(String::as_str).collect()));
}

async fn marks_only_grow(stores: &Stores) {
    let of = Of::new(stores, "inbox-marks");
    assert!(!of.mark(Mark::Seen(PostId::MAX), 0).await, "there is nothing");
    let mut groups = Vec::new();
    for n in 0..4_u64 {
        groups.push(of.add("ann", &format!("p/{n}"), 1, &format!("g{n}"), n).await);
    }
    assert_eq!(of.numbers(9).await, (4, 4));
    assert!(of.mark(Mark::Seen(groups[1].id), 9).await);
    assert!(!of.mark(Mark::Seen(groups[0].id), 9).await, "never back");
    assert_eq!(of.numbers(9).await, (2, 4));
    assert!(of.mark(Mark::Read(groups[2].id), 10).await);
    assert_eq!(of.numbers(10).await, (1, 1), "read implies seen");
    assert!(!of.mark(Mark::Read(groups[2].id), 11).await);
    let counts = of.counts(11).await;
    assert_eq!((counts.seen_up_to, counts.read_up_to), (groups[2].position, groups[2].position));
    let listed = of.list(11).await;
    assert_eq!(
        listed.iter().map(|g| (g.seen, g.read)).collect::<Vec<_>>()[..2],
        [(false, false), (true, true)]
    );
    assert!(of.mark(Mark::Read(PostId::MAX), 12).await, "a position, at most the last");
    assert_eq!(of.counts(12).await.read_up_to, groups[3].position);
    of.add("bob", "p/9", 1, "g9", 13).await;
    assert_eq!(of.numbers(13).await, (1, 1), "what comes later is new");
}

async fn the_later_exception_wins(stores: &Stores) {
    let of = Of::new(stores, "inbox-exceptions");
    let (first, second) = (of.add("ann", "p/1", 1, "g1", 0).await, of.add("ann", "p/2", 1, "g2", 1).await);
    assert!(of.mark(Mark::Read(second.id), 10).await);
    assert!(of.mark(Mark::UnreadEach(vec![first.id, id(9)]), 20).await);
    assert_eq!(of.numbers(20).await, (0, 1), "seen it stays");
    assert!(!of.mark(Mark::Read(second.id), 15).await, "an earlier one that comes late");
    assert_eq!(of.numbers(20).await, (0, 1));
    let joined = of.add("bob", "p/3", 1, "g1", 21).await;
    assert_eq!((joined.id, joined.seen), (first.id, false), "it is unread, so it is joined");
    assert_eq!(of.numbers(21).await, (1, 1));
    assert!(of.mark(Mark::ReadEach(vec![first.id]), 30).await);
    assert!(!of.mark(Mark::ReadEach(vec![first.id]), 31).await);
    assert!(of.mark(Mark::UnreadEach(vec![first.id]), 30).await, "of one time, the later call");
    assert!(of.mark(Mark::Read(first.id), 40).await);
    assert_eq!(of.numbers(40).await, (0, 0));
}

async fn archived_groups_stay_away(stores: &Stores) {
    let of = Of::new(stores, "inbox-archive");
    let group = of.add("ann", "r", 1, "g", 0).await;
    assert_eq!(of.archive(id(1), 1).await, Archived::NotFound);
    let Archived::Now(row) = of.archive(group.id, 1).await else { panic!("not archived") };
    assert!(matches!(&row.task, Task::InboxChanged { groups, .. } if *groups == [group.id]));
    assert_eq!(of.archive(group.id, 2).await, Archived::Before);
    assert!(of.list(2).await.is_empty());
    assert_eq!(of.numbers(2).await, (0, 0));
    assert!(!of.mark(Mark::UnreadEach(vec![group.id]), 2).await);
    let again = of.apply(InboxAct::Add(notice("ann", "r", 1, "g")), 3).await;
    assert_eq!(again, Some(Placed { id: group.id, group: None }), "redelivery brings nothing back");
    assert_ne!(of.add("bob", "r", 1, "g", 4).await.id, group.id);
    assert_eq!(of.undo("ann", "r", 2, 5).await.unwrap().group, None);
}

async fn an_actor_can_be_taken_out(stores: &Stores) {
    let of = Of::new(stores, "inbox-remove");
    let alone = of.add("ann", "p/1", 1, "g1", 0).await;
    of.add("ann", "p/2", 1, "g2", 1).await;
    let shared = of.add("bob", "p/3", 1, "g2", 2).await;
    of.add("ann-", "p/4", 1, "g3", 3).await;
    let remove =
        async |limit| stores.inbox.remove_actor(&of.app, &of.me, &user("ann"), limit, at(5)).await.unwrap();
    let left = [remove(1).await, remove(9).await].concat();
    assert_eq!(left.iter().map(|placed| placed.id).collect::<Vec<_>>(), [alone.id, shared.id]);
    assert!(left[0].group.is_none() && names(left[1].group.as_ref().unwrap()) == ["bob"]);
    assert!(remove(9).await.is_empty());
    assert_eq!(of.apply(InboxAct::Add(notice("ann", "p/1", 1, "g1")), 6).await, None, "redelivered");
    assert_eq!(of.list(6).await.len(), 2);
    of.add("ann", "p/1", 3, "g1", 7).await;
    assert_eq!(of.list(7).await.len(), 3, "done anew");
}

async fn what_comes_once_is_not_repeated(stores: &Stores) {
    let of = Of::new(stores, "inbox-once");
    let once = |ends| Notice { once: true, expires_at: ends, ..notice("", "k/sale", 1, "g") };
    let first = of.apply(InboxAct::Add(once(Some(at(10)))), 0).await.unwrap();
    assert_eq!((first.group.as_ref().unwrap().actor_count, first.group.unwrap().actors.len()), (0, 0));
    stores.inbox.expire(at(20), 100).await.unwrap();
    let repeated = of.apply(InboxAct::Add(once(None)), 20).await;
    assert_eq!(repeated, Some(Placed { id: first.id, group: None }), "its group has ended");
    assert!(of.apply(InboxAct::Add(once(None)), ONCE_MS).await.unwrap().group.is_some());
}

async fn groups_end(stores: &Stores) {
    let of = Of::new(stores, "inbox-end");
    let ends = |name, ms| Notice { expires_at: Some(at(ms)), ..notice("ann", name, 1, "g") };
    let group = of.apply(InboxAct::Add(ends("p/1", 100)), 0).await.unwrap();
    of.add("ann", "p/2", 1, "kept", 0).await;
    assert_eq!((of.list(99).await.len(), of.list(100).await.len()), (2, 1));
    assert_eq!((of.numbers(99).await, of.numbers(100).await), ((2, 2), (1, 1)));
    let joined = of.apply(InboxAct::Add(ends("p/3", 200)), 50).await.unwrap();
    assert_eq!(joined.id, group.id);
    assert_eq!(of.list(150).await.len(), 2, "the latest event decides");
    let expired = stores.inbox.expire(at(150), 100).await.unwrap();
    assert!(!expired.users.contains(&(of.app.clone(), of.me.clone())));
    let later = of.apply(InboxAct::Add(ends("p/4", 300)), 250).await.unwrap();
    assert_ne!(later.id, group.id, "what ended is not joined");
    assert!(!of.mark(Mark::ReadEach(vec![group.id]), 250).await);
    let expired = stores.inbox.expire(at(250), 100).await.unwrap();
    assert!(expired.users.contains(&(of.app.clone(), of.me.clone())));
    assert_eq!(stores.inbox.groups(&of.app, &of.me, &[group.id], NOW).await.unwrap(), [None]);
    assert!(of.list(NOTIFICATION_KEPT_MS).await.is_empty());
    let end = NOTIFICATION_KEPT_MS + 1_000;
    while stores.inbox.expire(at(end), 100).await.unwrap().more {}
    assert!(of.list(0).await.is_empty());
    assert_eq!(of.add("ann", "p/2", 1, "kept", end).await.actor_count, 1, "nothing is remembered for ever");
}

async fn dispatches_are_kept_until_done(stores: &Stores) {
    let app = app("inbox-dispatch");
    let dispatch = Dispatch {
        id: id(5),
        audience: Audience::Users(vec![user("a"), user("b")]),
        kind: "news".to_owned(),
        data: Some("{}".to_owned()),
        group_key: Some("g".to_owned()),
        dedupe_key: None,
        priority: Priority::Bulk,
        expires_at: Some(at(5)),
    };
    let key = RequestKey { user: user("svc"), route: "POST".to_owned(), key: "k".to_owned() };
    let response = StoredResponse { status: 202, body: "{}".to_owned() };
    let unclaimed = stores.inbox.dispatch(&app, &dispatch, Some((&key, &response)), NOW).await;
    assert_eq!(kind(unclaimed), ErrorKind::Conflict);
    assert_eq!(stores.inbox.dispatch_of(&app, id(5)).await.unwrap(), None);
    stores.idempotency.claim(&app, &key, [1; 32], id(5), NOW).await.unwrap();
    let row = stores.inbox.dispatch(&app, &dispatch, Some((&key, &response)), NOW).await.unwrap();
    assert_eq!(row.task, Task::Notify { dispatch: id(5), priority: Priority::Bulk });
    assert_eq!(stores.inbox.dispatch(&app, &dispatch, None, at(1)).await.unwrap(), row, "once");
    assert_eq!(due(stores, &app, at(9)).await, [row]);
    let claim = stores.idempotency.claim(&app, &key, [1; 32], id(6), at(1)).await.unwrap();
    assert_eq!(claim, Claim::Done(response));
    assert_eq!(stores.inbox.dispatch_of(&app, id(5)).await.unwrap(), Some(dispatch.clone()));
    let followers = Dispatch { id: id(6), audience: Audience::FollowersOf(user("a")), ..dispatch };
    stores.inbox.dispatch(&app, &followers, None, NOW).await.unwrap();
    assert_eq!(stores.inbox.dispatch_of(&app, id(6)).await.unwrap(), Some(followers));
    stores.inbox.dispatched(&app, id(5)).await.unwrap();
    stores.inbox.dispatched(&app, id(5)).await.unwrap();
    assert_eq!(stores.inbox.dispatch_of(&app, id(5)).await.unwrap(), None);
}

async fn events_join_at_once(stores: &Stores) {
    let of = Of::new(stores, "inbox-at-once");
    for (undo, left) in [(false, 64), (true, 0)] {
        let act = |actor: UserId| {
            let (stores, app, me) = (stores.clone(), of.app.clone(), of.me.clone());
            let act = if undo {
                InboxAct::Undo { event: event(actor.as_str(), "r"), version: 2 }
            } else {
                InboxAct::Add(notice(actor.as_str(), "r", 1, "g"))
            };
            async move { stores.inbox.apply(&app, &[(me, act)], NOW).await.unwrap() }
        };
        let users = users_of(64);
        at_once(users.iter().chain(&users).cloned(), act).await;
        let list = of.list(0).await;
        assert_eq!(list.iter().map(|group| group.actor_count).sum::<u64>(), left);
        assert_eq!(list.len(), usize::from(left > 0));
    }
}

async fn lists_and_counts_are_bounded(stores: &Stores) {
    let of = Of::new(stores, "inbox-bounds");
    let count = LISTED_MAX as u64 + 5;
    for from in (0..count).step_by(100) {
        let acts: Vec<_> = (from..count.min(from + 100))
            .map(|n| (of.me.clone(), InboxAct::Add(notice("ann", &format!("p/{n}"), 1, &format!("g{n}")))))
            .collect();
        stores.inbox.apply(&of.app, &acts, at(from)).await.unwrap();
    }
    let list = of.list(count).await;
    assert_eq!(list.len(), LISTED_MAX);
    let counts = of.counts(count).await;
    assert_eq!((counts.unseen, counts.unread, counts.capped), (COUNT_MAX, COUNT_MAX, true));
    assert!(of.mark(Mark::Read(list[100].id), count).await);
    let counts = of.counts(count).await;
    assert_eq!((counts.unread, counts.capped), (100, false));
    let oldest = of.apply(InboxAct::Add(notice("ann", "p/0", 1, "g0")), count).await.unwrap();
    assert_eq!(oldest.group, None, "the lowest were archived");
}

async fn large_groups_are_exact_and_go_whole(stores: &Stores) {
    let of = Of::new(stores, "inbox-large");
    let users = users_of(2_500);
    for users in users.chunks(100) {
        let act = |actor: &UserId| {
            let notice = Notice { expires_at: Some(at(500)), ..notice(actor.as_str(), "r", 1, "g") };
            (of.me.clone(), InboxAct::Add(notice))
        };
        let acts: Vec<_> = users.iter().map(act).collect();
        stores.inbox.apply(&of.app, &acts, NOW).await.unwrap();
    }
    assert_eq!(of.list(1).await[0].actor_count, 2_500);
    while stores.inbox.expire(at(500), 100).await.unwrap().more {
        assert!(of.list(500).await.is_empty());
    }
    assert!(of.list(1).await.is_empty());
    assert_eq!(of.add("u00001", "r", 1, "g", 600).await.actor_count, 1);
}

async fn limits_hold(stores: &Stores) {
    let of = Of::new(stores, "inbox-limits");
    let (inbox, app, me) = (&stores.inbox, &of.app, &of.me);
    for limit in [0, 1_001] {
        assert_eq!(kind(inbox.list(app, me, None, limit, false, NOW).await), ErrorKind::Invalid);
        assert_eq!(kind(inbox.remove_actor(app, me, me, limit, NOW).await), ErrorKind::Invalid);
    }
    let many: Vec<_> = (0..1_001).map(id).collect();
    assert_eq!(kind(inbox.groups(app, me, &many, NOW).await), ErrorKind::Invalid);
    let each = Mark::ReadEach(many[..101].to_vec());
    assert_eq!(kind(inbox.mark(app, me, &each, NOW).await), ErrorKind::Invalid);
    for (name, group) in [("", "g"), ("a\0b", "g"), ("p", ""), ("p", &"x".repeat(256))] {
        let acts = [(me.clone(), InboxAct::Add(notice("ann", name, 1, group)))];
        assert_eq!(kind(inbox.apply(app, &acts, NOW).await), ErrorKind::Invalid, "{name:?} {group:?}");
    }
    let acts = vec![(me.clone(), InboxAct::Undo { event: event("ann", "p"), version: 1 }); 129];
    assert_eq!(kind(inbox.apply(app, &acts, NOW).await), ErrorKind::Invalid);
    for recipients in [0, RECIPIENTS_MAX + 1] {
        let dispatch = Dispatch {
            id: id(1),
            audience: Audience::Users(users_of(recipients)),
            kind: "news".to_owned(),
            data: None,
            group_key: None,
            dedupe_key: None,
            priority: Priority::Normal,
            expires_at: None,
        };
        assert_eq!(kind(inbox.dispatch(app, &dispatch, None, NOW).await), ErrorKind::Invalid);
    }
}
