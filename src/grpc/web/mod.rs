//! The port for browsers: the page, and grpc-web calls from it, over HTTP/1.1 and HTTP/2. Calls pass the same door as
//! gRPC's and are counted with them. There is no CORS: another origin's page gets nothing here.
//!
//! | file | job |
//! | --- | --- |
//! | `page` | the page's files and headers |
//! | `arriving` | a request's body that must keep arriving |

mod arriving;
mod page;

use std::convert::Infallible;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use tonic::codegen::http::{HeaderMap, Method, Request, Response, StatusCode};
use tonic::service::{LayerExt as _, Layered};
use tonic::transport::server::Connected as _;
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tracing::debug;

use super::accounting::Accounted;
use super::connection::{Connection, Peer};
use super::front::Front;
use super::refusal::{refusal, wrong_method};
use arriving::Arriving;

/// Where calls go. Health and reflection are for gRPC's port.
const OURS: &str = "/ko_sentiment.v1.SentimentService/";

/// Bounds on a connection.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Time for a request's headers.
    pub headers: Duration,
    /// Maximum size of a request's headers, in bytes.
    pub max_headers: u32,
    /// Maximum calls at once.
    pub streams: u32,
    /// Time between pings, where the protocol has them.
    pub keepalive: Duration,
    /// Time for the answer to a ping.
    pub keepalive_timeout: Duration,
}

/// The page, and the calls that come from it.
#[derive(Clone)]
pub struct Web {
    calls: Layered<GrpcWebService<Accounted<Front>>, Accounted<Front>>,
}

impl Web {
    /// The page before `calls`.
    pub fn new(calls: Accounted<Front>) -> Self {
        Self { calls: GrpcWebLayer::new().named_layer(calls) }
    }

    /// Serves a connection until it ends, or until its calls are done after `end`.
    pub async fn serve(self, connection: Connection, bounds: Bounds, end: impl Future<Output = ()>) {
        let peer = connection.connect_info();
        let patience = bounds.keepalive + bounds.keepalive_timeout;
        let answer = service_fn(move |request| {
            let answer = self.clone().answer(request, peer.clone(), patience);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let http = http(bounds);
        let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(connection), answer));
        let ended = tokio::select! {
            ended = &mut serving => ended,
            () = end => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = ended {
            debug!(error, "a browser's connection failed");
        }
    }

    async fn answer(mut self, request: Request<Incoming>, peer: Peer, patience: Duration) -> Response<Body> {
        let mut response = match route(&request) {
            Ok(Route::Page(file)) => file.answer(request.method(), request.headers()),
            Ok(Route::Call) => {
                let mut request = request.map(|body| Body::new(Arriving::new(body, patience)));
                request.extensions_mut().insert(peer);
                self.call(request).await
            }
            Err(refused) => *refused,
        };
        page::guard(response.headers_mut());
        response
    }

    async fn call(&mut self, request: Request<Body>) -> Response<Body> {
        let ready = std::future::poll_fn(|cx| Service::<Request<Body>>::poll_ready(&mut self.calls, cx));
        let answered = match ready.await {
            Ok(()) => self.calls.call(request).await,
            Err(never) => Err(never),
        };
        answered.unwrap_or_else(|never| match never {})
    }
}

fn http(bounds: Bounds) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.headers)
        .max_buf_size(bounds.max_headers as usize);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(bounds.keepalive)
        .keep_alive_timeout(bounds.keepalive_timeout)
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(bounds.max_headers);
    http
}

/// What a request is for.
enum Route {
    /// A file of the page.
    Page(&'static page::File),
    /// A method.
    Call,
}

fn route<B>(request: &Request<B>) -> Result<Route, Box<Response<Body>>> {
    let (method, path) = (request.method(), request.uri().path());
    if let Some(file) = page::find(path) {
        let reads = [Method::GET, Method::HEAD].contains(method);
        return if reads { Ok(Route::Page(file)) } else { Err(Box::new(wrong_method("GET, HEAD"))) };
    }
    let refused = if !path.starts_with(OURS) {
        refusal(StatusCode::NOT_FOUND, "not found; the page is at /\n")
    } else if method != Method::POST {
        wrong_method("POST")
    } else if !is_grpc_web(request.headers()) {
        refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "calls are application/grpc-web+proto\n")
    } else if !is_from_here(request) {
        let text = "calls come from this server's own page; a proxy must pass the Host header on\n";
        refusal(StatusCode::FORBIDDEN, text)
    } else {
        return Ok(Route::Call);
    };
    Err(Box::new(refused))
}

/// A type that other origins' forms and simple requests cannot send.
fn is_grpc_web(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    matches!(content_type, Some(b"application/grpc-web" | b"application/grpc-web+proto"))
}

/// Whether the call comes from the page itself, as far as the browser says. The scheme is the proxy's business.
fn is_from_here<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return false;
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(|authority| authority.as_str()).or(host);
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.zip(host).is_some_and(|((_, origin), host)| origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_other_origins_are_refused() {
        let check = |headers: &[(&'static str, &str)], expect: bool| {
            let mut request = Request::builder().uri("/x").header("host", "localhost:8080");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            assert_eq!(is_from_here(&request.body(()).unwrap()), expect, "{headers:?}");
        };
        check(&[], true);
        check(&[("origin", "http://localhost:8080")], true);
        check(&[("origin", "https://LOCALHOST:8080"), ("sec-fetch-site", "same-origin")], true);
        for origin in
            ["http://localhost", "http://localhost:8081", "http://evil.example", "null", "localhost:8080"]
        {
            check(&[("origin", origin)], false);
        }
        for site in ["cross-site", "same-site", "none"] {
            check(&[("sec-fetch-site", site)], false);
        }
        let request = Request::builder().uri("https://a.example/x").header("origin", "https://a.example");
        assert!(is_from_here(&request.body(()).unwrap()), "HTTP/2 names the host in its address");
    }
}
