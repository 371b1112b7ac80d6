//! A request's body that must keep arriving: HTTP/1.1 has no pings that would tell of a client that is gone.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::codegen::Bytes;

/// A body whose next piece comes within a time, or never.
pub struct Arriving {
    inner: Incoming,
    patience: Duration,
    until: Pin<Box<Sleep>>,
}

impl Arriving {
    /// Waits `patience` for each piece of `inner`.
    pub fn new(inner: Incoming, patience: Duration) -> Self {
        Self { inner, patience, until: Box::pin(tokio::time::sleep(patience)) }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            let until = Instant::now() + this.patience;
            this.until.as_mut().reset(until);
            return Poll::Ready(frame.map(|frame| frame.map_err(|e| Status::cancelled(e.to_string()))));
        }
        match this.until.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(Status::cancelled("the request stopped arriving")))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
