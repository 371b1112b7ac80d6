//! The connection to the collector. It is made when the first batch goes out, and made again when it breaks.

use std::path::Path;
use std::time::Duration;

use tonic::codec::CompressionEncoding::Gzip;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::pb::trace_service_client::TraceServiceClient;
use super::pb::{ExportTracePartialSuccess, ExportTraceServiceRequest};
use super::settings::{CollectorTls, Named, Settings, TracesError};

/// Time between pings while a batch is under way, and for the answer: a collector that is gone is noticed.
const PING: Duration = Duration::from_secs(10);
/// The first pause before another try; each later one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// Who takes batches.
pub struct Collector {
    client: TraceServiceClient<Channel>,
    headers: MetadataMap,
    timeout: Duration,
}

impl Collector {
    /// The collector of these settings.
    ///
    /// # Errors
    /// See [`TracesError`].
    pub fn new(settings: &Settings) -> Result<Self, TracesError> {
        let mut client = TraceServiceClient::new(endpoint(settings)?.connect_lazy());
        if settings.gzip {
            client = client.send_compressed(Gzip);
        }
        Ok(Self { client, headers: settings.headers.clone(), timeout: settings.timeout })
    }

    /// Gives a batch away, and returns what the collector refused of it.
    ///
    /// # Errors
    /// The last one, when the time for a batch is over, or trying again would not help.
    pub async fn take(
        &mut self,
        batch: ExportTraceServiceRequest,
    ) -> Result<Option<ExportTracePartialSuccess>, Status> {
        let mut last = Status::deadline_exceeded("no answer in time");
        let tries = async {
            let mut pause = PAUSE;
            loop {
                let mut request = Request::new(batch.clone());
                *request.metadata_mut() = self.headers.clone();
                match self.client.export(request).await {
                    Ok(response) => return Ok(response.into_inner().partial_success),
                    Err(status) => match retry(&status, pause) {
                        Some(wait) => {
                            last = status;
                            tokio::time::sleep(wait).await;
                        }
                        None => return Err(status),
                    },
                }
                pause *= 2;
            }
        };
        let taken = tokio::time::timeout(self.timeout, tries).await;
        taken.unwrap_or(Err(last))
    }
}

/// How long to wait before another try, if that is worth it (the protocol's specification has the codes).
fn retry(status: &Status, pause: Duration) -> Option<Duration> {
    let asked = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
    match status.code() {
        Code::ResourceExhausted => asked,
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Some(asked.unwrap_or(pause)),
        _ => None,
    }
}

/// Where and how to connect. Nothing is connected, so this checks the settings as well.
///
/// # Errors
/// See [`TracesError`].
pub fn endpoint(settings: &Settings) -> Result<Endpoint, TracesError> {
    let refused = |_| TracesError::Endpoint("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned());
    let endpoint = Endpoint::from_shared(settings.endpoint.clone())
        .and_then(|endpoint| endpoint.user_agent(concat!("ko-sentiment/", env!("CARGO_PKG_VERSION"))))
        .map_err(refused)?
        .connect_timeout(settings.timeout)
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    if !settings.endpoint.starts_with("https:") {
        return Ok(endpoint);
    }
    let tls = tls_config(&settings.tls)?;
    endpoint.tls_config(tls).map_err(|error| TracesError::Tls(cause(&error)))
}

fn tls_config(tls: &CollectorTls) -> Result<ClientTlsConfig, TracesError> {
    let config = ClientTlsConfig::new();
    let config = match &tls.ca {
        Some(ca) => config.ca_certificate(Certificate::from_pem(read(ca)?)),
        None => config.with_enabled_roots(),
    };
    match &tls.identity {
        Some((certificate, key)) => Ok(config.identity(Identity::from_pem(read(certificate)?, read(key)?))),
        None => Ok(config),
    }
}

/// What is behind tonic's own text, which is only "transport error".
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

fn read((name, path): &Named) -> Result<Vec<u8>, TracesError> {
    let failed = |source| TracesError::Read { name: name.clone(), path: path.clone(), source };
    std::fs::read(Path::new(path)).map_err(failed)
}
