//! A request's id, its span and log line, and the count of requests that a stop waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::watch;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Request, Response, Status};
use tracing::{Span, field, info, info_span};

use super::metadata::REQUEST_ID;
use super::meters::ServerMeters;
use super::principal::Admitted;
use super::status;
use super::traced::CallTrace;
use crate::engine::Stats;

/// Lets requests in until the server stops, and counts those inside.
#[derive(Clone)]
pub struct Gate {
    closed: Arc<AtomicBool>,
    inside: watch::Sender<usize>,
    meters: Arc<ServerMeters>,
}

impl Gate {
    /// Open, and nobody inside.
    pub fn new(meters: Arc<ServerMeters>) -> Self {
        Self { closed: Arc::default(), inside: watch::Sender::new(0), meters }
    }

    /// Where calls are counted.
    pub fn meters(&self) -> &ServerMeters {
        &self.meters
    }

    /// Lets nobody in any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Waits until nobody is inside.
    pub async fn empty(&self) {
        // The sender is `self`, so the channel cannot close.
        let _ = self.inside.subscribe().wait_for(|inside| *inside == 0).await;
    }

    /// Begins a request.
    pub fn enter<T>(&self, method: &'static str, request: &Request<T>) -> Result<Call, Status> {
        self.inside.send_modify(|inside| *inside += 1);
        // The front gives every request one.
        let id = request.metadata().get(REQUEST_ID).cloned();
        let id = id.unwrap_or_else(|| AsciiMetadataValue::from_static("-"));
        let admitted = request.extensions().get::<Admitted>().cloned();
        let trace = request.extensions().get::<CallTrace>().cloned();
        let span = info_span!(
            "request",
            id = id.to_str().unwrap_or_default(),
            trace_id = trace.as_ref().map(|trace| trace.id().to_string()),
            method,
            principal = admitted.as_ref().map(Admitted::name),
            code = field::Empty,
            prompt_tokens = field::Empty,
            cached_tokens = field::Empty,
            generated_tokens = field::Empty,
            from_cache = field::Empty,
            queue_ms = field::Empty,
            compute_ms = field::Empty,
            total_ms = field::Empty,
        );
        if let Some((trace, admitted)) = trace.as_ref().zip(admitted.as_ref()) {
            trace.note("ko_sentiment.principal", admitted.name().to_owned());
        }
        let (gate, begun) = (self.clone(), Instant::now());
        let call = Call { gate, span, id, begun, code: None, from_cache: 0, admitted, trace };
        if self.closed.load(Ordering::SeqCst) { Err(call.fail(status::stopping())) } else { Ok(call) }
    }
}

/// A request while it lasts. Dropped without an end, it was cancelled by its caller.
pub struct Call {
    gate: Gate,
    span: Span,
    id: AsciiMetadataValue,
    begun: Instant,
    code: Option<Code>,
    from_cache: usize,
    /// Who asks; their place is free again when the call ends.
    admitted: Option<Admitted>,
    trace: Option<CallTrace>,
}

impl Call {
    /// The request's span.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Where calls are counted.
    pub fn meters(&self) -> &ServerMeters {
        self.gate.meters()
    }

    /// When the request came.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Who asks, if the server knows.
    pub fn admitted(&self) -> Option<&Admitted> {
        self.admitted.as_ref()
    }

    /// The call's place in a trace, if it has one.
    pub fn trace(&self) -> Option<&CallTrace> {
        self.trace.as_ref()
    }

    /// Notes what the request cost.
    pub fn record(&self, stats: &Stats) {
        self.span.record("prompt_tokens", stats.prompt_tokens);
        self.span.record("cached_tokens", stats.cached_tokens);
        self.span.record("generated_tokens", stats.generated_tokens);
        self.span.record("queue_ms", milliseconds(stats.queue));
        self.span.record("compute_ms", milliseconds(stats.compute));
        if let Some(trace) = &self.trace {
            trace.note("ko_sentiment.prompt_tokens", stats.prompt_tokens);
            trace.note("ko_sentiment.cached_tokens", stats.cached_tokens);
            trace.note("ko_sentiment.generated_tokens", stats.generated_tokens);
        }
    }

    /// Counts answers that came from memory.
    pub fn count_from_cache(&mut self, answers: usize) {
        self.from_cache += answers;
    }

    /// Ends the request well.
    pub fn ok<T>(mut self, message: T) -> Response<T> {
        self.code = Some(Code::Ok);
        self.respond(message)
    }

    /// A response that begins now and ends later, with [`Self::end`].
    pub fn respond<T>(&self, message: T) -> Response<T> {
        let mut response = Response::new(message);
        response.metadata_mut().insert(REQUEST_ID, self.id.clone());
        response
    }

    /// Ends a streamed request well.
    pub fn end(mut self) {
        self.code = Some(Code::Ok);
    }

    /// Ends the request with an error.
    pub fn fail(mut self, mut status: Status) -> Status {
        self.code = Some(status.code());
        self.gate.meters.refuse(&status);
        status.metadata_mut().insert(REQUEST_ID, self.id.clone());
        status
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled);
        self.span.record("code", field::debug(code));
        self.span.record("from_cache", self.from_cache);
        if let Some(trace) = &self.trace {
            trace.note("ko_sentiment.from_cache", self.from_cache);
        }
        self.span.record("total_ms", milliseconds(self.begun.elapsed()));
        self.span.in_scope(|| info!("done"));
        self.gate.inside.send_modify(|inside| *inside -= 1);
    }
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
