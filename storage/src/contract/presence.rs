//! What is kept of presence.

use fama_protocol::UnixMs;

use super::{NOW, app, kind, user, users_of};
use crate::{ChosenStatus, ErrorKind, PresenceRow, Stores};

/// Checks [`crate::PresenceStore`].
pub async fn presence(stores: &Stores) {
    let (app, ann, bob) = (app("presence"), user("ann"), user("bob"));
    let store = &stores.presence;
    let both = [ann.clone(), bob.clone()];
    let get = async || store.presence(&app, &both).await.unwrap();
    let row = |chosen, last_seen| PresenceRow { chosen, last_seen };
    let at = |ms| Some(NOW.plus(ms));
    assert_eq!(get().await, [PresenceRow::default(); 2]);

    let seen = [(ann.clone(), NOW.plus(5)), (bob.clone(), NOW.plus(6)), (ann.clone(), NOW.plus(3))];
    store.seen(&app, &seen).await.unwrap();
    store.seen(&app, &seen[2..]).await.unwrap();
    let online = [row(ChosenStatus::Online, at(5)), row(ChosenStatus::Online, at(6))];
    assert_eq!(get().await, online, "last seen only grows");

    // Choosing to be invisible is the last that others see.
    let hidden = store.choose(&app, &ann, ChosenStatus::Invisible, at(8)).await.unwrap();
    assert_eq!(hidden, row(ChosenStatus::Invisible, at(8)));
    store.seen(&app, &[(ann.clone(), NOW.plus(20)), (bob.clone(), NOW.plus(20))]).await.unwrap();
    assert_eq!(get().await, [hidden, row(ChosenStatus::Online, at(20))], "the invisible are not seen");
    let away = store.choose(&app, &ann, ChosenStatus::Away, at(30)).await.unwrap();
    assert_eq!(away, row(ChosenStatus::Away, at(8)), "nor were they before this choice");
    store.choose(&app, &ann, ChosenStatus::Away, None).await.unwrap();
    assert_eq!(get().await[0], away);

    let elsewhere = super::app("presence-");
    assert_eq!(store.presence(&elsewhere, &both).await.unwrap(), [PresenceRow::default(); 2]);
    assert_eq!(kind(store.presence(&app, &users_of(1_001)).await), ErrorKind::Invalid);
    let many: Vec<(_, UnixMs)> = users_of(1_001).into_iter().map(|user| (user, NOW)).collect();
    assert_eq!(kind(store.seen(&app, &many).await), ErrorKind::Invalid);
}
