//! Flags that say how a server is asked.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::ranges::seconds;
use crate::grpc::{ClientOptions, ClientTls, ConnectError};

/// How a server is asked.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Client options")]
pub struct ClientArgs {
    /// Seconds to wait for a connection and for each answer; annotate, eval, calibrate and bench give a busy server up
    /// to 300 per answer.
    #[arg(long, value_name = "S", default_value_t = ClientOptions::TIMEOUT.as_secs_f64(), value_parser = seconds, env = "KO_SENTIMENT_TIMEOUT")]
    timeout: f64,

    /// Root certificates to trust (PEM) [default: Mozilla's].
    #[arg(long, value_name = "FILE", env = "KO_SENTIMENT_TLS_CA")]
    tls_ca: Option<PathBuf>,

    /// Client certificate for mutual TLS (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "KO_SENTIMENT_CLIENT_TLS_CERT")]
    tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "KO_SENTIMENT_CLIENT_TLS_KEY")]
    tls_key: Option<PathBuf>,

    /// Name to expect in the server's certificate [default: the host of --endpoint].
    #[arg(long, value_name = "NAME", env = "KO_SENTIMENT_TLS_SERVER_NAME")]
    tls_server_name: Option<String>,

    /// File with the token to send.
    #[arg(long, value_name = "FILE", env = "KO_SENTIMENT_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl ClientArgs {
    /// How to ask the server at `endpoint`.
    pub fn options(&self, endpoint: &str) -> Result<ClientOptions, ConnectError> {
        Ok(ClientOptions {
            tls: ClientTls {
                ca: self.tls_ca.clone(),
                cert: self.tls_cert.clone(),
                key: self.tls_key.clone(),
                server_name: self.tls_server_name.clone(),
            },
            token_file: self.token_file.clone(),
            timeout: Duration::from_secs_f64(self.timeout),
            ..ClientOptions::new(endpoint.parse()?)
        })
    }
}
