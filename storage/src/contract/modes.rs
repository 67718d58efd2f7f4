//! Author modes.

use super::{NOW, app, at, at_once, due, post, user};
use crate::{Mode, ModeRecord, Stores, Task};

/// Checks [`crate::ModeStore`].
pub async fn modes(stores: &Stores) {
    modes_change_by_version(stores).await;
    draining_owes_work(stores).await;
    celebrities_are_those_not_in_push(stores).await;
    one_writer_wins(stores).await;
    apps_with_rows_are_known(stores).await;
}

async fn modes_change_by_version(stores: &Stores) {
    let (app, ann) = (app("modes-version"), user("ann"));
    let set = async |expected, mode, pinned, ms| {
        stores.modes.set_mode(&app, &ann, expected, mode, pinned, at(ms)).await.unwrap()
    };
    assert_eq!(stores.modes.mode(&app, &ann).await.unwrap(), None);
    assert_eq!(set(1, Mode::Pull, false, 0).await, None, "there is no version 1");
    assert_eq!(stores.modes.mode(&app, &ann).await.unwrap(), None);
    let (pull, owed) = set(0, Mode::Pull, false, 0).await.unwrap();
    let expected =
        ModeRecord { author: ann.clone(), mode: Mode::Pull, since: NOW, version: 1, pinned: false };
    assert_eq!((pull, owed), (expected.clone(), None));
    assert_eq!(stores.modes.mode(&app, &ann).await.unwrap(), Some(expected));
    assert_eq!(set(0, Mode::Pull, false, 0).await, None, "repeated");
    let (pinned, _) = set(1, Mode::Pull, true, 5).await.unwrap();
    assert_eq!((pinned.since, pinned.version, pinned.pinned), (NOW, 2, true), "only the pin changed");
    let (push, _) = set(2, Mode::Push, false, 6).await.unwrap();
    assert_eq!((push.mode, push.since, push.version), (Mode::Push, at(6), 3));
    assert_eq!(stores.modes.mode(&app, &ann).await.unwrap(), Some(push));
    assert_eq!(set(0, Mode::Pull, false, 7).await, None, "versions go on in push");
    assert_eq!(set(3, Mode::Pull, false, 7).await.unwrap().0.version, 4);
    assert_eq!(stores.modes.mode(&super::app("modes-version-"), &ann).await.unwrap(), None);
}

async fn draining_owes_work(stores: &Stores) {
    let (app, ann) = (app("modes-drain"), user("ann"));
    let set = async |expected, mode, pinned| {
        stores.modes.set_mode(&app, &ann, expected, mode, pinned, NOW).await.unwrap().unwrap()
    };
    assert_eq!(set(0, Mode::Pull, false).await.1, None);
    let row = set(1, Mode::Draining, false).await.1.unwrap();
    assert_eq!(row.task, Task::Drain { author: ann.clone(), version: 2 });
    assert_eq!(due(stores, &app, NOW).await, vec![row]);
    assert_eq!(set(2, Mode::Push, false).await.1, None);
    assert_eq!(due(stores, &app, NOW).await.len(), 1);
}

async fn celebrities_are_those_not_in_push(stores: &Stores) {
    let app = app("modes-list");
    let set = async |name, expected, mode| {
        stores.modes.set_mode(&app, &user(name), expected, mode, false, NOW).await.unwrap().unwrap()
    };
    for name in ["c", "a", "b", "a-b", "d"] {
        set(name, 0, Mode::Pull).await;
    }
    set("d", 1, Mode::Push).await;
    set("e", 0, Mode::Push).await;
    set("b", 1, Mode::Draining).await;
    let listed = stores.modes.celebrities(&app).await.unwrap();
    let names: Vec<_> = listed.iter().map(|record| record.author.as_str()).collect();
    assert_eq!(names, ["a", "a-b", "b", "c"]);
    for record in &listed {
        assert_eq!(stores.modes.mode(&app, &record.author).await.unwrap().as_ref(), Some(record));
    }
    assert!(stores.modes.celebrities(&super::app("modes-list-")).await.unwrap().is_empty());
}

async fn one_writer_wins(stores: &Stores) {
    let (app, ann) = (app("modes-at-once"), user("ann"));
    for version in 0..4 {
        let set = |number: u64| {
            let (stores, app, ann) = (stores.clone(), app.clone(), ann.clone());
            let mode = if (version + number).is_multiple_of(2) { Mode::Pull } else { Mode::Draining };
            async move { stores.modes.set_mode(&app, &ann, version, mode, false, NOW).await.unwrap() }
        };
        let won: Vec<_> = at_once(0..32, set).await.into_iter().flatten().collect();
        assert_eq!(won.len(), 1);
        assert_eq!(stores.modes.mode(&app, &ann).await.unwrap().as_ref(), Some(&won[0].0));
    }
}

async fn apps_with_rows_are_known(stores: &Stores) {
    let names = ["apps-1", "apps-1-", "apps-2"];
    for name in names {
        assert!(!stores.modes.apps().await.unwrap().contains(&app(name)));
    }
    stores.posts.insert(&app(names[0]), &post(&user("ann"), 1), None, NOW).await.unwrap();
    stores.graph.follow(&app(names[1]), &user("ann"), &[user("bob")], 9, NOW).await.unwrap();
    stores.users.put_profile(&app(names[2]), &user("ann"), &crate::Profile::default()).await.unwrap();
    let apps = stores.modes.apps().await.unwrap();
    assert!(names.iter().all(|name| apps.contains(&app(name))), "{apps:?}");
}
