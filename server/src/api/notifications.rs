//! The inbox, and what the app sends to inboxes.

use axum::Json;
use axum::extract::{FromRequestParts, State as Extract};
use axum::response::Response;
use fama_protocol::event::NotificationView;
use fama_protocol::{NotificationId, UnixMs, UserId};
use fama_storage::{Audience, Dispatch, InboxCounts, Mark, Priority, StoredResponse};
use http::StatusCode;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::caller::{Actor, Caller};
use super::cursor::List;
use super::extract::{JsonBody, NoParams, Params, PostPath};
use super::idempotency::{Begin, IdempotencyKey, begin, give_up, json, replay};
use super::page::{MAX_LIMIT, Page, default_limit, limit};
use super::post_body::{Faults, carried};
use super::schema;
use crate::error::{ApiError, ApiResult};

const ROUTE: &str = "POST /v1/notifications";
const NO_NOTIFICATION: &str = "there is no such notification";
/// Recipients named in one request.
const MAX_RECIPIENTS: usize = 1_000;
/// Bytes of a type, of a key.
const MAX_TYPE: usize = 64;
const MAX_KEY: usize = 128;

/// What a request for a page may say.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// Items of the page.
    #[serde(default = "default_limit", deserialize_with = "limit")]
    #[param(value_type = u32, minimum = 1, maximum = 100, default = 20)]
    limit: usize,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only those that are not read.
    #[serde(default)]
    unread: bool,
}

/// The caller's notifications, those that changed last first.
#[utoipa::path(get, path = "/v1/notifications", tag = "notifications", params(ListParams), responses(
    (status = 200, body = schema::NotificationPage),
))]
pub async fn list(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(params): Params<ListParams>,
) -> ApiResult<Json<Page<NotificationView>>> {
    let name = if params.unread { "notifications/unread" } else { "notifications" };
    let list = List { app: &actor.app, reader: &actor.user, name: name.to_owned() };
    let before = state.cursors.open_post(&list, params.cursor.as_deref())?;
    let inbox = &state.feeds.inbox;
    let page = inbox.page(&actor.app, &actor.user, before, params.limit, params.unread).await?;
    let next_cursor = page.next.map(|position| state.cursors.sign(&list, &position.to_be_bytes()));
    Ok(Json(Page { data: page.notifications, has_more: next_cursor.is_some(), next_cursor }))
}

/// How many notifications there are.
#[derive(Serialize, ToSchema)]
pub struct Counts {
    /// Neither seen nor read, at most 100.
    unseen: u64,
    /// Not read, at most 100.
    unread: u64,
    /// Whether there are more than that.
    capped: bool,
}

impl From<InboxCounts> for Counts {
    fn from(counts: InboxCounts) -> Self {
        Self { unseen: counts.unseen, unread: counts.unread, capped: counts.capped }
    }
}

/// How many notifications are new to the caller.
#[utoipa::path(get, path = "/v1/notifications/counts", tag = "notifications", responses(
    (status = 200, body = Counts),
))]
pub async fn counts(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(NoParams {}): Params<NoParams>,
) -> ApiResult<Json<Counts>> {
    Ok(Json(state.feeds.inbox.counts(&actor.app, &actor.user).await?.into()))
}

async fn mark(state: &State, actor: &Actor, mark: &Mark) -> ApiResult<Json<Counts>> {
    Ok(Json(state.feeds.inbox.mark(&actor.app, &actor.user, mark).await?.into()))
}

/// Up to where notifications were shown.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SeenBody {
    /// The notification at the top of the list.
    #[schema(value_type = String)]
    up_to: NotificationId,
}

/// Marks what was shown: a notification and all that changed before it.
#[utoipa::path(post, path = "/v1/notifications/seen", tag = "notifications", request_body = SeenBody, responses(
    (status = 200, body = Counts),
    (status = 415, description = "Not JSON", body = schema::Error),
))]
pub async fn seen(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(NoParams {}): Params<NoParams>,
    body: JsonBody<SeenBody>,
) -> ApiResult<Json<Counts>> {
    mark(&state, &actor, &Mark::Seen(body.value.up_to)).await
}

/// What is read: one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadBody {
    /// This notification and all that changed before it.
    #[schema(value_type = Option<String>)]
    up_to: Option<NotificationId>,
    /// These, at most 100. Unknown ones are left out.
    #[schema(value_type = Option<Vec<String>>, max_items = 100)]
    ids: Option<Vec<NotificationId>>,
}

