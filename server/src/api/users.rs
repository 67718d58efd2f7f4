//! Users: what an app says about them, and how they stand to the caller.

use axum::Json;
use axum::extract::State as Extract;
use fama_protocol::{AppId, UserId};
use fama_storage::{Mode, Profile};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::State;
use super::caller::Caller;
use super::extract::{JsonBody, NoParams, Params, UserPath};
use super::post_body::{Faults, carried, check_text, is_web_address};
use super::schema;
use crate::error::{ApiError, ApiResult};

/// A user.
#[derive(Serialize, ToSchema)]
pub struct UserView {
    /// The app's own id.
    #[schema(value_type = String)]
    id: UserId,
    /// Name to show.
    name: Option<String>,
    /// Portrait.
    avatar_url: Option<String>,
    /// The app's own JSON.
    #[schema(value_type = Option<Object>)]
    data: Option<Box<RawValue>>,
    /// How many follow this user.
    followers: u64,
    /// How many this user follows.
    following: u64,
    /// Posts that are not deleted.
    posts: u64,
    /// How new posts reach feeds.
    #[schema(value_type = schema::Delivery)]
    delivery: &'static str,
    /// How the user stands to the caller; not for a service on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    viewer: Option<ViewerView>,
}

/// How a user stands to the caller.
#[derive(Serialize, ToSchema)]
pub struct ViewerView {
    /// The caller follows the user.
    following: bool,
    /// The user follows the caller.
    followed_by: bool,
    /// The caller blocks the user.
    blocked: bool,
    /// The caller mutes the user.
    muted: bool,
}

/// What an app says about a user. Replaces what it said before.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutUser {
    /// Name to show, at most 200 characters.
    #[schema(max_length = 200)]
    name: Option<String>,
    /// Portrait: http or https.
    avatar_url: Option<String>,
    /// BCP 47 tag, such as `de-AT`.
    locale: Option<String>,
    /// IANA name, such as `Europe/Vienna`.
    time_zone: Option<String>,
    /// For email; shown to nobody.
    email: Option<String>,
    /// The app's own JSON, at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    data: Option<Box<RawValue>>,
}

fn check_characters(faults: &mut Faults, field: &str, text: Option<&String>, most: usize, more: &[u8]) {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || more.contains(&b);
    if text.is_some_and(|text| text.is_empty() || text.len() > most || !text.bytes().all(allowed)) {
        faults.add(
            field,
            format!("must have 1 to {most} letters, digits and {}", String::from_utf8_lossy(more)),
        );
    }
}

impl PutUser {
    fn check(self) -> ApiResult<Profile> {
        let mut faults = Faults::default();
        if let Some(name) = &self.name {
            check_text(&mut faults, "name", name, 200);
        }
        if self.avatar_url.as_deref().is_some_and(|url| !is_web_address(url)) {
            faults.add("avatar_url", "must be http or https, at most 2048 characters");
        }
        check_characters(&mut faults, "locale", self.locale.as_ref(), 35, b"-");
        check_characters(&mut faults, "time_zone", self.time_zone.as_ref(), 64, b"_+-/");
        let is_email = |text: &String| {
            let graphic = text.chars().all(|c| !c.is_whitespace() && !c.is_control());
            let parts =
                text.rsplit_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
            graphic && parts && text.len() <= 254
        };
        if self.email.as_ref().is_some_and(|email| !is_email(email)) {
            faults.add("email", "is not an email address");
        }
        let data = self.data.and_then(|json| carried(&mut faults, "data", &json));
        faults.check()?;
        let Self { name, avatar_url, locale, time_zone, email, .. } = self;
        Ok(Profile { name, avatar_url, locale, time_zone, email, data })
    }
}

/// One user. Users exist by being used, so there is an answer for every id.
#[utoipa::path(get, path = "/v1/users/{id}", tag = "users", params(("id" = String, Path)), responses(
    (status = 200, body = UserView),
))]
pub async fn get(
    Extract(state): Extract<State>,
    caller: Caller,
    Params(NoParams {}): Params<NoParams>,
    UserPath(id): UserPath,
) -> ApiResult<Json<UserView>> {
    view(&state, &caller, id).await.map(Json)
}

/// Says something about a user: the user, or the app's backend.
#[utoipa::path(put, path = "/v1/users/{id}", tag = "users", params(("id" = String, Path)), request_body = PutUser, responses(
    (status = 200, body = UserView),
    (status = 403, description = "Somebody else", body = schema::Error),
    (status = 413, body = schema::Error),
    (status = 415, body = schema::Error),
    (status = 422, body = schema::Error),
))]
pub async fn put(
    Extract(state): Extract<State>,
    caller: Caller,
    Params(NoParams {}): Params<NoParams>,
    UserPath(id): UserPath,
    body: JsonBody<PutUser>,
) -> ApiResult<Json<UserView>> {
    let profile = body.value.check()?;
    if !caller.is_trusted() && caller.user.as_ref() != Some(&id) {
        return Err(ApiError::forbidden("users change their own profile only"));
    }
    state.stores.users.put_profile(&caller.app, &id, &profile).await?;
    view(&state, &caller, id).await.map(Json)
}

async fn view(state: &State, caller: &Caller, id: UserId) -> ApiResult<UserView> {
    let app = &caller.app;
    let ids = std::slice::from_ref(&id);
    let (profiles, counts, mode) = tokio::try_join!(
        state.stores.users.profiles(app, ids),
        state.stores.graph.counts(app, &id),
        state.stores.modes.mode(app, &id),
    )?;
    let profile = profiles.into_iter().next().flatten().unwrap_or_default();
    let viewer = match &caller.user {
        Some(user) => Some(viewer(state, app, user, &id).await?),
        None => None,
    };
    Ok(UserView {
        name: profile.name,
        avatar_url: profile.avatar_url,
        data: profile.data.and_then(|json| RawValue::from_string(json).ok()),
        followers: counts.followers,
        following: counts.following,
        posts: counts.posts,
        delivery: match mode.map_or(Mode::Push, |record| record.mode) {
            Mode::Pull => "pull",
            Mode::Push | Mode::Draining => "push",
        },
        viewer,
        id,
    })
}

async fn viewer(state: &State, app: &AppId, user: &UserId, other: &UserId) -> ApiResult<ViewerView> {
    let graph = &state.stores.graph;
    let (following, followed_by, relations) = tokio::try_join!(
        graph.edge_state(app, user, other),
        graph.edge_state(app, other, user),
        graph.relations(app, user),
    )?;
    Ok(ViewerView {
        following: following.0,
        followed_by: followed_by.0,
        blocked: relations.blocks.contains(other),
        muted: relations.mutes.contains(other),
    })
}
