//! Idempotency records.

use fama_protocol::{AppId, PostId, UnixMs};

use super::{NOW, app, at, at_once, id, kind, post, user};
use crate::idempotency::{KEPT_MS, TAKEOVER_MS};
use crate::{Claim, ErrorKind, RequestKey, StoredResponse, Stores};

/// Checks [`crate::IdempotencyStore`].
pub async fn idempotency(stores: &Stores) {
    a_claim_is_held_until_done(stores).await;
    a_silent_holder_is_taken_over(stores).await;
    keys_of_others_never_meet(stores).await;
    claims_can_be_given_back(stores).await;
    records_expire(stores).await;
    limits_hold(stores).await;
    one_of_many_is_granted(stores).await;
}

fn key(text: &str) -> RequestKey {
    RequestKey { user: user("ann"), route: "POST /v1/posts".to_owned(), key: text.to_owned() }
}

fn answer(text: &str) -> StoredResponse {
    StoredResponse { status: 201, body: format!("{{\"id\":\"{text}\"}}") }
}

async fn claim(stores: &Stores, app: &AppId, key: &RequestKey, id: PostId, now: UnixMs) -> Claim {
    stores.idempotency.claim(app, key, [7; 32], id, now).await.unwrap()
}

fn granted(id: PostId) -> Claim {
    Claim::Granted { id, taken_over: false }
}

async fn a_claim_is_held_until_done(stores: &Stores) {
    let (app, key) = (app("idem-held"), key("k"));
    assert_eq!(claim(stores, &app, &key, id(1), NOW).await, granted(id(1)));
    assert_eq!(claim(stores, &app, &key, id(1), NOW).await, granted(id(1)), "repeated");
    assert_eq!(claim(stores, &app, &key, id(2), at(TAKEOVER_MS - 1)).await, Claim::Running);
    let other = stores.idempotency.claim(&app, &key, [8; 32], id(2), NOW).await.unwrap();
    assert_eq!(other, Claim::Mismatch, "another body");
    stores.idempotency.complete(&app, &key, &answer("1"), NOW).await.unwrap();
    assert_eq!(claim(stores, &app, &key, id(2), at(1)).await, Claim::Done(answer("1")));
    stores.idempotency.complete(&app, &key, &answer("2"), NOW).await.unwrap();
    let late = claim(stores, &app, &key, id(1), at(KEPT_MS - 1)).await;
    assert_eq!(late, Claim::Done(answer("1")), "the first answer stays, for a day");
    let other = stores.idempotency.claim(&app, &key, [8; 32], id(2), NOW).await.unwrap();
    assert_eq!(other, Claim::Mismatch, "another body, after it was done");
}

async fn a_silent_holder_is_taken_over(stores: &Stores) {
    let (app, ann, key) = (app("idem-silent"), user("ann"), key("k"));
    let silent = TAKEOVER_MS;
    claim(stores, &app, &key, id(1), NOW).await;
    let second = claim(stores, &app, &key, id(2), at(silent)).await;
    assert_eq!(second, Claim::Granted { id: id(2), taken_over: true }, "no post: its own id");
    assert_eq!(claim(stores, &app, &key, id(3), at(silent + 1)).await, Claim::Running, "held anew");
    let late = stores.posts.insert(&app, &post(&ann, 1), Some((&key, &answer("1"))), at(silent)).await;
    assert_eq!(kind(late), ErrorKind::Conflict, "the silent one comes too late");

    stores.posts.insert(&app, &post(&ann, 2), None, NOW).await.unwrap();
    let third = claim(stores, &app, &key, id(4), at(2 * silent)).await;
    assert_eq!(third, Claim::Granted { id: id(2), taken_over: true }, "the post is there: its id");
    stores.idempotency.complete(&app, &key, &answer("2"), at(2 * silent)).await.unwrap();
    assert_eq!(claim(stores, &app, &key, id(5), at(9 * silent)).await, Claim::Done(answer("2")));
}

async fn keys_of_others_never_meet(stores: &Stores) {
    let app = app("idem-others");
    let base = key("k");
    let others = [
        base.clone(),
        RequestKey { user: user("bob"), ..base.clone() },
        RequestKey { route: "POST /v1/follows".to_owned(), ..base.clone() },
        RequestKey { key: "k2".to_owned(), ..base.clone() },
        RequestKey { user: user("annP"), route: "OST /v1/posts".to_owned(), ..base.clone() },
    ];
    for (number, key) in (0..).zip(&others) {
        assert_eq!(claim(stores, &app, key, id(number), NOW).await, granted(id(number)));
    }
    let elsewhere = super::app("idem-others-");
    assert_eq!(claim(stores, &elsewhere, &base, id(9), NOW).await, granted(id(9)));
}

