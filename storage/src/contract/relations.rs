//! Blocks and mutes.

use fama_protocol::{AppId, UserId};

use super::{NOW, app, at, at_once, due, kind, user, users_of};
use crate::{
    BLOCKED_BY_MAX, ErrorKind, FollowOutcome, OutboxRow, Relation, RelationRow, Relations, Stores, Task,
};

/// Checks the relations of [`crate::GraphStore`].
pub async fn relations(stores: &Stores) {
    relations_show_from_both_sides(stores).await;
    a_block_ends_follows_both_ways(stores).await;
    a_mute_ends_nothing(stores).await;
    relations_repeated_change_nothing(stores).await;
    caps_are_for_each_kind(stores).await;
    lists_are_in_the_order_of_ids(stores).await;
    limits_hold(stores).await;
    the_cap_holds_at_once(stores).await;
}

async fn relate(
    stores: &Stores,
    app: &AppId,
    (user, relation, target): (&UserId, Relation, &UserId),
    active: bool,
    ms: u64,
) -> Vec<OutboxRow> {
    stores.graph.relate(app, user, relation, target, active, 100, at(ms)).await.unwrap().unwrap()
}

fn changed(user: &UserId, relation: Relation, target: &UserId, active: bool, version: u64) -> Task {
    Task::RelationChanged { user: user.clone(), relation, target: target.clone(), active, version }
}

async fn relations_show_from_both_sides(stores: &Stores) {
    let (app, ann, bob) = (app("relations-sides"), user("ann"), user("bob"));
    assert_eq!(stores.graph.relations(&app, &ann).await.unwrap(), Relations::default());
    let rows = relate(stores, &app, (&ann, Relation::Block, &bob), true, 0).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].task, changed(&ann, Relation::Block, &bob, true, NOW.0));
    assert!(due(stores, &app, NOW).await.contains(&rows[0]));
    relate(stores, &app, (&ann, Relation::Mute, &bob), true, 1).await;
    let of = async |user| stores.graph.relations(&app, user).await.unwrap();
    let both = Relations { blocks: vec![bob.clone()], mutes: vec![bob.clone()], ..Relations::default() };
    assert_eq!(of(&ann).await, both);
    let blocked = Relations { blocked_by: vec![ann.clone()], ..Relations::default() };
    assert_eq!(of(&bob).await, blocked, "nobody learns of mutes");
    let asked = stores.graph.blocked_by(&app, &bob, &[user("cat"), ann.clone()]).await.unwrap();
    assert_eq!(asked, vec![false, true]);
    assert_eq!(stores.graph.blocked_by(&app, &ann, std::slice::from_ref(&bob)).await.unwrap(), vec![false]);

    let rows = relate(stores, &app, (&ann, Relation::Block, &bob), false, 0).await;
    assert_eq!(rows[0].task, changed(&ann, Relation::Block, &bob, false, NOW.0 + 1), "versions grow");
    assert_eq!(of(&bob).await, Relations::default());
    let rows = relate(stores, &app, (&ann, Relation::Block, &bob), true, 0).await;
    assert_eq!(rows[0].task, changed(&ann, Relation::Block, &bob, true, NOW.0 + 2), "also over the gap");
    let elsewhere = super::app("relations-sides-");
    assert_eq!(stores.graph.relations(&elsewhere, &ann).await.unwrap(), Relations::default());
}

async fn a_block_ends_follows_both_ways(stores: &Stores) {
    let (app, ann, bob, cat) = (app("relations-block"), user("ann"), user("bob"), user("cat"));
    for (follower, author) in [(&ann, &bob), (&bob, &ann), (&ann, &cat)] {
        stores.graph.follow(&app, follower, std::slice::from_ref(author), 10, NOW).await.unwrap();
    }
    let rows = relate(stores, &app, (&ann, Relation::Block, &bob), true, 5).await;
    let cleanup = |follower: &UserId, author: &UserId| Task::Cleanup {
        follower: follower.clone(),
        author: author.clone(),
        version: at(5).0,
    };
    let tasks: Vec<_> = rows.iter().map(|row| row.task.clone()).collect();
    assert_eq!(tasks.len(), 3);
    assert!(tasks.contains(&cleanup(&ann, &bob)) && tasks.contains(&cleanup(&bob, &ann)));
    assert_eq!(stores.graph.edge_state(&app, &ann, &bob).await.unwrap(), (false, at(5).0));
    assert_eq!(stores.graph.edge_state(&app, &bob, &ann).await.unwrap(), (false, at(5).0));
    assert_eq!(stores.graph.edge_state(&app, &ann, &cat).await.unwrap(), (true, NOW.0));
    for (user, expected) in [(&ann, (0, 1)), (&bob, (0, 0))] {
        let counts = stores.graph.counts(&app, user).await.unwrap();
        assert_eq!((counts.followers, counts.following), expected);
    }
    assert!(stores.graph.followers(&app, &bob, None, 10).await.unwrap().is_empty());
    relate(stores, &app, (&ann, Relation::Block, &bob), false, 6).await;
    assert!(!stores.graph.edge_state(&app, &ann, &bob).await.unwrap().0, "undoing follows nobody");
}

