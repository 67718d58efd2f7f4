//! What a request says about a post, and whether that is within the limits.

use fama_protocol::{PostId, UnixMs, UserId};
use fama_storage::{Delivery, Post, PostPatch, Visibility};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::error::{ApiError, ApiResult};
use crate::json::{MAX_DEPTH, compact, depth};

/// Characters of a text.
pub const MAX_TEXT: usize = 5_000;
/// Bytes of an app's own JSON.
pub const MAX_DATA: usize = 16 * 1024;
/// Users named in a post.
pub const MAX_MENTIONS: usize = 50;
/// Attachments of a post.
pub const MAX_ATTACHMENTS: usize = 16;
/// Characters of an address.
pub const MAX_URL: usize = 2_048;
const MAX_KIND: usize = 32;

/// A post to be published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPost {
    /// At most 5,000 characters.
    #[schema(max_length = 5000)]
    pub text: Option<String>,
    /// The app's own JSON, at most 16 KiB and 64 levels.
    #[schema(value_type = Option<Object>)]
    pub data: Option<Box<RawValue>>,
    /// The app's own kind: 1 to 32 characters of a-z 0-9 _ . -
    #[schema(default = "post")]
    pub kind: Option<String>,
    /// The post answered.
    #[schema(value_type = Option<String>)]
    pub reply_to: Option<PostId>,
    /// The post passed on.
    #[schema(value_type = Option<String>)]
    pub repost_of: Option<PostId>,
    /// Users named, at most 50.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 50)]
    pub mentions: Vec<UserId>,
    /// Who may see it.
    #[serde(default)]
    #[schema(value_type = super::schema::Visibility)]
    pub visibility: Visibility,
    /// At most 16, each an object with at least `url` (http or https) and `type`.
    #[schema(value_type = Option<Vec<Object>>, max_items = 16)]
    pub attachments: Option<Box<RawValue>>,
}

/// What an edit changes: a field that is left out stays, `null` empties it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(clippy::option_option, reason = "left out and null are different things")]
pub struct EditPost {
    /// New text.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 5000)]
    pub text: Option<Option<String>>,
    /// New data.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Option<Box<RawValue>>>,
}

/// Tells `null` from what is left out.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// What is wrong with each field.
#[derive(Default)]
pub struct Faults(Map<String, Value>);

impl Faults {
    /// Notes one; the first one of a field stays.
    pub fn add(&mut self, field: &str, why: impl Into<String>) {
        self.0.entry(field.to_owned()).or_insert_with(|| Value::String(why.into()));
    }

    /// 422 if there is any.
    pub fn check(self) -> ApiResult<()> {
        if self.0.is_empty() { Ok(()) } else { Err(ApiError::validation(self.0)) }
    }
}

/// Checks a text's length.
pub fn check_text(faults: &mut Faults, field: &str, text: &str, most: usize) {
    let count = text.chars().count();
    if count > most {
        faults.add(field, format!("has {count} characters, {most} are the most"));
    }
}

/// JSON to be carried, without white space between tokens.
pub fn carried(faults: &mut Faults, field: &str, json: &RawValue) -> Option<String> {
    let json = carried_within(faults, field, json, MAX_DATA);
    (json != "null").then_some(json)
}

/// The same of at most `most` bytes; `null` is data like any other.
pub fn carried_within(faults: &mut Faults, field: &str, json: &RawValue, most: usize) -> String {
    let json = compact(json.get());
    if json.len() > most {
        faults.add(field, format!("has {} bytes, {most} are the most", json.len()));
    }
    if depth(&json) > MAX_DEPTH {
        faults.add(field, format!("is nested more than {MAX_DEPTH} levels deep"));
    }
    json
}

/// Whether it is an address that a page may show: a script in an address would run there.
pub fn is_web_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |c: char| !c.is_control() && !c.is_whitespace();
    rest.is_some_and(|rest| !rest.is_empty()) && text.len() <= MAX_URL && text.chars().all(plain)
}

#[derive(Deserialize)]
struct Attachment {
    url: String,
    #[serde(rename = "type")]
    _kind: String,
}

