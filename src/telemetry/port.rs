//! The port for operators: `/metrics`, `/livez`, `/readyz`. HTTP/1.1 without keepalive; whatever a client does,
//! a connection lasts a few seconds, and there are few at once.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::exposition::Format;
use super::metrics::Metrics;
use super::readiness::State;

/// Maximum connections at once; one more is closed.
const CONNECTIONS: usize = 32;
/// Time for a request's headers.
const HEADERS: Duration = Duration::from_secs(5);
/// Time for a whole connection: one request and its answer.
const CONNECTION: Duration = Duration::from_secs(15);
/// Maximum size of a request's headers, in bytes. Bodies are not read.
const MAX_HEADERS: usize = 16 << 10;
/// Pause after an error of the operating system, such as no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound port, not yet served.
pub struct Port {
    listener: TcpListener,
    address: SocketAddr,
}

impl Port {
    /// Takes `HOST:PORT`; port 0 is a free one.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn bind(address: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is dropped.
    pub async fn serve(self, metrics: Metrics) {
        let mut connections = JoinSet::new();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    while connections.try_join_next().is_some() {}
                    if connections.len() < CONNECTIONS {
                        connections.spawn(serve(stream, metrics.clone()));
                    } else {
                        warn!(
                            limit = CONNECTIONS,
                            "a connection to the metrics port was closed: there are too many"
                        );
                    }
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection to the metrics port");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, metrics: Metrics) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = answer(&request, &metrics);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    match tokio::time::timeout(CONNECTION, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection to the metrics port failed"),
        Err(_) => debug!("a connection to the metrics port took too long"),
    }
}

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !["/metrics", "/livez", "/readyz"].contains(&path) {
        return text(StatusCode::NOT_FOUND, "not found; try /metrics, /livez or /readyz\n");
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match path {
        "/livez" if metrics.alive() => text(StatusCode::OK, "alive\n"),
        "/livez" => text(StatusCode::SERVICE_UNAVAILABLE, "the engine died\n"),
        "/readyz" => ready(metrics),
        _ => {
            let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
            let format = Format::accepted(accept.unwrap_or_default());
            let mut response = text(StatusCode::OK, metrics.render(format));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
            response
        }
    }
}

fn ready(metrics: &Metrics) -> Response<Full<Bytes>> {
    match metrics.readiness().state() {
        _ if !metrics.alive() => text(StatusCode::SERVICE_UNAVAILABLE, "the engine died\n"),
        State::Ready => text(StatusCode::OK, "ready\n"),
        State::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "warming up\n"),
        State::Stopping => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
