//! Calls over few users, posts and times, so that they meet; and all that can be read.

use std::fmt::Debug;

use fama_protocol::{AppId, NodeNumber, PostId, UnixMs, UserId};
use fama_storage::{
    Audience, Delivery, Dispatch, ErrorKind, EventKey, InboxAct, Mark, Mode, Notice, Post, PostPatch,
    Priority, Profile, Relation, RequestKey, Result, SLOTS, StoredResponse, Stores, Visibility,
};
use proptest::prelude::*;

const APPS: u8 = 2;
const USERS: u8 = 4;
const POSTS: u8 = 8;
const KEYS: u8 = 3;

/// A write, in small numbers. Where one names an outbox row, it is the place in the list of all rows.
#[derive(Debug, Clone)]
pub enum Call {
    Insert {
        user: u8,
        post: u8,
        reply_to: Option<u8>,
        pull: bool,
        completes: Option<u8>,
    },
    Edit {
        user: u8,
        post: u8,
        text: u8,
    },
    Delete {
        user: Option<u8>,
        post: u8,
    },
    Follow {
        user: u8,
        authors: Vec<u8>,
        cap: u64,
    },
    Unfollow {
        user: u8,
        author: u8,
        keep: bool,
    },
    SetFilled {
        user: u8,
        author: u8,
        version: u64,
    },
    Relate {
        user: u8,
        mute: bool,
        target: u8,
        active: bool,
        cap: u64,
    },
    SetMode {
        user: u8,
        expected: u64,
        mode: u8,
        pinned: bool,
    },
    React {
        user: u8,
        post: u8,
        kind: u8,
        active: bool,
    },
    PutProfile {
        user: u8,
        name: u8,
    },
    MarkDone(usize),
    MarkQueued(usize),
    Quarantine(usize),
    Replay(usize),
    Claim {
        key: u8,
        hash: u8,
        id: u8,
    },
    Complete {
        key: u8,
        body: u8,
    },
    Abandon {
        key: u8,
        id: u8,
    },
    Expire {
        days: u64,
        limit: usize,
    },
    Acquire {
        name: u8,
        holder: u8,
    },
    Release {
        name: u8,
        holder: u8,
    },
    RaiseMark {
        name: u8,
        to: u64,
    },
    Apply {
        user: u8,
        actor: Option<u8>,
        event: u8,
        version: u64,
        group: u8,
        ends: Option<u64>,
        once: bool,
    },
    RemoveActor {
        user: u8,
        actor: u8,
        limit: usize,
    },
    /// The group is the place in the list.
    Mark {
        user: u8,
        how: u8,
        place: usize,
    },
    Dispatch {
        id: u8,
        completes: Option<u8>,
        done: bool,
    },
    ExpireNotifications {
        days: u64,
    },
}

/// A call in an app, at a time. Times go back as well.
#[derive(Debug, Clone)]
pub struct At {
    app: u8,
    ms: u64,
    call: Call,
}

