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
    /// Addresses to listen on: HOST:PORT (every address of HOST; port 0 picks a free port and logs it), unix:/PATH
    /// or systemd; repeat the flag or use commas for several [default: systemd's sockets if it passes any, else
    /// 127.0.0.1:50051].
    #[arg(long, value_name = "ADDR", value_delimiter = ',', env = "KO_SENTIMENT_LISTEN")]
    listen: Vec<Listen>,

    /// Addresses of the web page: HOST:PORT or unix:/PATH, with the certificates, tokens and limits of gRPC
    /// [default: none].
    #[arg(long, value_name = "ADDR", value_delimiter = ',', value_parser = page_address, env = "KO_SENTIMENT_WEB")]
    web: Vec<Listen>,

    /// Permissions of Unix sockets, in octal.
    #[arg(long, value_name = "MODE", default_value = "660", value_parser = file_mode, env = "KO_SENTIMENT_UNIX_MODE")]
    unix_mode: u32,

    /// Server certificate and its intermediates (PEM); read again when it changes and on SIGHUP.
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "KO_SENTIMENT_TLS_CERT")]
    tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "KO_SENTIMENT_TLS_KEY")]
    tls_key: Option<PathBuf>,

    /// Root certificates (PEM) for mutual TLS: every client needs a certificate from one of them.
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "KO_SENTIMENT_TLS_CLIENT_CA")]
    tls_client_ca: Option<PathBuf>,

    /// Tokens file (TOML; `ko-sentiment token new` makes an entry): clients need a token. Read again when it changes and
    /// on SIGHUP.
    #[arg(long, value_name = "FILE", env = "KO_SENTIMENT_TOKENS")]
    tokens: Option<PathBuf>,

    /// Disable gRPC server reflection.
    #[arg(long, value_parser = switch, env = "KO_SENTIMENT_NO_REFLECTION")]
    no_reflection: bool,

    /// With --tokens, allow reflection without a token.
    #[arg(long, value_parser = switch, env = "KO_SENTIMENT_OPEN_REFLECTION")]
    open_reflection: bool,

    /// Maximum request size in bytes, after decompression.
    #[arg(long, value_name = "N", default_value_t = ServerOptions::default().max_message_bytes, value_parser = whole::<usize>(1_024..=1 << 30), env = "KO_SENTIMENT_MAX_MESSAGE_BYTES")]
    max_message_bytes: usize,

    /// Maximum MiB of requests that have not arrived whole, of all connections together; one connection may hold a quarter.
    #[arg(long, value_name = "MIB", default_value_t = ServerOptions::default().max_unfinished_bytes >> 20, value_parser = whole::<usize>(1..=1 << 20), env = "KO_SENTIMENT_MAX_UNFINISHED_MIB")]
    max_unfinished_mib: usize,

    /// Maximum open connections.
    #[arg(long, value_name = "N", default_value_t = ConnectionLimits::default().connections, value_parser = whole::<usize>(1..=1_000_000), env = "KO_SENTIMENT_MAX_CONNECTIONS")]
    max_connections: usize,

    /// Maximum concurrent calls per connection.
    #[arg(long, value_name = "N", default_value_t = ConnectionLimits::default().streams, value_parser = whole::<u32>(1..=1_000_000), env = "KO_SENTIMENT_MAX_STREAMS")]
    max_streams: u32,

    /// Maximum seconds for the TLS handshake, and again for the first HTTP/2 bytes.
    #[arg(long, value_name = "S", default_value_t = ConnectionLimits::default().handshake.as_secs(), value_parser = whole::<u64>(1..=3_600), env = "KO_SENTIMENT_HANDSHAKE_SECONDS")]
    handshake_seconds: u64,

    /// Seconds between keepalive pings.
    #[arg(long, value_name = "S", default_value_t = ConnectionLimits::default().keepalive.as_secs(), value_parser = whole::<u64>(1..=86_400), env = "KO_SENTIMENT_KEEPALIVE_SECONDS")]
    keepalive_seconds: u64,

    /// Seconds to wait for the answer to a ping before closing the connection.
    #[arg(long, value_name = "S", default_value_t = ConnectionLimits::default().keepalive_timeout.as_secs(), value_parser = whole::<u64>(1..=86_400), env = "KO_SENTIMENT_KEEPALIVE_TIMEOUT_SECONDS")]
    keepalive_timeout_seconds: u64,

    /// Maximum age of a connection in seconds (± 10 %), so that clients spread over new replicas; 0 means no limit.
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = whole::<u64>(0..=31_536_000), env = "KO_SENTIMENT_MAX_CONNECTION_AGE")]
    max_connection_age: u64,

    /// Seconds to let running calls finish after --max-connection-age.
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
            max_unfinished_bytes: self.max_unfinished_mib << 20,
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
            ..ServerOptions::default()
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
