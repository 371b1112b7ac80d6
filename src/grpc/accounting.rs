//! Counts every call, whatever answers it: begun, ended with which code, and how long it took; and exports its trace.
//! A layer around all others, since a call's code may stand in headers or in trailers, and a call may end without either.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::codegen::{Bytes, Service};
use tonic::{Code, Status};

use super::meters::{METHODS, ServerMeters};
use super::refusal::of_no_call;
use super::traced::{CallTrace, Ending};
use crate::trace::Tracer;

/// The service whose calls are not traced.
const HEALTH: &str = "grpc.health.v1.Health";

/// A service whose calls are counted. What is no call is refused, and not counted.
#[derive(Clone)]
pub struct Accounted<S> {
    inner: S,
    meters: Arc<ServerMeters>,
    tracer: Tracer,
}

impl<S> Accounted<S> {
    /// Counts the calls of `inner`.
    pub fn new(inner: S, meters: Arc<ServerMeters>, tracer: Tracer) -> Self {
        Self { inner, meters, tracer }
    }
}

impl<S> Service<Request<Body>> for Accounted<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(refusal) = of_no_call(&request) {
            return Box::pin(std::future::ready(Ok(refusal)));
        }
        let mut account = Account::open(self.meters.clone(), request.uri().path());
        account.enter_trace(&self.tracer, request.headers());
        if let Some(trace) = &account.trace {
            request.extensions_mut().insert(trace.0.clone());
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            account.read(response.headers());
            Ok(response.map(|inner| Body::new(Counted { inner, account })))
        })
    }
}

/// One call. Dropped before it knows a code, the client is gone.
struct Account {
    meters: Arc<ServerMeters>,
    place: usize,
    begun: Instant,
    code: Code,
    trace: Option<(CallTrace, Tracer)>,
}

impl Account {
    fn open(meters: Arc<ServerMeters>, path: &str) -> Self {
        let place = ServerMeters::place(path);
        meters.method(place).started.one();
        Self { meters, place, begun: Instant::now(), code: Code::Cancelled, trace: None }
    }

    /// Finds the call's place in a trace. Health checks have none: they come every few seconds, for ever.
    fn enter_trace(&mut self, tracer: &Tracer, headers: &HeaderMap) {
        if METHODS[self.place].0 != HEALTH {
            self.trace = CallTrace::open(tracer, headers).map(|trace| (trace, tracer.clone()));
        }
    }

    /// Takes the code from headers or trailers, if they have it.
    fn read(&mut self, headers: &HeaderMap) {
        if let Some(status) = Status::from_header_map(headers) {
            self.code = status.code();
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let method = self.meters.method(self.place);
        method.handled[self.code as usize].one();
        let taken = self.begun.elapsed();
        let Some((trace, tracer)) = &self.trace else { return method.handling.time(taken) };
        match trace.exemplar() {
            Some(labels) => method.handling.time_with(taken, labels),
            None => method.handling.time(taken),
        }
        tracer.export(trace.spans(Ending { method: METHODS[self.place], code: self.code }));
    }
}

/// A response's body on its way.
struct Counted {
    inner: Body,
    account: Account,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.account.read(trailers);
                }
            }
            Some(Err(status)) => self.account.code = status.code(),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
