//! What was acknowledged is there after closing and opening again.

#![allow(clippy::unwrap_used, reason = "tests")]

use fama_protocol::{AppId, NodeNumber, PostId, UnixMs, UserId};
use fama_storage::embedded::{EmbeddedOptions, EmbeddedStore, Health};
use fama_storage::{Delivery, ErrorKind, FollowOutcome, OutboxState, Post, SLOTS, Visibility};

fn post(author: &UserId, sequence: u16) -> Post {
    let at = UnixMs(PostId::EPOCH.0 + 1_000);
    Post {
        id: PostId::from_parts(at, NodeNumber::new(1).unwrap(), sequence),
        author: author.clone(),
        kind: "post".to_owned(),
        text: Some("hello".to_owned()),
        data: Some(r#"{"a":1}"#.to_owned()),
        reply_to: None,
        repost_of: None,
        mentions: vec![UserId::new("m").unwrap()],
        visibility: Visibility::Followers,
        attachments: None,
        created_at: at,
        updated_at: at,
        rev: 1,
        delivery: Delivery::Push,
        deleted: false,
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { reserve_bytes: 0, ..EmbeddedOptions::default() };
    let (app, ann, bob) = (AppId::default(), UserId::new("ann").unwrap(), UserId::new("bob").unwrap());
    let now = UnixMs(PostId::EPOCH.0 + 2_000);
    {
        let store = EmbeddedStore::open(dir.path(), options.clone()).unwrap();
        let stores = store.stores();
        let row = stores.posts.insert(&app, &post(&ann, 1), None, now).await.unwrap();
        assert_eq!(row.state, OutboxState::Queued { at: now, attempts: 0 });
        stores.posts.insert(&app, &post(&ann, 2), None, now).await.unwrap();
        stores.outbox.mark_done(&app, &row.task.row_id()).await.unwrap();
        let followed = stores.graph.follow(&app, &bob, std::slice::from_ref(&ann), 10, now).await.unwrap();
        assert!(matches!(followed, FollowOutcome::Followed(rows) if rows.len() == 1));

        let second = EmbeddedStore::open(dir.path(), options.clone()).err().unwrap();
        assert_eq!(second.kind(), ErrorKind::Unavailable);
        assert!(second.to_string().contains(&dir.path().display().to_string()), "{second}");
    }
    let store = EmbeddedStore::open(dir.path(), options).unwrap();
    let stores = store.stores();
    assert_eq!(store.health(), Health::Good);
    let ids = [post(&ann, 1).id, post(&ann, 2).id, PostId::ZERO];
    let found = stores.posts.get_many(&app, &ids).await.unwrap();
    assert_eq!(found, vec![Some(post(&ann, 1)), Some(post(&ann, 2)), None]);
    assert_eq!(stores.posts.newest(&app, &ann).await.unwrap(), Some(ids[1]));
    assert_eq!(stores.graph.counts(&app, &ann).await.unwrap().followers, 1);
    assert_eq!(stores.outbox.backlog().await.unwrap(), 2);
    let mut due = 0;
    for slot in 0..SLOTS {
        due += stores.outbox.due(slot, now, 10).await.unwrap().len();
    }
    assert_eq!(due, 2);
}