fn attachments(faults: &mut Faults, json: &RawValue) -> Option<String> {
    let field = "attachments";
    let text = carried(faults, field, json)?;
    match serde_json::from_str::<Vec<Attachment>>(&text) {
        Err(error) => faults.add(field, format!("must be a list of objects with `url` and `type`: {error}")),
        Ok(list) => {
            if list.len() > MAX_ATTACHMENTS {
                faults.add(field, format!("has {} items, {MAX_ATTACHMENTS} are the most", list.len()));
            }
            if list.iter().any(|attachment| !is_web_address(&attachment.url)) {
                faults.add(field, format!("each `url` must be http or https, at most {MAX_URL} characters"));
            }
        }
    }
    Some(text)
}

/// A post that is within the limits, but has no id yet.
#[derive(Debug, Clone)]
pub struct Draft {
    text: Option<String>,
    data: Option<String>,
    kind: String,
    /// The post answered.
    pub reply_to: Option<PostId>,
    /// The post passed on.
    pub repost_of: Option<PostId>,
    mentions: Vec<UserId>,
    visibility: Visibility,
    attachments: Option<String>,
}

impl NewPost {
    /// Checks everything that needs no look into the store.
    pub fn check(self) -> ApiResult<Draft> {
        let mut faults = Faults::default();
        if let Some(text) = &self.text {
            check_text(&mut faults, "text", text, MAX_TEXT);
        }
        let data = self.data.and_then(|json| carried(&mut faults, "data", &json));
        let attachments = self.attachments.and_then(|json| attachments(&mut faults, &json));
        let kind = self.kind.unwrap_or_else(|| "post".into());
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
        if kind.is_empty() || kind.len() > MAX_KIND || !kind.bytes().all(allowed) {
            faults.add("kind", format!("must have 1 to {MAX_KIND} characters of a-z 0-9 _ . -"));
        }
        if self.mentions.len() > MAX_MENTIONS {
            faults.add("mentions", format!("has {} users, {MAX_MENTIONS} are the most", self.mentions.len()));
        }
        let text = self.text.filter(|text| !text.is_empty());
        if text.is_none() && data.is_none() && self.repost_of.is_none() {
            faults.add("text", "a post needs at least one of text, data and repost_of");
        }
        faults.check()?;
        let (reply_to, repost_of) = (self.reply_to, self.repost_of);
        let mut mentions = self.mentions;
        let mut seen = std::collections::HashSet::new();
        mentions.retain(|user| seen.insert(user.clone()));
        Ok(Draft {
            text,
            data,
            kind,
            reply_to,
            repost_of,
            mentions,
            visibility: self.visibility,
            attachments,
        })
    }
}

impl Draft {
    /// The post as it is published.
    pub fn publish(self, id: PostId, author: UserId, delivery: Delivery, now: UnixMs) -> Post {
        Post {
            id,
            author,
            kind: self.kind,
            text: self.text,
            data: self.data,
            reply_to: self.reply_to,
            repost_of: self.repost_of,
            mentions: self.mentions,
            visibility: self.visibility,
            attachments: self.attachments,
            created_at: now,
            updated_at: now,
            rev: 1,
            delivery,
            deleted: false,
        }
    }
}

impl EditPost {
    /// Checks everything that needs no look into the store.
    pub fn check(self) -> ApiResult<PostPatch> {
        let mut faults = Faults::default();
        if let Some(Some(text)) = &self.text {
            check_text(&mut faults, "text", text, MAX_TEXT);
        }
        let text = self.text.map(|text| text.filter(|text| !text.is_empty()));
        let data = self.data.map(|data| data.and_then(|json| carried(&mut faults, "data", &json)));
        faults.check()?;
        Ok(PostPatch { text, data })
    }
}

/// Whether anything is left of a post after an edit.
pub fn check_left(post: &Post, patch: &PostPatch) -> ApiResult<()> {
    let text = patch.text.as_ref().unwrap_or(&post.text);
    let data = patch.data.as_ref().unwrap_or(&post.data);
    if text.is_none() && data.is_none() && post.repost_of.is_none() {
        return Err(ApiError::invalid("text", "a post needs at least one of text, data and repost_of"));
    }
    Ok(())
}
