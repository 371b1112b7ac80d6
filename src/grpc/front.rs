//! What every call passes before its method: its id, who asks, and errors of the transport in our own words.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::service::Routes;
use tracing::info;

use super::connection::Peer;
use super::metadata::{REQUEST_ID, request_id};
use super::meters::ServerMeters;
use super::principal::Admitted;
use super::status;
use super::tokens::Tokens;
use super::traced::CallTrace;
use super::unfinished::Unfinished;

/// Paths that need no token.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// Paths that need none where the operator says so.
const REFLECTION: &str = "/grpc.reflection.";

/// Who may call what.
#[derive(Clone, Default)]
pub struct Door {
    /// Without it, everybody may call everything.
    pub tokens: Option<Arc<Tokens>>,
    /// Reflection needs no token.
    pub open_reflection: bool,
}

impl Door {
    /// Lets a call in, or says why not.
    fn admit(&self, path: &str, request: &Request<Body>) -> Result<Option<Admitted>, Status> {
        let Some(tokens) = &self.tokens else { return Ok(None) };
        if path.starts_with(HEALTH) || (self.open_reflection && path.starts_with(REFLECTION)) {
            return Ok(None);
        }
        let names = request.extensions().get::<Peer>().map(|peer| peer.names.clone()).unwrap_or_default();
        let method = path.rsplit('/').next().unwrap_or_default();
        tokens.admit(request.headers(), &names, method).map(Some)
    }
}

/// The server's methods behind the door.
#[derive(Clone)]
pub struct Front {
    routes: Routes,
    door: Door,
    unfinished: Arc<Unfinished>,
    meters: Arc<ServerMeters>,
}

impl Front {
    /// Puts `routes` behind `door`.
    pub fn new(routes: Routes, door: Door, unfinished: Arc<Unfinished>, meters: Arc<ServerMeters>) -> Self {
        Self { routes, door, unfinished, meters }
    }
}

impl Service<Request<Body>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        <Routes as Service<Request<Body>>>::poll_ready(&mut self.routes, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let id = request_id(request.headers());
        request.headers_mut().insert(REQUEST_ID, id.clone());
        if !worth_compressing(&request) {
            request.headers_mut().remove("grpc-accept-encoding");
        }
        let path = request.uri().path().to_owned();
        let admitted = match self.door.admit(&path, &request) {
            Ok(admitted) => admitted,
            Err(status) => {
                self.meters.refuse(&status);
                let trace_id = request.extensions().get::<CallTrace>().map(|trace| trace.id().to_string());
                info!(id = id.to_str().unwrap_or_default(), trace_id, code = ?status.code(), "not let in");
                let mut response = status.into_http();
                response.headers_mut().insert(REQUEST_ID, id);
                return Box::pin(std::future::ready(Ok(response)));
            }
        };
        if let Some(admitted) = admitted {
            request.extensions_mut().insert(admitted);
        }
        let own = request.extensions().get::<Peer>().map(|peer| peer.unfinished.clone()).unwrap_or_default();
        let answer = self.routes.call(request.map(|body| self.unfinished.bound(body, own)));
        let meters = self.meters.clone();
        Box::pin(async move {
            let mut response = answer.await?;
            if let Some(status) = complete(response.headers_mut(), id) {
                meters.refuse(&status);
            }
            Ok(response)
        })
    }
}

/// Gives an error that did not come from a method, and so has no details, what every error has, and returns it.
fn complete(headers: &mut HeaderMap, id: HeaderValue) -> Option<Status> {
    let status = status::of_transport(&Status::from_header_map(headers)?)?;
    // It only fails for a message that is no header, and this one is our own.
    let _ = status.add_header(headers);
    headers.insert(REQUEST_ID, id);
    Some(status)
}

/// Most clients offer to read gzip, and most answers are a few hundred bytes, for which it is a waste: only
/// batches, and callers that compress themselves, get compressed answers.
fn worth_compressing(request: &Request<Body>) -> bool {
    let asks = request.headers().get("grpc-encoding").is_some_and(|encoding| encoding != "identity");
    asks || request.uri().path().ends_with("/ClassifyBatch")
}
