//! The app's own channels: publishing, what they kept, who is there.
//!
//! Services may do everything; users what their namespaces allow a subscriber who needs no token. What users could not
//! subscribe to is not there for them.

pub mod broadcast;
pub mod members;

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::extract::{FromRequestParts, Path, State as Extract};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use fama_fanout::live::log::LiveLog;
use fama_fanout::live::{Delivery, Publication};
use fama_protocol::centrifuge::{ClientInfo, ErrorCode};
use fama_protocol::{Channel, ChannelKind, Epoch, Position, PostId, ScopedChannel};
use fama_storage::{RequestKey, StoredResponse};
use http::StatusCode;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::State;
use super::caller::{Actor, Caller};
use super::extract::{JsonBody, NoParams, Params};
use super::idempotency::{Begin, IdempotencyKey, begin, give_up, json, replay};
use super::page::{default_limit, limit};
use super::post_body::{Faults, carried_within};
use super::schema;
use crate::error::{ApiError, ApiResult};
use crate::gateway::Namespaces;
use crate::gateway::connection::HistoryAsked;
use crate::gateway::history;
use crate::gateway::namespaces::{Rules, Verdict};

const ROUTE: &str = "POST /v1/channels/{channel}/publications";
/// Bytes of a publication's data. A client's message has at most 64 KiB, its envelope included.
const MAX_DATA: usize = 60 * 1024;
const OWN: &str =
    "user:#, author: and presence: channels are Fama's own: apps neither publish to them nor read them here";
const NO_CHANNEL: &str =
    "there is no such channel: its namespace is not configured, or it is not the caller's to see";
const NO_HISTORY: &str =
    "this channel keeps nothing: set `history_size` and `history_ttl_s` for its namespace";

/// What the app's channels stand on.
pub struct Channels {
    /// What each namespace allows.
    pub namespaces: Arc<Namespaces>,
    /// What channels kept.
    pub log: Arc<dyn LiveLog>,
    /// To subscribers.
    pub delivery: Arc<Delivery>,
}

/// The channel of a path.
pub struct ChannelPath(Channel);

fn channel_named(text: &str) -> ApiResult<Channel> {
    Channel::new(text).map_err(|error| ApiError::bad_request(error.to_string()))
}

impl<S: Send + Sync> FromRequestParts<S> for ChannelPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => channel_named(&text).map(Self),
            Err(_) => Err(ApiError::bad_request("the path is not UTF-8")),
        }
    }
}

/// What a caller wants of a channel.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Publish,
    History,
    Presence,
}

/// The rules of a channel, if the caller may do that.
fn permitted<'s>(state: &'s State, caller: &Caller, channel: &Channel, wish: Wish) -> ApiResult<&'s Rules> {
    if !matches!(channel.kind(), ChannelKind::App { .. }) {
        return Err(ApiError::forbidden(OWN));
    }
    let rules = state.channels.namespaces.of(channel).ok_or(ApiError::not_found(NO_CHANNEL))?;
    if caller.is_trusted() {
        return Ok(rules);
    }
    let user = caller.user.as_ref();
    let subscriber = rules.may_subscribe(channel, user) == Verdict::Allowed;
    let (allowed, denied) = match wish {
        Wish::Publish => {
            (rules.may_publish(channel, user, subscriber), "users do not publish to this channel")
        }
        Wish::History => (rules.may_read(subscriber), "users do not read what this channel kept"),
        Wish::Presence => (rules.may_list(subscriber), "users are not told who is in this channel"),
    };
    match (allowed, subscriber) {
        (true, _) => Ok(rules),
        (false, true) => Err(ApiError::forbidden(denied)),
        (false, false) => Err(ApiError::not_found(NO_CHANNEL)),
    }
}

/// What is published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPublication {
    /// Any JSON, at most 60 KiB and 64 levels.
    #[schema(value_type = Value)]
    data: Box<RawValue>,
}

/// Where a publication is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Published {
    /// Counts from 1 within the epoch; `null` where the channel keeps nothing.
    offset: Option<u64>,
    /// This life of the channel's history; `null` where the channel keeps nothing.
    #[schema(value_type = Option<String>)]
    epoch: Option<Epoch>,
}

impl Published {
    fn at(position: Option<Position>) -> Self {
        Self { offset: position.map(|it| it.offset), epoch: position.map(|it| it.epoch) }
    }
}

