//! The follow graph.

use fama_protocol::{AppId, UnixMs, UserId};

use super::{NOW, app, at, at_once, due, kind, user, users_of};
use crate::{
    Edge, ErrorKind, FollowOutcome, Follower, KEPT_MAX, OutboxRow, OutboxState, Relation, Stores, Task,
};

/// Checks the edges of [`crate::GraphStore`].
pub async fn graph(stores: &Stores) {
    a_follow_is_there_both_ways(stores).await;
    a_follow_repeated_changes_nothing(stores).await;
    the_cap_is_all_or_nothing(stores).await;
    imported_follows_owe_nothing(stores).await;
    blocked_users_cannot_follow(stores).await;
    an_unfollow_ends_the_edge(stores).await;
    kept_history_is_no_follow(stores).await;
    versions_grow_whatever_the_clock_says(stores).await;
    filled_only_grows(stores).await;
    lists_are_in_the_order_of_ids(stores).await;
    limits_hold(stores).await;
    apps_are_apart(stores).await;
    the_cap_holds_at_once(stores).await;
}

async fn follow_at(
    stores: &Stores,
    app: &AppId,
    follower: &UserId,
    authors: &[UserId],
    now: UnixMs,
) -> Vec<OutboxRow> {
    match stores.graph.follow(app, follower, authors, 10_000, now).await.unwrap() {
        FollowOutcome::Followed(rows) => rows,
        other => panic!("not followed: {other:?}"),
    }
}

/// Followers, followees.
async fn counts(stores: &Stores, app: &AppId, user: &UserId) -> (u64, u64) {
    let counts = stores.graph.counts(app, user).await.unwrap();
    (counts.followers, counts.following)
}

async fn a_follow_is_there_both_ways(stores: &Stores) {
    let (app, fay) = (app("graph-follow"), user("fay"));
    let [ann, bob] = [user("ann"), user("bob")];
    let rows = follow_at(stores, &app, &fay, &[bob.clone(), ann.clone(), bob.clone()], NOW).await;
    let expected: Vec<_> = [&bob, &ann]
        .into_iter()
        .map(|author| OutboxRow {
            app: app.clone(),
            task: Task::Backfill { follower: fay.clone(), author: author.clone(), version: NOW.0 },
            state: OutboxState::Queued { at: NOW, attempts: 0 },
        })
        .collect();
    assert_eq!(rows, expected, "in the order asked, each once");
    let owed = due(stores, &app, NOW).await;
    assert!(owed.len() == 2 && expected.iter().all(|row| owed.contains(row)));

    let edge =
        |author: &UserId| Edge { author: author.clone(), since: NOW, version: NOW.0, filled: 0, until: None };
    assert_eq!(stores.graph.edges(&app, &fay).await.unwrap(), vec![edge(&ann), edge(&bob)]);
    let to_ann = stores.graph.edges_to(&app, &[bob.clone(), fay.clone()], &ann).await.unwrap();
    assert_eq!(to_ann, vec![None, Some(edge(&ann))]);
    assert_eq!(stores.graph.edge_state(&app, &fay, &ann).await.unwrap(), (true, NOW.0));
    assert_eq!(stores.graph.edge_state(&app, &ann, &fay).await.unwrap(), (false, 0));
    let since = |user: &UserId| Follower { user: user.clone(), since: NOW };
    assert_eq!(stores.graph.followers(&app, &ann, None, 10).await.unwrap(), vec![since(&fay)]);
    let following = stores.graph.following(&app, &fay, None, 10).await.unwrap();
    assert_eq!(following, vec![since(&ann), since(&bob)]);
    assert_eq!(counts(stores, &app, &fay).await, (0, 2));
    assert_eq!(counts(stores, &app, &ann).await, (1, 0));
}

