//! The server's side of TLS: certificates from files, replaced while it serves.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{Error as RustlsError, RootCertStore, ServerConfig};

use super::reload::{Reload, Reloaded};
use super::x509::Certificate;
use crate::files::open;
use crate::text::shown::shown_path;

/// Maximum size of a file with certificates or a key, in bytes: a system's whole bundle of roots has 0.2 MiB.
pub(super) const MAX_PEM: u64 = 4 << 20;

/// The server's certificate, its key, and whose certificates clients need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and its root, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// Roots that clients' certificates must come from, in PEM; without it clients need none.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// All of them.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let Self { cert, key, client_ca } = self.clone();
        [cert, key].into_iter().chain(client_ca).collect()
    }
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("cannot read {}: {source}; name a readable PEM file", shown_path(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file without what it should hold.
    #[error("{} holds no {what} in PEM; name the right file", shown_path(path))]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// A certificate of another time.
    #[error("the certificate in {} {state}; name a valid one", shown_path(path))]
    Time {
        /// The file.
        path: PathBuf,
        /// `is expired` or `is not valid yet`.
        state: &'static str,
    },
    /// rustls refuses it.
    #[error(
        "{} and {} cannot be used together: {source}; name a certificate and its own key",
        shown_path(cert),
        shown_path(key)
    )]
    Pair {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// rustls' reason.
        source: RustlsError,
    },
    /// The roots.
    #[error(
        "the certificates in {} cannot be used as roots: {reason}; name a CA's certificates",
        shown_path(path)
    )]
    Roots {
        /// The file.
        path: PathBuf,
        /// rustls' reason.
        reason: String,
    },
}

/// The configuration of new connections.
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Current>,
}

/// The configuration made of the files, and when its certificate expires.
#[derive(Clone)]
struct Current {
    config: Arc<ServerConfig>,
    /// For browsers, which may not speak HTTP/2.
    web: Arc<ServerConfig>,
    ends: SystemTime,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = RwLock::new(current(&files)?);
        Ok(Self { files, current })
    }

    /// What a connection that comes now gets.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).config.clone()
    }

    /// What a browser's connection that comes now gets.
    pub fn web_config(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).web.clone()
    }

    /// When the certificate expires.
    pub fn ends(&self) -> SystemTime {
        self.current.read().unwrap_or_else(PoisonError::into_inner).ends
    }
}

impl Reload for Tls {
    fn kind(&self) -> Reloaded {
        Reloaded::Certificates
    }

    fn files(&self) -> Vec<PathBuf> {
        self.files.paths()
    }

    fn reload(&self) -> Result<(), String> {
        let new = current(&self.files).map_err(|e| e.to_string())?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

fn current(files: &TlsFiles) -> Result<Current, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let certificates = certificates(&files.cert)?;
    let ends = valid_until(&files.cert, &certificates)?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
        .map_err(|_| TlsError::Pem { path: files.key.clone(), what: "private key" })?;
    let pair = |source| TlsError::Pair { cert: files.cert.clone(), key: files.key.clone(), source };
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(pair)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots(path)?.into(), provider).build();
            let roots =
                |e: &dyn std::error::Error| TlsError::Roots { path: path.clone(), reason: e.to_string() };
            builder.with_client_cert_verifier(verifier.map_err(|e| roots(&e))?)
        }
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(pair)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut web = config.clone();
    web.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(Current { config: Arc::new(config), web: Arc::new(web), ends })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    open::read(path, MAX_PEM).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

/// The certificates of a PEM file; at least one.
///
/// # Errors
/// See [`TlsError`].
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| TlsError::Pem { path: path.to_owned(), what: "certificate" })
}

/// When the first of `certificates`, which must be valid now, expires.
fn valid_until(path: &Path, certificates: &[CertificateDer<'_>]) -> Result<SystemTime, TlsError> {
    let now = SystemTime::now();
    let state = match certificates.first().and_then(|c| Certificate::read(c)) {
        None => return Err(TlsError::Pem { path: path.to_owned(), what: "readable certificate" }),
        Some(c) if c.ends < now => "is expired",
        Some(c) if c.begins > now => "is not valid yet",
        Some(c) => return Ok(c.ends),
    };
    Err(TlsError::Time { path: path.to_owned(), state })
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let refused = |e: RustlsError| TlsError::Roots { path: path.to_owned(), reason: e.to_string() };
        roots.add(certificate).map_err(refused)?;
    }
    Ok(roots)
}

/// Bytes that nobody can guess.
///
/// # Errors
/// The operating system gives none.
pub fn random_bytes<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let provider: CryptoProvider = ring::default_provider();
    let filled = provider.secure_random.fill(&mut bytes);
    filled.map(|()| bytes).map_err(|_| std::io::Error::other("the operating system gives no random numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Made {
        cert: String,
        key: String,
    }

    fn made(ends: (i32, u8, u8)) -> Made {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(ends.0, ends.1, ends.2);
        let key = rcgen::KeyPair::generate().unwrap();
        Made { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    #[test]
    fn what_cannot_be_used_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let files = TlsFiles { cert: path("cert.pem"), key: path("key.pem"), client_ca: None };
        let write = |cert: &str, key: &str| {
            fs::write(&files.cert, cert).unwrap();
            fs::write(&files.key, key).unwrap();
        };
        let (good, other, old) = (made((2090, 1, 1)), made((2090, 1, 1)), made((2020, 1, 1)));
        write(&good.cert, &good.key);
        let tls = Tls::load(files.clone()).unwrap();
        let before = tls.config();
        for (cert, key, expect) in [
            ("junk", good.key.as_str(), "holds no certificate"),
            (&good.cert, "junk", "holds no private key"),
            (&good.cert, &other.key, "its own key"),
            (&old.cert, &old.key, "is expired"),
        ] {
            write(cert, key);
            let error = tls.reload().unwrap_err();
            assert!(error.contains(expect), "{error:?} does not say {expect:?}");
            assert!(Arc::ptr_eq(&before, &tls.config()));
        }
        write(&other.cert, &other.key);
        tls.reload().unwrap();
        assert!(!Arc::ptr_eq(&before, &tls.config()));
    }
}
