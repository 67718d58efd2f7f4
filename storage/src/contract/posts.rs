//! Posts.

use super::{NOW, app, at, at_once, due, id, kind, post, user};
use crate::{
    Claim, Delivery, ErrorKind, OutboxState, Post, PostChange, PostPatch, RequestKey, StoredResponse, Stores,
    Task,
};

/// Checks [`crate::PostStore`].
pub async fn posts(stores: &Stores) {
    an_insert_is_there_whole(stores).await;
    an_insert_repeated_changes_nothing(stores).await;
    an_insert_completes_only_its_own_claim(stores).await;
    authors_pages_are_newest_first(stores).await;
    replies_are_newest_first(stores).await;
    an_edit_makes_a_revision(stores).await;
    what_cannot_be_edited(stores).await;
    a_deletion_empties_the_post(stores).await;
    limits_hold(stores).await;
    apps_are_apart(stores).await;
    concurrent_writes_count_exactly(stores).await;
}

async fn an_insert_is_there_whole(stores: &Stores) {
    let (app, ann) = (app("posts-insert"), user("ann"));
    assert_eq!(stores.posts.newest(&app, &ann).await.unwrap(), None);
    let full = Post { reply_to: Some(id(3)), repost_of: Some(id(4)), ..post(&ann, 9) };
    let bare = Post {
        text: None,
        data: None,
        attachments: None,
        mentions: Vec::new(),
        delivery: Delivery::Pull,
        visibility: crate::Visibility::Followers,
        ..post(&ann, 8)
    };
    for post in [&full, &bare] {
        let row = stores.posts.insert(&app, post, None, NOW).await.unwrap();
        assert_eq!(row.app, app);
        assert_eq!(row.task, Task::FanOut { post: post.id, author: ann.clone() });
        assert_eq!(row.state, OutboxState::Queued { at: NOW, attempts: 0 });
        assert!(due(stores, &app, NOW).await.contains(&row));
    }
    let found = stores.posts.get_many(&app, &[id(8), id(1), id(9), id(8)]).await.unwrap();
    assert_eq!(found, vec![Some(bare.clone()), None, Some(full), Some(bare)]);
    assert_eq!(stores.graph.counts(&app, &ann).await.unwrap().posts, 2);
    assert_eq!(stores.posts.newest(&app, &ann).await.unwrap(), Some(id(9)), "not the one inserted last");
    assert_eq!(stores.posts.replies(&app, id(3), None, 10).await.unwrap(), vec![id(9)]);
}

async fn an_insert_repeated_changes_nothing(stores: &Stores) {
    let (app, ann) = (app("posts-again"), user("ann"));
    let row = stores.posts.insert(&app, &post(&ann, 1), None, NOW).await.unwrap();
    stores.outbox.mark_queued(&app, &row.task.row_id(), at(5)).await.unwrap();
    let other = Post { text: Some("other".to_owned()), ..post(&ann, 1) };
    let again = stores.posts.insert(&app, &other, None, at(9)).await.unwrap();
    assert_eq!(again.state, OutboxState::Queued { at: at(5), attempts: 1 }, "the row as it is now");
    assert_eq!(stores.posts.get_many(&app, &[id(1)]).await.unwrap(), vec![Some(post(&ann, 1))]);
    assert_eq!(stores.graph.counts(&app, &ann).await.unwrap().posts, 1);

    stores.outbox.mark_done(&app, &row.task.row_id()).await.unwrap();
    let again = stores.posts.insert(&app, &post(&ann, 1), None, at(9)).await.unwrap();
    assert_eq!(again.task, row.task);
    assert!(due(stores, &app, at(99)).await.is_empty(), "work that is done is not owed again");
}