async fn imported_follows_owe_nothing(stores: &Stores) {
    let (app, fay) = (app("graph-import"), user("fay"));
    let authors = [user("ann"), user("bob")];
    let imported = stores.graph.import_follows(&app, &fay, &authors, 1, NOW).await.unwrap();
    assert_eq!(imported, FollowOutcome::OverCap { following: 0 });
    let imported = stores.graph.import_follows(&app, &fay, &authors, 2, NOW).await.unwrap();
    assert_eq!(imported, FollowOutcome::Followed(Vec::new()));
    let edges = stores.graph.edges(&app, &fay).await.unwrap();
    assert!(edges.len() == 2 && edges.iter().all(|edge| edge.filled == edge.version), "{edges:?}");
    assert_eq!(counts(stores, &app, &fay).await, (0, 2));
    assert_eq!(counts(stores, &app, &authors[0]).await, (1, 0));
    assert!(follow_at(stores, &app, &fay, &authors, at(5)).await.is_empty(), "they are there");
}

async fn a_follow_repeated_changes_nothing(stores: &Stores) {
    let (app, fay, ann, bob) = (app("graph-again"), user("fay"), user("ann"), user("bob"));
    follow_at(stores, &app, &fay, std::slice::from_ref(&ann), NOW).await;
    let before = stores.graph.edges(&app, &fay).await.unwrap();
    assert!(follow_at(stores, &app, &fay, std::slice::from_ref(&ann), at(5)).await.is_empty());
    assert_eq!(stores.graph.edges(&app, &fay).await.unwrap(), before);
    let rows = follow_at(stores, &app, &fay, &[ann.clone(), bob.clone()], at(6)).await;
    assert_eq!(rows.len(), 1, "only the new edge owes");
    assert_eq!(counts(stores, &app, &fay).await, (0, 2));
    assert_eq!(counts(stores, &app, &ann).await, (1, 0));
}

async fn the_cap_is_all_or_nothing(stores: &Stores) {
    let (app, fay, authors) = (app("graph-cap"), user("fay"), users_of(4));
    let follow =
        async |authors: &[UserId], cap| stores.graph.follow(&app, &fay, authors, cap, NOW).await.unwrap();
    assert!(matches!(follow(&authors[..2], 3).await, FollowOutcome::Followed(_)));
    assert_eq!(follow(&authors[2..], 3).await, FollowOutcome::OverCap { following: 2 });
    assert_eq!(counts(stores, &app, &fay).await, (0, 2), "nothing was written");
    assert_eq!(stores.graph.edges(&app, &fay).await.unwrap().len(), 2);
    assert_eq!(due(stores, &app, at(99)).await.len(), 2);
    assert!(matches!(follow(&authors[..3], 3).await, FollowOutcome::Followed(rows) if rows.len() == 1));
    assert_eq!(follow(&authors[..3], 1).await, FollowOutcome::Followed(Vec::new()), "nothing is new");
    stores.graph.unfollow(&app, &fay, &authors[0], true, NOW).await.unwrap();
    assert!(
        matches!(follow(&authors[3..], 3).await, FollowOutcome::Followed(_)),
        "kept history is no follow"
    );
}

async fn blocked_users_cannot_follow(stores: &Stores) {
    let (app, fay, ann, bob) = (app("graph-blocked"), user("fay"), user("ann"), user("bob"));
    let block = async |user, target, active| {
        stores.graph.relate(&app, user, Relation::Block, target, active, 10, NOW).await.unwrap();
    };
    let follow =
        async |cap| stores.graph.follow(&app, &fay, &[bob.clone(), ann.clone()], cap, NOW).await.unwrap();
    block(&ann, &fay, true).await;
    assert_eq!(follow(0).await, FollowOutcome::Blocked(ann.clone()), "before the cap");
    block(&ann, &fay, false).await;
    block(&fay, &ann, true).await;
    assert_eq!(follow(9).await, FollowOutcome::Blocked(ann.clone()), "the other way round");
    assert!(stores.graph.edges(&app, &fay).await.unwrap().is_empty(), "nothing was written");
    block(&fay, &ann, false).await;
    stores.graph.relate(&app, &fay, Relation::Mute, &ann, true, 10, NOW).await.unwrap();
    assert!(matches!(follow(9).await, FollowOutcome::Followed(_)), "mutes don't matter");
}

