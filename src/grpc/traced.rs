//! A call's place in a trace, and its spans: the call itself, and in it queue, prefill and decode of each job. They are
//! made when the call is over, from what the engine noted anyway; a call that nobody records costs nothing.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use tonic::Code;
use tonic::codegen::http::HeaderMap;

use crate::engine::Timeline;
use crate::trace::{Kind, Parent, Place, Span, SpanId, TraceId, Tracer, Value};

/// Jobs of a call whose spans are made; a longer batch says only how many it had.
const MAX_JOBS: usize = 32;

/// Names of codes in attributes, by their number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Where a call stands in a trace, and what is noted of it. Clones share the notes.
#[derive(Clone)]
pub struct CallTrace(Arc<Inner>);

struct Inner {
    place: Place,
    begun: (Instant, SystemTime),
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    attributes: Vec<(&'static str, Value)>,
    jobs: Vec<Arc<Timeline>>,
    /// All of them, shown or not.
    n_jobs: usize,
}

/// How a call ended.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    /// Service and method; `unknown` for those that are not there.
    pub method: (&'static str, &'static str),
    /// The status code.
    pub code: Code,
}

impl CallTrace {
    /// The place of a call with these headers. `None` without a trace: nothing is exported, and its caller names none.
    pub fn open(tracer: &Tracer, headers: &HeaderMap) -> Option<Self> {
        let values = |name| headers.get_all(name).into_iter().map(|value| value.as_bytes());
        let place = tracer.begin(Parent::read(values("traceparent"), values("tracestate")))?;
        let begun = (Instant::now(), SystemTime::now());
        Some(Self(Arc::new(Inner { place, begun, notes: Mutex::default() })))
    }

    /// The trace, for log lines.
    pub fn id(&self) -> TraceId {
        self.0.place.trace
    }

    /// Labels that lead from a number to the trace, if somebody keeps it.
    pub fn exemplar(&self) -> Option<Vec<(&'static str, String)>> {
        let Place { trace, span, is_sampled, .. } = &self.0.place;
        is_sampled.then(|| vec![("trace_id", trace.to_string()), ("span_id", span.to_string())])
    }

    /// Notes an attribute of the call's span.
    pub fn note(&self, name: &'static str, value: impl Into<Value>) {
        self.with_notes(|notes| notes.attributes.push((name, value.into())));
    }

    /// A job of the call begins.
    pub fn follow(&self, job: Arc<Timeline>) {
        self.with_notes(|notes| {
            notes.n_jobs += 1;
            if notes.jobs.len() < MAX_JOBS {
                notes.jobs.push(job);
            }
        });
    }

    /// The call's spans, once it is over; none if nobody records them.
    pub fn spans(&self, ending: Ending) -> Vec<Span> {
        let now = Instant::now();
        let mut spans = Vec::new();
        self.with_notes(|notes| {
            let notes = std::mem::take(notes);
            let jobs = notes.jobs.clone();
            spans.push(self.call(ending, notes, now));
            for job in &jobs {
                self.job(job, ending.has_many(), now, &mut spans);
            }
        });
        spans
    }

    fn with_notes(&self, work: impl FnOnce(&mut Notes)) {
        if self.0.place.is_recorded {
            // Notes are right even after a panic: each is added by one statement.
            work(&mut self.0.notes.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn call(&self, ending: Ending, notes: Notes, now: Instant) -> Span {
        let Ending { method: (service, method), code } = ending;
        let is_known = service != "unknown";
        let full_name = if is_known { format!("{service}/{method}").into() } else { Cow::Borrowed("_OTHER") };
        let name = if is_known { full_name.clone() } else { Cow::Borrowed("grpc") };
        let mut attributes: Vec<(&'static str, Value)> = vec![
            ("rpc.system.name", "grpc".into()),
            ("rpc.method", Value::Text(full_name)),
            ("rpc.response.status_code", CODES[code as usize].into()),
        ];
        let failed = is_servers_fault(code);
        if failed {
            attributes.push(("error.type", CODES[code as usize].into()));
        }
        if ending.has_many() {
            attributes.push(("ko_sentiment.jobs", notes.n_jobs.into()));
        }
        attributes.extend(notes.attributes);
        let place = &self.0.place;
        Span {
            id: place.span,
            parent: place.parent.as_ref().map(|parent| parent.span),
            is_remote_parent: place.parent.is_some(),
            kind: Kind::Server,
            attributes,
            failed,
            ..self.part(place.span, name, (self.0.begun.0, now))
        }
    }

    /// A job's spans: its phases, in a span of their own where the call has many jobs.
    fn job(&self, job: &Timeline, one_of_many: bool, now: Instant, spans: &mut Vec<Span>) {
        let end = job.ended().unwrap_or(now);
        let mut parent = self.0.place.span;
        if one_of_many {
            let comment = self.part(parent, "comment", (job.begun(), end));
            parent = comment.id;
            spans.push(comment);
        }
        let started = job.started();
        let queue = self.part(parent, "queue", (job.begun(), started.unwrap_or(end)));
        let class = vec![("ko_sentiment.class", job.class().name().into())];
        spans.push(Span { attributes: class, ..queue });
        let Some(started) = started else { return };
        let prefill = self.part(parent, "prefill", (started, job.prefilled().unwrap_or(end)));
        let tokens = vec![
            ("ko_sentiment.prompt_tokens", job.prompt_tokens().into()),
            ("ko_sentiment.cached_tokens", job.cached_tokens().into()),
        ];
        spans.push(Span { attributes: tokens, ..prefill });
        let Some(prefilled) = job.prefilled().filter(|_| job.generated_tokens() > 0) else { return };
        let decode = self.part(parent, "decode", (prefilled, end));
        let tokens = vec![("ko_sentiment.generated_tokens", job.generated_tokens().into())];
        spans.push(Span { attributes: tokens, ..decode });
    }

    /// A part of a span.
    fn part(
        &self,
        parent: SpanId,
        name: impl Into<Cow<'static, str>>,
        (start, end): (Instant, Instant),
    ) -> Span {
        let place = &self.0.place;
        Span {
            trace: place.trace,
            id: SpanId::random(),
            parent: Some(parent),
            is_remote_parent: false,
            state: place.parent.as_ref().map_or_else(String::new, |parent| parent.state.clone()).into(),
            name: name.into(),
            kind: Kind::Internal,
            start: self.time(start),
            end: self.time(end.max(start)),
            attributes: Vec::new(),
            failed: false,
        }
    }

    /// The time of a moment. One clock for all: a step of the system's clock moves a trace, and does not tear it.
    fn time(&self, moment: Instant) -> SystemTime {
        let (instant, time) = self.0.begun;
        match moment.checked_duration_since(instant) {
            Some(later) => time + later,
            None => time - instant.duration_since(moment),
        }
    }
}

impl Ending {
    fn has_many(self) -> bool {
        matches!(self.method.1, "ClassifyBatch" | "ClassifyStream")
    }
}

/// Codes that are errors of a server, as OpenTelemetry's conventions for gRPC have it.
fn is_servers_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