pub fn call() -> impl Strategy<Value = At> {
    let (user, post) = (0..USERS, 0..POSTS);
    let calls = prop_oneof![
        6 => (user.clone(), post.clone(), prop::option::of(post.clone()), any::<bool>(), prop::option::of(0..KEYS))
            .prop_map(|(user, post, reply_to, pull, completes)| Call::Insert { user, post, reply_to, pull, completes }),
        2 => (user.clone(), post.clone(), 0..3_u8).prop_map(|(user, post, text)| Call::Edit { user, post, text }),
        2 => (prop::option::of(user.clone()), post.clone()).prop_map(|(user, post)| Call::Delete { user, post }),
        4 => (user.clone(), prop::collection::vec(user.clone(), 0..3), 0..4_u64)
            .prop_map(|(user, authors, cap)| Call::Follow { user, authors, cap }),
        3 => (user.clone(), user.clone(), any::<bool>())
            .prop_map(|(user, author, keep)| Call::Unfollow { user, author, keep }),
        1 => (user.clone(), user.clone(), 0..2_000_u64)
            .prop_map(|(user, author, version)| Call::SetFilled { user, author, version }),
        3 => (user.clone(), any::<bool>(), user.clone(), any::<bool>(), 0..3_u64)
            .prop_map(|(user, mute, target, active, cap)| Call::Relate { user, mute, target, active, cap }),
        2 => (user.clone(), 0..3_u64, 0..3_u8, any::<bool>())
            .prop_map(|(user, expected, mode, pinned)| Call::SetMode { user, expected, mode, pinned }),
        3 => (user.clone(), post.clone(), 0..3_u8, any::<bool>())
            .prop_map(|(user, post, kind, active)| Call::React { user, post, kind, active }),
        1 => (user, 0..3_u8).prop_map(|(user, name)| Call::PutProfile { user, name }),
        3 => any::<usize>().prop_map(Call::MarkDone),
        2 => any::<usize>().prop_map(Call::MarkQueued),
        2 => any::<usize>().prop_map(Call::Quarantine),
        1 => any::<usize>().prop_map(Call::Replay),
        4 => (0..KEYS, 0..2_u8, post.clone()).prop_map(|(key, hash, id)| Call::Claim { key, hash, id }),
        1 => (0..KEYS, 0..3_u8).prop_map(|(key, body)| Call::Complete { key, body }),
        1 => (0..KEYS, post).prop_map(|(key, id)| Call::Abandon { key, id }),
        1 => (0..3_u64, 1..3_usize).prop_map(|(days, limit)| Call::Expire { days, limit }),
        1 => (0..2_u8, 0..2_u8).prop_map(|(name, holder)| Call::Acquire { name, holder }),
        1 => (0..2_u8, 0..2_u8).prop_map(|(name, holder)| Call::Release { name, holder }),
        1 => (0..2_u8, 0..9_u64).prop_map(|(name, to)| Call::RaiseMark { name, to }),
        16 => inbox_call(),
    ];
    // Some jumps are as long as a takeover, or a day.
    let times = prop_oneof![4 => 1_000..1_020_u64, 1 => 11_000..12_000_u64, 1 => 86_400_000..86_402_000_u64];
    (0..APPS, times, calls).prop_map(|(app, ms, call)| At { app, ms, call })
}

fn inbox_call() -> impl Strategy<Value = Call> {
    let (user, ends) = (0..2_u8, prop::option::of(0..30_u64));
    prop_oneof![
        12 => (user.clone(), prop::option::weighted(0.8, 0..USERS), 0..3_u8, 1..6_u64, 0..2_u8, ends, any::<bool>())
            .prop_map(|(user, actor, event, version, group, ends, once)| {
                let once = once && actor.is_none();
                Call::Apply { user, actor, event, version, group, ends, once }
            }),
        1 => (user.clone(), 0..USERS, 1..4_usize)
            .prop_map(|(user, actor, limit)| Call::RemoveActor { user, actor, limit }),
        8 => (user, 0..5_u8, 0..4_usize).prop_map(|(user, how, place)| Call::Mark { user, how, place }),
        1 => (0..POSTS, prop::option::of(0..KEYS), any::<bool>())
            .prop_map(|(id, completes, done)| Call::Dispatch { id, completes, done }),
        1 => (0..120_u64).prop_map(|days| Call::ExpireNotifications { days }),
    ]
}

fn app(number: u8) -> AppId {
    AppId::new(if number == 0 { "a" } else { "a-" }).unwrap()
}

/// Ids that begin with each other.
fn user(number: u8) -> UserId {
    UserId::new(["u", "u-", "u.x", "ux"][usize::from(number)]).unwrap()
}

fn id(number: u8) -> PostId {
    PostId::from_parts(UnixMs(PostId::EPOCH.0 + u64::from(number)), NodeNumber::new(1).unwrap(), 1)
}

fn key(number: u8) -> RequestKey {
    RequestKey { user: user(number), route: "POST".to_owned(), key: "k".to_owned() }
}

fn response(number: u8) -> StoredResponse {
    StoredResponse { status: 201, body: number.to_string() }
}

