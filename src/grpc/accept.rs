//! From sockets to served connections, within bounds.
//!
//! What HTTP/2 clients can do to a server is met here and beneath: `h2` (0.4.20) bounds rapid resets
//! (CVE-2023-44487), CONTINUATION frames (CVE-2024-27316) and the size of headers; keepalive ends half-open
//! peers, and those that send headers byte by byte, since these cannot answer a ping meanwhile.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use tokio::sync::{Semaphore, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::accounting::Accounted;
use super::connection::{Connection, Ends, Io};
use super::front::Front;
use super::listen::{Accepted, Listener};
use super::meters::ServerMeters;
use super::tls::Tls;
use super::web::{Bounds, Web};
use crate::trace::Tracer;

/// Maximum size of a request's headers, in bytes.
const MAX_HEADERS: u32 = 16 << 10;
/// Bytes of a stream that may be on their way unread. Clients that send each short message in a frame of its own are
/// common, and `h2` closes a connection whose unread frames are many and short: they may weigh half the connection's
/// window, a frame of n bytes 256 - n. So a stream's window is a small part of the connection's.
const STREAM_WINDOW: u32 = 32 << 10;
/// Bytes of a connection that may be on their way unread: some fifty streams of short comments.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Pause after an error of the operating system, such as no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);
/// Share of a connection's greatest age by which it varies, so that clients do not all come back at once.
const JITTER: f64 = 0.1;

/// Bounds on connections. Each default stands here alone.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Maximum connections at once.
    pub connections: usize,
    /// Maximum calls at once on one connection.
    pub streams: u32,
    /// Time for the TLS handshake, and again for HTTP/2's first bytes.
    pub handshake: Duration,
    /// Time between pings.
    pub keepalive: Duration,
    /// Time for the answer to a ping, after which the connection is closed.
    pub keepalive_timeout: Duration,
    /// Age at which a connection is closed once its calls are done, give or take a tenth.
    pub max_age: Option<Duration>,
    /// Time for its calls to be done then.
    pub max_age_grace: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            streams: 1_024,
            handshake: Duration::from_secs(10),
            keepalive: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            max_age: None,
            max_age_grace: Duration::from_secs(60),
        }
    }
}

/// What the connections of a listener are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// gRPC.
    Grpc,
    /// The page, and grpc-web.
    Web,
}

/// What all connections share.
pub struct Acceptor {
    front: Accounted<Front>,
    web: Web,
    meters: Arc<ServerMeters>,
    tls: Option<Arc<Tls>>,
    limits: ConnectionLimits,
    places: Arc<Semaphore>,
    connections: TaskTracker,
    /// Connections end when their calls are done.
    finish: CancellationToken,
    /// Connections end now.
    cut: CancellationToken,
}

impl Acceptor {
    /// Serves `front` to whoever connects.
    pub fn new(
        front: Front,
        meters: Arc<ServerMeters>,
        tls: Option<Arc<Tls>>,
        limits: ConnectionLimits,
        tracer: Tracer,
    ) -> Arc<Self> {
        let front = Accounted::new(front, meters.clone(), tracer);
        Arc::new(Self {
            web: Web::new(front.clone()),
            front,
            meters,
            tls,
            limits,
            places: Arc::new(Semaphore::new(limits.connections)),
            connections: TaskTracker::new(),
            finish: CancellationToken::new(),
            cut: CancellationToken::new(),
        })
    }

