//! The certificate of the public address: read at start, and again when its files change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// A certificate with its key, as of its files.
pub struct Certificates {
    cert: PathBuf,
    key: PathBuf,
    current: ArcSwap<ServerConfig>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("cert", &self.cert)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// What the files have in them.
type Contents = (Vec<u8>, Vec<u8>);

impl Certificates {
    /// Reads both files. An error names the file and says how to mend it.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, String> {
        let config = configure(cert, key, &read(cert, key)?)?;
        Ok(Self { cert: cert.into(), key: key.into(), current: ArcSwap::from_pointee(config) })
    }

    /// A session for a socket that was just accepted.
    pub fn session(&self) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(self.current.load_full())
    }

    /// Has handshakes use what the files have in them, for ever. Sockets that are open stay; what makes no sense is said once
    /// and changes nothing.
    pub async fn watch(self: Arc<Self>) {
        let mut known = None;
        loop {
            let this = Arc::clone(&self);
            let Ok(seen) = tokio::task::spawn_blocking(move || read(&this.cert, &this.key)).await else {
                return;
            };
            if known.as_ref() != Some(&seen) {
                let config = seen
                    .as_ref()
                    .map_err(Clone::clone)
                    .and_then(|files| configure(&self.cert, &self.key, files));
                match config {
                    Ok(config) => {
                        self.current.store(Arc::new(config));
                        if known.is_some() {
                            tracing::info!(file = %self.cert.display(), "the certificate was read again");
                        }
                    }
                    Err(error) => tracing::error!(error, "the certificate stays the one before"),
                }
                known = Some(seen);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn read(cert: &Path, key: &Path) -> Result<Contents, String> {
    let file = |name: &str, path: &Path| {
        std::fs::read(path).map_err(|error| {
            format!(
                "`server.{name}`: can't read {}: {error}; name a PEM file that this process may read",
                path.display()
            )
        })
    };
    Ok((file("tls_cert_file", cert)?, file("tls_key_file", key)?))
}

fn configure(cert: &Path, key: &Path, (chain, secret): &Contents) -> Result<ServerConfig, String> {
    let shown = cert.display();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("`server.tls_cert_file`: {shown} is no good PEM: {error}"))?;
    if chain.is_empty() {
        return Err(format!(
            "`server.tls_cert_file`: {shown} has no certificate: it begins with -----BEGIN CERTIFICATE-----, the server's own first"
        ));
    }
    let secret = PrivateKeyDer::from_pem_slice(secret).map_err(|error| {
        format!(
            "`server.tls_key_file`: {} has no private key in PEM without a password (-----BEGIN PRIVATE KEY-----): {error}",
            key.display()
        )
    })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| {
            format!(
                "`server.tls_cert_file` {shown} and `server.tls_key_file` {} can't be used together: {error}; the key must be the one that the file's first certificate was made for",
                key.display()
            )
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