async fn an_unfollow_ends_the_edge(stores: &Stores) {
    let (app, fay, ann) = (app("graph-unfollow"), user("fay"), user("ann"));
    let unfollow = async |now| stores.graph.unfollow(&app, &fay, &ann, false, now).await.unwrap();
    assert_eq!(unfollow(NOW).await, None, "there was no edge");
    assert_eq!(stores.graph.edge_state(&app, &fay, &ann).await.unwrap(), (false, 0));
    follow_at(stores, &app, &fay, std::slice::from_ref(&ann), NOW).await;
    let row = unfollow(at(5)).await.unwrap();
    let task = Task::Cleanup { follower: fay.clone(), author: ann.clone(), version: at(5).0 };
    assert_eq!(row.task, task);
    assert!(due(stores, &app, at(5)).await.contains(&row));
    assert!(stores.graph.edges(&app, &fay).await.unwrap().is_empty());
    assert_eq!(stores.graph.edges_to(&app, std::slice::from_ref(&fay), &ann).await.unwrap(), vec![None]);
    assert!(stores.graph.followers(&app, &ann, None, 10).await.unwrap().is_empty());
    assert_eq!(counts(stores, &app, &fay).await, (0, 0));
    assert_eq!(counts(stores, &app, &ann).await, (0, 0));
    assert_eq!(stores.graph.edge_state(&app, &fay, &ann).await.unwrap(), (false, at(5).0));
    assert_eq!(unfollow(at(6)).await, None);
}

async fn kept_history_is_no_follow(stores: &Stores) {
    let (app, fay, ann) = (app("graph-kept"), user("fay"), user("ann"));
    let unfollow = async |keep, now| stores.graph.unfollow(&app, &fay, &ann, keep, now).await.unwrap();
    follow_at(stores, &app, &fay, std::slice::from_ref(&ann), NOW).await;
    stores.graph.set_filled(&app, &fay, &ann, NOW.0).await.unwrap();
    assert!(unfollow(true, at(5)).await.is_some());
    let kept = Edge { author: ann.clone(), since: NOW, version: at(5).0, filled: NOW.0, until: Some(at(5)) };
    assert_eq!(stores.graph.edges(&app, &fay).await.unwrap(), vec![kept.clone()]);
    let to_ann = stores.graph.edges_to(&app, std::slice::from_ref(&fay), &ann).await.unwrap();
    assert_eq!(to_ann, vec![Some(kept)]);
    assert_eq!(stores.graph.edge_state(&app, &fay, &ann).await.unwrap(), (false, at(5).0));
    assert!(stores.graph.following(&app, &fay, None, 10).await.unwrap().is_empty());
    assert!(stores.graph.followers(&app, &ann, None, 10).await.unwrap().is_empty());
    assert_eq!(counts(stores, &app, &fay).await, (0, 0));
    assert_eq!(unfollow(true, at(6)).await, None, "kept already");

    let rows = follow_at(stores, &app, &fay, std::slice::from_ref(&ann), at(7)).await;
    assert_eq!(rows.len(), 1);
    let edge = stores.graph.edges(&app, &fay).await.unwrap().remove(0);
    assert_eq!((edge.since, edge.version, edge.filled, edge.until), (at(7), at(7).0, NOW.0, None));
    unfollow(true, at(8)).await.unwrap();
    assert!(unfollow(false, at(9)).await.is_some(), "the kept edge ends as well");
    assert!(stores.graph.edges(&app, &fay).await.unwrap().is_empty());
    assert_eq!(stores.graph.edge_state(&app, &fay, &ann).await.unwrap(), (false, at(9).0));
    assert_eq!(unfollow(false, at(10)).await, None);
    assert_eq!(counts(stores, &app, &fay).await, (0, 0));
}

async fn versions_grow_whatever_the_clock_says(stores: &Stores) {
    let (app, fay, ann) = (app("graph-clock"), user("fay"), user("ann"));
    let version = async || stores.graph.edge_state(&app, &fay, &ann).await.unwrap().1;
    follow_at(stores, &app, &fay, std::slice::from_ref(&ann), at(100)).await;
    assert_eq!(version().await, at(100).0);
    stores.graph.unfollow(&app, &fay, &ann, false, at(50)).await.unwrap();
    assert_eq!(version().await, at(101).0);
    follow_at(stores, &app, &fay, std::slice::from_ref(&ann), at(20)).await;
    assert_eq!(version().await, at(102).0, "also over the gap");
    stores.graph.unfollow(&app, &fay, &ann, true, at(30)).await.unwrap();
    follow_at(stores, &app, &fay, std::slice::from_ref(&ann), at(200)).await;
    assert_eq!(version().await, at(200).0);
}

