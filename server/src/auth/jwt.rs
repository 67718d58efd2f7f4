//! One token. Everything but time is decided here once for a token and a set of keys; [`in_time`] is asked each time.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use fama_protocol::{AppId, UnixMs, UserId};
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, Visitor};
use serde_json::value::RawValue;

use super::keys::KeySet;
use super::{Access, Refusal, Verified};
use crate::json::{MAX_DEPTH, compact, depth};

/// Bytes of a token; longer ones are refused unread.
pub const MAX_TOKEN: usize = 8_192;
/// By how much clocks may differ.
pub const LEEWAY_MS: u64 = 5_000;
/// The end of the year 9999, in seconds: later times are mistakes.
const MAX_DATE_S: u64 = 253_402_300_799;

/// What the configuration asks of tokens.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must be or contain.
    pub audience: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    // Each of these asks us to trust something that the token brings along.
    crit: Option<IgnoredAny>,
    jku: Option<IgnoredAny>,
    x5u: Option<IgnoredAny>,
    x5c: Option<IgnoredAny>,
    jwk: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: Date,
    nbf: Option<Date>,
    iat: Option<Date>,
    iss: Option<String>,
    aud: Option<Audience>,
    jti: Option<String>,
    #[serde(default)]
    role: Access,
    app: Option<AppId>,
    info: Option<Box<RawValue>>,
    channel: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Seconds since 1970 as a JSON number, whole or not.
struct Date(UnixMs);

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seconds;
        impl Visitor<'_> for Seconds {
            type Value = Date;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("seconds since 1970")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Date, E> {
                if seconds > MAX_DATE_S {
                    return Err(E::custom("out of range"));
                }
                Ok(Date(UnixMs(seconds * 1_000)))
            }

            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the range is checked"
            )]
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Date, E> {
                if !(0.0..1e11).contains(&seconds) {
                    return Err(E::custom("out of range"));
                }
                Ok(Date(UnixMs((seconds * 1_000.0) as u64)))
            }
        }
        deserializer.deserialize_any(Seconds)
    }
}

/// Checks everything but time.
pub fn verify(token: &str, keys: &KeySet, rules: &Rules) -> Result<Verified, Refusal> {
    if token.len() > MAX_TOKEN {
        return Err(Refusal::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(Refusal::Malformed)?;
    let header: Header = decode(header)?;
    let Header { alg, kid, crit, jku, x5u, x5c, jwk } = header;
    if [crit, jku, x5u, x5c, jwk].iter().any(Option::is_some) {
        return Err(Refusal::Malformed);
    }
    let key = keys.choose(kid.as_deref(), &alg)?;
    let good = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.key, key.algorithm);
    if !matches!(good, Ok(true)) {
        return Err(Refusal::Signature);
    }
    believe(decode(payload)?, rules)
}

/// Reads a token whose signature was found right before.
pub fn read(token: &str, rules: &Rules) -> Result<Verified, Refusal> {
    let payload = token.split('.').nth(1).ok_or(Refusal::Malformed)?;
    believe(decode(payload)?, rules)
}

fn believe(claims: Claims, rules: &Rules) -> Result<Verified, Refusal> {
    if let Some(issuer) = &rules.issuer
        && claims.iss.as_ref() != Some(issuer)
    {
        return Err(Refusal::Issuer);
    }
    if let Some(audience) = &rules.audience {
        let ours = match &claims.aud {
            Some(Audience::One(one)) => one == audience,
            Some(Audience::Many(many)) => many.contains(audience),
            None => false,
        };
        if !ours {
            return Err(Refusal::Audience);
        }
    }
    // It is shown to others, whose readers recurse.
    if claims.info.as_ref().is_some_and(|info| depth(info.get()) > MAX_DEPTH) {
        return Err(Refusal::Malformed);
    }
    Ok(Verified {
        app: claims.app.unwrap_or_default(),
        user: UserId::new(&claims.sub).map_err(|_| Refusal::Malformed)?,
        access: claims.role,
        expires_at: claims.exp.0,
        not_before: claims.nbf.map(|date| date.0),
        issued_at: claims.iat.map(|date| date.0),
        jti: claims.jti,
        info: claims.info.map(|info| Bytes::from(compact(info.get()))),
        channel: claims.channel,
    })
}

/// Whether it is good now.
pub fn in_time(verified: &Verified, now: UnixMs) -> Result<(), Refusal> {
    if now.0 > verified.expires_at.0.saturating_add(LEEWAY_MS) {
        return Err(Refusal::Expired);
    }
    let latest = now.plus(LEEWAY_MS);
    if verified.not_before.is_some_and(|at| at > latest) || verified.issued_at.is_some_and(|at| at > latest) {
        return Err(Refusal::NotYet);
    }
    Ok(())
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, Refusal> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Refusal::Malformed)
}
