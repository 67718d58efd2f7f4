//! Numbered writes of several kinds, and what must be there of them.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use fama_protocol::{AppId, NodeNumber, PostId, UnixMs, UserId};
use fama_storage::embedded::{EmbeddedOptions, EmbeddedStore};
use fama_storage::{
    Claim, Delivery, ErrorKind, FollowOutcome, Post, PostPatch, RequestKey, Result, RowId, SLOTS,
    StoredResponse, Stores, Task, Visibility,
};

const NOW: UnixMs = UnixMs(PostId::EPOCH.0 + 100_000_000);
const AUTHORS: u64 = 4;

/// Opens without a reserve, so that small disks do.
pub fn open(path: &Path) -> Result<EmbeddedStore> {
    EmbeddedStore::open(path, options())
}

pub fn options() -> EmbeddedOptions {
    EmbeddedOptions { reserve_bytes: 0, memtable_bytes: 1 << 20, ..EmbeddedOptions::default() }
}

fn app() -> AppId {
    AppId::default()
}

fn author(number: u64) -> UserId {
    UserId::new(&format!("author{}", number % AUTHORS)).unwrap()
}

fn follower(number: u64) -> UserId {
    UserId::new(&format!("follower{number}")).unwrap()
}

fn id(number: u64) -> PostId {
    PostId::from_parts(UnixMs(PostId::EPOCH.0 + 1 + number), NodeNumber::new(1).unwrap(), 0)
}

fn number_of(id: PostId) -> u64 {
    id.minted_at().0 - PostId::EPOCH.0 - 1
}

fn post(number: u64) -> Post {
    Post {
        id: id(number),
        author: author(number),
        kind: "post".to_owned(),
        // Some larger than a page.
        text: Some("t".repeat(if number.is_multiple_of(7) { 9_000 } else { 200 })),
        data: None,
        reply_to: None,
        repost_of: None,
        mentions: Vec::new(),
        visibility: Visibility::Public,
        attachments: None,
        created_at: NOW,
        updated_at: NOW,
        rev: 1,
        delivery: Delivery::Push,
        deleted: false,
    }
}

fn request(number: u64) -> (RequestKey, StoredResponse) {
    let key = RequestKey { user: author(number), route: "POST".to_owned(), key: format!("k{number}") };
    (key, StoredResponse { status: 201, body: number.to_string() })
}

/// Does the write of a number: a post, a post with a claim, a follow, or a post whose work is done.
pub async fn write(stores: &Stores, number: u64) -> Result<()> {
    let app = app();
    match number % 4 {
        0 => drop(stores.posts.insert(&app, &post(number), None, NOW).await?),
        1 => {
            let (key, response) = request(number);
            stores.idempotency.claim(&app, &key, [1; 32], id(number), NOW).await?;
            stores.posts.insert(&app, &post(number), Some((&key, &response)), NOW).await?;
        }
        2 => {
            let followed = stores.graph.follow(&app, &follower(number), &[author(number)], 10, NOW).await?;
            assert!(matches!(followed, FollowOutcome::Followed(_)));
        }
        _ => {
            let row = stores.posts.insert(&app, &post(number), None, NOW).await?;
            stores.outbox.mark_done(&app, &row.task.row_id()).await?;
        }
    }
    Ok(())
}

/// Whether one number's write can be read; all of it or nothing is checked by [`verify`].
pub async fn is_there(stores: &Stores, number: u64) -> bool {
    if number % 4 == 2 {
        return stores.graph.edge_state(&app(), &follower(number), &author(number)).await.unwrap().0;
    }
    stores.posts.get_many(&app(), &[id(number)]).await.unwrap()[0].is_some()
}

/// Numbers whose acknowledged write is not there as it should be. Panics where something is there by half.
pub async fn verify(stores: &Stores, acknowledged: &BTreeSet<u64>) -> Vec<u64> {
    let owed = owed(stores).await;
    let posts = posts_whole(stores, &owed).await;
    let follows = follows_whole(stores, &owed).await;
    assert!(
        owed.iter().all(|id| posts.iter().chain(&follows).any(|number| row_of(*number) == *id)),
        "work is owed for nothing"
    );
    let mut lost = Vec::new();
    for number in acknowledged {
        let done = !owed.contains(&row_of(*number));
        let fine = match number % 4 {
            2 => follows.contains(number),
            3 => posts.contains(number) && done,
            _ => posts.contains(number) && !done,
        };
        if !fine || (number % 4 == 1 && !answered(stores, *number).await) {
            lost.push(*number);
        }
    }
    lost
}

/// A post so large that rewriting it takes far more than what an edit of its text says. In an app of its own.
fn large() -> (AppId, Post) {
    let attachments = Some("a".repeat(900_000));
    (AppId::new("large").unwrap(), Post { attachments, ..post(1) })
}

