//! The outbox.

use fama_protocol::{AppId, UnixMs};

use super::{NOW, app, at, at_once, due, id, kind, post, user};
use crate::{ErrorKind, OutboxRow, OutboxState, RowId, SLOTS, Stores, slot_of};

/// Checks [`crate::OutboxStore`].
pub async fn outbox(stores: &Stores) {
    due_rows_are_oldest_first(stores).await;
    rows_that_come_late_are_found(stores).await;
    done_rows_are_gone(stores).await;
    queued_again_is_counted_once(stores).await;
    rows_set_aside_wait_for_an_operator(stores).await;
    limits_hold(stores).await;
    rows_are_done_at_once(stores).await;
}

/// Owes a row: that of a new post.
async fn owe(stores: &Stores, app: &AppId, number: u64, ms: u64) -> OutboxRow {
    stores.posts.insert(app, &post(&user("ann"), number), None, at(ms)).await.unwrap()
}

fn queued_at(row: &OutboxRow) -> UnixMs {
    match row.state {
        OutboxState::Queued { at, .. } => at,
        OutboxState::Quarantined { .. } => panic!("set aside"),
    }
}

fn state(ms: u64, attempts: u32) -> OutboxState {
    OutboxState::Queued { at: at(ms), attempts }
}

async fn due_rows_are_oldest_first(stores: &Stores) {
    let (one, other) = (app("outbox-due"), app("outbox-due-"));
    let mut expected = Vec::new();
    for number in 0..100 {
        let app = if number % 3 == 0 { &other } else { &one };
        expected.push(owe(stores, app, number, number * 37 % 100).await);
    }
    expected.sort_by_key(queued_at);
    let mut seen = 0;
    for slot in 0..SLOTS {
        let here: Vec<_> =
            expected.iter().filter(|row| slot_of(&row.app, &row.task.row_id()) == slot).cloned().collect();
        let mine = |rows: Vec<OutboxRow>| {
            rows.into_iter().filter(|row| row.app == one || row.app == other).collect::<Vec<_>>()
        };
        assert_eq!(
            mine(stores.outbox.due(slot, at(99), 10_000).await.unwrap()),
            here,
            "oldest first, all apps"
        );
        let half: Vec<_> = here.iter().filter(|row| queued_at(row) <= at(50)).cloned().collect();
        assert_eq!(mine(stores.outbox.due(slot, at(50), 10_000).await.unwrap()), half, "at or before");
        let first = stores.outbox.due(slot, at(99), 1).await.unwrap();
        assert_eq!(first.len(), usize::from(!here.is_empty()));
        seen += here.len();
    }
    assert_eq!(seen, 100);
    assert!(stores.outbox.backlog().await.unwrap() > 0);
}

async fn rows_that_come_late_are_found(stores: &Stores) {
    let app = app("outbox-late");
    let row = owe(stores, &app, 1, 50).await;
    assert_eq!(due(stores, &app, at(99)).await.len(), 1);
    stores.outbox.mark_done(&app, &row.task.row_id()).await.unwrap();
    assert!(due(stores, &app, at(1_000)).await.is_empty());
    // Clocks differ: these are older than what was looked at and found empty.
    for number in 2..50 {
        owe(stores, &app, number, number).await;
    }
    assert_eq!(due(stores, &app, at(1_000)).await.len(), 48);
}

async fn done_rows_are_gone(stores: &Stores) {
    let app = app("outbox-done");
    let (first, second) = (owe(stores, &app, 1, 0).await, owe(stores, &app, 2, 0).await);
    let done = async |row: &OutboxRow| stores.outbox.mark_done(&app, &row.task.row_id()).await.unwrap();
    done(&first).await;
    done(&first).await;
    assert_eq!(due(stores, &app, at(99)).await, vec![second]);
    stores.outbox.mark_queued(&app, &first.task.row_id(), at(1)).await.unwrap();
    stores.outbox.quarantine(&app, &first.task.row_id(), "late").await.unwrap();
    assert_eq!(stores.outbox.replay(&app, &first.task.row_id(), at(1)).await.unwrap(), None);
    assert_eq!(due(stores, &app, at(99)).await.len(), 1, "a done row does not come back");
    assert!(stores.outbox.quarantined(&app, 10).await.unwrap().is_empty());
    stores.outbox.mark_done(&app, &RowId("unknown".to_owned())).await.unwrap();
}

