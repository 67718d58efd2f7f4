//! Rows and their bytes. Each kind has a version; a new one is added when its fields change, and all older ones stay
//! readable.

use fama_protocol::{PostId, UnixMs, UserId};

use super::codec::{Decoder, Encoder};
use crate::{
    ChosenStatus, Delivery, Edge, Mode, ModeRecord, Post, PresenceRow, Profile, Result, StorageError,
    Visibility,
};

/// The newest version of each kind of row. All are at their first.
const V: u8 = 1;

pub(super) fn user_id(row: &mut Decoder<'_>) -> Result<UserId> {
    let text = row.text()?;
    UserId::new(text).map_err(|_| row.broken())
}

pub(super) fn post_id(row: &mut Decoder<'_>) -> Result<PostId> {
    let number = row.uint()?;
    PostId::from_u64(number).ok_or_else(|| row.broken())
}

fn optional_post_id(row: &mut Decoder<'_>) -> Result<Option<PostId>> {
    Ok(if row.flag()? { Some(post_id(row)?) } else { None })
}

pub(super) fn encode_post(post: &Post) -> Vec<u8> {
    let mut row = Encoder::row(V)
        .text(post.author.as_str())
        .text(&post.kind)
        .optional_text(post.text.as_deref())
        .optional_text(post.data.as_deref())
        .optional_uint(post.reply_to.map(PostId::get))
        .optional_uint(post.repost_of.map(PostId::get))
        .uint(post.mentions.len() as u64);
    for user in &post.mentions {
        row = row.text(user.as_str());
    }
    row.byte(u8::from(post.visibility == Visibility::Followers))
        .optional_text(post.attachments.as_deref())
        .uint(post.created_at.0)
        .uint(post.updated_at.0)
        .uint(post.rev.into())
        .byte(u8::from(post.delivery == Delivery::Pull))
        .byte(u8::from(post.deleted))
        .finish()
}

pub(super) fn decode_post(id: PostId, bytes: &[u8]) -> Result<Post> {
    let mut row = Decoder::row("post", bytes, V)?;
    let author = user_id(&mut row)?;
    let kind = row.text()?.to_owned();
    let text = row.optional_text()?;
    let data = row.optional_text()?;
    let reply_to = optional_post_id(&mut row)?;
    let repost_of = optional_post_id(&mut row)?;
    let mut mentions = Vec::new();
    for _ in 0..row.uint()? {
        mentions.push(user_id(&mut row)?);
    }
    let visibility = if row.flag()? { Visibility::Followers } else { Visibility::Public };
    let attachments = row.optional_text()?;
    let created_at = UnixMs(row.uint()?);
    let updated_at = UnixMs(row.uint()?);
    let rev = row.uint()?;
    let rev = u32::try_from(rev).map_err(|_| row.broken())?;
    let delivery = decode_delivery(row.flag()?);
    let deleted = row.flag()?;
    row.finish(Post {
        id,
        author,
        kind,
        text,
        data,
        reply_to,
        repost_of,
        mentions,
        visibility,
        attachments,
        created_at,
        updated_at,
        rev,
        delivery,
        deleted,
    })
}

fn decode_delivery(pull: bool) -> Delivery {
    if pull { Delivery::Pull } else { Delivery::Push }
}

/// A post in its author's index.
pub(super) fn encode_post_ref(delivery: Delivery, deleted: bool) -> Vec<u8> {
    Encoder::row(V).byte(u8::from(delivery == Delivery::Pull)).byte(u8::from(deleted)).finish()
}

pub(super) fn decode_post_ref(bytes: &[u8]) -> Result<(Delivery, bool)> {
    let mut row = Decoder::row("author index", bytes, V)?;
    let delivery = decode_delivery(row.flag()?);
    let deleted = row.flag()?;
    row.finish((delivery, deleted))
}

/// Numbers in one row: stats, versions, times.
pub(super) fn encode_numbers<const N: usize>(numbers: [u64; N]) -> Vec<u8> {
    numbers.into_iter().fold(Encoder::row(V), Encoder::uint).finish()
}

pub(super) fn decode_numbers<const N: usize>(what: &'static str, bytes: &[u8]) -> Result<[u64; N]> {
    let mut row = Decoder::row(what, bytes, V)?;
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = row.uint()?;
    }
    row.finish(numbers)
}

/// A row whose key says it all.
pub(super) fn empty_row() -> Vec<u8> {
    Encoder::row(V).finish()
}

pub(super) fn encode_edge(edge: &Edge) -> Vec<u8> {
    Encoder::row(V)
        .uint(edge.since.0)
        .uint(edge.version)
        .uint(edge.filled)
        .optional_uint(edge.until.map(|at| at.0))
        .finish()
}