async fn an_insert_completes_only_its_own_claim(stores: &Stores) {
    let (app, ann) = (app("posts-claim"), user("ann"));
    let key = RequestKey { user: ann.clone(), route: "POST /v1/posts".to_owned(), key: "k".to_owned() };
    let response = StoredResponse { status: 201, body: "{}".to_owned() };
    let insert =
        async |number| stores.posts.insert(&app, &post(&ann, number), Some((&key, &response)), NOW).await;

    assert_eq!(kind(insert(1).await), ErrorKind::Conflict, "without a claim");
    stores.idempotency.claim(&app, &key, [1; 32], id(2), NOW).await.unwrap();
    assert_eq!(kind(insert(1).await), ErrorKind::Conflict, "with another's claim");
    stores.idempotency.abandon(&app, &key, id(2)).await.unwrap();
    assert_eq!(kind(insert(2).await), ErrorKind::Conflict, "with a claim given back");
    assert_eq!(stores.posts.get_many(&app, &[id(1), id(2)]).await.unwrap(), vec![None, None]);
    assert_eq!(stores.graph.counts(&app, &ann).await.unwrap().posts, 0);
    assert_eq!(stores.posts.newest(&app, &ann).await.unwrap(), None);
    assert!(due(stores, &app, at(99)).await.is_empty(), "nothing was written");

    stores.idempotency.claim(&app, &key, [1; 32], id(3), NOW).await.unwrap();
    let row = insert(3).await.unwrap();
    let claim = stores.idempotency.claim(&app, &key, [1; 32], id(4), NOW).await.unwrap();
    assert_eq!(claim, Claim::Done(response.clone()));
    assert_eq!(insert(3).await.unwrap(), row, "repeated, with the claim complete");
}

async fn authors_pages_are_newest_first(stores: &Stores) {
    let (app, ann) = (app("posts-author"), user("ann"));
    for number in [1, 5, 3, 2, 4] {
        let delivery = if number % 2 == 0 { Delivery::Pull } else { Delivery::Push };
        let new = Post { delivery, ..post(&ann, number) };
        stores.posts.insert(&app, &new, None, NOW).await.unwrap();
    }
    // Ids that the author's begins with, or that begin with it.
    for other in ["an", "ann-", "annb"] {
        let number = 10 + other.len() as u64 + u64::from(other.ends_with('b')) * 10;
        stores.posts.insert(&app, &post(&user(other), number), None, NOW).await.unwrap();
    }
    stores.posts.delete(&app, None, id(4), NOW).await.unwrap();
    let page = async |before: Option<u64>, limit, pull_only| {
        let page = stores.posts.by_author(&app, &ann, before.map(id), limit, pull_only).await.unwrap();
        for post in &page.posts {
            let even = post.id.minted_at().0 % 2 == 0;
            assert_eq!(post.delivery == Delivery::Pull, even);
            assert_eq!(post.deleted, post.id == id(4));
        }
        let numbers: Vec<u64> =
            (0..20).rev().filter(|n| page.posts.iter().any(|post| post.id == id(*n))).collect();
        let order: Vec<_> = numbers.iter().map(|number| id(*number)).collect();
        assert_eq!(page.posts.iter().map(|post| post.id).collect::<Vec<_>>(), order, "newest first");
        (numbers, page.more)
    };
    assert_eq!(page(None, 100, false).await, (vec![5, 4, 3, 2, 1], false));
    assert_eq!(page(None, 5, false).await, (vec![5, 4, 3, 2, 1], false), "no more, though full");
    assert_eq!(page(None, 2, false).await, (vec![5, 4], true));
    assert_eq!(page(Some(4), 2, false).await, (vec![3, 2], true), "before is not included");
    assert_eq!(page(Some(2), 2, false).await, (vec![1], false));
    assert_eq!(page(Some(1), 2, false).await, (vec![], false));
    assert_eq!(page(None, 100, true).await, (vec![4, 2], false));
    assert_eq!(page(None, 1, true).await, (vec![4], true));
    assert_eq!(page(Some(4), 1, true).await, (vec![2], false));
}