async fn queued_again_is_counted_once(stores: &Stores) {
    let app = app("outbox-queued");
    let row = owe(stores, &app, 1, 0).await;
    let queued = async |ms| {
        stores.outbox.mark_queued(&app, &row.task.row_id(), at(ms)).await.unwrap();
        let rows = due(stores, &app, at(1_000)).await;
        assert_eq!(rows.len(), 1);
        rows[0].state.clone()
    };
    assert_eq!(queued(30).await, state(30, 1));
    assert_eq!(queued(30).await, state(30, 1), "repeated");
    assert_eq!(queued(60).await, state(60, 2));
    assert!(due(stores, &app, at(59)).await.is_empty(), "it is where it was queued last");
    assert_eq!(queued(40).await, state(40, 3), "clocks differ");
}

async fn rows_set_aside_wait_for_an_operator(stores: &Stores) {
    let app = app("outbox-aside");
    let mut rows = Vec::new();
    for number in [3, 1, 2] {
        rows.push(owe(stores, &app, number, 0).await);
    }
    for row in &rows {
        let (id, long) = (row.task.row_id(), "ä".repeat(900));
        stores.outbox.mark_queued(&app, &id, at(5)).await.unwrap();
        stores.outbox.quarantine(&app, &id, &long).await.unwrap();
        stores.outbox.mark_queued(&app, &id, at(6)).await.unwrap();
    }
    assert!(due(stores, &app, at(1_000)).await.is_empty());
    let aside = stores.outbox.quarantined(&app, 10).await.unwrap();
    let ids: Vec<_> = aside.iter().map(|row| row.task.row_id()).collect();
    assert!(ids.len() == 3 && ids.is_sorted());
    let reason = |row: &OutboxRow| match &row.state {
        OutboxState::Quarantined { reason } => reason.clone(),
        OutboxState::Queued { .. } => panic!("not set aside"),
    };
    assert_eq!(reason(&aside[0]), "ä".repeat(500), "at most 1,000 bytes, whole characters");
    stores.outbox.quarantine(&app, &ids[0], "poison").await.unwrap();
    let first = stores.outbox.quarantined(&app, 1).await.unwrap();
    assert_eq!((first.len(), reason(&first[0])), (1, "poison".to_owned()));

    let back = stores.outbox.replay(&app, &ids[0], at(9)).await.unwrap().unwrap();
    assert_eq!((back.task.row_id(), back.state.clone()), (ids[0].clone(), state(9, 0)));
    assert_eq!(due(stores, &app, at(9)).await, vec![back]);
    assert_eq!(stores.outbox.replay(&app, &ids[0], at(10)).await.unwrap(), None, "it is not aside");
    stores.outbox.mark_done(&app, &ids[1]).await.unwrap();
    let left = stores.outbox.quarantined(&app, 10).await.unwrap();
    assert_eq!(left.iter().map(|row| row.task.row_id()).collect::<Vec<_>>(), ids[2..]);
    assert!(stores.outbox.quarantined(&super::app("outbox-aside-"), 10).await.unwrap().is_empty());
}

async fn limits_hold(stores: &Stores) {
    let app = app("outbox-limits");
    assert_eq!(kind(stores.outbox.due(SLOTS, NOW, 10).await), ErrorKind::Invalid);
    for limit in [0, 10_001] {
        assert_eq!(kind(stores.outbox.due(0, NOW, limit).await), ErrorKind::Invalid);
    }
    for limit in [0, 1_001] {
        assert_eq!(kind(stores.outbox.quarantined(&app, limit).await), ErrorKind::Invalid);
    }
}

async fn rows_are_done_at_once(stores: &Stores) {
    let app = app("outbox-at-once");
    let round = |number: u64| {
        let (stores, app) = (stores.clone(), app.clone());
        async move {
            let row = owe(&stores, &app, number, number).await;
            stores.outbox.mark_queued(&app, &row.task.row_id(), at(number + 1)).await.unwrap();
            if number.is_multiple_of(2) {
                stores.outbox.mark_done(&app, &row.task.row_id()).await.unwrap();
            }
        }
    };
    at_once(0..64, round).await;
    let rows = due(stores, &app, at(1_000)).await;
    assert_eq!(rows.len(), 32);
    assert!(rows.iter().all(|row| (1..64).step_by(2).any(|n| row.task == post_task(n))));
}

fn post_task(number: u64) -> crate::Task {
    crate::Task::FanOut { post: id(number), author: user("ann") }
}
