//! Erasing users.

use fama_protocol::{AppId, UserId};

use super::{NOW, app, at, id, post, user};
use crate::inbox::{EventKey, InboxAct, Notice};
use crate::{
    ChosenStatus, Claim, ErasureNext, FollowOutcome, Mark, Mode, Profile, Relation, RequestKey, Stores, Task,
};

fn follow_of(actor: &UserId, version: u64) -> InboxAct {
    InboxAct::Add(Notice {
        event: EventKey { actor: Some(actor.clone()), name: "f".to_owned() },
        version,
        kind: "follow".to_owned(),
        group_key: "follow".to_owned(),
        subject: None,
        data: None,
        expires_at: None,
        once: false,
    })
}

/// All work is done, except the erasure's.
async fn settle(stores: &Stores, app: &AppId) {
    for row in super::due(stores, app, at(1_000_000)).await {
        if !matches!(row.task, Task::Erase { .. }) {
            stores.outbox.mark_done(app, &row.task.row_id()).await.unwrap();
        }
    }
}

/// Steps until the erasure is done; how often it had to wait for work.
async fn run(stores: &Stores, app: &AppId, who: &UserId) -> usize {
    let mut waited = 0;
    for step in 0..2_000 {
        match stores.erasures.erase(app, who, at(1_000 + step)).await.unwrap().next {
            ErasureNext::Done => return waited,
            ErasureNext::More => {}
            ErasureNext::Waiting => {
                waited += 1;
                settle(stores, app).await;
            }
        }
    }
    panic!("the erasure does not end");
}

async fn world(stores: &Stores, app: &AppId, eve: &UserId, ann: &UserId) {
    let (posts, graph) = (&stores.posts, &stores.graph);
    posts.insert(app, &post(ann, 1), None, NOW).await.unwrap();
    for number in [2, 3] {
        posts.insert(app, &post(eve, number), None, NOW).await.unwrap();
    }
    let mut naming = post(ann, 4);
    naming.mentions = vec![eve.clone(), user("cem")];
    naming.reply_to = Some(id(2));
    posts.insert(app, &naming, None, NOW).await.unwrap();
    let mut reply = post(eve, 5);
    reply.reply_to = Some(id(1));
    posts.insert(app, &reply, None, NOW).await.unwrap();
    for (one, other) in [(ann, eve), (eve, ann), (&user("cem"), eve), (&user("cem"), ann)] {
        let followed = graph.follow(app, one, std::slice::from_ref(other), 10, NOW).await.unwrap();
        assert!(matches!(followed, FollowOutcome::Followed(_)));
    }
    graph.unfollow(app, &user("cem"), eve, true, at(1)).await.unwrap();
    graph.relate(app, &user("dan"), Relation::Mute, eve, true, 10, NOW).await.unwrap();
    graph.relate(app, eve, Relation::Block, &user("dan"), true, 10, NOW).await.unwrap();
    for (who, on) in [(eve, 1), (ann, 1), (eve, 2), (ann, 2)] {
        stores.reactions.react(app, id(on), who, "like", true, NOW).await.unwrap();
    }
    let acts = [(ann, eve, 1), (ann, &user("cem"), 1), (&user("dan"), eve, 1), (eve, ann, 1)]
        .map(|(to, by, version)| (to.clone(), follow_of(by, version)));
    stores.inbox.apply(app, &acts, NOW).await.unwrap();
    let top = stores.inbox.list(app, eve, None, 1, false, at(1)).await.unwrap()[0].position;
    stores.inbox.mark(app, eve, &Mark::Read(top), at(2)).await.unwrap();
    let profile = Profile { name: Some("Eve".to_owned()), ..Profile::default() };
    stores.users.put_profile(app, eve, &profile).await.unwrap();
    stores.presence.choose(app, eve, ChosenStatus::Away, Some(NOW)).await.unwrap();
    stores.modes.set_mode(app, eve, 0, Mode::Pull, true, NOW).await.unwrap().unwrap();
    let claimed = stores.idempotency.claim(app, &request(eve), [1; 32], id(9), NOW).await.unwrap();
    assert!(matches!(claimed, Claim::Granted { .. }));
}

fn request(eve: &UserId) -> RequestKey {
    RequestKey { user: eve.clone(), route: "POST /v1/posts".to_owned(), key: "k".to_owned() }
}

