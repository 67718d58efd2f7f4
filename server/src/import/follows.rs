//! Lines of `follower,followee`.

use std::collections::BTreeMap;

use fama_protocol::UserId;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{FollowBatch, ImportError, Line, Target, WIDTH};

/// Authors of one call.
const MAX_AUTHORS: usize = 1_000;

/// Imports the lines; how many follows there were.
pub async fn import(lines: &[Line], target: &dyn Target) -> Result<u64, ImportError> {
    let mut by_follower: BTreeMap<UserId, (u64, Vec<UserId>)> = BTreeMap::new();
    let mut count = 0;
    for line in lines {
        if let Some((follower, author)) = parse(line)? {
            by_follower.entry(follower).or_insert_with(|| (line.number, Vec::new())).1.push(author);
            count += 1;
        }
    }
    let batches = by_follower.into_iter().flat_map(|(follower, (line, authors))| {
        let batch = move |authors: &[UserId]| FollowBatch {
            line,
            follower: follower.clone(),
            authors: authors.to_vec(),
        };
        authors.chunks(MAX_AUTHORS).map(batch).collect::<Vec<_>>()
    });
    let calls = stream::iter(batches).map(|batch| async move {
        let line = batch.line;
        target.follow(batch).await.map_err(|why| ImportError::Line { line, why })
    });
    calls.buffer_unordered(WIDTH).try_collect::<()>().await?;
    Ok(count)
}

/// `None` for the head and for empty lines.
fn parse(line: &Line) -> Result<Option<(UserId, UserId)>, ImportError> {
    let wrong = |why: String| ImportError::Line { line: line.number, why };
    if line.text.is_empty() {
        return Ok(None);
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(line.text.as_bytes());
    let record =
        reader.records().next().transpose().map_err(|error| wrong(error.to_string()))?.unwrap_or_default();
    let (Some(follower), Some(author), 2) = (record.get(0), record.get(1), record.len()) else {
        return Err(wrong(format!("has {} fields: `follower,followee` has two", record.len())));
    };
    if line.number == 1 && follower.eq_ignore_ascii_case("follower") {
        return Ok(None);
    }
    let id = |text: &str| UserId::new(text).map_err(|error| wrong(format!("`{text:.80}`: {error}")));
    let (follower, author) = (id(follower)?, id(author)?);
    if follower == author {
        return Err(wrong(format!("`{follower}` can't follow itself")));
    }
    Ok(Some((follower, author)))
}
