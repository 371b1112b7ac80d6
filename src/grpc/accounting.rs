//! Counts every call, whatever answers it: begun, ended with which code, and how long it took. A layer around all
//! others, since a call's code may stand in headers or in trailers, and a call may end without either.

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

use super::meters::ServerMeters;

/// A service whose calls are counted.
#[derive(Clone)]
pub struct Accounted<S> {
    inner: S,
    meters: Arc<ServerMeters>,
}

impl<S> Accounted<S> {
    /// Counts the calls of `inner`.
    pub fn new(inner: S, meters: Arc<ServerMeters>) -> Self {
        Self { inner, meters }
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

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut account = Account::open(self.meters.clone(), request.uri().path());
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
}

impl Account {
    fn open(meters: Arc<ServerMeters>, path: &str) -> Self {
        let place = ServerMeters::place(path);
        meters.method(place).started.one();
        Self { meters, place, begun: Instant::now(), code: Code::Cancelled }
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
        method.handling.time(self.begun.elapsed());
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
