//! Leases and marks.

use super::{NOW, at, at_once, kind};
use crate::{ErrorKind, Lease, Stores};

/// Checks [`crate::LeaseStore`].
pub async fn leases(stores: &Stores) {
    leases_end_or_are_given_back(stores).await;
    marks_only_grow(stores).await;
    one_holder_at_once(stores).await;
    names_are_bounded(stores).await;
}

async fn leases_end_or_are_given_back(stores: &Stores) {
    let acquire = async |holder, ms| stores.leases.acquire("sweep/1", holder, 100, at(ms)).await.unwrap();
    let lease = |holder: &str, until| {
        Some(Lease { name: "sweep/1".to_owned(), holder: holder.to_owned(), until: at(until) })
    };
    assert_eq!(acquire("a", 0).await, lease("a", 100));
    assert_eq!(acquire("b", 99).await, None);
    assert_eq!(acquire("a", 50).await, lease("a", 150), "renewed");
    assert_eq!(acquire("b", 149).await, None);
    assert_eq!(acquire("b", 150).await, lease("b", 250), "ended");
    assert_eq!(acquire("a", 151).await, None);
    stores.leases.release("sweep/1", "a").await.unwrap();
    assert_eq!(acquire("a", 151).await, None, "not the holder's to give");
    stores.leases.release("sweep/1", "b").await.unwrap();
    assert_eq!(acquire("a", 151).await, lease("a", 251), "given back");
    let other = stores.leases.acquire("sweep/10", "b", 100, NOW).await.unwrap();
    assert!(other.is_some(), "another name");
    stores.leases.release("sweep/none", "b").await.unwrap();
}

async fn marks_only_grow(stores: &Stores) {
    let raise = async |at_least| stores.leases.raise_mark("node/1", at_least).await.unwrap();
    assert_eq!(raise(0).await, 0);
    assert_eq!(raise(5).await, 5);
    assert_eq!(raise(3).await, 5);
    stores.leases.acquire("node/1", "a", 100, NOW).await.unwrap();
    stores.leases.release("node/1", "a").await.unwrap();
    assert_eq!(raise(0).await, 5, "apart from the lease");
    assert_eq!(raise(u64::MAX).await, u64::MAX);
}

async fn one_holder_at_once(stores: &Stores) {
    let acquire = |number: u64| {
        let stores = stores.clone();
        async move { stores.leases.acquire("node/2", &format!("h{number}"), 100, NOW).await.unwrap() }
    };
    let held: Vec<_> = at_once(0..64, acquire).await.into_iter().flatten().collect();
    assert_eq!(held.len(), 1);
}

async fn names_are_bounded(stores: &Stores) {
    let long = "n".repeat(256);
    for name in ["", &long] {
        assert_eq!(kind(stores.leases.acquire(name, "h", 1, NOW).await), ErrorKind::Invalid);
        assert_eq!(kind(stores.leases.acquire("n", name, 1, NOW).await), ErrorKind::Invalid);
        assert_eq!(kind(stores.leases.raise_mark(name, 1).await), ErrorKind::Invalid);
    }
}
