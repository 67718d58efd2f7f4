//! Cursors: where a page ended, opaque and signed, bound to the caller and the list. A forged one, or one of another
//! list, is refused; so nobody reads positions out of them, and their form may change.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fama_protocol::{AppId, PostId, UserId};

use crate::error::{ApiError, ApiResult};

/// The form of cursors; another one is another version.
const VERSION: u8 = 1;
/// Bytes of the signature that are kept.
const SIGNATURE: usize = 16;
/// Characters of a cursor; longer ones are not ours.
const MAX_CURSOR: usize = 512;

/// Whose list a cursor belongs to.
pub struct List<'a> {
    /// The tenant.
    pub app: &'a AppId,
    /// Who reads; for a service on its own its name.
    pub reader: &'a UserId,
    /// Which list, such as `following/alice`.
    pub name: String,
}

/// Signs cursors.
pub struct Cursors {
    key: hmac::Key,
}

impl Cursors {
    /// With a secret of at least 32 bytes.
    pub fn new(secret: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// With the secret kept in a folder; made, from `random`, where there is none.
    pub fn from_folder(folder: &Path, random: [u8; 32]) -> io::Result<Self> {
        let path = folder.join("cursor.key");
        match fs::read(&path) {
            Ok(secret) if secret.len() >= 32 => return Ok(Self::new(&secret)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // Renamed into place, so that a crash leaves a whole key or none.
        let fresh = folder.join("cursor.key.new");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&fresh)?;
        file.write_all(&random)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        Ok(Self::new(&random))
    }

    /// A cursor for a position of the list.
    pub fn sign(&self, list: &List<'_>, position: &[u8]) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(position);
        bytes.extend_from_slice(&self.signature(list, position).as_ref()[..SIGNATURE]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position of a cursor of the list.
    pub fn open(&self, list: &List<'_>, cursor: &str) -> ApiResult<Vec<u8>> {
        self.try_open(list, cursor).ok_or_else(|| {
            ApiError::bad_request("the cursor is not one of this list: take `next_cursor` of a page as it is")
        })
    }

    fn try_open(&self, list: &List<'_>, cursor: &str) -> Option<Vec<u8>> {
        if cursor.len() > MAX_CURSOR {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (position, signature) = rest.split_at_checked(rest.len().checked_sub(SIGNATURE)?)?;
        let expected = self.signature(list, position);
        let same =
            aws_lc_rs::constant_time::verify_slices_are_equal(&expected.as_ref()[..SIGNATURE], signature);
        (*version == VERSION && same.is_ok()).then(|| position.to_vec())
    }

    fn signature(&self, list: &List<'_>, position: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in ["cursor", list.app.as_str(), list.reader.as_str(), &list.name] {
            context.update(part.as_bytes());
            // Stands in none of the parts: ids and names have no control characters.
            context.update(&[0]);
        }
        context.update(&[VERSION]);
        context.update(position);
        context.sign()
    }

    /// The post that a page ended with.
    pub fn open_post(&self, list: &List<'_>, cursor: Option<&str>) -> ApiResult<Option<PostId>> {
        let Some(cursor) = cursor else { return Ok(None) };
        let position = self.open(list, cursor)?;
        let id = position.try_into().ok().and_then(PostId::from_be_bytes);
        id.map(Some).ok_or_else(|| ApiError::bad_request("the cursor is not one of this list"))
    }

    /// The user that a page ended with.
    pub fn open_user(&self, list: &List<'_>, cursor: Option<&str>) -> ApiResult<Option<UserId>> {
        let Some(cursor) = cursor else { return Ok(None) };
        let position = self.open(list, cursor)?;
        let user = std::str::from_utf8(&position).ok().and_then(|text| UserId::new(text).ok());
        user.map(Some).ok_or_else(|| ApiError::bad_request("the cursor is not one of this list"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list<'a>(app: &'a AppId, reader: &'a UserId, name: &str) -> List<'a> {
        List { app, reader, name: name.to_owned() }
    }

    proptest! {
        /// A cursor opens for its own list and reader only, and not at all once a bit of it is changed.
        #[test]
        fn only_what_was_signed_opens(position in proptest::collection::vec(any::<u8>(), 0..80), bit in any::<usize>()) {
            let cursors = Cursors::new(&[7; 32]);
            let (app, other) = (AppId::default(), AppId::new("other").unwrap());
            let (alice, bob) = (UserId::new("alice").unwrap(), UserId::new("bob").unwrap());
            let cursor = cursors.sign(&list(&app, &alice, "feed"), &position);
            prop_assert_eq!(cursors.open(&list(&app, &alice, "feed"), &cursor).unwrap(), position);
            for wrong in [list(&app, &bob, "feed"), list(&other, &alice, "feed"), list(&app, &alice, "following/alice")] {
                prop_assert!(cursors.open(&wrong, &cursor).is_err());
            }
            let mut bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(cursors.open(&list(&app, &alice, "feed"), &URL_SAFE_NO_PAD.encode(bytes)).is_err());
            prop_assert!(Cursors::new(&[8; 32]).open(&list(&app, &alice, "feed"), &cursor).is_err());
        }
    }

    #[test]
    fn the_key_of_a_folder_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (app, alice) = (AppId::default(), UserId::new("alice").unwrap());
        let cursor =
            Cursors::from_folder(dir.path(), [1; 32]).unwrap().sign(&list(&app, &alice, "feed"), b"x");
        let again = Cursors::from_folder(dir.path(), [2; 32]).unwrap();
        assert_eq!(again.open(&list(&app, &alice, "feed"), &cursor).unwrap(), b"x");
    }
}
