//! The server's numbers for those who watch it. Whatever a client sends, the label values are of fixed lists,
//! or names of the tokens file.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use tonic::Status;
use tonic_types::StatusExt as _;

use super::principal::PrincipalUse;
use super::reload::Reloads;
use super::tls::Tls;
use super::tokens::Tokens;
use crate::meter::{Counter, Gauge, Histogram};
use crate::sentiment::labels::Sentiment;
use crate::sentiment::score::Verdict;
use crate::trace::TraceMeters;

/// Seconds of a call: a cached answer takes under one millisecond, a batch of 1,000 comments a minute or more.
const CALLS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
/// Probabilities of a verdict; with three labels none is below a third.
const PROBABILITIES: [f64; 10] = [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0];

/// Codes by their number, as gRPC's metrics in other languages name them.
pub const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Services and methods; the last stands for every other.
pub const METHODS: [(&str, &str); 10] = [
    (OURS, "Classify"),
    (OURS, "ClassifyBatch"),
    (OURS, "ClassifyStream"),
    (OURS, "StreamReason"),
    (OURS, "GetModelInfo"),
    ("grpc.health.v1.Health", "Check"),
    ("grpc.health.v1.Health", "Watch"),
    ("grpc.reflection.v1.ServerReflection", "ServerReflectionInfo"),
    ("grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo"),
    ("unknown", "unknown"),
];
const OURS: &str = "ko_sentiment.v1.SentimentService";

/// Reasons of `ErrorInfo` that are refusals: nothing was computed.
const REFUSALS: [&str; 16] = [
    "INVALID_REQUEST",
    "PROMPT_TOO_LONG",
    "MESSAGE_TOO_LARGE",
    "TOO_MUCH_UNFINISHED",
    "OVERLOADED",
    "DEADLINE_TOO_SHORT",
    "NO_ROOM_APART",
    "STOPPING",
    "NO_TOKEN",
    "UNKNOWN_TOKEN",
    "TOKEN_EXPIRED",
    "METHOD_NOT_ALLOWED",
    "TOO_MANY_CALLS",
    "TOO_MANY_REQUESTS",
    "TOO_MANY_COMMENTS",
    "NO_SUCH_METHOD",
];

/// One method's calls.
#[derive(Debug)]
pub struct MethodMeters {
    /// Calls begun.
    pub started: Counter,
    /// Calls ended, by code.
    pub handled: [Counter; CODES.len()],
    /// Seconds from a call's headers to its last byte.
    pub handling: Histogram,
}

/// What the server does, counted since its start.
pub struct ServerMeters {
    methods: [MethodMeters; METHODS.len()],
    /// Connections open now.
    pub connections: Gauge,
    /// Connections closed at once, because there were too many.
    pub refused_connections: Counter,
    /// TLS handshakes that failed or took too long.
    pub failed_handshakes: Counter,
    /// Verdicts, by label.
    pub verdicts: [Counter; Sentiment::ALL.len()],
    /// Verdicts below the profile's threshold, which are no label's.
    pub abstained: Counter,
    /// Probability of a verdict's label.
    pub top_probability: Histogram,
    /// Comments of batches and streams that failed, by code.
    pub failed_items: [Counter; CODES.len()],
    refused: [Counter; REFUSALS.len()],
    /// Reloads of files.
    pub reloads: Arc<Reloads>,
    /// What became of calls' spans.
    pub traces: Arc<TraceMeters>,
    tls: OnceLock<Arc<Tls>>,
    tokens: OnceLock<Arc<Tokens>>,
}

impl Default for ServerMeters {
    fn default() -> Self {
        let method = |_| MethodMeters {
            started: Counter::default(),
            handled: Default::default(),
            handling: Histogram::new(&CALLS),
        };
        Self {
            methods: METHODS.map(method),
            connections: Gauge::default(),
            refused_connections: Counter::default(),
            failed_handshakes: Counter::default(),
            verdicts: Default::default(),
            abstained: Counter::default(),
            top_probability: Histogram::new(&PROBABILITIES),
            failed_items: Default::default(),
            refused: Default::default(),
            reloads: Default::default(),
            traces: Default::default(),
            tls: OnceLock::new(),
            tokens: OnceLock::new(),
        }
    }
}

impl ServerMeters {
    /// With the certificates and tokens that it tells of, if there are any.
    pub(super) fn of(
        tls: Option<Arc<Tls>>,
        tokens: Option<Arc<Tokens>>,
        traces: Arc<TraceMeters>,
    ) -> Arc<Self> {
        let meters = Self { traces, ..Self::default() };
        if let Some(tls) = tls {
            let _ = meters.tls.set(tls);
        }
        if let Some(tokens) = tokens {
            let _ = meters.tokens.set(tokens);
        }
        Arc::new(meters)
    }

