//! Tokens as an app would make them.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

/// The secret every test server is given.
pub const SECRET: &str = "a secret of the tests, 32 bytes or more";
/// The service key every test server knows.
pub const SERVICE_KEY: &str = "test-service-key";
/// Its SHA-256, as the configuration wants it.
pub const SERVICE_KEY_SHA256: &str = "b606c5f8627d02065f5ad082858a7612189f77631976c9a5212f4b5d8aa0466a";

/// Now, in seconds since 1970.
pub fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    i64::try_from(since.as_secs()).expect("fits")
}

/// Signs any claims with HS256.
pub fn sign(claims: &Value, secret: &str) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(secret.as_bytes()))
        .expect("claims can be signed")
}

/// A token of a user, good for an hour.
pub fn user(id: &str) -> String {
    user_for(id, 3600)
}

/// A token of a user, good for `ttl_s` seconds (in the past if negative).
pub fn user_for(id: &str, ttl_s: i64) -> String {
    sign(&json!({"sub": id, "exp": now_s() + ttl_s}), SECRET)
}

/// A token with a role.
pub fn role(id: &str, role: &str) -> String {
    sign(&json!({"sub": id, "exp": now_s() + 3600, "role": role}), SECRET)
}
