//! Flags that say how a server is reached, and by whom.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::ranges::{file_mode, switch, whole};
use crate::grpc::{ConnectionLimits, Listen, ServerOptions, TlsFiles, sockets_are_passed};

/// How the server is reached, and by whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Transport options")]
pub struct TransportArgs {
    /// Where to listen: HOST:PORT (all addresses of the host; port 0 picks a free port and logs it), unix:/PATH,
    /// or systemd; several times, or separated by commas [default: systemd's sockets if it passes any, else
    /// 127.0.0.1:50051].
    #[arg(long, value_name = "ADDR", value_delimiter = ',', env = "KO_SENTIMENT_LISTEN")]
    listen: Vec<Listen>,

    /// Where to serve the page to try it, for browsers: HOST:PORT or unix:/PATH; the same certificates, tokens and
    /// limits as for gRPC [default: none].
    #[arg(long, value_name = "ADDR", value_delimiter = ',', value_parser = page_address, env = "KO_SENTIMENT_WEB")]
    web: Vec<Listen>,

    /// Permissions of Unix sockets, in octal.
    #[arg(long, value_name = "MODE", default_value = "660", value_parser = file_mode, env = "KO_SENTIMENT_UNIX_MODE")]
    unix_mode: u32,

    /// The server's certificate and its intermediates, a PEM file; read again when it changes and on SIGHUP.
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "KO_SENTIMENT_TLS_CERT")]
    tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert, a PEM file.
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "KO_SENTIMENT_TLS_KEY")]
    tls_key: Option<PathBuf>,

    /// Mutual TLS: clients need a certificate from one of these roots, a PEM file.
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "KO_SENTIMENT_TLS_CLIENT_CA")]
    tls_client_ca: Option<PathBuf>,

    /// Tokens that clients need, a TOML file (`ko-sentiment token new`); read again when it changes and on SIGHUP.
    #[arg(long, value_name = "FILE", env = "KO_SENTIMENT_TOKENS")]
    tokens: Option<PathBuf>,

    /// Disable gRPC server reflection.
    #[arg(long, value_parser = switch, env = "KO_SENTIMENT_NO_REFLECTION")]
    no_reflection: bool,

    /// With --tokens: reflection needs no token.
    #[arg(long, value_parser = switch, env = "KO_SENTIMENT_OPEN_REFLECTION")]
    open_reflection: bool,

    /// Maximum request size in bytes, decompressed.
    #[arg(long, value_name = "N", default_value_t = ServerOptions::default().max_message_bytes, value_parser = whole::<usize>(1_024..=1 << 30), env = "KO_SENTIMENT_MAX_MESSAGE_BYTES")]
    max_message_bytes: usize,

    /// Maximum connections at once.
    #[arg(long, value_name = "N", default_value_t = ConnectionLimits::default().connections, value_parser = whole::<usize>(1..=1_000_000), env = "KO_SENTIMENT_MAX_CONNECTIONS")]
    max_connections: usize,

    /// Maximum calls at once on one connection.
    #[arg(long, value_name = "N", default_value_t = ConnectionLimits::default().streams, value_parser = whole::<u32>(1..=1_000_000), env = "KO_SENTIMENT_MAX_STREAMS")]
    max_streams: u32,

    /// Seconds for a TLS handshake, and again for HTTP/2's first bytes.
    #[arg(long, value_name = "S", default_value_t = ConnectionLimits::default().handshake.as_secs(), value_parser = whole::<u64>(1..=3_600), env = "KO_SENTIMENT_HANDSHAKE_SECONDS")]
    handshake_seconds: u64,

    /// Seconds between pings on a connection.
    #[arg(long, value_name = "S", default_value_t = ConnectionLimits::default().keepalive.as_secs(), value_parser = whole::<u64>(1..=86_400), env = "KO_SENTIMENT_KEEPALIVE_SECONDS")]
    keepalive_seconds: u64,

    /// Seconds for the answer to a ping, after which the connection is closed.
    #[arg(long, value_name = "S", default_value_t = ConnectionLimits::default().keepalive_timeout.as_secs(), value_parser = whole::<u64>(1..=86_400), env = "KO_SENTIMENT_KEEPALIVE_TIMEOUT_SECONDS")]
    keepalive_timeout_seconds: u64,

    /// Seconds (give or take a tenth) after which a connection is closed once its calls are done, so that
    /// clients spread over new replicas; 0 for never.
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = whole::<u64>(0..=31_536_000), env = "KO_SENTIMENT_MAX_CONNECTION_AGE")]
    max_connection_age: u64,

    /// Seconds that calls may go on after --max-connection-age.
    #[arg(long, value_name = "S", default_value_t = ConnectionLimits::default().max_age_grace.as_secs(), value_parser = whole::<u64>(0..=31_536_000), env = "KO_SENTIMENT_MAX_CONNECTION_AGE_GRACE")]
    max_connection_age_grace: u64,

    /// Seconds to let running requests finish at shutdown.
    #[arg(long, value_name = "S", default_value_t = ServerOptions::default().grace.as_secs(), value_parser = whole::<u64>(0..=31_536_000), env = "KO_SENTIMENT_GRACE_SECONDS")]
    grace_seconds: u64,
}

impl TransportArgs {
    /// The options that these flags stand for.
    pub fn options(&self) -> ServerOptions {
        let tls = self.tls_cert.clone().zip(self.tls_key.clone());
        let listen = match &self.listen[..] {
            [] if sockets_are_passed() => vec![Listen::Systemd],
            [] => ServerOptions::default().listen,
            listen => listen.to_vec(),
        };
        ServerOptions {
            listen,
            web: self.web.clone(),
            unix_mode: self.unix_mode,
            tls: tls.map(|(cert, key)| TlsFiles { cert, key, client_ca: self.tls_client_ca.clone() }),
            tokens: self.tokens.clone(),
            reflection: !self.no_reflection,
            open_reflection: self.open_reflection,
            max_message_bytes: self.max_message_bytes,
            connections: ConnectionLimits {
                connections: self.max_connections,
                streams: self.max_streams,
                handshake: Duration::from_secs(self.handshake_seconds),
                keepalive: Duration::from_secs(self.keepalive_seconds),
                keepalive_timeout: Duration::from_secs(self.keepalive_timeout_seconds),
                max_age: (self.max_connection_age > 0).then(|| Duration::from_secs(self.max_connection_age)),
                max_age_grace: Duration::from_secs(self.max_connection_age_grace),
            },
            grace: Duration::from_secs(self.grace_seconds),
        }
    }
}

/// An address of one's own: systemd's sockets are for gRPC.
fn page_address(text: &str) -> Result<Listen, String> {
    match text.parse::<Listen>() {
        Ok(Listen::Systemd) => {
            Err("systemd's sockets are for gRPC; write HOST:PORT or unix:/PATH".to_owned())
        }
        parsed => parsed.map_err(|error| error.to_string()),
    }
}