async fn replies_are_newest_first(stores: &Stores) {
    let (app, ann) = (app("posts-replies"), user("ann"));
    for (number, to) in [(11, 1), (13, 1), (12, 1), (14, 2)] {
        let new = Post { reply_to: Some(id(to)), ..post(&ann, number) };
        stores.posts.insert(&app, &new, None, NOW).await.unwrap();
    }
    stores.posts.delete(&app, None, id(12), NOW).await.unwrap();
    let replies = async |before, limit| stores.posts.replies(&app, id(1), before, limit).await.unwrap();
    assert_eq!(replies(None, 10).await, vec![id(13), id(12), id(11)], "deleted ones included");
    assert_eq!(replies(None, 2).await, vec![id(13), id(12)]);
    assert_eq!(replies(Some(id(12)), 2).await, vec![id(11)]);
    assert!(stores.posts.replies(&app, id(3), None, 10).await.unwrap().is_empty());
}

/// A patch of the text alone.
fn text(text: &str) -> PostPatch {
    PostPatch { text: Some(Some(text.to_owned())), data: None }
}

async fn an_edit_makes_a_revision(stores: &Stores) {
    let (app, ann) = (app("posts-edit"), user("ann"));
    stores.posts.insert(&app, &post(&ann, 1), None, NOW).await.unwrap();
    let edit = async |patch, now| stores.posts.edit(&app, &ann, id(1), &patch, now).await.unwrap();
    let PostChange::Changed(first, row) = edit(text("new"), at(1)).await else {
        panic!("not changed");
    };
    let expected = Post { text: Some("new".to_owned()), rev: 2, updated_at: at(1), ..post(&ann, 1) };
    assert_eq!(*first, expected);
    assert_eq!(row.task, Task::PostUpdated { post: id(1), author: ann.clone(), rev: 2 });
    assert_eq!(row.state, OutboxState::Queued { at: at(1), attempts: 0 });
    assert!(due(stores, &app, at(1)).await.contains(&row));
    assert_eq!(stores.posts.get_many(&app, &[id(1)]).await.unwrap(), vec![Some(expected)]);

    let same = edit(text("new"), at(2)).await;
    assert_eq!(same, PostChange::Unchanged, "says what it says already");
    assert_eq!(edit(PostPatch::default(), at(2)).await, PostChange::Unchanged);
    let PostChange::Changed(second, _) = edit(PostPatch { text: None, data: Some(None) }, at(3)).await else {
        panic!("not changed");
    };
    assert_eq!((second.text.as_deref(), second.data, second.rev), (Some("new"), None, 3));
}

async fn what_cannot_be_edited(stores: &Stores) {
    let (app, ann, bob) = (app("posts-edit-not"), user("ann"), user("bob"));
    stores.posts.insert(&app, &post(&ann, 1), None, NOW).await.unwrap();
    let change = text("mine");
    let edit =
        async |author, number| stores.posts.edit(&app, author, id(number), &change, NOW).await.unwrap();
    assert_eq!(edit(&bob, 1).await, PostChange::NotFound, "another's post");
    assert_eq!(edit(&ann, 2).await, PostChange::NotFound, "no post");
    stores.posts.delete(&app, None, id(1), NOW).await.unwrap();
    assert_eq!(edit(&ann, 1).await, PostChange::Unchanged, "deleted");
    let found = stores.posts.get_many(&app, &[id(1)]).await.unwrap().remove(0).unwrap();
    assert_eq!((found.text, found.rev), (None, 1));
}

