//! Shapes of answers, for the API's description. What is sent is serialised by the types of `fama-protocol`; a test
//! holds the two together.

use std::collections::BTreeMap;

use utoipa::ToSchema;

/// Who may see a post.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "described, not built")]
pub enum Visibility {
    /// Anyone signed in who is not blocked.
    Public,
    /// The author's followers.
    Followers,
}

/// How a post reached feeds.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "described, not built")]
pub enum Delivery {
    /// Written into each follower's feed.
    Push,
    /// Merged in by readers.
    Pull,
}

/// A post.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described, not built")]
pub struct Post {
    /// Orders posts: a number of 63 bits, as text.
    pub id: String,
    /// Who posted.
    pub author: String,
    /// The app's own kind.
    pub kind: String,
    /// At most 5,000 characters.
    pub text: Option<String>,
    /// The app's own JSON.
    #[schema(value_type = Option<Object>)]
    pub data: Option<serde_json::Value>,
    /// The post answered.
    pub reply_to: Option<String>,
    /// The post passed on.
    pub repost_of: Option<String>,
    /// Users named.
    pub mentions: Vec<String>,
    /// Who may see it.
    pub visibility: Visibility,
    /// Objects with at least `url` and `type`.
    #[schema(value_type = Option<Vec<Object>>)]
    pub attachments: Option<serde_json::Value>,
    /// How it reached feeds.
    pub delivery: Delivery,
    /// RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// RFC 3339.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// 1 at first, one more with each edit.
    pub rev: u32,
    /// How many reactions of each kind.
    pub reactions: BTreeMap<String, u64>,
    /// What the reader did to it.
    pub viewer: PostViewer,
}

/// What the reader of a post did to it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described, not built")]
pub struct PostViewer {
    /// Kinds of the reader's own reactions.
    pub reactions: Vec<String>,
}

/// A page of posts.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described, not built")]
pub struct PostPage {
    /// Newest first.
    pub data: Vec<Post>,
    /// Brings the next page; `null` at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// A page of a feed.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described, not built")]
pub struct FeedPage {
    /// Newest first.
    pub data: Vec<Post>,
    /// Brings the next page; `null` at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
    /// Whether a part could not be read in time: the cursor brings it later.
    pub partial: bool,
}

/// Posts by id.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described, not built")]
pub struct PostList {
    /// In the order asked, without those that are unknown or not for the reader.
    pub data: Vec<Post>,
}

/// How soon a notification is sent.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "described, not built")]
pub enum Priority {
    /// Before everything else.
    Urgent,
    /// As posts are.
    Normal,
    /// Behind everything else.
    Bulk,
}

/// What a notification opens.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described, not built")]
pub struct Subject {
    /// `post`.
    pub kind: String,
    /// Its id.
    pub id: String,
}

/// A notification: one or more acts of one kind.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described, not built")]
pub struct Notification {
    /// Stays the same while acts join.
    pub id: String,
    /// `follow`, `mention`, `reply`, `reaction`, `repost`, or the app's own.
    pub r#type: String,
    /// The latest first, at most ten.
    pub actors: Vec<String>,
    /// All of them.
    pub actor_count: u64,
    /// The post that it opens.
    pub subject: Option<Subject>,
    /// The app's own JSON; `{"reaction"}` of reactions, `{"reply_to"}` of replies.
    #[schema(value_type = Option<Object>)]
    pub data: Option<serde_json::Value>,
    /// A sentence in English; `null` for the app's own types.
    pub text: Option<String>,
    /// RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When the last act joined; RFC 3339.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// Shown to the user.
    pub seen: bool,
    /// Done with.
    pub read: bool,
}

/// A page of notifications.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described, not built")]
pub struct NotificationPage {
    /// Those that changed last first.
    pub data: Vec<Notification>,
    /// Brings the next page; `null` at the end.
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}

/// What a request that is refused or fails is answered with.
#[derive(ToSchema)]
#[allow(dead_code, clippy::struct_field_names, reason = "described, not built")]
pub struct Error {
    /// Stable.
    pub error: String,
    /// For people.
    pub message: String,
    /// More, by error: `fields` of `validation_failed`, `retry_after_s` of `rate_limited`.
    #[schema(value_type = Object)]
    pub details: serde_json::Value,
}
