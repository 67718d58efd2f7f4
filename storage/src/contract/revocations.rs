//! Revocations.

use super::{app, at, kind, user};
use crate::{ErrorKind, Revocation, Revoked, Stores};

/// Checks [`crate::RevocationStore`].
pub async fn revocations(stores: &Stores) {
    let store = &stores.revocations;
    let token = |jti: &str, made: u64, until: u64| Revocation {
        at: at(made),
        app: app("one"),
        revoked: Revoked::Token(jti.to_owned()),
        until: at(until),
    };
    let of_user = |tenant: &str, made: u64, until: u64| Revocation {
        at: at(made),
        app: app(tenant),
        revoked: Revoked::User(user("ann")),
        until: at(until),
    };
    let all = [
        token("a", 1, 50),
        token("a", 5, 60),
        token("b", 5, 20),
        of_user("one", 5, 90),
        of_user("one-", 5, 90),
        of_user("one", 9, 10),
    ];
    for revocation in all.iter().rev() {
        store.revoke(revocation).await.unwrap();
        store.revoke(revocation).await.unwrap();
    }
    let read = async |from: u64, limit: usize| {
        let mut found = Vec::<Revocation>::new();
        loop {
            let page = store.revocations(at(from), found.last(), limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                return found;
            }
            found.extend(page);
        }
    };
    let sorted = |list: &[Revocation]| {
        let mut list = list.to_vec();
        list.sort();
        list
    };
    for limit in [1, 2, 100] {
        let found = read(0, limit).await;
        assert!(found.is_sorted_by_key(|row| row.at), "{found:?}");
        assert_eq!(sorted(&found), sorted(&all));
    }
    assert_eq!(sorted(&read(5, 2).await), sorted(&all[1..]), "from that time on");
    assert_eq!(read(10, 2).await, []);

    store.revoke(&token("a", 1, 40)).await.unwrap();
    assert_eq!(read(0, 100).await[0].until, at(50), "the later end counts");
    store.revoke(&token("a", 1, 70)).await.unwrap();
    assert_eq!(read(0, 100).await[0].until, at(70));

    assert_eq!(store.forget_revocations(at(21), 1).await.unwrap(), 1);
    assert_eq!(store.forget_revocations(at(21), 10).await.unwrap(), 1);
    assert_eq!(store.forget_revocations(at(21), 10).await.unwrap(), 0);
    let left = read(0, 100).await;
    assert_eq!(left.len(), 4);
    assert!(left.iter().all(|row| row.until > at(21)), "{left:?}");

    for jti in [String::new(), "x".repeat(256), "a\0b".to_owned()] {
        assert_eq!(kind(store.revoke(&token(&jti, 1, 2)).await), ErrorKind::Invalid);
    }
    for limit in [0, 1_001] {
        assert_eq!(kind(store.revocations(at(0), None, limit).await), ErrorKind::Invalid);
    }
    assert_eq!(kind(store.forget_revocations(at(0), 0).await), ErrorKind::Invalid);
}