async fn a_deletion_empties_the_post(stores: &Stores) {
    let (app, ann, bob) = (app("posts-delete"), user("ann"), user("bob"));
    let full = Post { reply_to: Some(id(7)), ..post(&ann, 1) };
    stores.posts.insert(&app, &full, None, NOW).await.unwrap();
    stores.posts.insert(&app, &post(&ann, 2), None, NOW).await.unwrap();
    let delete = async |author, number| stores.posts.delete(&app, author, id(number), at(4)).await.unwrap();
    assert_eq!(delete(Some(&bob), 1).await, PostChange::NotFound, "another's post");
    assert_eq!(delete(Some(&ann), 3).await, PostChange::NotFound, "no post");
    let PostChange::Changed(gone, row) = delete(Some(&ann), 1).await else { panic!("not deleted") };
    let expected = Post {
        text: None,
        data: None,
        attachments: None,
        mentions: Vec::new(),
        deleted: true,
        updated_at: at(4),
        ..full
    };
    assert_eq!(*gone, expected);
    assert_eq!(
        row.task,
        Task::PostDeleted { post: id(1), author: ann.clone(), mentions: vec![user("mentioned")] }
    );
    assert!(due(stores, &app, at(4)).await.contains(&row));
    assert_eq!(stores.posts.get_many(&app, &[id(1)]).await.unwrap(), vec![Some(expected)]);
    assert_eq!(delete(Some(&ann), 1).await, PostChange::Unchanged);
    assert_eq!(stores.graph.counts(&app, &ann).await.unwrap().posts, 1, "falls once");
    assert!(matches!(delete(None, 2).await, PostChange::Changed(..)), "an admin's act");
    assert_eq!(stores.graph.counts(&app, &ann).await.unwrap().posts, 0);
    assert_eq!(stores.posts.newest(&app, &ann).await.unwrap(), Some(id(2)), "deleted or not");
}

async fn limits_hold(stores: &Stores) {
    let (app, ann) = (app("posts-limits"), user("ann"));
    let many: Vec<_> = (0..1_001).map(id).collect();
    assert_eq!(kind(stores.posts.get_many(&app, &many).await), ErrorKind::Invalid);
    assert_eq!(stores.posts.get_many(&app, &many[1..]).await.unwrap().len(), 1_000);
    for limit in [0, 1_001] {
        let page = stores.posts.by_author(&app, &ann, None, limit, false).await;
        assert_eq!(kind(page), ErrorKind::Invalid);
        assert_eq!(kind(stores.posts.replies(&app, id(1), None, limit).await), ErrorKind::Invalid);
    }
}

async fn apps_are_apart(stores: &Stores) {
    let (one, other, ann) = (app("posts-one"), app("posts-one-"), user("ann"));
    stores.posts.insert(&one, &post(&ann, 1), None, NOW).await.unwrap();
    let theirs = Post { text: Some("theirs".to_owned()), ..post(&ann, 1) };
    stores.posts.insert(&other, &theirs, None, NOW).await.unwrap();
    assert_eq!(stores.posts.get_many(&one, &[id(1)]).await.unwrap(), vec![Some(post(&ann, 1))]);
    assert_eq!(stores.posts.get_many(&other, &[id(1)]).await.unwrap(), vec![Some(theirs)]);
    stores.posts.delete(&other, None, id(1), NOW).await.unwrap();
    assert_eq!(stores.graph.counts(&one, &ann).await.unwrap().posts, 1);
    let page = stores.posts.by_author(&one, &ann, None, 10, false).await.unwrap();
    assert_eq!(page.posts.len(), 1);
    assert!(!page.posts[0].deleted);
}

async fn concurrent_writes_count_exactly(stores: &Stores) {
    let (app, ann) = (app("posts-at-once"), user("ann"));
    let insert = |number: u64| {
        let (stores, app, new) = (stores.clone(), app.clone(), post(&ann, number % 16));
        async move { stores.posts.insert(&app, &new, None, NOW).await.unwrap() }
    };
    at_once(0..64, insert).await;
    assert_eq!(stores.graph.counts(&app, &ann).await.unwrap().posts, 16);
    assert_eq!(due(stores, &app, NOW).await.len(), 16);

    let edit = |number: u64| {
        let (stores, app, ann) = (stores.clone(), app.clone(), ann.clone());
        let change = text(&format!("edit {number}"));
        async move { stores.posts.edit(&app, &ann, id(1), &change, NOW).await.unwrap() }
    };
    at_once(0..64, edit).await;
    let found = stores.posts.get_many(&app, &[id(1)]).await.unwrap().remove(0).unwrap();
    assert_eq!(found.rev, 65, "no edit is lost, none counts twice");
}
