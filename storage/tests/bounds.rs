//! Everything in the embedded store has a bound, and an answer there.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use fama_protocol::{AppId, UserId};
use fama_storage::embedded::{EmbeddedOptions, EmbeddedStore};
use fama_storage::{ErrorKind, Profile, Result, Stores};
use tokio::task::JoinSet;

fn options() -> EmbeddedOptions {
    EmbeddedOptions { reserve_bytes: 0, ..EmbeddedOptions::default() }
}

async fn put(stores: Stores, number: usize, bytes: usize) -> Result<()> {
    let profile = Profile { data: Some("d".repeat(bytes)), ..Profile::default() };
    let user = UserId::new(&format!("u{number}")).unwrap();
    stores.users.put_profile(&AppId::default(), &user, &profile).await
}

/// Puts many at once, in order; the results in order.
async fn put_all(store: &EmbeddedStore, count: usize, bytes: usize) -> Vec<Result<()>> {
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let stores = store.stores();
        tasks.spawn(async move { (number, put(stores, number, bytes).await) });
    }
    let mut results = tasks.join_all().await;
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[tokio::test]
async fn a_full_queue_refuses_and_loses_nothing() {
    for options in [
        EmbeddedOptions { queue_ops: 8, ..options() },
        EmbeddedOptions { queue_bytes: 8 * 5_500, ..options() },
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path(), options).unwrap();
        let results = put_all(&store, 500, 5_000).await;
        let refused = results.iter().filter(|result| result.is_err()).count();
        assert!((1..500).contains(&refused), "{refused} of 500 refused");
        let app = AppId::default();
        for (number, result) in results.into_iter().enumerate() {
            let user = UserId::new(&format!("u{number}")).unwrap();
            let there = store.stores().users.profiles(&app, &[user]).await.unwrap()[0].is_some();
            match result {
                Ok(()) => assert!(there),
                Err(error) => assert!(error.kind() == ErrorKind::Unavailable && !there, "{error}"),
            }
        }
        put(store.stores(), 0, 10).await.unwrap();
    }
}

#[tokio::test]
async fn a_commit_takes_no_more_than_its_options_say() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { batch_ops: 10, ..options() };
    let store = EmbeddedStore::open(dir.path(), options).unwrap();
    assert!(put_all(&store, 200, 10).await.iter().all(Result::is_ok));
    let stats = store.stats();
    assert_eq!((stats.operations, stats.waiting), (200, 0));
    assert!(stats.commits >= 20, "{stats:?}");
}

fn bytes_of(folder: &Path, keep: &dyn Fn(&Path) -> bool) -> u64 {
    let mut total = 0;
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (path, meta) = (entry.path(), entry.metadata());
        if path.is_dir() {
            total += bytes_of(&path, keep);
        } else if keep(&path) {
            total += meta.map_or(0, |meta| meta.len());
        }
    }
    total
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn journals_stay_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { memtable_bytes: 4 << 20, journal_bytes: 64 << 20, ..options() };
    let store = EmbeddedStore::open(dir.path(), options).unwrap();
    let journal = |path: &Path| path.extension().is_some_and(|extension| extension == "jnl");
    let mut largest = 0;
    for _ in 0..16 {
        assert!(put_all(&store, 300, 60_000).await.iter().all(Result::is_ok));
        largest = largest.max(bytes_of(&dir.path().join("db"), &journal));
    }
    let mib = largest >> 20;
    assert!(mib <= 64 + 64 + 64 + 16, "{mib} MiB of journals for 288 MB written");
    assert!(bytes_of(&dir.path().join("db/keyspaces"), &|_| true) > 16 << 20, "tables were written");
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(EmbeddedStore::open(dir.path(), options()).unwrap());
    {
        let database = fjall::Database::builder(dir.path().join("db")).open().unwrap();
        let meta = database.keyspace("meta", fjall::KeyspaceCreateOptions::default).unwrap();
        meta.insert("f", [1, 2]).unwrap();
    }
    let error = EmbeddedStore::open(dir.path(), options()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.contains("format 2") && text.contains("run the newer program"), "{text}");
}