fn post(user_number: u8, number: u8, reply_to: Option<u8>, pull: bool) -> Post {
    Post {
        id: id(number),
        author: user(user_number),
        kind: "post".to_owned(),
        text: Some(format!("{number} by {user_number}").repeat(20)),
        data: None,
        reply_to: reply_to.map(id),
        repost_of: None,
        mentions: vec![user(0)],
        visibility: Visibility::Followers,
        attachments: Some("[]".to_owned()),
        created_at: UnixMs(7),
        updated_at: UnixMs(7),
        rev: 1,
        delivery: if pull { Delivery::Pull } else { Delivery::Push },
        deleted: false,
    }
}

fn shown<T: Debug>(result: Result<T>) -> std::result::Result<String, ErrorKind> {
    result.map(|value| format!("{value:?}")).map_err(|error| error.kind())
}

/// Makes a call, and returns its answer as text.
pub async fn answer(stores: &Stores, at: &At) -> std::result::Result<String, ErrorKind> {
    let (app, now) = (&app(at.app), UnixMs(at.ms));
    let Stores { posts, graph, modes, reactions, users, idempotency, leases, .. } = stores;
    match at.call.clone() {
        Call::Insert { user, post: number, reply_to, pull, completes } => {
            let done = completes.map(|number| (key(number), response(number)));
            let done = done.as_ref().map(|(key, response)| (key, response));
            shown(posts.insert(app, &post(user, number, reply_to, pull), done, now).await)
        }
        Call::Edit { user: author, post, text } => {
            let patch = PostPatch { text: Some(Some(text.to_string())), data: None };
            shown(posts.edit(app, &user(author), id(post), &patch, now).await)
        }
        Call::Delete { user: author, post } => {
            shown(posts.delete(app, author.map(user).as_ref(), id(post), now).await)
        }
        Call::Follow { user: follower, authors, cap } => {
            let authors: Vec<_> = authors.into_iter().map(user).collect();
            shown(graph.follow(app, &user(follower), &authors, cap, now).await)
        }
        Call::Unfollow { user: follower, author, keep } => {
            shown(graph.unfollow(app, &user(follower), &user(author), keep, now).await)
        }
        Call::SetFilled { user: follower, author, version } => {
            shown(graph.set_filled(app, &user(follower), &user(author), version).await)
        }
        Call::Relate { user: from, mute, target, active, cap } => {
            let relation = if mute { Relation::Mute } else { Relation::Block };
            let rows = graph.relate(app, &user(from), relation, &user(target), active, cap, now).await;
            // The contract does not say in which order a block's cleanups come.
            shown(rows.map(|rows| rows.map(sorted)))
        }
        Call::SetMode { user: author, expected, mode, pinned } => {
            let mode = [Mode::Push, Mode::Pull, Mode::Draining][usize::from(mode)];
            shown(modes.set_mode(app, &user(author), expected, mode, pinned, now).await)
        }
        Call::React { user: by, post, kind, active } => {
            shown(reactions.react(app, id(post), &user(by), &format!("k{kind}"), active, now).await)
        }
        Call::PutProfile { user: of, name } => {
            let profile = Profile { name: Some(name.to_string()), ..Profile::default() };
            shown(users.put_profile(app, &user(of), &profile).await)
        }
        Call::Claim { key: number, hash, id: post } => {
            shown(idempotency.claim(app, &key(number), [hash; 32], id(post), now).await)
        }
        Call::Complete { key: number, body } => {
            shown(idempotency.complete(app, &key(number), &response(body), now).await)
        }
        Call::Abandon { key: number, id: post } => {
            shown(idempotency.abandon(app, &key(number), id(post)).await)
        }
        Call::Expire { days, limit } => {
            shown(idempotency.expire(now.plus(days * 86_400_000), limit * 100).await)
        }
        Call::Acquire { name, holder } => {
            shown(leases.acquire(&name.to_string(), &holder.to_string(), 10, now).await)
        }
        Call::Release { name, holder } => shown(leases.release(&name.to_string(), &holder.to_string()).await),
        Call::RaiseMark { name, to } => shown(leases.raise_mark(&name.to_string(), to).await),
        Call::MarkDone(place) | Call::MarkQueued(place) | Call::Quarantine(place) | Call::Replay(place) => {
            on_outbox(stores, app, &at.call, place, now).await
        }
        call => on_inbox(stores, app, &call, now).await,
    }
}

