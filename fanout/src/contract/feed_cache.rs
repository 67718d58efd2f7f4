use fama_protocol::{AppId, PostId, UserId};

use crate::feed_cache::{FeedCache, FeedEntry, FeedMeta, FeedRead, Rebuild};

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn id(number: u64) -> PostId {
    PostId::from_u64(number).unwrap()
}

fn entries(ids: impl IntoIterator<Item = u64>, author: &str) -> Vec<FeedEntry> {
    ids.into_iter().map(|number| FeedEntry { id: id(number), author: user(author) }).collect()
}

fn ids(read: &FeedRead) -> Vec<u64> {
    read.entries.iter().map(|entry| entry.id.get()).collect()
}

fn meta(read: &FeedRead) -> FeedMeta {
    read.meta.clone().expect("a feed")
}

/// Runs the contract on fresh, empty caches, made for a given `hot_cap`.
pub async fn feed_cache<C: FeedCache>(make: impl Fn(usize) -> C) {
    adding(&make(4)).await;
    rebuilding(&make(4)).await;
    removing(&make(4)).await;
    expiring(&make(4)).await;
}

async fn all(cache: &impl FeedCache, app: &AppId, name: &str) -> FeedRead {
    cache.read(app, &user(name), PostId::MAX, 100, None).await.unwrap()
}

async fn begin(cache: &impl FeedCache, app: &AppId, name: &str, token: u64, now_ms: u64) -> Rebuild {
    cache.begin_rebuild(app, &user(name), token, now_ms, 1_000).await.unwrap()
}

async fn adding(cache: &impl FeedCache) {
    let (app, other) = (AppId::default(), AppId::new("other").unwrap());
    let many = [user("a"), user("none"), user("b")];
    for name in ["a", "b"] {
        assert_eq!(begin(cache, &app, name, 1, 0).await, Rebuild::Begun);
    }
    assert_eq!(begin(cache, &other, "a", 1, 0).await, Rebuild::Begun);
    let generation = cache.add_to_many(&app, &many, &entries([5, 1, 3], "x")).await.unwrap();
    assert_eq!(generation, cache.generation().await.unwrap());
    cache.add_to_many(&app, &many, &entries([3, 5], "x")).await.unwrap();
    assert_eq!(all(cache, &app, "none").await.meta, None, "adding makes no feed");
    assert_eq!(ids(&all(cache, &app, "none").await), [0; 0]);
    assert_eq!(ids(&all(cache, &other, "a").await), [0; 0], "apps never meet");
    for name in ["a", "b"] {
        let read = all(cache, &app, name).await;
        assert_eq!((ids(&read), read.cap_floor, read.more), (vec![5, 3, 1], PostId::ZERO, false));
        assert_eq!(read.entries[0].author, user("x"));
    }
    cache.add_to_many(&app, &many[..1], &entries([4, 2], "y")).await.unwrap();
    let read = all(cache, &app, "a").await;
    assert_eq!((ids(&read), read.cap_floor), (vec![5, 4, 3, 2], id(2)), "no more than the newest hot_cap");
    let page = cache.read(&app, &user("a"), id(5), 2, None).await.unwrap();
    assert_eq!((ids(&page), page.more, page.cap_floor), (vec![4, 3], true, id(2)));
    let page = cache.read(&app, &user("a"), id(3), 2, None).await.unwrap();
    assert_eq!((ids(&page), page.more), (vec![2], false));
    let none = cache.read(&app, &user("a"), PostId::MAX, 0, None).await.unwrap();
    assert_eq!((ids(&none), meta(&none).token), (vec![], 1));
    cache.add_to_many(&app, &many[..1], &entries(100..140, "z")).await.unwrap();
    let read = all(cache, &app, "a").await;
    assert_eq!((ids(&read), read.cap_floor), (vec![139, 138, 137, 136], id(136)));
}