pub async fn write_large(stores: &Stores) -> Result<()> {
    let (app, post) = large();
    let row = stores.posts.insert(&app, &post, None, NOW).await?;
    stores.outbox.mark_done(&app, &row.task.row_id()).await
}

/// Edits the large post's text to a number.
pub async fn rewrite_large(stores: &Stores, number: u64) -> Result<()> {
    let (app, post) = large();
    let patch = PostPatch { text: Some(Some(number.to_string())), data: None };
    stores.posts.edit(&app, &post.author, post.id, &patch, NOW).await.map(drop)
}

/// Whether the large post was ever edited.
pub async fn large_is_new(stores: &Stores) -> bool {
    let (app, post) = large();
    stores.posts.get_many(&app, &[post.id]).await.unwrap() != vec![Some(post)]
}

fn row_of(number: u64) -> RowId {
    match number % 4 {
        2 => Task::Backfill { follower: follower(number), author: author(number), version: NOW.0 },
        _ => Task::FanOut { post: id(number), author: author(number) },
    }
    .row_id()
}

async fn owed(stores: &Stores) -> HashSet<RowId> {
    let mut rows = HashSet::new();
    for slot in 0..SLOTS {
        for row in stores.outbox.due(slot, NOW, 10_000).await.unwrap() {
            assert!(rows.insert(row.task.row_id()), "owed twice");
        }
    }
    assert_eq!(stores.outbox.backlog().await.unwrap(), rows.len() as u64, "the backlog counts its rows");
    rows
}

/// The numbers of all posts; index, count, newest id, answer and outbox agree on each.
async fn posts_whole(stores: &Stores, owed: &HashSet<RowId>) -> HashSet<u64> {
    let mut found = HashSet::new();
    for name in 0..AUTHORS {
        let author = author(name);
        let (mut before, mut count) = (None, 0);
        assert_eq!(
            stores.posts.newest(&app(), &author).await.unwrap(),
            stores
                .posts
                .by_author(&app(), &author, None, 1, false)
                .await
                .unwrap()
                .posts
                .first()
                .map(|p| p.id)
        );
        loop {
            let page = stores.posts.by_author(&app(), &author, before, 1_000, false).await.unwrap();
            let ids: Vec<_> = page.posts.iter().map(|post| post.id).collect();
            let posts = stores.posts.get_many(&app(), &ids).await.unwrap();
            for (id, stored) in ids.iter().zip(posts) {
                let number = number_of(*id);
                assert_eq!(stored, Some(post(number)), "post {number} is there by half");
                if number % 4 == 1 {
                    assert!(answered(stores, number).await, "post {number} without its answer");
                }
                assert!(number % 4 == 3 || owed.contains(&row_of(number)), "post {number} owes nothing");
                found.insert(number);
            }
            count += ids.len() as u64;
            before = ids.last().copied();
            if !page.more {
                break;
            }
        }
        let counts = stores.graph.counts(&app(), &author).await.unwrap();
        assert_eq!(counts.posts, count, "posts of {author}");
    }
    found
}

async fn follows_whole(stores: &Stores, owed: &HashSet<RowId>) -> HashSet<u64> {
    let mut found = HashSet::new();
    for name in 0..AUTHORS {
        let author = author(name);
        let (mut after, mut count) = (None, 0);
        loop {
            let page = stores.graph.followers(&app(), &author, after.as_ref(), 1_000).await.unwrap();
            for row in &page {
                let number: u64 = row.user.as_str().trim_start_matches("follower").parse().unwrap();
                let state = stores.graph.edge_state(&app(), &row.user, &author).await.unwrap();
                assert_eq!(state, (true, NOW.0), "follow {number} is there by half");
                let counts = stores.graph.counts(&app(), &row.user).await.unwrap();
                assert_eq!(counts.following, 1, "follow {number}");
                assert!(owed.contains(&row_of(number)), "follow {number} owes nothing");
                found.insert(number);
            }
            count += page.len() as u64;
            let Some(last) = page.last() else { break };
            after = Some(last.user.clone());
        }
        let counts = stores.graph.counts(&app(), &author).await.unwrap();
        assert_eq!(counts.followers, count, "followers of {author}");
    }
    found
}

/// Whether the answer to a claimed post is kept. Asking is a write, which changes nothing where the answer is kept; while
/// the disk is full it can't be asked.
async fn answered(stores: &Stores, number: u64) -> bool {
    let (key, response) = request(number);
    match stores.idempotency.claim(&app(), &key, [1; 32], id(number), NOW).await {
        Ok(claim) => claim == Claim::Done(response),
        Err(error) => error.kind() == ErrorKind::Full,
    }
}
