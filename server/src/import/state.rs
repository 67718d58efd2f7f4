//! The place in an input, kept in a file beside it.
//!
//! The input is known by what was imported of it, so that lines further on may be mended; its records have the name that
//! was given when the import began.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fama_protocol::PostId;
use serde::{Deserialize, Serialize};

use super::{ImportError, state_path};

/// Bytes of an input that tell it from others.
pub const HEAD: u64 = 64 * 1024;

/// Tells inputs apart.
pub fn fingerprint(head: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(&digest(&SHA256, head).as_ref()[..12])
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// Names the records of this import.
    input: String,
    target: String,
    offset: u64,
    line: u64,
    /// Of what was imported of the input's head.
    imported: String,
    /// The ids of the window that is under way, by line.
    ids: Vec<(u64, PostId)>,
}

/// The file.
pub struct StateFile {
    path: PathBuf,
    head: Vec<u8>,
    state: State,
}

impl StateFile {
    /// The file of an input that begins with `head`: as it is, or new.
    pub fn beside(input: &Path, head: Vec<u8>, target: &str) -> Result<Self, ImportError> {
        let path = state_path(input);
        let shown = path.display();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let state = State {
                    input: fingerprint(&head),
                    target: target.into(),
                    offset: 0,
                    line: 0,
                    imported: fingerprint(&[]),
                    ids: Vec::new(),
                };
                let file = Self { path, head, state };
                file.write()?;
                return Ok(file);
            }
            Err(error) => return Err(ImportError::File(format!("can't read {shown}: {error}"))),
        };
        let over = "delete it to begin anew";
        let state: State = serde_json::from_str(&text).map_err(|error| {
            ImportError::File(format!("{shown} is no place of an import ({error}); {over}"))
        })?;
        if state.imported != fingerprint(upto(&head, state.offset)) {
            return Err(ImportError::File(format!("{shown} belongs to another input; {over}")));
        }
        if state.target != target {
            return Err(ImportError::File(format!(
                "{shown} belongs to an import into {}; {over}",
                state.target
            )));
        }
        Ok(Self { path, head, state })
    }

    /// Names the records of this import.
    pub fn name(&self) -> &str {
        &self.state.input
    }

    /// Offset and line behind what is done.
    pub fn place(&self) -> (u64, u64) {
        (self.state.offset, self.state.line)
    }

    /// The ids of the window that is under way, by line.
    pub fn ids(&self) -> &[(u64, PostId)] {
        &self.state.ids
    }

    /// Keeps the ids of a window before it is imported.
    pub fn keep_ids(&mut self, ids: Vec<(u64, PostId)>) -> Result<(), ImportError> {
        self.state.ids = ids;
        self.write()
    }

    /// Keeps a place.
    pub fn advance(&mut self, offset: u64, line: u64) -> Result<(), ImportError> {
        (self.state.offset, self.state.line) = (offset, line);
        self.state.imported = fingerprint(upto(&self.head, offset));
        self.state.ids.clear();
        self.write()
    }

    /// Renamed into place once it is on disk: a crash leaves this one or the one before.
    fn write(&self) -> Result<(), ImportError> {
        let fresh = self.path.with_extension("fama-import-new");
        let json = serde_json::to_vec(&self.state).unwrap_or_default();
        let written = File::create(&fresh).and_then(|mut file| {
            file.write_all(&json)?;
            file.sync_all()?;
            fs::rename(&fresh, &self.path)?;
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        });
        written.map_err(|error| ImportError::File(format!("can't write {}: {error}", self.path.display())))
    }

    /// The import is complete.
    pub fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "the import is complete, but its place could not be removed");
        }
    }
}

fn upto(head: &[u8], offset: u64) -> &[u8] {
    usize::try_from(offset).ok().and_then(|offset| head.get(..offset)).unwrap_or(head)
}