/// The data of a publication, checked.
fn checked(data: &RawValue) -> ApiResult<Bytes> {
    let mut faults = Faults::default();
    let data = carried_within(&mut faults, "data", data, MAX_DATA);
    faults.check()?;
    Ok(data.into())
}

/// Publishes; who did is told to subscribers, unless it was a service on its own.
async fn publish_to(
    state: &State,
    caller: &Caller,
    channel: Channel,
    data: Bytes,
    event_id: Option<String>,
) -> ApiResult<Published> {
    let limits = permitted(state, caller, &channel, Wish::Publish)?.limits();
    let info = caller.user.as_ref().map(|user| {
        let mut info = Vec::new();
        ClientInfo { user: user.as_str(), ..ClientInfo::default() }.write(&mut info);
        info.into()
    });
    let channel = ScopedChannel { app: caller.app.clone(), channel };
    let publication = Publication { data, info }.encode();
    let position = state.channels.delivery.publish(&channel, publication, limits, event_id).await?;
    Ok(Published::at(position))
}

/// Who claims a request.
fn claimant(caller: &Caller) -> Actor {
    Actor { app: caller.app.clone(), user: caller.reader().clone(), access: caller.access }
}

/// A request that may have been made before.
enum Claimed {
    /// To be done; with a key, each of its events has this name.
    Do(Option<(RequestKey, String)>),
    /// It was.
    Done(Response),
}

/// Claims a request with a key. Without one nothing is written to the disk.
async fn claim(
    state: &State,
    actor: &Actor,
    route: &'static str,
    key: IdempotencyKey,
    body: &[u8],
) -> ApiResult<(Claimed, PostId)> {
    if key.0.is_none() {
        return Ok((Claimed::Do(None), PostId::ZERO));
    }
    let id = state.minter.mint(&actor.app, &actor.user).await?;
    let key = match begin(state, actor, route, key, body, id).await? {
        Begin::Do(Some(key)) | Begin::Finish(key, _) => key,
        Begin::Do(None) => return Ok((Claimed::Do(None), id)),
        Begin::Replay(stored) => return Ok((Claimed::Done(replay(stored)), id)),
    };
    // Whoever takes over from a holder that died publishes again: with the same name it is kept once.
    let name = format!("{}\n{}\n{}", key.user, key.route, key.key);
    let hash = digest(&SHA256, name.as_bytes());
    let name = URL_SAFE_NO_PAD.encode(hash.as_ref());
    Ok((Claimed::Do(Some((key, name))), id))
}

/// Publishes to a channel. Subscribers get it live; it is kept as long as the channel's namespace says, in memory.
#[utoipa::path(post, path = "/v1/channels/{channel}/publications", tag = "channels", request_body = NewPublication,
    params(
        ("channel" = String, Path, max_length = 255, description = "Its `#` and `/` percent-encoded"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters: the same key, channel and body within 24 hours publish once"),
    ),
    responses(
        (status = 200, body = Published),
        (status = 403, description = "Not the caller's to publish to, or Fama's own", body = schema::Error),
        (status = 404, body = schema::Error),
        (status = 409, description = "The first request with this key is still running", body = schema::Error),
        (status = 415, body = schema::Error),
        (status = 422, description = "Out of range, or the key was used with another body", body = schema::Error),
    ))]
pub async fn publish(
    Extract(state): Extract<State>,
    caller: Caller,
    ChannelPath(channel): ChannelPath,
    Params(NoParams {}): Params<NoParams>,
    key: IdempotencyKey,
    body: JsonBody<NewPublication>,
) -> ApiResult<Response> {
    permitted(&state, &caller, &channel, Wish::Publish)?;
    let data = checked(&body.value.data)?;
    let actor = claimant(&caller);
    let what = [channel.as_str().as_bytes(), b"\n", &body.bytes].concat();
    let (claimed, id) = claim(&state, &actor, ROUTE, key, &what).await?;
    let key = match claimed {
        Claimed::Do(key) => key,
        Claimed::Done(response) => return Ok(response),
    };
    let event_id = key.as_ref().map(|(_, name)| name.clone());
    let key = key.map(|(key, _)| key);
    let published = match publish_to(&state, &caller, channel, data, event_id).await {
        Ok(published) => published,
        Err(error) => return Err(give_up(&state, &actor, key.as_ref(), id, error).await),
    };
    answer(&state, &actor, key.as_ref(), &published).await
}

