//! The keys of services. Only their hashes are configured.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use fama_protocol::{AppId, UserId};

/// Bytes of a key that is looked at; longer ones are unknown.
const MAX_KEY: usize = 512;

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The app it belongs to.
    pub app: AppId,
    /// Its name; has the form of a user id.
    pub name: UserId,
}

/// All services and the hashes of their keys.
#[derive(Default)]
pub struct ApiKeys {
    keys: Vec<(Service, [u8; 32])>,
}

impl ApiKeys {
    /// Reads `name:sha256hex` and `app/name:sha256hex`.
    pub fn parse(entries: &[String]) -> Result<Self, String> {
        let mut keys = Vec::with_capacity(entries.len());
        for entry in entries {
            let (name, hash) = entry.rsplit_once(':').ok_or_else(|| wrong(entry))?;
            let (app, name) = match name.split_once('/') {
                Some((app, name)) => (AppId::new(app).map_err(|error| error.to_string())?, name),
                None => (AppId::default(), name),
            };
            let name = UserId::new(name).map_err(|error| format!("`{name}`: {error}"))?;
            let hash = hex(hash).ok_or_else(|| wrong(entry))?;
            keys.push((Service { app, name }, hash));
        }
        Ok(Self { keys })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The service of a key. Compares with all of them, each in constant time.
    pub fn find(&self, key: &[u8]) -> Option<&Service> {
        if key.len() > MAX_KEY {
            return None;
        }
        let hash = digest(&SHA256, key);
        let mut found = None;
        for (service, expected) in &self.keys {
            if verify_slices_are_equal(hash.as_ref(), expected).is_ok() {
                found = Some(service);
            }
        }
        found
    }
}

/// The message must not repeat what may be a key in clear.
fn wrong(entry: &str) -> String {
    let name = entry.split(':').next().unwrap_or_default();
    let name: String = name.chars().take(16).collect();
    format!(
        "`{name}…` is not `name:sha256hex`: the hash has 64 hexadecimal digits, `printf %s \"$KEY\" | sha256sum` makes it"
    )
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_hash_alone() {
        // printf %s backend-key | sha256sum
        let hash = "26e5026bae501dfb3ca603d61c961884aed8e12c1eb49ee8d03a11071df0f4a7";
        assert!(ApiKeys::parse(&[format!("backend:{}", &hash[..32])]).is_err(), "half a hash");
        let keys =
            ApiKeys::parse(&[format!("backend:{hash}"), format!("shop/worker:{}", "0".repeat(64))]).unwrap();
        let service = keys.find(b"backend-key").unwrap();
        assert_eq!((service.app.as_str(), service.name.as_str()), ("default", "backend"));
        for wrong in [&b"backend-kez"[..], b"", hash.as_bytes(), &[0; 4096]] {
            assert!(keys.find(wrong).is_none());
        }
        assert!(
            ApiKeys::parse(&["my-secret-key-in-clear-text-is-long".into()])
                .is_err_and(|why| !why.contains("clear"))
        );
    }
}
