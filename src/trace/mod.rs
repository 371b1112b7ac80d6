//! Traces of calls: what `grpc` notes of a call and `telemetry` exports. Nothing here knows a wire format, and nothing
//! is noted unless somebody takes the spans.
//!
//! | file | job |
//! | --- | --- |
//! | `id` | ids of traces and spans |
//! | `parent` | a caller's `traceparent` and `tracestate` |
//! | `sampler` | which traces are recorded |
//! | `span` | a finished span |
//! | `tracer` | begins spans, and passes finished ones on |

mod id;
mod parent;
mod sampler;
mod span;
mod tracer;

pub use id::{SpanId, TraceId};
pub use parent::Parent;
pub use sampler::Sampler;
pub use span::{Kind, Span, Value};
pub use tracer::{Loss, Place, TraceMeters, Tracer};
