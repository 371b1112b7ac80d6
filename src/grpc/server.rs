//! Listening, health, reflection, and an end that loses nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::{info, warn};

use super::call::Gate;
use super::pb;
use super::pb::sentiment_service_server::SentimentServiceServer;
use super::service::Sentiments;
use crate::engine::EngineState;
use crate::sentiment::classify::Classifier;

/// After the last call, how long its bytes may take to leave.
const FLUSH: Duration = Duration::from_millis(500);

/// How the server listens. Each default stands here alone.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Address and port; port 0 for a free one.
    pub listen: SocketAddr,
    /// Tell clients the contract (`grpcurl list`).
    pub reflection: bool,
    /// Bytes of a request at most.
    pub max_message_bytes: usize,
    /// On a stop, how long running calls may take to finish.
    pub grace: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 50051)),
            reflection: true,
            max_message_bytes: 4 << 20,
            grace: Duration::from_secs(30),
        }
    }
}

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Reflection refuses the contract's descriptors.
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("gRPC transport: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The engine died; the calls in it got UNAVAILABLE.
    #[error("the engine died; see the log")]
    EngineDied,
}

/// A server that is bound and not yet running.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    options: ServerOptions,
    classifier: Arc<Classifier>,
}

impl Server {
    /// Takes the port.
    ///
    /// # Errors
    /// [`ServerError::Listen`].
    pub async fn bind(classifier: Arc<Classifier>, options: ServerOptions) -> Result<Self, ServerError> {
        let address = options.listen;
        let listen = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self { listener, address, options, classifier })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`: then reports NOT_SERVING, refuses new calls with UNAVAILABLE, lets running
    /// ones finish within the grace time or until `stop_now`, and ends, whatever health watches are open.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        stop_now: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        let gate = Gate::new();
        let (health, health_service) = tonic_health::server::health_reporter();
        report(&health, ServingStatus::Serving).await;
        // Both versions of reflection, since clients still ask for the older.
        let reflection_v1 = self.options.reflection.then(|| reflection().build_v1()).transpose()?;
        let reflection_v1alpha = self.options.reflection.then(|| reflection().build_v1alpha()).transpose()?;
        let service = SentimentServiceServer::new(Sentiments::new(self.classifier.clone(), gate.clone()))
            .max_decoding_message_size(self.options.max_message_bytes);
        let (finish, finished) = oneshot::channel::<()>();
        let incoming = TcpIncoming::from(self.listener).with_nodelay(Some(true));
        let serving = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .add_service(health_service)
            .add_optional_service(reflection_v1)
            .add_optional_service(reflection_v1alpha)
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, async {
                let _ = finished.await;
            });
        let mut serving = std::pin::pin!(serving);
        let mut engine = self.classifier.engine().state();
        let died = tokio::select! {
            result = &mut serving => return Ok(result?),
            () = stop => false,
            _ = engine.wait_for(|state| *state != EngineState::Running) => true,
        };
        gate.close();
        report(&health, ServingStatus::NotServing).await;
        info!(running = self.classifier.engine().jobs(), "stopping: no new requests");
        let grace = if died { FLUSH } else { self.options.grace };
        tokio::select! {
            result = &mut serving => return Ok(result?),
            () = gate.empty() => {}
            () = tokio::time::sleep(grace) => warn!("the grace time is over; running requests are cut off"),
            () = stop_now => warn!("told to stop at once; running requests are cut off"),
        }
        let _ = finish.send(());
        // An open health watch would keep the transport for ever.
        let _ = tokio::time::timeout(FLUSH, &mut serving).await;
        if died { Err(ServerError::EngineDied) } else { Ok(()) }
    }
}

async fn report(health: &HealthReporter, status: ServingStatus) {
    health.set_service_status("", status).await;
    health.set_service_status("ko_sentiment.v1.SentimentService", status).await;
}

/// What reflection tells of: the contract and health.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