/// Keeps an answer for those who ask again, and gives it.
async fn answer(
    state: &State,
    actor: &Actor,
    key: Option<&RequestKey>,
    body: &impl Serialize,
) -> ApiResult<Response> {
    let body = serde_json::to_string(body).map_err(|error| ApiError::internal(&error))?;
    if let Some(key) = key {
        let response = StoredResponse { status: StatusCode::OK.as_u16(), body: body.clone() };
        state.stores.idempotency.complete(&actor.app, key, &response, state.clock.now()).await?;
    }
    Ok(json(StatusCode::OK, body))
}

/// Which publications.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryParams {
    /// `<epoch>:<offset>`: what comes after it, or before it in reverse. Without it, from the oldest that is kept, or from
    /// the newest in reverse.
    since: Option<String>,
    /// How many.
    #[serde(default = "default_limit", deserialize_with = "limit")]
    #[param(value_type = u32, minimum = 1, maximum = 100, default = 20)]
    limit: usize,
    /// Newest first.
    #[serde(default)]
    reverse: bool,
}

fn since(text: &str) -> ApiResult<(u64, Option<Epoch>)> {
    let (epoch, offset) = text.split_once(':').unwrap_or_default();
    let plain = !offset.is_empty() && offset.bytes().all(|b| b.is_ascii_digit());
    match (epoch.is_empty(), offset.parse()) {
        (false, Ok(offset)) if plain => Ok((offset, epoch.parse().ok())),
        _ => Err(ApiError::bad_request("since is <epoch>:<offset>, as an answer has them")),
    }
}

/// A publication that was kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeptPublication {
    /// Its place.
    offset: u64,
    /// As it was published.
    #[schema(value_type = Value)]
    data: Box<RawValue>,
    /// Who published, if it was a user: `user`, `client`, `conn_info`, `chan_info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    info: Option<Box<RawValue>>,
}

/// What a channel kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct History {
    data: Vec<KeptPublication>,
    /// Of the newest publication, which need not be among these; 0 if there was none yet.
    offset: u64,
    /// This life of the channel's history.
    #[schema(value_type = String)]
    epoch: Epoch,
    /// Whether there are more of them, beyond the last of these.
    has_more: bool,
}

/// What a channel kept, oldest first. `since` with the last one's offset brings the next.
#[utoipa::path(get, path = "/v1/channels/{channel}/publications", tag = "channels",
    params(("channel" = String, Path, max_length = 255, description = "Its `#` and `/` percent-encoded"), HistoryParams),
    responses(
        (status = 200, body = History),
        (status = 403, description = "Not the caller's to read", body = schema::Error),
        (status = 404, description = "Unknown, not for the caller to see, or nothing is kept there", body = schema::Error),
        (status = 422, description = "What comes after `since` is not kept any more: begin without it", body = schema::Error),
    ))]
pub async fn read(
    Extract(state): Extract<State>,
    caller: Caller,
    ChannelPath(channel): ChannelPath,
    Params(params): Params<HistoryParams>,
) -> ApiResult<Json<History>> {
    let since = params.since.as_deref().map(since).transpose()?;
    let rules = permitted(&state, &caller, &channel, Wish::History)?;
    let limits = rules.limits().ok_or(ApiError::not_found(NO_HISTORY))?;
    let asked =
        HistoryAsked { channel: channel.clone(), limit: params.limit + 1, since, reverse: params.reverse };
    let channel = ScopedChannel { app: caller.app.clone(), channel };
    let (log, clock) = (&*state.channels.log, &*state.clock);
    let (top, mut entries) = match history::read(log, clock, limits, &channel, &asked).await {
        Ok(read) => read,
        Err(ErrorCode::UNRECOVERABLE_POSITION) => {
            return Err(ApiError::invalid(
                "since",
                "what comes after it is not kept any more, or never was: begin without it",
            ));
        }
        Err(_) => return Err(ApiError::unavailable("what channels kept can't be read at the moment")),
    };
    let has_more = entries.len() > params.limit;
    entries.truncate(params.limit);
    let data = entries.into_iter().filter_map(|(offset, entry)| kept(offset, entry)).collect();
    Ok(Json(History { data, offset: top.offset, epoch: top.epoch, has_more }))
}

fn kept(offset: u64, entry: Bytes) -> Option<KeptPublication> {
    let publication = Publication::decode(entry)?;
    let info = publication.info.and_then(|info| serde_json::from_slice(&info).ok());
    Some(KeptPublication { offset, data: serde_json::from_slice(&publication.data).ok()?, info })
}
