//! Health, reflection, and an end that loses nothing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use tonic::codec::CompressionEncoding::{Gzip, Zstd};
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthReporter;
use tracing::{info, warn};

use super::accept::{Acceptor, ConnectionLimits, Port};
use super::address::Listen;
use super::call::Gate;
use super::front::{Door, Front};
use super::health::Healths;
use super::listen::{self, Listener};
use super::meters::ServerMeters;
use super::pb;
use super::pb::sentiment_service_server::SentimentServiceServer;
use super::reload::{self, Watched};
use super::service::{MAX_REQUEST_BYTES, Sentiments};
use super::tls::{Tls, TlsError, TlsFiles};
use super::tokens::{Tokens, TokensError};
use super::unfinished::Unfinished;
use crate::engine::EngineState;
use crate::sentiment::classify::Classifier;
use crate::trace::Tracer;

/// After the last call, how long its bytes may take to leave.
const FLUSH: Duration = Duration::from_millis(500);

/// How the server listens, and to whom. Each default stands here alone.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// Where to serve the page and grpc-web; nowhere by default.
    pub web: Vec<Listen>,
    /// Permissions of Unix sockets' files.
    pub unix_mode: u32,
    /// Certificates; plain text without.
    pub tls: Option<TlsFiles>,
    /// File of tokens; everybody may call without.
    pub tokens: Option<PathBuf>,
    /// Tell clients the contract (`grpcurl list`).
    pub reflection: bool,
    /// Reflection needs no token.
    pub open_reflection: bool,
    /// Maximum size of a request in bytes, decompressed. The default is the contract's largest.
    pub max_message_bytes: usize,
    /// Maximum bytes of messages that have not arrived whole, of all connections together.
    pub max_unfinished_bytes: usize,
    /// Bounds on connections.
    pub connections: ConnectionLimits,
    /// On a stop, how long running calls may take to finish.
    pub grace: Duration,
    /// Where calls' spans go; nowhere by default.
    pub tracer: Tracer,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listen: vec![Listen::Tcp("127.0.0.1".to_owned(), 50051)],
            web: Vec::new(),
            unix_mode: 0o660,
            tls: None,
            tokens: None,
            reflection: true,
            open_reflection: false,
            max_message_bytes: MAX_REQUEST_BYTES,
            max_unfinished_bytes: 256 << 20,
            connections: ConnectionLimits::default(),
            grace: Duration::from_secs(30),
            tracer: Tracer::default(),
        }
    }
}

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another with {flag}")]
    Listen {
        /// The address.
        address: Listen,
        /// The flag that names it.
        flag: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The tokens.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// Reflection refuses the contract's descriptors.
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The engine died; the calls in it got UNAVAILABLE.
    #[error("the engine died; see the log")]
    EngineDied,
}

/// A server that is bound and not yet running.
pub struct Server {
    listeners: Vec<Listener>,
    web: Vec<Listener>,
    tls: Option<Arc<Tls>>,
    tokens: Option<Arc<Tokens>>,
    watched: Vec<Watched>,
    nudge: Arc<Notify>,
    options: ServerOptions,
    classifier: Arc<Classifier>,
    meters: Arc<ServerMeters>,
}