async fn rebuilding(cache: &impl FeedCache) {
    let app = AppId::default();
    assert_eq!(begin(cache, &app, "a", 7, 100).await, Rebuild::Begun);
    let building = meta(&all(cache, &app, "a").await);
    assert_eq!((building.ready, building.token, building.floor), (false, 7, PostId::ZERO));
    assert_eq!(begin(cache, &app, "a", 8, 1_099).await, Rebuild::Busy);
    cache.add_to_many(&app, &[user("a")], &entries([9], "x")).await.unwrap();
    assert_eq!(begin(cache, &app, "a", 8, 1_100).await, Rebuild::Begun, "the first was silent for too long");
    assert_eq!(ids(&all(cache, &app, "a").await), [9], "what is there stays");
    assert!(!cache.finish_rebuild(&app, &user("a"), 7, id(3)).await.unwrap(), "its token is gone");
    assert!(!meta(&all(cache, &app, "a").await).ready);
    assert!(cache.finish_rebuild(&app, &user("a"), 8, id(3)).await.unwrap());
    let ready = meta(&all(cache, &app, "a").await);
    assert_eq!((ready.ready, ready.floor), (true, id(3)));
    assert_eq!(ready.generation, cache.generation().await.unwrap());
    assert_eq!(begin(cache, &app, "a", 9, 9_999).await, Rebuild::Ready);
    assert!(cache.finish_rebuild(&app, &user("a"), 8, id(2)).await.unwrap(), "the same end twice is fine");
    assert_eq!(meta(&all(cache, &app, "a").await).floor, id(3), "floors only rise");
    assert!(!cache.finish_rebuild(&app, &user("none"), 8, id(2)).await.unwrap());
}

async fn removing(cache: &impl FeedCache) {
    let (app, a, x) = (AppId::default(), user("a"), user("x"));
    begin(cache, &app, "a", 7, 0).await;
    cache.add_to_many(&app, std::slice::from_ref(&a), &entries([1, 2, 4], "x")).await.unwrap();
    cache.add_to_many(&app, std::slice::from_ref(&a), &entries([3, 5], "y")).await.unwrap();
    cache.finish_rebuild(&app, &a, 7, id(1)).await.unwrap();
    cache.stamp_edge(&app, &user("none"), &x, 99).await.unwrap();
    cache.stamp_edge(&app, &a, &x, 12).await.unwrap();
    cache.stamp_edge(&app, &a, &x, 11).await.unwrap();
    assert!(!cache.remove_author(&app, &a, &x, 6, 12).await.unwrap(), "another feed");
    assert!(!cache.remove_author(&app, &a, &x, 7, 11).await.unwrap(), "backfilled since");
    assert!(!cache.remove_author(&app, &user("none"), &x, 7, 99).await.unwrap());
    assert_eq!(ids(&all(cache, &app, "a").await), [5, 4, 3, 2]);
    assert!(cache.remove_author(&app, &a, &x, 7, 12).await.unwrap());
    let read = all(cache, &app, "a").await;
    assert_eq!(ids(&read), [5, 3]);
    assert_eq!(meta(&read).floor, id(2), "what the cap had cut off is still cut off");
    for number in 0..1_000 {
        cache.stamp_edge(&app, &a, &user(&format!("f{number}")), 1_000 + number).await.unwrap();
    }
    assert!(!cache.remove_author(&app, &a, &user("f0"), 7, 999).await.unwrap(), "an old stamp still counts");
}

async fn expiring(cache: &impl FeedCache) {
    let app = AppId::default();
    for name in ["a", "b", "c"] {
        begin(cache, &app, name, 1, 10).await;
        cache.add_to_many(&app, &[user(name)], &entries([1], "x")).await.unwrap();
    }
    cache.read(&app, &user("b"), PostId::MAX, 1, Some(50)).await.unwrap();
    cache.read(&app, &user("b"), PostId::MAX, 1, Some(20)).await.unwrap();
    assert_eq!(cache.expire(10, 10).await.unwrap(), 0);
    assert_eq!(cache.expire(50, 1).await.unwrap(), 1);
    assert_eq!(cache.expire(50, 10).await.unwrap(), 1);
    for (name, there) in [("a", false), ("b", true), ("c", false)] {
        let read = all(cache, &app, name).await;
        assert_eq!((read.meta.is_some(), !read.entries.is_empty()), (there, there), "{name}");
    }
}