async fn filled_only_grows(stores: &Stores) {
    let (app, fay, ann) = (app("graph-filled"), user("fay"), user("ann"));
    let fill = async |version| stores.graph.set_filled(&app, &fay, &ann, version).await.unwrap();
    fill(5).await;
    assert_eq!(stores.graph.edge_state(&app, &fay, &ann).await.unwrap(), (false, 0), "no edge comes of it");
    follow_at(stores, &app, &fay, std::slice::from_ref(&ann), NOW).await;
    let filled = async || stores.graph.edges(&app, &fay).await.unwrap()[0].filled;
    fill(7).await;
    assert_eq!(filled().await, 7);
    fill(6).await;
    assert_eq!(filled().await, 7);
    stores.graph.unfollow(&app, &fay, &ann, false, NOW).await.unwrap();
    fill(99).await;
    assert!(stores.graph.edges(&app, &fay).await.unwrap().is_empty());
}

async fn lists_are_in_the_order_of_ids(stores: &Stores) {
    let (app, fay) = (app("graph-lists"), user("fay"));
    // Each is another's beginning, or differs in a character that sorts low.
    let mut ids: Vec<_> = ["a", "a-", "a-b", "a.b", "a:b", "ab", "B", "0"].map(user).to_vec();
    follow_at(stores, &app, &fay, &ids, NOW).await;
    for other in &ids {
        follow_at(stores, &app, other, std::slice::from_ref(&fay), NOW).await;
    }
    ids.sort();
    let users = |followers: Vec<Follower>| followers.into_iter().map(|f| f.user).collect::<Vec<_>>();
    let edges = stores.graph.edges(&app, &fay).await.unwrap();
    assert_eq!(edges.into_iter().map(|edge| edge.author).collect::<Vec<_>>(), ids);
    for after in 0..ids.len() {
        let expected = ids.get(after + 1..).unwrap().iter().take(3).cloned().collect::<Vec<_>>();
        let after = Some(&ids[after]);
        assert_eq!(users(stores.graph.followers(&app, &fay, after, 3).await.unwrap()), expected);
        assert_eq!(users(stores.graph.following(&app, &fay, after, 3).await.unwrap()), expected);
    }
    let behind_none = Some(user("a-a"));
    let page = stores.graph.followers(&app, &fay, behind_none.as_ref(), 1).await.unwrap();
    assert_eq!(users(page), vec![user("a-b")], "after an id that is not there");
    stores.graph.unfollow(&app, &fay, &ids[1], true, NOW).await.unwrap();
    let page = stores.graph.following(&app, &fay, Some(&ids[0]), 2).await.unwrap();
    assert_eq!(users(page), ids[2..4], "kept history takes no place in a page");
}

async fn limits_hold(stores: &Stores) {
    let (app, fay, ann) = (app("graph-limits"), user("fay"), user("ann"));
    let follow = async |authors: &[UserId]| stores.graph.follow(&app, &fay, authors, 5_000, NOW).await;
    assert_eq!(kind(follow(&[ann.clone(), fay.clone()]).await), ErrorKind::Invalid, "oneself");
    assert_eq!(kind(follow(&users_of(1_001)).await), ErrorKind::Invalid);
    assert!(stores.graph.edges(&app, &fay).await.unwrap().is_empty());
    let many = users_of(10_001);
    assert_eq!(kind(stores.graph.edges_to(&app, &many, &ann).await), ErrorKind::Invalid);
    let to_ann = stores.graph.edges_to(&app, &many[1..], &ann).await.unwrap();
    assert_eq!(to_ann, vec![None; 10_000]);
    for limit in [0, 10_001] {
        assert_eq!(kind(stores.graph.followers(&app, &ann, None, limit).await), ErrorKind::Invalid);
        assert_eq!(kind(stores.graph.following(&app, &ann, None, limit).await), ErrorKind::Invalid);
    }
}

