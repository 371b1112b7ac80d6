//! Begins spans, and passes finished ones on to whoever exports them.

use std::fmt;
use std::sync::Arc;

use super::id::{SpanId, TraceId};
use super::parent::Parent;
use super::sampler::Sampler;
use super::span::Span;
use crate::meter::Counter;

/// Takes a call's finished spans; it must not wait.
type Export = dyn Fn(Vec<Span>) + Send + Sync;

/// Why spans were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The queue before the exporter was full.
    QueueFull,
    /// The collector could not be reached, or did not answer in time.
    ExportFailed,
    /// The collector refused them.
    Rejected,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::QueueFull, Self::ExportFailed, Self::Rejected];

    /// Name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::ExportFailed => "export_failed",
            Self::Rejected => "rejected",
        }
    }
}

/// What became of finished spans.
#[derive(Debug, Default)]
pub struct TraceMeters {
    /// Spans that the collector took.
    pub exported: Counter,
    lost: [Counter; Loss::ALL.len()],
}

impl TraceMeters {
    /// Spans that were lost for this reason.
    pub fn lost(&self, loss: Loss) -> &Counter {
        &self.lost[loss as usize]
    }
}

/// Where a call stands in a trace.
#[derive(Debug, Clone)]
pub struct Place {
    /// The trace.
    pub trace: TraceId,
    /// The call's own span; the caller's, if this server records none.
    pub span: SpanId,
    /// The caller's span.
    pub parent: Option<Parent>,
    /// Somebody keeps the trace, so that it can be looked up.
    pub is_sampled: bool,
    /// This server exports the call's spans.
    pub is_recorded: bool,
}

/// Begins spans; off by default. Clones share what they do.
#[derive(Clone, Default)]
pub struct Tracer {
    on: Option<Arc<On>>,
    meters: Arc<TraceMeters>,
}

struct On {
    sampler: Sampler,
    export: Box<Export>,
}

impl Tracer {
    /// Passes the spans of sampled traces to `export`, which must not wait.
    pub fn new(
        sampler: Sampler,
        meters: Arc<TraceMeters>,
        export: impl Fn(Vec<Span>) + Send + Sync + 'static,
    ) -> Self {
        Self { on: Some(Arc::new(On { sampler, export: Box::new(export) })), meters }
    }

    /// What became of its spans.
    pub fn meters(&self) -> Arc<TraceMeters> {
        self.meters.clone()
    }

    /// A call's place in its caller's trace, or in a new one. `None` if there is no trace at all.
    pub fn begin(&self, parent: Option<Parent>) -> Option<Place> {
        let Some(on) = &self.on else {
            let parent = parent?;
            let (trace, span, is_sampled) = (parent.trace, parent.span, parent.sampled);
            return Some(Place { trace, span, parent: Some(parent), is_sampled, is_recorded: false });
        };
        let trace = parent.as_ref().map_or_else(TraceId::random, |parent| parent.trace);
        let is_sampled = on.sampler.samples(trace, parent.as_ref().map(|parent| parent.sampled));
        Some(Place { trace, span: SpanId::random(), parent, is_sampled, is_recorded: is_sampled })
    }

    /// Passes a call's spans on.
    pub fn export(&self, spans: Vec<Span>) {
        if let Some(on) = self.on.as_ref().filter(|_| !spans.is_empty()) {
            (on.export)(spans);
        }
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tracer").field(&self.on.as_ref().map(|on| on.sampler)).finish()
    }
}
