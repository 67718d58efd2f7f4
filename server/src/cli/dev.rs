//! `--dev`: a secret of its own, kept in the store's folder, so that `fama token --dev` signs what `fama serve --dev`
//! believes.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context;

use crate::config::{Config, Secret};

const FILE: &str = "dev.secret";

/// Sets `auth.hmac_secret`, unless it is set.
pub fn prepare(config: &mut Config) -> anyhow::Result<()> {
    if config.auth.hmac_secret.is_some() {
        return Ok(());
    }
    let path = config.storage.path.join(FILE);
    config.auth.hmac_secret = Some(secret(&path).with_context(|| format!("{}", path.display()))?);
    tracing::warn!(secret_in = %path.display(), "--dev: tokens are signed with a secret made here; `fama token --dev` signs some");
    Ok(())
}

fn secret(path: &Path) -> io::Result<Secret> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= 32 => return Ok(Secret::new(text.trim())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let fresh = random_hex();
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(fresh.as_bytes())?;
    Ok(Secret::new(fresh))
}

/// 32 random bytes as text.
pub fn random_hex() -> String {
    let mut text = String::with_capacity(64);
    for byte in rand::random::<[u8; 32]>() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