async fn apps_are_apart(stores: &Stores) {
    let (one, other, fay, ann) = (app("graph-one"), app("graph-one-"), user("fay"), user("ann"));
    follow_at(stores, &one, &fay, std::slice::from_ref(&ann), NOW).await;
    assert!(stores.graph.edges(&other, &fay).await.unwrap().is_empty());
    assert_eq!(counts(stores, &other, &ann).await, (0, 0));
    assert_eq!(stores.graph.unfollow(&other, &fay, &ann, false, NOW).await.unwrap(), None);
    stores.graph.relate(&other, &fay, Relation::Block, &ann, true, 10, NOW).await.unwrap();
    assert_eq!(counts(stores, &one, &ann).await, (1, 0));
}

async fn the_cap_holds_at_once(stores: &Stores) {
    let (app, fay) = (app("graph-at-once"), user("fay"));
    let authors = users_of(64);
    let follow = |author: UserId| {
        let (stores, app, fay) = (stores.clone(), app.clone(), fay.clone());
        async move { stores.graph.follow(&app, &fay, &[author], 10, NOW).await.unwrap() }
    };
    let outcomes = at_once(authors.clone(), follow).await;
    let followed = outcomes.iter().filter(|outcome| matches!(outcome, FollowOutcome::Followed(_))).count();
    assert_eq!(followed, 10);
    assert_eq!(counts(stores, &app, &fay).await, (0, 10));
    assert_eq!(stores.graph.edges(&app, &fay).await.unwrap().len(), 10);

    let follow = |follower: UserId| {
        let (stores, app, star) = (stores.clone(), app.clone(), user("star"));
        async move { stores.graph.follow(&app, &follower, &[star], 100, NOW).await.unwrap() }
    };
    at_once(authors.clone(), follow).await;
    assert_eq!(counts(stores, &app, &user("star")).await, (64, 0));
    let unfollow = |follower: UserId| {
        let (stores, app, star) = (stores.clone(), app.clone(), user("star"));
        async move { stores.graph.unfollow(&app, &follower, &star, false, NOW).await.unwrap() }
    };
    let twice = authors.iter().chain(&authors).cloned();
    let ended = at_once(twice, unfollow).await.into_iter().flatten().count();
    assert_eq!(ended, 64, "each follow ends once");
    assert_eq!(counts(stores, &app, &user("star")).await, (0, 0));
}

/// Checks that kept history is bounded: thousands of edges.
pub async fn graph_crowd(stores: &Stores) {
    let (app, fay) = (app("graph-crowd"), user("fay"));
    let authors = users_of(usize::try_from(KEPT_MAX).unwrap() + 2);
    for some in authors.chunks(1_000) {
        follow_at(stores, &app, &fay, some, NOW).await;
    }
    let unfollow = |author: UserId| {
        let (stores, app, fay) = (stores.clone(), app.clone(), fay.clone());
        async move { stores.graph.unfollow(&app, &fay, &author, true, at(1)).await.unwrap() }
    };
    for some in authors.chunks(500) {
        let rows = at_once(some.to_vec(), unfollow).await;
        assert!(rows.iter().all(Option::is_some));
    }
    assert_eq!(stores.graph.edges(&app, &fay).await.unwrap().len() as u64, KEPT_MAX);
    assert_eq!(counts(stores, &app, &fay).await, (0, 0));
    // One that is followed again makes room for another.
    let kept = stores.graph.edges(&app, &fay).await.unwrap().remove(0).author;
    follow_at(stores, &app, &fay, std::slice::from_ref(&kept), at(2)).await;
    follow_at(stores, &app, &fay, &[user("new")], at(2)).await;
    stores.graph.unfollow(&app, &fay, &user("new"), true, at(3)).await.unwrap();
    assert!(stores.graph.edges(&app, &fay).await.unwrap().iter().any(|edge| edge.author == user("new")));
}
