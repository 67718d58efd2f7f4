//! The place in an input, kept in a file beside it.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{ImportError, state_path};

/// Bytes of an input that tell it from others.
pub const HEAD: u64 = 64 * 1024;

/// Tells inputs apart.
pub fn fingerprint(head: &[u8]) -> String {
    let head = head.get(..usize::try_from(HEAD).unwrap_or(usize::MAX)).unwrap_or(head);
    URL_SAFE_NO_PAD.encode(&digest(&SHA256, head).as_ref()[..12])
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    input: String,
    target: String,
    offset: u64,
    line: u64,
}

/// The file.
pub struct StateFile {
    path: PathBuf,
    state: State,
}

impl StateFile {
    /// The file of an input: as it is, or new.
    pub fn beside(input: &Path, fingerprint: &str, target: &str) -> Result<Self, ImportError> {
        let path = state_path(input);
        let shown = path.display();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let state = State { input: fingerprint.into(), target: target.into(), offset: 0, line: 0 };
                return Ok(Self { path, state });
            }
            Err(error) => return Err(ImportError::File(format!("can't read {shown}: {error}"))),
        };
        let over = "delete it to begin anew";
        let state: State = serde_json::from_str(&text).map_err(|error| {
            ImportError::File(format!("{shown} is no place of an import ({error}); {over}"))
        })?;
        if state.input != fingerprint {
            return Err(ImportError::File(format!("{shown} belongs to another input; {over}")));
        }
        if state.target != target {
            return Err(ImportError::File(format!(
                "{shown} belongs to an import into {}; {over}",
                state.target
            )));
        }
        Ok(Self { path, state })
    }

    /// Offset and line behind what is done.
    pub fn place(&self) -> (u64, u64) {
        (self.state.offset, self.state.line)
    }

    /// Keeps a place. Renamed into place: a crash leaves this one or the one before.
    pub fn write(&mut self, offset: u64, line: u64) -> Result<(), ImportError> {
        (self.state.offset, self.state.line) = (offset, line);
        let fresh = self.path.with_extension("fama-import-new");
        let json = serde_json::to_string(&self.state).unwrap_or_default();
        fs::write(&fresh, json)
            .and_then(|()| fs::rename(&fresh, &self.path))
            .map_err(|error| ImportError::File(format!("can't write {}: {error}", self.path.display())))
    }

    /// The import is complete.
    pub fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "the import is complete, but its place could not be removed");
        }
    }
}
