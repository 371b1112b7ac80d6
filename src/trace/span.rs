//! A finished span.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use super::id::{SpanId, TraceId};

/// What a span is to the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A caller waits for it.
    Server,
    /// A part of another span.
    Internal,
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A word of a fixed list, or a name from the operator's files; never what a caller wrote.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

impl From<usize> for Value {
    fn from(n: usize) -> Self {
        Self::Number(i64::try_from(n).unwrap_or(i64::MAX))
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

/// Some work of a call, once it is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace that it belongs to.
    pub trace: TraceId,
    /// Its id.
    pub id: SpanId,
    /// The span that it is part of.
    pub parent: Option<SpanId>,
    /// That span is another process's.
    pub is_remote_parent: bool,
    /// The caller's `tracestate`.
    pub state: Arc<str>,
    /// What was done.
    pub name: Cow<'static, str>,
    /// What it is to the other side.
    pub kind: Kind,
    /// When it began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// What is known of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// It failed, and that is the server's fault.
    pub failed: bool,
}
