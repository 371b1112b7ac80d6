//! Spans as messages.

use std::time::{SystemTime, UNIX_EPOCH};

use super::pb::any_value;
use super::pb::span::SpanKind;
use super::pb::status::StatusCode;
use super::pb::{
    AnyValue, ExportTraceServiceRequest, InstrumentationScope, KeyValue, Resource, ResourceSpans, ScopeSpans,
    Span, Status,
};
use crate::trace::{self, Kind, Value};

/// Version of the conventions that the attributes' names follow.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.45.0";

/// W3C's flag of a recorded trace.
const SAMPLED: u32 = 1;
/// Flags that say whether a parent is another process's.
const KNOWN_IF_REMOTE: u32 = 1 << 8;
const REMOTE: u32 = 1 << 9;

/// A batch of spans of the process with these attributes.
pub fn request(resource: &[(String, String)], spans: Vec<trace::Span>) -> ExportTraceServiceRequest {
    let text = |text: &String| any_value::Value::StringValue(text.clone());
    let resource = resource.iter().map(|(key, value)| attribute(key, text(value))).collect();
    let scope = InstrumentationScope {
        name: "ko_sentiment".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let spans = spans.into_iter().map(span).collect();
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: resource }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans, schema_url: SCHEMA.to_owned() }],
            schema_url: SCHEMA.to_owned(),
        }],
    }
}

fn span(span: trace::Span) -> Span {
    let remote = if span.is_remote_parent { REMOTE } else { 0 };
    let kind = match span.kind {
        Kind::Server => SpanKind::Server,
        Kind::Internal => SpanKind::Internal,
    };
    let code = if span.failed { StatusCode::Error } else { StatusCode::Unset };
    let value = |value| match value {
        Value::Text(text) => any_value::Value::StringValue(text.into_owned()),
        Value::Number(n) => any_value::Value::IntValue(n),
    };
    Span {
        trace_id: span.trace.bytes().into(),
        span_id: span.id.bytes().into(),
        trace_state: span.state.to_string(),
        parent_span_id: span.parent.map(|parent| parent.bytes().into()).unwrap_or_default(),
        name: span.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: nanoseconds(span.start),
        end_time_unix_nano: nanoseconds(span.end),
        attributes: span.attributes.into_iter().map(|(key, v)| attribute(key, value(v))).collect(),
        status: Some(Status { message: String::new(), code: code.into() }),
        flags: SAMPLED | KNOWN_IF_REMOTE | remote,
    }
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}
