//! How a client reaches a server: address, TLS, token, deadlines.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use super::address::{AddressError, Target};
use super::tls::MAX_PEM;
use crate::files::open;
use crate::text::escape::message;
use crate::text::shown::shown_path;

/// Maximum size of a file with a client's token, in bytes.
const MAX_TOKEN: u64 = 64 << 10;

/// How to ask a server.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Which server.
    pub target: Target,
    /// TLS; also what `https://` asks for.
    pub tls: ClientTls,
    /// File with the token to send.
    pub token_file: Option<PathBuf>,
    /// Time to connect, for an answer, and between two pieces of a stream.
    pub timeout: Duration,
}

/// The client's side of TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Roots to trust, in PEM, in place of the usual ones.
    pub ca: Option<PathBuf>,
    /// The client's own certificate, in PEM.
    pub cert: Option<PathBuf>,
    /// Its private key, in PEM.
    pub key: Option<PathBuf>,
    /// Name that the server's certificate must have, where it isn't the host's.
    pub server_name: Option<String>,
}

impl ClientTls {
    fn is_set(&self) -> bool {
        *self != Self::default()
    }
}

/// Why no connection can be asked for.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A file.
    #[error("cannot read {}: {source}; name a readable file", shown_path(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A token file without a token.
    #[error("{} holds no token; write the token alone into it", shown_path(.0))]
    Token(PathBuf),
    /// A certificate without its key, or the other way round.
    #[error("a client's certificate needs both --tls-cert and --tls-key; give both")]
    HalfIdentity,
    /// TLS where there is none.
    #[error("TLS options do not go with {0}; leave them out, or write https://HOST:PORT")]
    NoTls(&'static str),
    /// The certificates.
    #[error("the TLS files cannot be used: {text}; name PEM files", text = message(.0))]
    Tls(String),
}

impl ClientOptions {
    /// Default time for an answer.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// For a server, without TLS or token.
    pub fn new(target: Target) -> Self {
        Self { target, tls: ClientTls::default(), token_file: None, timeout: Self::TIMEOUT }
    }

    /// The endpoint to connect to, and its URL for messages.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub(super) fn endpoint(&self) -> Result<Endpoint, ConnectError> {
        let (url, tls) = match &self.target {
            Target::Unix(_) if self.tls.is_set() => return Err(ConnectError::NoTls("a Unix socket")),
            Target::Tcp { tls: Some(false), .. } if self.tls.is_set() => {
                return Err(ConnectError::NoTls("http://"));
            }
            Target::Unix(path) => (format!("unix:{}", path.to_string_lossy()), false),
            Target::Tcp { host, port, tls } => {
                let tls = tls.unwrap_or(false) || self.tls.is_set();
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                (format!("{}://{host}:{port}", if tls { "https" } else { "http" }), tls)
            }
        };
        let refused = |e: tonic::transport::Error| ConnectError::Tls(with_causes(&e));
        let endpoint = Endpoint::from_shared(url).map_err(refused)?.connect_timeout(self.timeout);
        if tls { endpoint.tls_config(self.tls_config()?).map_err(refused) } else { Ok(endpoint) }
    }

    fn tls_config(&self) -> Result<ClientTlsConfig, ConnectError> {
        let mut config = ClientTlsConfig::new().timeout(self.timeout);
        config = match &self.tls.ca {
            Some(path) => config.ca_certificate(Certificate::from_pem(read(path, MAX_PEM)?)),
            None => config.with_enabled_roots(),
        };
        if let Some(name) = &self.tls.server_name {
            config = config.domain_name(name);
        }
        match (&self.tls.cert, &self.tls.key) {
            (Some(cert), Some(key)) => {
                Ok(config.identity(Identity::from_pem(read(cert, MAX_PEM)?, read(key, MAX_PEM)?)))
            }
            (None, None) => Ok(config),
            _ => Err(ConnectError::HalfIdentity),
        }
    }

    /// What adds the token to each call.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub(super) fn token(&self) -> Result<Token, ConnectError> {
        let Some(path) = &self.token_file else { return Ok(Token(None)) };
        let text = String::from_utf8(read(path, MAX_TOKEN)?).unwrap_or_default();
        let value = AsciiMetadataValue::try_from(format!("Bearer {}", text.trim())).ok();
        let value = value.filter(|_| !text.trim().is_empty() && !text.trim().contains(char::is_whitespace));
        let mut value = value.ok_or_else(|| ConnectError::Token(path.clone()))?;
        value.set_sensitive(true);
        Ok(Token(Some(value)))
    }
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ConnectError> {
    open::read(path, limit).map_err(|source| ConnectError::Read { path: path.to_owned(), source })
}

/// The caller's token on each call.
#[derive(Clone)]
pub struct Token(Option<AsciiMetadataValue>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// A channel with the caller's token.
pub type Tokened = tonic::service::interceptor::InterceptedService<Channel, Token>;

/// An error with what caused it: tonic's own text is only "transport error".
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