/// Of an actor's event, an odd version is a doing and an even one an undoing.
fn act(call: &Call, now: UnixMs) -> InboxAct {
    let Call::Apply { actor, event, version, group, ends, once, .. } = call else { panic!("no act") };
    let key = EventKey { actor: actor.map(user), name: event.to_string() };
    if version.is_multiple_of(2) && actor.is_some() {
        return InboxAct::Undo { event: key, version: *version };
    }
    InboxAct::Add(Notice {
        event: key,
        version: *version,
        kind: "kind".to_owned(),
        group_key: group.to_string(),
        subject: (*group == 1).then_some(id(*event)),
        data: Some(version.to_string()),
        expires_at: ends.map(|ms| now.plus(ms)),
        once: *once,
    })
}

async fn on_inbox(
    stores: &Stores,
    app: &AppId,
    call: &Call,
    now: UnixMs,
) -> std::result::Result<String, ErrorKind> {
    let inbox = &stores.inbox;
    match call {
        Call::Apply { user: to, .. } => {
            let acts = [(user(*to), act(call, now))];
            shown(inbox.apply(app, &acts, now).await)
        }
        Call::RemoveActor { user: from, actor, limit } => {
            shown(inbox.remove_actor(app, &user(*from), &user(*actor), *limit, now).await)
        }
        Call::Mark { user: of, how, place } => {
            let of = user(*of);
            // Also what is no group, and what ended.
            let listed = inbox.list(app, &of, None, 1_000, false, UnixMs(0)).await.unwrap();
            let group = listed.get(*place).map_or(id(3), |group| group.id);
            let mark = match how {
                0 => Mark::Seen(group),
                1 => Mark::Read(group),
                2 => Mark::ReadEach(vec![group, id(1)]),
                3 => Mark::UnreadEach(vec![group]),
                _ => return shown(inbox.archive(app, &of, group, now).await),
            };
            shown(inbox.mark(app, &of, &mark, now).await)
        }
        Call::Dispatch { id: number, done: true, .. } => shown(inbox.dispatched(app, id(*number)).await),
        Call::Dispatch { id: number, completes, .. } => {
            let done = completes.map(|number| (key(number), response(number)));
            let done = done.as_ref().map(|(key, response)| (key, response));
            shown(inbox.dispatch(app, &dispatch(*number), done, now).await)
        }
        Call::ExpireNotifications { days } => shown(inbox.expire(now.plus(days * 86_400_000), 10_000).await),
        call => panic!("not of an inbox: {call:?}"),
    }
}

fn dispatch(number: u8) -> Dispatch {
    Dispatch {
        id: id(number),
        audience: if number.is_multiple_of(2) {
            Audience::FollowersOf(user(1))
        } else {
            Audience::Users(vec![user(0), user(2)])
        },
        kind: "news".to_owned(),
        data: Some("{}".to_owned()),
        group_key: (number > 3).then(|| "g".to_owned()),
        dedupe_key: (number > 4).then(|| "d".to_owned()),
        priority: [Priority::Urgent, Priority::Normal, Priority::Bulk][usize::from(number % 3)],
        expires_at: (number == 7).then_some(UnixMs(1)),
    }
}

async fn on_outbox(
    stores: &Stores,
    app: &AppId,
    call: &Call,
    place: usize,
    now: UnixMs,
) -> std::result::Result<String, ErrorKind> {
    let mut rows = due(stores).await;
    rows.retain(|row| row.app == *app);
    rows.extend(stores.outbox.quarantined(app, 1_000).await.unwrap());
    let Some(row) = rows.get(place % rows.len().max(1)) else { return Ok("no rows".to_owned()) };
    let id = row.task.row_id();
    match call {
        Call::MarkDone(_) => shown(stores.outbox.mark_done(app, &id).await),
        Call::MarkQueued(_) => shown(stores.outbox.mark_queued(app, &id, now).await),
        Call::Quarantine(_) => shown(stores.outbox.quarantine(app, &id, &now.0.to_string()).await),
        _ => shown(stores.outbox.replay(app, &id, now).await),
    }
}