impl Server {
    /// Reads certificates and tokens, and takes the addresses.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn bind(classifier: Arc<Classifier>, options: ServerOptions) -> Result<Self, ServerError> {
        let mut watched = Vec::new();
        let tls = options.tls.clone().map(|files| Watched::load(&files.paths(), || Tls::load(files.clone())));
        let tls = tls.transpose()?.map(|(tls, watch)| {
            watched.push(watch);
            tls
        });
        let tokens = options
            .tokens
            .clone()
            .map(|path| Watched::load(std::slice::from_ref(&path), || Tokens::load(&path)));
        let tokens = tokens.transpose()?.map(|(tokens, watch)| {
            watched.push(watch);
            tokens
        });
        let listeners = bind(&options.listen, options.unix_mode, "--listen").await?;
        let web = bind(&options.web, options.unix_mode, "--web").await?;
        let meters = ServerMeters::of(tls.clone(), tokens.clone(), options.tracer.meters());
        Ok(Self { listeners, web, tls, tokens, watched, nudge: Arc::default(), options, classifier, meters })
    }

    /// The first TCP address, if there is one.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listeners.iter().find_map(Listener::tcp_address)
    }

    /// Where it listens, as clients write it.
    pub fn addresses(&self) -> Vec<String> {
        self.listeners.iter().map(Listener::to_string).collect()
    }

    /// Where it serves the page, as clients write it.
    pub fn web_addresses(&self) -> Vec<String> {
        self.web.iter().map(Listener::to_string).collect()
    }

    /// Makes the running server read certificates and tokens again, as a change of the files does.
    pub fn reload(&self) -> Arc<Notify> {
        self.nudge.clone()
    }

    /// What it does, in numbers that go on while it runs.
    pub fn meters(&self) -> Arc<ServerMeters> {
        self.meters.clone()
    }

    /// Serves until `stop`: then reports NOT_SERVING, refuses new calls with UNAVAILABLE, lets running
    /// ones finish within the grace time or until `stop_now`, and ends, whatever health watches are open.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        stop_now: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        self.warn_of_the_open();
        let gate = Gate::new(self.meters.clone());
        let health = HealthReporter::new();
        report(&health, ServingStatus::Serving).await;
        let door = Door { tokens: self.tokens.clone(), open_reflection: self.options.open_reflection };
        let ServerOptions { max_unfinished_bytes, max_message_bytes, connections, ref tracer, .. } =
            self.options;
        let patience = connections.keepalive + connections.keepalive_timeout;
        let unfinished =
            Unfinished::new(max_unfinished_bytes, max_message_bytes, patience, self.meters.clone());
        let front = Front::new(self.routes(&gate, &health)?, door, unfinished, self.meters.clone());
        let acceptor =
            Acceptor::new(front, self.meters.clone(), self.tls.clone(), connections, tracer.clone());
        let listening = self.listen(&acceptor);
        let _current = AbortOnDropHandle::new(tokio::spawn(reload::keep_current(
            std::mem::take(&mut self.watched),
            self.nudge.clone(),
            self.meters.reloads.clone(),
        )));
        let mut engine = self.classifier.engine().state();
        let died = tokio::select! {
            () = stop => false,
            _ = engine.wait_for(|state| *state != EngineState::Running) => true,
        };
        gate.close();
        report(&health, ServingStatus::NotServing).await;
        info!(running = self.classifier.engine().jobs(), "stopping: no new requests");
        let grace = if died { FLUSH } else { self.options.grace };
        tokio::select! {
            () = gate.empty() => {}
            () = tokio::time::sleep(grace) => warn!("the grace time is over; running requests are cut off"),
            () = stop_now => warn!("told to stop at once; running requests are cut off"),
        }
        // An open health watch would keep its connection for ever.
        acceptor.finish(FLUSH).await;
        for listener in listening {
            // A listener that panicked has nothing more to lose.
            let _ = listener.await;
        }
        if died { Err(ServerError::EngineDied) } else { Ok(()) }
    }

    fn listen(&mut self, acceptor: &Arc<Acceptor>) -> Vec<AbortOnDropHandle<()>> {
        let listen = |port| {
            move |listener| AbortOnDropHandle::new(tokio::spawn(acceptor.clone().listen(listener, port)))
        };
        let grpc = std::mem::take(&mut self.listeners).into_iter().map(listen(Port::Grpc));
        grpc.chain(std::mem::take(&mut self.web).into_iter().map(listen(Port::Web))).collect()
    }

    fn routes(&self, gate: &Gate, health: &HealthReporter) -> Result<Routes, ServerError> {
        let service = SentimentServiceServer::new(Sentiments::new(self.classifier.clone(), gate.clone()))
            .max_decoding_message_size(self.options.max_message_bytes)
            .accept_compressed(Gzip)
            .accept_compressed(Zstd)
            .send_compressed(Zstd)
            .send_compressed(Gzip);
        let mut routes = Routes::builder();
        routes.add_service(HealthServer::new(Healths::new(health))).add_service(service);
        if self.options.reflection {
            // Both versions, since clients still ask for the older.
            routes.add_service(reflection().build_v1()?).add_service(reflection().build_v1alpha()?);
        }
        Ok(routes.routes().prepare())
    }

    /// Says once what anybody on the network could do.
    fn warn_of_the_open(&self) {
        let all = self.listeners.iter().chain(&self.web);
        let open = all.filter_map(Listener::tcp_address).find(|address| !address.ip().is_loopback());
        let Some(address) = open else { return };
        let has_client_ca = self.options.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if self.tls.is_none() {
            warn!(%address, "comments and answers cross the network in plain text; set --tls-cert and --tls-key, or keep a proxy with TLS before it");
        }
        if self.tokens.is_none() && !has_client_ca {
            warn!(%address, "everybody who reaches this address can use the server; set --tokens or --tls-client-ca");
        }
    }
}

/// Binds each address once.
async fn bind(
    addresses: &[Listen],
    unix_mode: u32,
    flag: &'static str,
) -> Result<Vec<Listener>, ServerError> {
    let mut listeners = Vec::new();
    for (i, address) in addresses.iter().enumerate() {
        if addresses[..i].contains(address) {
            continue;
        }
        let failed = |source| ServerError::Listen { address: address.clone(), flag, source };
        listeners.extend(listen::bind(address, unix_mode).await.map_err(failed)?);
    }
    Ok(listeners)
}

async fn report(health: &HealthReporter, status: ServingStatus) {
    health.set_service_status("", status).await;
    health.set_service_status("ko_sentiment.v1.SentimentService", status).await;
}

/// What reflection tells of: the contract, health, and the details of errors.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
