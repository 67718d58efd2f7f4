//! From the rows to what clients see.

use std::collections::BTreeMap;

use bytes::Bytes;
use fama_protocol::event::{Event, PostView, PostViewer};
use fama_storage::{Delivery, Post, ReactionSummary, Visibility};
use serde_json::value::RawValue;

/// A post as clients see it. `own`: with what the reader did to it; events are shared by many viewers and go without.
pub fn post_view(post: &Post, summary: Option<&ReactionSummary>, own: bool) -> PostView {
    let reactions: BTreeMap<String, u64> =
        summary.map(|summary| summary.counts.iter().cloned().collect()).unwrap_or_default();
    PostView {
        id: post.id,
        author: post.author.clone(),
        kind: post.kind.clone(),
        text: post.text.clone(),
        data: raw(post.data.as_deref()),
        reply_to: post.reply_to,
        repost_of: post.repost_of,
        mentions: post.mentions.clone(),
        visibility: match post.visibility {
            Visibility::Public => "public",
            Visibility::Followers => "followers",
        }
        .to_owned(),
        attachments: raw(post.attachments.as_deref()),
        delivery: match post.delivery {
            Delivery::Push => "push",
            Delivery::Pull => "pull",
        }
        .to_owned(),
        created_at: post.created_at,
        updated_at: post.updated_at,
        rev: post.rev,
        reactions,
        viewer: own.then(|| PostViewer {
            reactions: summary.map(|summary| summary.own.clone()).unwrap_or_default(),
        }),
    }
}

/// `post.created` as JSON.
pub fn created(post: &Post) -> Bytes {
    event(&Event::PostCreated { post: Box::new(post_view(post, None, false)) })
}

/// `post.updated` as JSON.
pub fn updated(post: &Post) -> Bytes {
    event(&Event::PostUpdated { post: Box::new(post_view(post, None, false)) })
}

/// `post.deleted` as JSON.
pub fn deleted(post: &Post) -> Bytes {
    event(&Event::PostDeleted { id: post.id, author: post.author.clone() })
}

/// The JSON of an event. Nothing in an event can fail to serialise; should it ever, viewers get `void`, which keeps the
/// offset.
pub fn event(event: &Event) -> Bytes {
    serde_json::to_vec(event).map_or_else(|_| Bytes::from_static(br#"{"type":"void"}"#), Bytes::from)
}

/// JSON kept as it came; what is no JSON, which the store does not promise, is left out.
fn raw(json: Option<&str>) -> Option<Box<RawValue>> {
    json.and_then(|json| RawValue::from_string(json.to_owned()).ok())
}

#[cfg(test)]
mod tests {
    use fama_protocol::{PostId, UnixMs, UserId};

    use super::*;

    #[test]
    fn events_carry_no_viewer_and_keep_the_apps_json() {
        let post = Post {
            id: PostId::from_u64(7).unwrap(),
            author: UserId::new("ann").unwrap(),
            kind: "post".into(),
            text: Some("hi".into()),
            data: Some(r#"{"b":1,"a":[1.50]}"#.into()),
            reply_to: None,
            repost_of: None,
            mentions: vec![],
            visibility: Visibility::Public,
            attachments: None,
            created_at: UnixMs(1_795_368_896_007),
            updated_at: UnixMs(1_795_368_896_007),
            rev: 1,
            delivery: Delivery::Push,
            deleted: false,
        };
        let json = String::from_utf8(created(&post).to_vec()).unwrap();
        assert!(json.starts_with(r#"{"type":"post.created","post":{"id":"7","author":"ann""#), "{json}");
        assert!(json.contains(r#""data":{"b":1,"a":[1.50]}"#) && !json.contains("viewer"), "{json}");
        let summary = ReactionSummary { counts: vec![("like".into(), 3)], own: vec!["like".into()] };
        let view = serde_json::to_value(post_view(&post, Some(&summary), true)).unwrap();
        assert_eq!(view["reactions"]["like"], 3);
        assert_eq!(view["viewer"]["reactions"][0], "like");
    }
}