pub(super) fn decode_edge(author: UserId, bytes: &[u8]) -> Result<Edge> {
    let mut row = Decoder::row("edge", bytes, V)?;
    let since = UnixMs(row.uint()?);
    let version = row.uint()?;
    let filled = row.uint()?;
    let until = row.optional_uint()?.map(UnixMs);
    row.finish(Edge { author, since, version, filled, until })
}

pub(super) fn encode_mode(record: &ModeRecord) -> Vec<u8> {
    let mode = match record.mode {
        Mode::Push => 0,
        Mode::Pull => 1,
        Mode::Draining => 2,
    };
    Encoder::row(V)
        .byte(mode)
        .uint(record.since.0)
        .uint(record.version)
        .byte(u8::from(record.pinned))
        .finish()
}

pub(super) fn decode_mode(author: UserId, bytes: &[u8]) -> Result<ModeRecord> {
    let mut row = Decoder::row("mode", bytes, V)?;
    let mode = match row.byte()? {
        0 => Mode::Push,
        1 => Mode::Pull,
        2 => Mode::Draining,
        _ => return Err(row.broken()),
    };
    let since = UnixMs(row.uint()?);
    let version = row.uint()?;
    let pinned = row.flag()?;
    row.finish(ModeRecord { author, mode, since, version, pinned })
}

/// Names with a number each: the kinds of a reaction, with times or counts.
pub(super) fn encode_named(named: &[(String, u64)]) -> Vec<u8> {
    let row = Encoder::row(V).uint(named.len() as u64);
    named.iter().fold(row, |row, (name, number)| row.text(name).uint(*number)).finish()
}

pub(super) fn decode_named(bytes: &[u8]) -> Result<Vec<(String, u64)>> {
    let mut row = Decoder::row("reaction", bytes, V)?;
    let mut named = Vec::new();
    for _ in 0..row.uint()? {
        let name = row.text()?.to_owned();
        named.push((name, row.uint()?));
    }
    row.finish(named)
}

pub(super) fn encode_profile(profile: &Profile) -> Vec<u8> {
    Encoder::row(V)
        .optional_text(profile.name.as_deref())
        .optional_text(profile.avatar_url.as_deref())
        .optional_text(profile.locale.as_deref())
        .optional_text(profile.time_zone.as_deref())
        .optional_text(profile.email.as_deref())
        .optional_text(profile.data.as_deref())
        .finish()
}

pub(super) fn decode_profile(bytes: &[u8]) -> Result<Profile> {
    let mut row = Decoder::row("profile", bytes, V)?;
    let profile = Profile {
        name: row.optional_text()?,
        avatar_url: row.optional_text()?,
        locale: row.optional_text()?,
        time_zone: row.optional_text()?,
        email: row.optional_text()?,
        data: row.optional_text()?,
    };
    row.finish(profile)
}

pub(super) fn encode_presence(row: &PresenceRow) -> Vec<u8> {
    let chosen = match row.chosen {
        ChosenStatus::Online => 0,
        ChosenStatus::Away => 1,
        ChosenStatus::Invisible => 2,
    };
    Encoder::row(V).byte(chosen).optional_uint(row.last_seen.map(|at| at.0)).finish()
}

pub(super) fn decode_presence(bytes: &[u8]) -> Result<PresenceRow> {
    let mut row = Decoder::row("presence", bytes, V)?;
    let chosen = match row.byte()? {
        0 => ChosenStatus::Online,
        1 => ChosenStatus::Away,
        2 => ChosenStatus::Invisible,
        _ => return Err(row.broken()),
    };
    let last_seen = row.optional_uint()?.map(UnixMs);
    row.finish(PresenceRow { chosen, last_seen })
}

/// A text with a number: a lease's holder and its end.
pub(super) fn encode_lease(holder: &str, until: UnixMs) -> Vec<u8> {
    Encoder::row(V).text(holder).uint(until.0).finish()
}

pub(super) fn decode_lease(bytes: &[u8]) -> Result<(String, UnixMs)> {
    let mut row = Decoder::row("lease", bytes, V)?;
    let holder = row.text()?.to_owned();
    let until = UnixMs(row.uint()?);
    row.finish((holder, until))
}

/// The error of a limit of the contract.
pub(super) fn invalid(message: impl Into<String>) -> StorageError {
    StorageError::new(crate::ErrorKind::Invalid, message)
}

/// Checks a limit against the bounds that its method names.
pub(super) fn check_limit(limit: usize, most: usize) -> Result<()> {
    if (1..=most).contains(&limit) {
        return Ok(());
    }
    Err(invalid(format!("the limit must be 1 to {most}, not {limit}")))
}

/// Checks how many are asked for at once.
pub(super) fn check_count(count: usize, most: usize) -> Result<()> {
    if count <= most {
        return Ok(());
    }
    Err(invalid(format!("at most {most} at once, not {count}")))
}
