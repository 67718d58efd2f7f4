//! Microseconds of each read that serving feeds needs, on a store with a graph and posts written out to tables.
//!
//! `cargo run --release -p fama-storage --features embedded --example read_cost -- [directory]`

#![allow(clippy::print_stdout, reason = "a program that prints its result")]

use std::time::Instant;

use anyhow::Context;
use fama_protocol::{AppId, NodeNumber, PostId, UnixMs, UserId};
use fama_storage::embedded::{EmbeddedOptions, EmbeddedStore};
use fama_storage::{Delivery, Post, Relation, Stores, Visibility};
use tokio::task::JoinSet;

const AUTHORS: u64 = 2_000;
const POSTS: u64 = 100_000;
const FOLLOWEES: u64 = 500;
const CALLS: u64 = 2_000;

fn author(number: u64) -> anyhow::Result<UserId> {
    Ok(UserId::new(&format!("author-{:05}", number % AUTHORS))?)
}

fn id(number: u64) -> anyhow::Result<PostId> {
    let at = UnixMs(PostId::EPOCH.0 + 10_000_000_000 + number);
    Ok(PostId::from_parts(at, NodeNumber::new(1).context("a node number")?, 0))
}

async fn insert(stores: Stores, number: u64) -> anyhow::Result<()> {
    let post = Post {
        id: id(number)?,
        author: author(number)?,
        kind: "post".to_owned(),
        text: Some("t".repeat(300)),
        data: None,
        reply_to: None,
        repost_of: None,
        mentions: Vec::new(),
        visibility: Visibility::Public,
        attachments: None,
        created_at: id(number)?.minted_at(),
        updated_at: id(number)?.minted_at(),
        rev: 1,
        delivery: Delivery::Push,
        deleted: false,
    };
    stores.posts.insert(&AppId::default(), &post, None, post.created_at).await?;
    Ok(())
}

async fn fill(stores: &Stores, reader: &UserId) -> anyhow::Result<()> {
    let app = AppId::default();
    for chunk in 0..POSTS / 1_000 {
        let mut tasks = JoinSet::new();
        for number in chunk * 1_000..(chunk + 1) * 1_000 {
            tasks.spawn(insert(stores.clone(), number));
        }
        for done in tasks.join_all().await {
            done?;
        }
    }
    let followees = (0..FOLLOWEES).map(author).collect::<anyhow::Result<Vec<_>>>()?;
    let now = UnixMs(PostId::EPOCH.0);
    stores.graph.follow(&app, reader, &followees, 5_000, now).await?;
    for number in 0..20 {
        let target = author(AUTHORS - 1 - number)?;
        stores.graph.relate(&app, reader, Relation::Mute, &target, true, 100, now).await?;
    }
    Ok(())
}

/// Times a call that is made many times with a number, after a warm-up.
async fn time<F, T>(name: &str, call: impl Fn(u64) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<T>>,
{
    for number in 0..CALLS / 10 {
        call(number).await?;
    }
    let mut micros = Vec::new();
    for number in 0..CALLS {
        let start = Instant::now();
        call(number * 7_919).await?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
    }
    micros.sort_by(f64::total_cmp);
    let at = |share: usize| micros[micros.len() * share / 100];
    println!("{name:<34} {:>8.1} {:>8.1}", at(50), at(99));
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let dir = tempfile::tempdir_in(directory)?;
    let options = EmbeddedOptions { memtable_bytes: 8 << 20, ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(dir.path(), options)?;
    let stores = &store.stores();
    let (app, reader) = (&AppId::default(), &UserId::new("reader")?);
    fill(stores, reader).await?;
    println!("{:<34} {:>8} {:>8}", "microseconds", "median", "p99");
    time("get_many, 1 post", |n| async move { Ok(stores.posts.get_many(app, &[id(n % POSTS)?]).await?) })
        .await?;
    time("get_many, 20 posts", |n| async move {
        let ids = (0..20).map(|step| id((n + step * 4_999) % POSTS)).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(stores.posts.get_many(app, &ids).await?)
    })
    .await?;
    time("newest", |n| async move { Ok(stores.posts.newest(app, &author(n)?).await?) }).await?;
    time("by_author, 20 posts", |n| async move {
        Ok(stores.posts.by_author(app, &author(n)?, None, 20, false).await?)
    })
    .await?;
    time("by_author, pull only, none", |n| async move {
        Ok(stores.posts.by_author(app, &author(n)?, None, 20, true).await?)
    })
    .await?;
    time("edge_state", |n| async move { Ok(stores.graph.edge_state(app, reader, &author(n)?).await?) })
        .await?;
    time("edges, 500", |_| async move { Ok(stores.graph.edges(app, reader).await?) }).await?;
    time("relations, 20 mutes", |_| async move { Ok(stores.graph.relations(app, reader).await?) }).await?;
    time("relations, none", |n| async move { Ok(stores.graph.relations(app, &author(n)?).await?) }).await?;
    time("counts", |n| async move { Ok(stores.graph.counts(app, &author(n)?).await?) }).await?;
    time("mode, none", |n| async move { Ok(stores.modes.mode(app, &author(n)?).await?) }).await?;
    time("due, 100 of a slot", |n| async move {
        Ok(stores.outbox.due(u16::try_from(n % 16)?, UnixMs(u64::MAX - 1), 100).await?)
    })
    .await?;
    Ok(())
}