    /// Accepts connections until [`Self::finish`].
    pub async fn listen(self: Arc<Self>, listener: Listener, port: Port) {
        loop {
            let accepted = tokio::select! {
                () = self.finish.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(accepted) => self.begin(accepted, port),
                Err(error) => {
                    warn!(%error, %listener, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Takes no more connections, lets calls finish for `grace`, and cuts what is left.
    pub async fn finish(&self, grace: Duration) {
        self.finish.cancel();
        self.connections.close();
        if tokio::time::timeout(grace, self.connections.wait()).await.is_err() {
            self.cut.cancel();
        }
    }

    fn begin(self: &Arc<Self>, accepted: Accepted, port: Port) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            // Closed at once, the client tries another server; in the backlog it would wait for its deadline.
            self.meters.refused_connections.one();
            warn!(limit = self.limits.connections, "a connection was closed: there are too many");
            return;
        };
        let this = self.clone();
        self.connections.spawn(async move {
            let opening = this.limits.handshake;
            match tokio::time::timeout(opening, this.open(accepted, port)).await {
                Ok(Ok(io)) => {
                    let (connection, ends) = Connection::new(io, opening, place);
                    this.meters.connections.add(1);
                    this.serve(connection, ends, port).await;
                    this.meters.connections.add(-1);
                    return;
                }
                Ok(Err(error)) => debug!(%error, "no TLS connection"),
                Err(_) => debug!("the TLS handshake took too long"),
            }
            this.meters.failed_handshakes.one();
        });
    }

    /// A Unix socket has no TLS: who reaches it is on this machine, and the file's permissions say who may.
    async fn open(&self, accepted: Accepted, port: Port) -> io::Result<Io> {
        Ok(match (accepted, &self.tls) {
            (Accepted::Unix(stream), _) => Io::Unix(stream),
            (Accepted::Tcp(stream), None) => Io::Tcp(stream),
            (Accepted::Tcp(stream), Some(tls)) => {
                let config = if port == Port::Web { tls.web_config() } else { tls.config() };
                Io::Tls(Box::new(TlsAcceptor::from(config).accept(stream).await?))
            }
        })
    }

    /// Serves a connection until it ends by itself, is too old, or the server stops.
    async fn serve(&self, connection: Connection, Ends { cut, gone }: Ends, port: Port) {
        let limits = &self.limits;
        let age = limits.max_age.map(|age| age.mul_f64(1.0 + JITTER * (2.0 * uniform() - 1.0)));
        let old = async {
            match age {
                Some(age) => tokio::time::sleep(age).await,
                None => std::future::pending().await,
            }
        };
        let mut aged = false;
        let (end, ended) = oneshot::channel::<()>();
        let mut serving = std::pin::pin!(self.transport(connection, port, ended));
        tokio::select! {
            () = &mut serving => return,
            () = gone.cancelled() => {}
            () = self.finish.cancelled() => {}
            () = old => aged = true,
        }
        let _ = end.send(());
        let late = async {
            if aged { tokio::time::sleep(limits.max_age_grace).await } else { std::future::pending().await }
        };
        tokio::select! {
            () = &mut serving => return,
            () = late => debug!("a connection was cut at its greatest age"),
            () = self.cut.cancelled() => {}
        }
        cut.cancel();
        serving.await;
    }

    /// A transport of its own for each connection, since tonic's knows no jitter and no grace for its age.
    async fn transport(&self, connection: Connection, port: Port, ended: oneshot::Receiver<()>) {
        let limits = &self.limits;
        let ended = async {
            let _ = ended.await;
        };
        if port == Port::Web {
            let bounds = Bounds {
                headers: limits.handshake,
                max_headers: MAX_HEADERS,
                streams: limits.streams,
                keepalive: limits.keepalive,
                keepalive_timeout: limits.keepalive_timeout,
            };
            return self.web.clone().serve(connection, bounds, ended).await;
        }
        let incoming = stream::iter([Ok::<_, io::Error>(connection)]).chain(stream::pending());
        let serving = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(limits.keepalive))
            .http2_keepalive_timeout(Some(limits.keepalive_timeout))
            .max_concurrent_streams(limits.streams)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(MAX_HEADERS)
            .serve_with_incoming_shutdown(self.front.clone(), incoming, ended);
        // What ends a connection is its client's business.
        let _ = serving.await;
    }
}

/// A number from 0 to 1 that differs from call to call: the standard library's random key.
fn uniform() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    let bits = RandomState::new().hash_one(std::time::Instant::now());
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