    /// Each service and method with its numbers.
    pub fn methods(&self) -> impl Iterator<Item = ((&'static str, &'static str), &MethodMeters)> {
        METHODS.into_iter().zip(&self.methods)
    }

    /// The place in [`METHODS`] of a path such as `/ko_sentiment.v1.SentimentService/Classify`.
    pub(super) fn place(path: &str) -> usize {
        let named = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        METHODS.iter().position(|method| Some(*method) == named).unwrap_or(METHODS.len() - 1)
    }

    /// The numbers of the method at a place.
    pub(super) fn method(&self, place: usize) -> &MethodMeters {
        &self.methods[place]
    }

    /// Refusals by reason, in lower case.
    pub fn refusals(&self) -> impl Iterator<Item = (String, u64)> {
        REFUSALS.into_iter().zip(&self.refused).map(|(name, count)| (name.to_ascii_lowercase(), count.get()))
    }

    /// When the current certificate expires.
    pub fn certificate_ends(&self) -> Option<SystemTime> {
        self.tls.get().map(|tls| tls.ends())
    }

    /// What each principal of the tokens file used.
    pub fn principals(&self) -> Vec<PrincipalUse> {
        self.tokens.get().map(|tokens| tokens.principals()).unwrap_or_default()
    }

    /// Counts a call that ends with an error, if nothing was computed for it.
    pub(super) fn refuse(&self, status: &Status) {
        let details = status.get_error_details();
        let Some(reason) = details.error_info().map(|info| info.reason.as_str()) else { return };
        if let Some(at) = REFUSALS.iter().position(|refusal| *refusal == reason) {
            self.refused[at].one();
        }
    }

    /// Counts one of many that failed while its call goes on.
    pub(super) fn fail_item(&self, status: &Status) {
        self.failed_items[status.code() as usize].one();
        self.refuse(status);
    }

    pub(super) fn verdict(&self, verdict: &Verdict) {
        let label = verdict.sentiment.index();
        self.top_probability.note(verdict.probability());
        let count = if verdict.abstained { &self.abstained } else { &self.verdicts[label] };
        count.one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[test]
    fn codes_are_named_by_their_number() {
        for (i, name) in CODES.iter().enumerate() {
            let code = Code::from_i32(i32::try_from(i).unwrap());
            let expect = match code {
                Code::Ok => "OK".to_owned(),
                Code::Cancelled => "Canceled".to_owned(),
                code => format!("{code:?}"),
            };
            assert_eq!((code as usize, *name), (i, expect.as_str()));
        }
    }

    #[test]
    fn every_reason_is_a_refusal_or_known_to_be_none() {
        let others = [
            "DEADLINE_EXCEEDED",
            "SLOW_READER",
            "STOPPED_ARRIVING",
            "DECODE_FAILED",
            "NOT_FINITE",
            "ENGINE_STOPPED",
            "UNIMPLEMENTED",
            "NO_SUCH_SERVICE",
            "UNREADABLE_MESSAGE",
            "TRANSPORT",
        ];
        let sources = [include_str!("status.rs"), include_str!("principal.rs")];
        let words = sources.iter().flat_map(|text| text.split('"').skip(1).step_by(2));
        let is_reason =
            |word: &&str| word.len() > 5 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        let reasons: Vec<&str> = words.filter(is_reason).collect();
        for reason in &reasons {
            let known = REFUSALS.contains(reason) || others.contains(reason);
            assert!(known, "add {reason} to REFUSALS, or to this test if something was computed");
        }
        let gone: Vec<_> = REFUSALS.iter().filter(|refusal| !reasons.contains(refusal)).collect();
        assert!(gone.is_empty(), "nothing has these reasons: {gone:?}");
    }

    #[test]
    fn a_method_that_is_not_there_has_no_series_of_its_own() {
        let meters = ServerMeters::default();
        for path in ["/ko_sentiment.v1.SentimentService/Nope", "/a/b", "/", "", "/a/Classify", "/a/b/c"] {
            meters.method(ServerMeters::place(path)).started.one();
        }
        meters.method(ServerMeters::place("/ko_sentiment.v1.SentimentService/Classify")).started.one();
        let started: Vec<u64> = meters.methods().map(|(_, method)| method.started.get()).collect();
        assert_eq!(started, [1, 0, 0, 0, 0, 0, 0, 0, 0, 6]);
    }
}
