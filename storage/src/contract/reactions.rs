//! Reactions.

use super::{NOW, app, at, at_once, due, id, kind, user, users_of};
use crate::{ErrorKind, Reaction, ReactionSummary, Stores, Task};

/// Checks [`crate::ReactionStore`].
pub async fn reactions(stores: &Stores) {
    reactions_count(stores).await;
    changes_are_owed_in_order(stores).await;
    kinds_are_bounded(stores).await;
    pages_follow_each_other(stores).await;
    limits_hold(stores).await;
    concurrent_reactions_count_exactly(stores).await;
}

async fn reactions_count(stores: &Stores) {
    let (app, ann, bob) = (app("reactions-count"), user("ann"), user("bob"));
    let react = async |user, kind, active| {
        stores.reactions.react(&app, id(1), user, kind, active, NOW).await.unwrap().is_some()
    };
    let summary = async |viewer| stores.reactions.summaries(&app, &[id(2), id(1)], viewer).await.unwrap();
    assert!(!react(&ann, "like", false).await, "there was none");
    assert!(react(&ann, "like", true).await);
    assert!(!react(&ann, "like", true).await, "once for each user");
    assert!(react(&bob, "like", true).await);
    assert!(react(&bob, "angry", true).await);
    let counts = vec![("angry".to_owned(), 1), ("like".to_owned(), 2)];
    let own = vec!["angry".to_owned(), "like".to_owned()];
    let expected = ReactionSummary { counts: counts.clone(), own };
    assert_eq!(summary(Some(&bob)).await, vec![ReactionSummary::default(), expected]);
    assert_eq!(summary(None).await[1], ReactionSummary { counts, own: Vec::new() });
    assert!(react(&bob, "angry", false).await);
    assert!(!react(&bob, "angry", false).await);
    let expected = ReactionSummary { counts: vec![("like".to_owned(), 2)], own: vec!["like".to_owned()] };
    assert_eq!(summary(Some(&bob)).await[1], expected, "no kind has 0");
    let elsewhere = super::app("reactions-count-");
    let other = stores.reactions.summaries(&elsewhere, &[id(1)], Some(&ann)).await.unwrap();
    assert_eq!(other, vec![ReactionSummary::default()]);
}

/// Whatever the clock does, the versions of one user's changes to one post grow.
async fn changes_are_owed_in_order(stores: &Stores) {
    let (app, ann) = (app("reactions-owed"), user("ann"));
    let mut last = 0;
    for (ms, kind, active) in
        [(9, "like", true), (9, "wow", true), (3, "like", false), (9, "like", true), (1, "wow", false)]
    {
        let row = stores.reactions.react(&app, id(1), &ann, kind, active, at(ms)).await.unwrap().unwrap();
        assert!(due(stores, &app, at(99)).await.contains(&row));
        let Task::Reacted { post, user, kind: of, active: on, version } = row.task else { panic!() };
        assert_eq!((post, user, of.as_str(), on), (id(1), ann.clone(), kind, active));
        assert!(version > last && version >= at(ms).0);
        last = version;
    }
    assert!(stores.reactions.react(&app, id(1), &ann, "wow", false, at(99)).await.unwrap().is_none());
}

async fn kinds_are_bounded(stores: &Stores) {
    let (app, ann) = (app("reactions-kinds"), user("ann"));
    let react = async |kind: &str, active| {
        let row = stores.reactions.react(&app, id(1), &ann, kind, active, NOW).await;
        row.map(|row| row.is_some())
    };
    for number in 0..32 {
        assert!(react(&format!("k{number:02}"), true).await.unwrap());
    }
    assert_eq!(kind(react("one-more", true).await), ErrorKind::Invalid);
    let summary = stores.reactions.summaries(&app, &[id(1)], Some(&ann)).await.unwrap().remove(0);
    assert_eq!((summary.counts.len(), summary.own.len()), (32, 32), "nothing was written");
    assert!(react("k07", false).await.unwrap());
    assert!(react("one-more", true).await.unwrap(), "there is room again");
    for bad in ["", "Like", "a b", &"x".repeat(33)] {
        assert_eq!(kind(react(bad, true).await), ErrorKind::Invalid, "{bad}");
    }
}

async fn pages_follow_each_other(stores: &Stores) {
    let (app, mut expected) = (app("reactions-pages"), Vec::new());
    for name in ["a", "a-b", "ab", "b"] {
        for kind in ["like", "angry", "wow"] {
            let created_at = at(expected.len() as u64);
            stores.reactions.react(&app, id(1), &user(name), kind, true, created_at).await.unwrap();
            expected.push(Reaction { user: user(name), kind: kind.to_owned(), created_at });
        }
    }
    stores.reactions.react(&app, id(2), &user("a"), "like", true, NOW).await.unwrap();
    expected.sort_by(|a, b| (&a.user, &a.kind).cmp(&(&b.user, &b.kind)));
    let all = stores.reactions.reactions(&app, id(1), None, 1_000).await.unwrap();
    assert_eq!(all, expected);
    let mut paged: Vec<Reaction> = Vec::new();
    loop {
        let after = paged.last().map(|last| (last.user.clone(), last.kind.clone()));
        let after = after.as_ref().map(|(user, kind)| (user, kind.as_str()));
        let page = stores.reactions.reactions(&app, id(1), after, 5).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() == 5 || paged.len() + page.len() == expected.len());
        paged.extend(page);
    }
    assert_eq!(paged, expected);
}

async fn limits_hold(stores: &Stores) {
    let app = app("reactions-limits");
    for limit in [0, 1_001] {
        let page = stores.reactions.reactions(&app, id(1), None, limit).await;
        assert_eq!(kind(page), ErrorKind::Invalid);
    }
    let many: Vec<_> = (0..1_001).map(id).collect();
    assert_eq!(kind(stores.reactions.summaries(&app, &many, None).await), ErrorKind::Invalid);
}

async fn concurrent_reactions_count_exactly(stores: &Stores) {
    let app = app("reactions-at-once");
    for (active, left) in [(true, 64), (false, 0)] {
        let react = |user| {
            let (stores, app) = (stores.clone(), app.clone());
            async move {
                let row = stores.reactions.react(&app, id(1), &user, "like", active, NOW).await;
                row.unwrap().is_some()
            }
        };
        let users = users_of(64);
        let twice = users.iter().chain(&users).cloned();
        assert_eq!(at_once(twice, react).await.into_iter().filter(|changed| *changed).count(), 64);
        let summary = stores.reactions.summaries(&app, &[id(1)], None).await.unwrap().remove(0);
        assert_eq!(summary.counts.first().map_or(0, |(_, count)| *count), left);
    }
}
