//! Lines of JSON, a post each.

use fama_protocol::{PostId, UnixMs, UserId};
use fama_storage::Visibility;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{ImportError, Line, PostRecord, Source, Target};
use crate::api::post_body::NewPost;

/// A post as `POST /v1/posts` takes it, with its author and perhaps its time.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Record {
    #[serde(skip_serializing)]
    author: UserId,
    #[serde(skip_serializing)]
    created_at: Option<UnixMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<PostId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repost_of: Option<PostId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mentions: Vec<UserId>,
    #[serde(default)]
    visibility: Visibility,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachments: Option<Box<RawValue>>,
}

/// Imports the lines of a window; how many posts there were.
pub async fn import(
    lines: &[Line],
    source: &mut Source<'_>,
    target: &dyn Target,
) -> Result<u64, ImportError> {
    let mut posts = Vec::with_capacity(lines.len());
    for line in lines.iter().filter(|line| !line.text.is_empty()) {
        posts.push(parse(line, &source.name)?);
    }
    source.give_ids(&mut posts, target).await?;
    let count = posts.len() as u64;
    target.publish(posts).await?;
    Ok(count)
}

fn parse(line: &Line, input: &str) -> Result<PostRecord, ImportError> {
    let wrong = |why: String| ImportError::Line { line: line.number, why };
    let record: Record = serde_json::from_str(&line.text).map_err(|error| wrong(error.to_string()))?;
    let json = serde_json::to_string(&record).map_err(|error| wrong(error.to_string()))?;
    let Record {
        author,
        created_at,
        text,
        data,
        kind,
        reply_to,
        repost_of,
        mentions,
        visibility,
        attachments,
    } = record;
    if created_at.is_some_and(|at| at < PostId::EPOCH) {
        return Err(wrong(format!("created_at must not be before {}", PostId::EPOCH)));
    }
    let post = NewPost { text, data, kind, reply_to, repost_of, mentions, visibility, attachments };
    let draft = post.check().map_err(|error| wrong(error.explain()))?;
    let key = format!("import-{input}-{}", line.number);
    Ok(PostRecord { line: line.number, key, author, created_at, draft, json, id: None })
}