/// Marks as read, which is also seen.
#[utoipa::path(post, path = "/v1/notifications/read", tag = "notifications", request_body = ReadBody, responses(
    (status = 200, body = Counts),
    (status = 415, description = "Not JSON", body = schema::Error),
    (status = 422, body = schema::Error),
))]
pub async fn read(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(NoParams {}): Params<NoParams>,
    body: JsonBody<ReadBody>,
) -> ApiResult<Json<Counts>> {
    let change = match body.value {
        ReadBody { up_to: Some(id), ids: None } => Mark::Read(id),
        ReadBody { up_to: None, ids: Some(ids) } => Mark::ReadEach(checked(ids)?),
        _ => return Err(ApiError::bad_request("send `up_to` or `ids`, one of them")),
    };
    mark(&state, &actor, &change).await
}

/// What is not read.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnreadBody {
    /// At most 100. Unknown ones are left out.
    #[schema(value_type = Vec<String>, max_items = 100)]
    ids: Vec<NotificationId>,
}

/// Marks as not read.
#[utoipa::path(post, path = "/v1/notifications/unread", tag = "notifications", request_body = UnreadBody, responses(
    (status = 200, body = Counts),
    (status = 415, description = "Not JSON", body = schema::Error),
    (status = 422, body = schema::Error),
))]
pub async fn unread(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(NoParams {}): Params<NoParams>,
    body: JsonBody<UnreadBody>,
) -> ApiResult<Json<Counts>> {
    mark(&state, &actor, &Mark::UnreadEach(checked(body.value.ids)?)).await
}

fn checked(ids: Vec<NotificationId>) -> ApiResult<Vec<NotificationId>> {
    if ids.len() > MAX_LIMIT {
        return Err(ApiError::invalid("ids", format!("has {} ids, {MAX_LIMIT} are the most", ids.len())));
    }
    Ok(ids)
}

/// The notification of a path.
pub struct NotificationPath(NotificationId);

impl<S: Send + Sync> FromRequestParts<S> for NotificationPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        match PostPath::from_request_parts(parts, state).await {
            Ok(PostPath(id)) => Ok(Self(id)),
            Err(_) => Err(ApiError::bad_request("a notification's id is a number of at most 63 bits")),
        }
    }
}

/// Takes a notification from the list, for good. Acts that come later begin a new one.
#[utoipa::path(delete, path = "/v1/notifications/{id}", tag = "notifications", params(("id" = String, Path)), responses(
    (status = 200, description = "Gone, now or before", body = Counts),
    (status = 404, body = schema::Error),
))]
pub async fn archive(
    Extract(state): Extract<State>,
    actor: Actor,
    Params(NoParams {}): Params<NoParams>,
    NotificationPath(id): NotificationPath,
) -> ApiResult<Json<Counts>> {
    let counts = state.feeds.inbox.archive(&actor.app, &actor.user, id).await?;
    counts.map(|counts| Json(counts.into())).ok_or(ApiError::not_found(NO_NOTIFICATION))
}

/// A notification to be sent. One of `recipients` and `followers_of`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNotification {
    /// 1 to 1,000 users.
    #[schema(value_type = Option<Vec<String>>, max_items = 1000)]
    recipients: Option<Vec<UserId>>,
    /// Whoever follows this user.
    #[schema(value_type = Option<String>)]
    followers_of: Option<UserId>,
    /// The app's own type: 1 to 64 characters of a-z 0-9 _ . - and none of Fama's own.
    r#type: String,
    /// The app's own JSON, at most 16 KiB and 64 levels.
    #[schema(value_type = Option<Object>)]
    data: Option<Box<RawValue>>,
    /// Sends of one type and key are one notification while it is not read. 1 to 128 visible ASCII characters.
    #[schema(max_length = 128)]
    group_key: Option<String>,
    /// A recipient gets one of this type and key within seven days. 1 to 128 visible ASCII characters.
    #[schema(max_length = 128)]
    dedupe_key: Option<String>,
    /// `urgent` goes before everything else, `bulk` behind.
    #[serde(default)]
    #[schema(value_type = schema::Priority)]
    priority: Priority,
    /// RFC 3339: it is gone from lists and counts then.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<UnixMs>,
}

const OWN_TYPES: [&str; 5] = ["follow", "mention", "reply", "reaction", "repost"];