async fn a_mute_ends_nothing(stores: &Stores) {
    let (app, ann, bob) = (app("relations-mute"), user("ann"), user("bob"));
    let followed = stores.graph.follow(&app, &ann, std::slice::from_ref(&bob), 10, NOW).await.unwrap();
    assert!(matches!(followed, FollowOutcome::Followed(_)));
    let rows = relate(stores, &app, (&ann, Relation::Mute, &bob), true, 1).await;
    assert_eq!(rows.len(), 1);
    assert!(stores.graph.edge_state(&app, &ann, &bob).await.unwrap().0);
}

async fn relations_repeated_change_nothing(stores: &Stores) {
    let (app, ann, bob) = (app("relations-again"), user("ann"), user("bob"));
    for relation in [Relation::Block, Relation::Mute] {
        assert!(relate(stores, &app, (&ann, relation, &bob), false, 0).await.is_empty());
        assert_eq!(relate(stores, &app, (&ann, relation, &bob), true, 1).await.len(), 1);
        assert!(relate(stores, &app, (&ann, relation, &bob), true, 2).await.is_empty());
        let rows = stores.graph.related(&app, &ann, relation, None, 10).await.unwrap();
        assert_eq!(rows, vec![RelationRow { user: bob.clone(), since: at(1) }]);
    }
    assert_eq!(due(stores, &app, at(99)).await.len(), 2);
}

async fn caps_are_for_each_kind(stores: &Stores) {
    let (app, ann, others) = (app("relations-cap"), user("ann"), users_of(3));
    for relation in [Relation::Block, Relation::Mute] {
        let set = async |target: &UserId, active| {
            stores.graph.relate(&app, &ann, relation, target, active, 2, NOW).await.unwrap()
        };
        assert!(set(&others[0], true).await.is_some());
        assert!(set(&others[1], true).await.is_some());
        assert_eq!(set(&others[2], true).await, None);
        assert_eq!(set(&others[1], true).await, Some(Vec::new()), "it is there already");
        assert_eq!(stores.graph.related(&app, &ann, relation, None, 10).await.unwrap().len(), 2);
        assert!(set(&others[0], false).await.is_some());
        assert!(set(&others[2], true).await.is_some(), "there is room again");
    }
}

async fn lists_are_in_the_order_of_ids(stores: &Stores) {
    let (app, ann) = (app("relations-lists"), user("ann"));
    let mut others: Vec<_> = ["b", "b-", "b.c", "bc", "A", "0"].map(user).to_vec();
    for other in &others {
        relate(stores, &app, (&ann, Relation::Block, other), true, 0).await;
        relate(stores, &app, (&ann, Relation::Mute, other), true, 0).await;
        relate(stores, &app, (other, Relation::Block, &ann), true, 0).await;
    }
    others.sort();
    let all = stores.graph.relations(&app, &ann).await.unwrap();
    assert_eq!((&all.blocks, &all.blocked_by, &all.mutes), (&others, &others, &others));
    let page = stores.graph.related(&app, &ann, Relation::Block, Some(&others[1]), 2).await.unwrap();
    assert_eq!(page.into_iter().map(|row| row.user).collect::<Vec<_>>(), others[2..4]);
}

async fn limits_hold(stores: &Stores) {
    let (app, ann) = (app("relations-limits"), user("ann"));
    let own = stores.graph.relate(&app, &ann, Relation::Block, &ann, true, 10, NOW).await;
    assert_eq!(kind(own), ErrorKind::Invalid, "oneself");
    for limit in [0, 10_001] {
        let page = stores.graph.related(&app, &ann, Relation::Mute, None, limit).await;
        assert_eq!(kind(page), ErrorKind::Invalid);
    }
    assert_eq!(kind(stores.graph.blocked_by(&app, &ann, &users_of(1_001)).await), ErrorKind::Invalid);
}

async fn the_cap_holds_at_once(stores: &Stores) {
    let (app, ann) = (app("relations-at-once"), user("ann"));
    let block = |target: UserId| {
        let (stores, app, ann) = (stores.clone(), app.clone(), ann.clone());
        async move { stores.graph.relate(&app, &ann, Relation::Block, &target, true, 10, NOW).await.unwrap() }
    };
    let done = at_once(users_of(64), block).await.into_iter().flatten().count();
    assert_eq!(done, 10);
    assert_eq!(stores.graph.relations(&app, &ann).await.unwrap().blocks.len(), 10);
}

/// Checks that what is told of blockers is bounded: thousands of blocks.
pub async fn relations_crowd(stores: &Stores) {
    let (app, ann) = (app("relations-crowd"), user("ann"));
    let blockers = users_of(BLOCKED_BY_MAX + 1);
    let block = |user: UserId| {
        let (stores, app, ann) = (stores.clone(), app.clone(), ann.clone());
        async move {
            stores.graph.relate(&app, &user, Relation::Block, &ann, true, 10, NOW).await.unwrap().unwrap()
        }
    };
    let (last, rest) = blockers.split_last().unwrap();
    for some in rest.chunks(500) {
        at_once(some.to_vec(), block).await;
    }
    let all = stores.graph.relations(&app, &ann).await.unwrap();
    assert_eq!((all.blocked_by.len(), all.blocked_by_more), (BLOCKED_BY_MAX, false));
    block(last.clone()).await;
    let all = stores.graph.relations(&app, &ann).await.unwrap();
    assert_eq!(all.blocked_by, rest);
    assert!(all.blocked_by_more);
    let asked = stores.graph.blocked_by(&app, &ann, &[last.clone(), user("nobody")]).await.unwrap();
    assert_eq!(asked, vec![true, false]);
}
