//! What every backend must do: a suite for each trait. Backends run them all by [`crate::storage_contract!`], each on a
//! fresh store. Each check has an app of its own.

#![allow(clippy::unwrap_used, reason = "assertions of tests")]

mod erasures;
mod graph;
mod idempotency;
mod inbox;
mod leases;
mod modes;
mod outbox;
mod posts;
mod presence;
mod reactions;
mod relations;
mod users;

use fama_protocol::{AppId, NodeNumber, PostId, UnixMs, UserId};
use tokio::task::JoinSet;

pub use erasures::erasures;
pub use graph::{graph, graph_crowd};
pub use idempotency::idempotency;
pub use inbox::{inbox, inbox_bounds};
pub use leases::leases;
pub use modes::modes;
pub use outbox::outbox;
pub use posts::posts;
pub use presence::presence;
pub use reactions::reactions;
pub use relations::{relations, relations_crowd};
pub use users::users;

use crate::{Delivery, ErrorKind, OutboxRow, Post, Result, SLOTS, Stores, Visibility};

/// Makes a test of each suite. The argument is called for a future of a fresh store: the stores, and something that is
/// kept until the suite is done, such as a temporary directory.
#[macro_export]
macro_rules! storage_contract {
    ($fresh:expr) => {
        $crate::storage_contract!(
            $fresh, posts, graph, graph_crowd, relations, relations_crowd, modes, reactions, users, presence,
            outbox, idempotency, leases, inbox, inbox_bounds,
            erasures
        );
    };
    ($fresh:expr, $($suite:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $suite() {
                let (stores, _kept) = $fresh().await;
                $crate::contract::$suite(&stores).await;
            }
        )+
    };
}

/// When the checks take place.
const NOW: UnixMs = UnixMs(PostId::EPOCH.0 + 100_000_000);

fn app(name: &str) -> AppId {
    AppId::new(name).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// Users `u00000` and so on: in the order of ids.
fn users_of(count: usize) -> Vec<UserId> {
    (0..count).map(|n| user(&format!("u{n:05}"))).collect()
}

/// Ids grow with the number.
fn id(number: u64) -> PostId {
    PostId::from_parts(UnixMs(PostId::EPOCH.0 + number), NodeNumber::new(1).unwrap(), 0)
}

fn at(ms: u64) -> UnixMs {
    NOW.plus(ms)
}

fn post(author: &UserId, number: u64) -> Post {
    Post {
        id: id(number),
        author: author.clone(),
        kind: "post".to_owned(),
        text: Some(format!("post {number}")),
        data: Some(r#"{"color":"blue"}"#.to_owned()),
        reply_to: None,
        repost_of: None,
        mentions: vec![user("mentioned")],
        visibility: Visibility::Public,
        attachments: Some("[]".to_owned()),
        created_at: NOW,
        updated_at: NOW,
        rev: 1,
        delivery: Delivery::Push,
        deleted: false,
    }
}

/// The kind of error that a call must end with.
fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// All rows of an app that are due.
async fn due(stores: &Stores, app: &AppId, before: UnixMs) -> Vec<OutboxRow> {
    let mut rows = Vec::new();
    for slot in 0..SLOTS {
        rows.extend(stores.outbox.due(slot, before, 10_000).await.unwrap());
    }
    rows.retain(|row| row.app == *app);
    rows
}

/// Calls for each item at once, and collects what they return, in no order.
async fn at_once<I, T, F>(items: impl IntoIterator<Item = I>, call: impl Fn(I) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    items.into_iter().map(call).collect::<JoinSet<T>>().join_all().await
}