impl NewNotification {
    fn check(self, id: NotificationId, now: UnixMs) -> ApiResult<Dispatch> {
        let mut faults = Faults::default();
        let audience = match (self.recipients, self.followers_of) {
            (Some(mut users), None) => {
                users.sort_unstable();
                users.dedup();
                if !(1..=MAX_RECIPIENTS).contains(&users.len()) {
                    faults.add("recipients", format!("1 to {MAX_RECIPIENTS} users"));
                }
                Audience::Users(users)
            }
            (None, Some(author)) => Audience::FollowersOf(author),
            _ => return Err(ApiError::bad_request("send `recipients` or `followers_of`, one of them")),
        };
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
        if !(1..=MAX_TYPE).contains(&self.r#type.len()) || !self.r#type.bytes().all(plain) {
            return Err(ApiError::bad_request("a type has 1 to 64 characters of a-z 0-9 _ . -"));
        }
        if OWN_TYPES.contains(&self.r#type.as_str()) {
            faults.add("type", "is one of Fama's own");
        }
        for (field, key) in [("group_key", &self.group_key), ("dedupe_key", &self.dedupe_key)] {
            let fits = |key: &String| {
                (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
            };
            if key.as_ref().is_some_and(|key| !fits(key)) {
                faults.add(field, format!("has 1 to {MAX_KEY} visible ASCII characters"));
            }
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            faults.add("expires_at", "is over");
        }
        let data = self.data.as_deref().and_then(|data| carried(&mut faults, "data", data));
        faults.check()?;
        Ok(Dispatch {
            id,
            audience,
            kind: self.r#type,
            data,
            group_key: self.group_key,
            dedupe_key: self.dedupe_key,
            priority: self.priority,
            expires_at: self.expires_at,
        })
    }
}

/// What was taken.
#[derive(Serialize, ToSchema)]
pub struct Accepted {
    /// Names what was sent.
    #[schema(value_type = String)]
    id: NotificationId,
    /// How many get it, by the number of followers now.
    recipients: u64,
}

/// Sends a notification to users, or to whoever follows one. For the app's backend.
#[utoipa::path(post, path = "/v1/notifications", tag = "notifications", request_body = NewNotification, params(
    ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters: the same key and body within 24 hours send once"),
), responses(
    (status = 202, description = "Durable; workers bring it to the inboxes", body = Accepted),
    (status = 403, description = "For services only", body = schema::Error),
    (status = 409, description = "The first request with this key is still running", body = schema::Error),
    (status = 415, description = "Not JSON", body = schema::Error),
    (status = 422, description = "Out of range, or the key was used with another body", body = schema::Error),
))]
pub async fn send(
    Extract(state): Extract<State>,
    caller: Caller,
    Params(NoParams {}): Params<NoParams>,
    key: IdempotencyKey,
    body: JsonBody<NewNotification>,
) -> ApiResult<Response> {
    if !caller.is_trusted() {
        return Err(ApiError::forbidden("only services send notifications"));
    }
    let actor = Actor { app: caller.app.clone(), user: caller.reader().clone(), access: caller.access };
    let id = state.minter.mint(&actor.app, &actor.user).await?;
    let dispatch = body.value.check(id, state.clock.now())?;
    let key = match begin(&state, &actor, ROUTE, key, &body.bytes, id).await? {
        Begin::Do(key) => key,
        Begin::Replay(stored) => return Ok(replay(stored)),
        // The dispatch is written with its answer, so that whoever takes a claim over finds neither or both.
        Begin::Finish(..) => return Err(ApiError::conflict("the first request is still running")),
    };
    let sent = async {
        let recipients = match &dispatch.audience {
            Audience::Users(users) => users.len() as u64,
            Audience::FollowersOf(author) => state.stores.graph.counts(&actor.app, author).await?.followers,
        };
        let body = serde_json::to_string(&Accepted { id, recipients });
        let body = body.map_err(|error| ApiError::internal(&error))?;
        let response = StoredResponse { status: StatusCode::ACCEPTED.as_u16(), body };
        let completes = key.as_ref().map(|key| (key, &response));
        state.feeds.inbox.dispatch(&actor.app, &dispatch, completes).await?;
        Ok(response)
    };
    match sent.await {
        Ok(response) => Ok(json(StatusCode::ACCEPTED, response.body)),
        Err(error) => Err(give_up(&state, &actor, key.as_ref(), id, error).await),
    }
}