/// Checks [`crate::ErasureStore`]: nothing of the user is left, and everything of others is as if the user had never
/// been.
pub async fn erasures(stores: &Stores) {
    let (app, eve, ann) = (app("erasures"), user("eve"), user("ann"));
    world(stores, &app, &eve, &ann).await;
    assert_eq!(stores.erasures.erasure(&app, &eve).await.unwrap(), None);
    let (begun, row) = stores.erasures.begin_erasure(&app, &eve, at(500)).await.unwrap();
    assert_eq!((begun.started_at, begun.finished_at), (at(500), None));
    let row = row.unwrap();
    assert_eq!(row.task, Task::Erase { user: eve.clone(), version: at(500).0 });
    let (again, same) = stores.erasures.begin_erasure(&app, &eve, at(600)).await.unwrap();
    assert_eq!((again.started_at, same), (at(500), Some(row.clone())), "one at a time");

    assert!(run(stores, &app, &eve).await > 0, "it waits for the work that it owes");
    let done = stores.erasures.erasure(&app, &eve).await.unwrap().unwrap();
    assert!(done.finished_at.is_some() && done.pass > 1 && done.removed > 10, "{done:?}");
    let next = stores.erasures.erase(&app, &eve, at(9_000)).await.unwrap();
    assert_eq!((next.next, next.owed.len()), (ErasureNext::Done, 0), "it may run again");
    stores.outbox.mark_done(&app, &row.task.row_id()).await.unwrap();

    nothing_left(stores, &app, &eve).await;
    others_are_whole(stores, &app, &eve, &ann).await;

    // The id may come back, and go again.
    stores.users.put_profile(&app, &eve, &Profile::default()).await.unwrap();
    let (anew, row) = stores.erasures.begin_erasure(&app, &eve, at(10_000)).await.unwrap();
    assert_eq!((anew.started_at, row.is_some()), (at(10_000), true));
    run(stores, &app, &eve).await;
    assert_eq!(stores.users.profiles(&app, std::slice::from_ref(&eve)).await.unwrap(), vec![None]);
}

async fn nothing_left(stores: &Stores, app: &AppId, eve: &UserId) {
    let own = std::slice::from_ref(eve);
    assert_eq!(stores.posts.get_many(app, &[id(2), id(3), id(5)]).await.unwrap(), [None, None, None]);
    assert!(stores.posts.by_author(app, eve, None, 10, false).await.unwrap().posts.is_empty());
    assert_eq!(stores.posts.newest(app, eve).await.unwrap(), None);
    assert_eq!(stores.graph.counts(app, eve).await.unwrap(), crate::Counts::default());
    assert_eq!(stores.graph.relations(app, eve).await.unwrap(), crate::Relations::default());
    assert_eq!(stores.graph.edge_state(app, &user("cem"), eve).await.unwrap(), (false, 0));
    assert_eq!(stores.graph.edge_state(app, eve, &user("ann")).await.unwrap(), (false, 0));
    assert!(stores.inbox.list(app, eve, None, 10, false, at(9_000)).await.unwrap().is_empty());
    assert_eq!(stores.inbox.inbox_counts(app, eve, at(9_000)).await.unwrap(), crate::InboxCounts::default());
    assert_eq!(stores.users.profiles(app, own).await.unwrap(), vec![None]);
    assert_eq!(stores.presence.presence(app, own).await.unwrap(), vec![crate::PresenceRow::default()]);
    assert_eq!(stores.modes.mode(app, eve).await.unwrap(), None);
    let fresh = stores.idempotency.claim(app, &request(eve), [2; 32], id(10), at(9_000)).await.unwrap();
    assert!(matches!(fresh, Claim::Granted { taken_over: false, .. }), "{fresh:?}");
    stores.idempotency.abandon(app, &request(eve), id(10)).await.unwrap();
}

async fn others_are_whole(stores: &Stores, app: &AppId, eve: &UserId, ann: &UserId) {
    let posts = stores.posts.get_many(app, &[id(1), id(4)]).await.unwrap();
    let naming = posts[1].as_ref().unwrap();
    assert_eq!(posts[0].as_ref().unwrap().text.as_deref(), Some("post 1"));
    assert_eq!((&naming.mentions, naming.text.as_deref()), (&vec![user("cem")], Some("post 4")));
    assert!(stores.posts.replies(app, id(1), None, 10).await.unwrap().is_empty());
    let counts = stores.graph.counts(app, ann).await.unwrap();
    assert_eq!((counts.followers, counts.following, counts.posts), (1, 0, 2));
    assert_eq!(stores.graph.relations(app, &user("dan")).await.unwrap(), crate::Relations::default());
    let summary = stores.reactions.summaries(app, &[id(1), id(2)], Some(eve)).await.unwrap();
    assert_eq!(summary[0].counts, [("like".to_owned(), 1)]);
    assert!(summary[1].counts.is_empty() && summary[0].own.is_empty());
    let list = stores.inbox.list(app, ann, None, 10, false, at(9_000)).await.unwrap();
    assert_eq!(
        list.iter().map(|group| (&group.actors, group.actor_count)).collect::<Vec<_>>(),
        [(&vec![user("cem")], 1)]
    );
    assert_eq!(stores.inbox.inbox_counts(app, &user("dan"), at(9_000)).await.unwrap().unread, 0);
    assert!(stores.inbox.list(app, &user("dan"), None, 10, false, at(9_000)).await.unwrap().is_empty());
}