fn sorted(mut rows: Vec<fama_storage::OutboxRow>) -> Vec<fama_storage::OutboxRow> {
    rows.sort_by_key(|row| (row.app.clone(), row.task.row_id()));
    rows
}

/// All rows that are queued; those of one time are in no order.
async fn due(stores: &Stores) -> Vec<fama_storage::OutboxRow> {
    let mut rows = Vec::new();
    for slot in 0..SLOTS {
        rows.extend(stores.outbox.due(slot, UnixMs(u64::MAX - 1), 10_000).await.unwrap());
    }
    sorted(rows)
}

/// All that can be read, as text.
pub async fn everything(stores: &Stores) -> Vec<String> {
    let mut all = vec![
        format!("{:?}", due(stores).await),
        shown(stores.outbox.backlog().await).unwrap(),
        shown(stores.modes.apps().await).unwrap(),
    ];
    for app in (0..APPS).map(app) {
        for user in (0..USERS).map(user) {
            of_user(stores, &app, &user, &mut all).await;
        }
        for post in (0..POSTS).map(id) {
            all.push(shown(stores.posts.get_many(&app, &[post]).await).unwrap());
            all.push(shown(stores.inbox.dispatch_of(&app, post).await).unwrap());
            all.push(shown(stores.posts.replies(&app, post, Some(id(5)), 2).await).unwrap());
            let seen = (user(1), "k0");
            let page = stores.reactions.reactions(&app, post, Some((&seen.0, seen.1)), 3).await;
            all.push(shown(page).unwrap());
            all.push(shown(stores.reactions.summaries(&app, &[post], Some(&user(0))).await).unwrap());
        }
        all.push(shown(stores.outbox.quarantined(&app, 1_000).await).unwrap());
        all.push(shown(stores.modes.celebrities(&app).await).unwrap());
        all.push(shown(stores.users.users(&app, Some(&user(0)), 2).await).unwrap());
    }
    all
}

async fn of_user(stores: &Stores, app: &AppId, of: &UserId, all: &mut Vec<String>) {
    let Stores { posts, graph, modes, .. } = stores;
    for now in [1_010, 11_500, 86_401_000].map(UnixMs) {
        let inbox = &stores.inbox;
        all.push(shown(inbox.inbox_counts(app, of, now).await).unwrap());
        let listed = inbox.list(app, of, None, 100, false, now).await.unwrap();
        let ids: Vec<_> = listed.iter().map(|group| group.id).collect();
        all.push(shown(inbox.groups(app, of, &ids, now).await).unwrap());
        let middle = listed.get(listed.len() / 2).map(|group| group.position);
        all.push(format!("{listed:?}"));
        all.push(shown(inbox.list(app, of, middle, 2, true, now).await).unwrap());
    }
    for pull_only in [false, true] {
        all.push(shown(posts.by_author(app, of, None, 3, pull_only).await).unwrap());
        all.push(shown(posts.by_author(app, of, Some(id(4)), 100, pull_only).await).unwrap());
    }
    all.push(shown(posts.newest(app, of).await).unwrap());
    all.push(shown(graph.edges(app, of).await).unwrap());
    all.push(shown(graph.followers(app, of, Some(&user(0)), 2).await).unwrap());
    all.push(shown(graph.following(app, of, None, 2).await).unwrap());
    all.push(shown(graph.counts(app, of).await).unwrap());
    all.push(shown(graph.relations(app, of).await).unwrap());
    for other in (0..USERS).map(user) {
        all.push(shown(graph.edge_state(app, of, &other).await).unwrap());
        all.push(shown(graph.blocked_by(app, of, &[other]).await).unwrap());
    }
    for relation in [Relation::Block, Relation::Mute] {
        all.push(shown(graph.related(app, of, relation, Some(&user(0)), 2).await).unwrap());
    }
    all.push(shown(modes.mode(app, of).await).unwrap());
    all.push(shown(stores.users.profiles(app, std::slice::from_ref(of)).await).unwrap());
}
