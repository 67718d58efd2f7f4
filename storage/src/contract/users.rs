//! Profiles.

use super::{app, kind, user, users_of};
use crate::{ErrorKind, Profile, Stores};

/// Checks [`crate::UserStore`].
pub async fn users(stores: &Stores) {
    let (app, ann) = (app("users"), user("ann"));
    let full = Profile {
        name: Some("Ann".to_owned()),
        avatar_url: Some("https://example.com/ann.png".to_owned()),
        locale: Some("en-GB".to_owned()),
        time_zone: Some("Europe/London".to_owned()),
        email: Some("ann@example.com".to_owned()),
        data: Some("{}".to_owned()),
    };
    let get = async |users: &[_]| stores.users.profiles(&app, users).await.unwrap();
    assert_eq!(get(std::slice::from_ref(&ann)).await, vec![None]);
    stores.users.put_profile(&app, &ann, &full).await.unwrap();
    stores.users.put_profile(&app, &user("bob"), &Profile::default()).await.unwrap();
    let asked = [user("bob"), user("cat"), ann.clone()];
    assert_eq!(get(&asked).await, vec![Some(Profile::default()), None, Some(full.clone())]);
    let short = Profile { name: Some("A".to_owned()), ..Profile::default() };
    stores.users.put_profile(&app, &ann, &short).await.unwrap();
    assert_eq!(get(std::slice::from_ref(&ann)).await, vec![Some(short.clone())], "replaced, not merged");

    for name in ["ann-", "ann.b", "annb", "0"] {
        stores.users.put_profile(&app, &user(name), &short).await.unwrap();
    }
    let mut names = ["ann", "ann-", "ann.b", "annb", "0", "bob"].map(user).to_vec();
    names.sort();
    for after in 0..names.len() {
        let page = stores.users.users(&app, Some(&names[after]), 2).await.unwrap();
        let expected: Vec<_> = names.get(after + 1..).unwrap().iter().take(2).cloned().collect();
        assert_eq!(page.into_iter().map(|(user, _)| user).collect::<Vec<_>>(), expected);
    }
    let all = stores.users.users(&app, None, 1_000).await.unwrap();
    assert_eq!(all.len(), 6);
    assert!(all.contains(&(ann.clone(), short)));
    let elsewhere = super::app("users-");
    assert!(stores.users.users(&elsewhere, None, 10).await.unwrap().is_empty());
    for limit in [0, 1_001] {
        assert_eq!(kind(stores.users.users(&app, None, limit).await), ErrorKind::Invalid);
    }
    assert_eq!(kind(stores.users.profiles(&app, &users_of(1_001)).await), ErrorKind::Invalid);
}