async fn claims_can_be_given_back(stores: &Stores) {
    let (app, key) = (app("idem-back"), key("k"));
    let abandon = async |id| stores.idempotency.abandon(&app, &key, id).await.unwrap();
    abandon(id(1)).await;
    claim(stores, &app, &key, id(1), NOW).await;
    abandon(id(2)).await;
    assert_eq!(claim(stores, &app, &key, id(3), NOW).await, Claim::Running, "not another's claim");
    abandon(id(1)).await;
    let other = stores.idempotency.claim(&app, &key, [8; 32], id(4), NOW).await.unwrap();
    assert_eq!(other, granted(id(4)), "also with another body");
    stores.idempotency.complete(&app, &key, &answer("4"), NOW).await.unwrap();
    abandon(id(4)).await;
    let done = stores.idempotency.claim(&app, &key, [8; 32], id(5), NOW).await.unwrap();
    assert_eq!(done, Claim::Done(answer("4")), "what is done stays");
    let unknown = RequestKey { key: "unknown".to_owned(), ..key.clone() };
    stores.idempotency.complete(&app, &unknown, &answer("6"), NOW).await.unwrap();
    assert_eq!(claim(stores, &app, &unknown, id(6), NOW).await, granted(id(6)), "nothing to complete");
}

async fn records_expire(stores: &Stores) {
    // A time of its own: records of the other checks are expired here as well.
    let (app, day) = (app("idem-expire"), KEPT_MS);
    for number in 0..10 {
        claim(stores, &app, &key(&format!("old{number}")), id(number), at(day)).await;
    }
    claim(stores, &app, &key("new"), id(20), at(day + 1)).await;
    while stores.idempotency.expire(at(day * 2 - 1), 100).await.unwrap() > 0 {}
    assert_eq!(
        claim(stores, &app, &key("old1"), id(30), at(day * 2 - 1)).await,
        taken(id(30)),
        "still there"
    );
    assert_eq!(
        claim(stores, &app, &key("old0"), id(30), at(day * 2)).await,
        granted(id(30)),
        "counts as gone"
    );
    let mut removed = Vec::new();
    while removed.last() != Some(&0) {
        removed.push(stores.idempotency.expire(at(day * 2), 3).await.unwrap());
    }
    assert!(removed.iter().all(|count| *count <= 3));
    assert_eq!(removed.iter().sum::<usize>(), 8, "all but the two claimed anew: {removed:?}");
    assert_eq!(claim(stores, &app, &key("old0"), id(31), at(day * 2)).await, Claim::Running);
    assert_eq!(claim(stores, &app, &key("new"), id(20), at(day * 2)).await, granted(id(20)));
    assert_eq!(claim(stores, &app, &key("old5"), id(50), at(day)).await, granted(id(50)), "gone for good");
    stores.idempotency.abandon(&app, &key("old5"), id(50)).await.unwrap();
    // Clocks differ: this is older than what was looked at and found empty.
    claim(stores, &app, &key("late"), id(40), at(day)).await;
    assert_eq!(stores.idempotency.expire(at(day * 2), 100).await.unwrap(), 1);
}

fn taken(id: PostId) -> Claim {
    Claim::Granted { id, taken_over: true }
}

async fn limits_hold(stores: &Stores) {
    let app = app("idem-limits");
    for limit in [0, 10_001] {
        assert_eq!(kind(stores.idempotency.expire(NOW, limit).await), ErrorKind::Invalid);
    }
    for bad in ["", "a b", "ä", "a\n", &"k".repeat(256)] {
        let claim = stores.idempotency.claim(&app, &key(bad), [7; 32], id(1), NOW).await;
        assert_eq!(kind(claim), ErrorKind::Invalid, "{bad:?}");
    }
    assert_eq!(claim(stores, &app, &key(&"k".repeat(255)), id(1), NOW).await, granted(id(1)));
    let key = key("big");
    claim(stores, &app, &key, id(1), NOW).await;
    let big = |length| StoredResponse { status: 200, body: "x".repeat(length) };
    let over = stores.idempotency.complete(&app, &key, &big((256 << 10) + 1), NOW).await;
    assert_eq!(kind(over), ErrorKind::Invalid);
    stores.idempotency.complete(&app, &key, &big(256 << 10), NOW).await.unwrap();
    assert_eq!(claim(stores, &app, &key, id(2), NOW).await, Claim::Done(big(256 << 10)));
}

async fn one_of_many_is_granted(stores: &Stores) {
    let app = app("idem-at-once");
    for (round, now) in [NOW, at(TAKEOVER_MS)].into_iter().enumerate() {
        let attempt = |number: u64| {
            let (stores, app) = (stores.clone(), app.clone());
            async move { claim(&stores, &app, &key("k"), id(number), now).await }
        };
        let first = 1_000 * round as u64;
        let claims = at_once(first..first + 64, attempt).await;
        let won = claims.iter().filter(|claim| matches!(claim, Claim::Granted { .. })).count();
        let running = claims.iter().filter(|claim| **claim == Claim::Running).count();
        assert_eq!((won, running), (1, 63));
    }
}
