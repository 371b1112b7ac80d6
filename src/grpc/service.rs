//! The methods of `SentimentService`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::Instrument as _;

use super::call::{Call, Gate};
use super::metadata::deadline;
use super::pb::item_result::Outcome;
use super::pb::{self, sentiment_service_server::SentimentService, stream_reason_response::Event};
use super::principal::Admitted;
use super::traced::CallTrace;
use super::{priority, status, wire};
use crate::engine::{Class, EngineError, Share};
use crate::sentiment::classify::{Classified, Classifier, Options, ReasonEvent, ReasonOptions, ReasonStream};
use crate::sentiment::input::{
    DEFAULT_TOKENS, MAX_COMMENT, MAX_ID, MAX_SUMMARY, MAX_TEMPERATURE, MAX_TITLE, MAX_TOKENS, Violation,
};
use crate::sentiment::labels::Sentiment;

/// Comments of one batch.
const MAX_BATCH: usize = 1_000;
/// Bytes of the largest request that the contract allows: a full batch of the longest comments, in UTF-8, with
/// tags and lengths.
pub const MAX_REQUEST_BYTES: usize =
    MAX_BATCH * (4 * MAX_COMMENT + 8) + 4 * (MAX_ID + MAX_TITLE + MAX_SUMMARY) + 64;
/// Comments of one call that wait in the engine at once: enough to fill its steps, and no more,
/// so that other callers' requests find their place between them.
const IN_FLIGHT: usize = 64;
/// An item of many that found no room tries again after this, at the latest.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Answers with a [`Classifier`].
#[derive(Clone)]
pub struct Sentiments {
    classifier: Arc<Classifier>,
    gate: Gate,
    model: pb::Model,
}

impl Sentiments {
    /// Requests enter through `gate`.
    pub fn new(classifier: Arc<Classifier>, gate: Gate) -> Self {
        let model = wire::model(classifier.card(), classifier.profile());
        Self { classifier, gate, model }
    }

    /// One classification, as every method answers it.
    async fn classify_one(
        &self,
        request: &pb::ClassifyRequest,
        Terms { deadline, share, at_limit, trace }: Terms,
    ) -> Result<Classified, Status> {
        let input = wire::input(&request.comment, request.video.as_ref()).map_err(|v| status::invalid(&v))?;
        let options = Options { deadline, reproducible: request.reproducible, share };
        loop {
            let follow = |job| {
                if let Some(trace) = &trace {
                    trace.follow(job);
                }
            };
            if at_limit == AtLimit::Wait {
                let room = self.classifier.room(&input, options).map(Ok);
                before(deadline, room).await.map_err(|e| status::engine_error(&e))?;
            }
            match before(deadline, self.classifier.classify_followed(&input, options, follow)).await {
                Err(EngineError::Overloaded { retry_after }) if at_limit == AtLimit::Wait => {
                    let pause = tokio::time::sleep(retry_after.min(LONGEST_PAUSE));
                    before(deadline, pause.map(Ok)).await.map_err(|e| status::engine_error(&e))?;
                }
                Ok(classified) => {
                    self.gate.meters().verdict(&classified.verdict);
                    return Ok(classified);
                }
                Err(error) => return Err(status::engine_error(&error)),
            }
        }
    }

    /// One of many: an error is a result like any other. While it waits for room, so does what its call
    /// would send behind it.
    async fn classify_item(&self, request: pb::ClassifyRequest, terms: Terms) -> pb::ItemResult {
        match self.classify_one(&request, terms).await {
            Ok(classified) => {
                let response = wire::classified(&classified, self.model.clone());
                pb::ItemResult { outcome: Some(Outcome::Response(response)) }
            }
            Err(status) => self.failed_item(&status),
        }
    }

    fn failed_item(&self, status: &Status) -> pb::ItemResult {
        self.gate.meters().fail_item(status);
        item_error(status.code(), status.message().to_owned())
    }

    /// Begins one of a stream. It has a task of its own: neither its place in the engine nor another
    /// caller who waits for the same answer may depend on how fast this stream is read.
    fn begin_item(&self, request: pb::ClassifyRequest, terms: Terms) -> AbortOnDropHandle<pb::ItemResult> {
        let this = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move { this.classify_item(request, terms).await }))
    }
}

/// Counts comments against the caller's own limit.
fn spend(admitted: Option<&Admitted>, comments: usize) -> Result<(), Status> {
    admitted.map_or(Ok(()), |a| a.spend(comments)).map_err(|exceeded| status::exceeded(&exceeded))
}

/// What holds for all comments of a call.
#[derive(Clone)]
struct Terms {
    deadline: Option<Instant>,
    share: Share,
    at_limit: AtLimit,
    trace: Option<CallTrace>,
}

impl Terms {
    /// Of a call to a method of this class. A call whose metadata says something else ends here.
    fn of<T>(call: Call, request: &Request<T>, class: Class) -> Result<(Call, Self), Status> {
        let deadline = deadline(request.metadata(), call.begun());
        let at_limit = if class == Class::Bulk { AtLimit::Wait } else { AtLimit::Refuse };
        match priority::share(request.metadata(), call.admitted(), class) {
            Ok(share) => {
                let trace = call.trace().cloned();
                Ok((call, Self { deadline, share, at_limit, trace }))
            }
            Err(status) => Err(call.fail(status)),
        }
    }
}

/// What becomes of a comment that finds the server at its limit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtLimit {
    /// It is refused, with the time to come back.
    Refuse,
    /// It waits for room, up to its deadline.
    Wait,
}

/// Whether one of a stream may be begun.
fn check_item(id: &str, admitted: Option<&Admitted>) -> Result<(), Status> {
    if id.chars().count() > MAX_ID {
        return Err(Status::invalid_argument(format!("`id` has more than {MAX_ID} characters")));
    }
    spend(admitted, 1)
}

fn item_error(code: Code, message: String) -> pb::ItemResult {
    pb::ItemResult { outcome: Some(Outcome::Error(pb::ItemError { code: code.into(), message })) }
}

fn from_cache(result: &pb::ItemResult) -> bool {
    matches!(&result.outcome, Some(Outcome::Response(response)) if response.from_cache)
}

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SentimentService for Sentiments {
    async fn classify(
        &self,
        request: Request<pb::ClassifyRequest>,
    ) -> Result<Response<pb::ClassifyResponse>, Status> {
        let call = self.gate.enter("Classify", &request)?;
        let (mut call, terms) = Terms::of(call, &request, Class::Interactive)?;
        let span = call.span().clone();
        let allowed = spend(call.admitted(), 1);
        let work = async {
            allowed?;
            self.classify_one(request.get_ref(), terms).await
        };
        match work.instrument(span).await {
            Ok(classified) => {
                call.record(&classified.stats);
                call.count_from_cache(usize::from(classified.from_cache));
                Ok(call.ok(wire::classified(&classified, self.model.clone())))
            }
            Err(status) => Err(call.fail(status)),
        }
    }

    type StreamReasonStream = BoxStream<pb::StreamReasonResponse>;

    async fn stream_reason(
        &self,
        request: Request<pb::StreamReasonRequest>,
    ) -> Result<Response<Self::StreamReasonStream>, Status> {
        let call = self.gate.enter("StreamReason", &request)?;
        let (call, terms) = Terms::of(call, &request, Class::Interactive)?;
        let request = request.get_ref();
        let deadline = terms.deadline;
        let begun = reason_options(request, terms)
            .and_then(|options| Ok((wire::input(&request.comment, request.video.as_ref())?, options)))
            .map_err(|violations| status::invalid(&violations))
            .and_then(|(input, options)| {
                spend(call.admitted(), 1)?;
                self.classifier.reason(&input, options).map_err(|e| status::engine_error(&e))
            });
        match begun {
            Ok(reasons) => {
                if let Some(trace) = call.trace() {
                    trace.follow(reasons.timeline());
                }
                let response = call.respond(());
                let events = ReasonEvents { reasons, call, model: self.model.clone(), deadline };
                Ok(response_with(response, events.stream()))
            }
            Err(status) => Err(call.fail(status)),
        }
    }

    async fn classify_batch(
        &self,
        request: Request<pb::ClassifyBatchRequest>,
    ) -> Result<Response<pb::ClassifyBatchResponse>, Status> {
        let call = self.gate.enter("ClassifyBatch", &request)?;
        let (mut call, terms) = Terms::of(call, &request, Class::Bulk)?;
        let pb::ClassifyBatchRequest { comments, video } = request.into_inner();
        if !(1..=MAX_BATCH).contains(&comments.len()) {
            let description = format!("must hold 1 to {MAX_BATCH} comments, and holds {}", comments.len());
            return Err(call.fail(status::invalid(&[Violation { field: "comments", description }])));
        }
        if let Err(status) = spend(call.admitted(), comments.len()) {
            return Err(call.fail(status));
        }
        let items = comments.into_iter().map(|comment| {
            let request = pb::ClassifyRequest { comment, video: video.clone(), reproducible: false };
            self.classify_item(request, terms.clone())
        });
        let span = call.span().clone();
        let results: Vec<_> = stream::iter(items).buffered(IN_FLIGHT).collect().instrument(span).await;
        call.count_from_cache(results.iter().filter(|result| from_cache(result)).count());
        Ok(call.ok(pb::ClassifyBatchResponse { results }))
    }

    type ClassifyStreamStream = BoxStream<pb::ClassifyStreamResponse>;

    async fn classify_stream(
        &self,
        request: Request<Streaming<pb::ClassifyStreamRequest>>,
    ) -> Result<Response<Self::ClassifyStreamStream>, Status> {
        let call = self.gate.enter("ClassifyStream", &request)?;
        let (call, terms) = Terms::of(call, &request, Class::Bulk)?;
        let response = call.respond(());
        let (this, admitted) = (self.clone(), call.admitted().cloned());
        let results = request.into_inner().map(move |item| {
            let begun = item.map(|pb::ClassifyStreamRequest { id, request }| {
                let task = check_item(&id, admitted.as_ref())
                    .map(|()| this.begin_item(request.unwrap_or_default(), terms.clone()));
                (id, task.map_err(|status| this.failed_item(&status)))
            });
            async move {
                let (id, task) = begun.map_err(|bare| status::of_transport(&bare).unwrap_or(bare))?;
                let result = match task {
                    Err(failed) => failed,
                    Ok(task) => {
                        let failed = |_| item_error(Code::Internal, "the item's task failed".into());
                        task.await.unwrap_or_else(failed)
                    }
                };
                Ok(pb::ClassifyStreamResponse { id, result: Some(result) })
            }
        });
        // At most this many are read ahead: the sender feels the server's speed through flow control.
        let results = results.buffer_unordered(IN_FLIGHT);
        let with_end = stream::unfold((results, call), |(mut results, mut call)| async move {
            let Some(result) = results.next().await else {
                call.end();
                return None;
            };
            if let Ok(pb::ClassifyStreamResponse { result: Some(result), .. }) = &result {
                call.count_from_cache(usize::from(from_cache(result)));
            }
            Some((result, (results, call)))
        });
        Ok(response_with(response, with_end))
    }

    async fn get_model_info(
        &self,
        request: Request<pb::GetModelInfoRequest>,
    ) -> Result<Response<pb::GetModelInfoResponse>, Status> {
        let call = self.gate.enter("GetModelInfo", &request)?;
        let card = self.classifier.card();
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let label = |s: Sentiment| pb::get_model_info_response::Label {
            sentiment: pb::Sentiment::from(s).into(),
            text: self.classifier.profile().labels.get(s).clone(),
        };
        Ok(call.ok(pb::GetModelInfoResponse {
            model: Some(self.model.clone()),
            architecture: card.architecture.clone(),
            parameters: card.parameters,
            size_bytes: card.size,
            vocabulary_size: small(card.vocabulary),
            max_request_tokens: small(self.classifier.engine().max_request_tokens()),
            labels: Sentiment::ALL.map(label).into(),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            profile_sha256: self.classifier.profile().sha256(),
            options: card.options.clone().into_iter().collect(),
        }))
    }
}

fn response_with<T>(
    response: Response<()>,
    stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Response<BoxStream<T>> {
    let stream: BoxStream<T> = Box::pin(stream);
    response.map(|()| stream)
}

/// A running explanation on its way to the wire.
struct ReasonEvents {
    reasons: ReasonStream,
    call: Call,
    model: pb::Model,
    deadline: Option<Instant>,
}

impl ReasonEvents {
    fn stream(self) -> impl Stream<Item = Result<pb::StreamReasonResponse, Status>> + Send {
        let events = stream::unfold(Some(self), |state| async move {
            let mut this = state?;
            let span = this.call.span().clone();
            let next = before(this.deadline, async { this.reasons.next().await.transpose() });
            let (events, state) = match next.instrument(span).await {
                Ok(Some(event)) => this.wire(event),
                // The stream ends with `Done` or an error; there is no other end.
                Ok(None) => return None,
                Err(error) => (vec![Err(this.call.fail(status::engine_error(&error)))], None),
            };
            Some((stream::iter(events), state))
        });
        events.flatten()
    }

    /// An event as messages, and what is left to do after it.
    fn wire(self, event: ReasonEvent) -> (Vec<Result<pb::StreamReasonResponse, Status>>, Option<Self>) {
        let message = |event| Ok(pb::StreamReasonResponse { event: Some(event) });
        match event {
            ReasonEvent::Verdict(classified) => {
                self.call.meters().verdict(&classified.verdict);
                let verdict = wire::classified(&classified, self.model.clone());
                (vec![message(Event::Verdict(verdict))], Some(self))
            }
            ReasonEvent::Text(text) => (vec![message(Event::Text(text))], Some(self)),
            ReasonEvent::Done(done) => {
                let mut events = Vec::new();
                if !self.reasons.scored() {
                    events.push(message(Event::Verdict(wire::stated(&done, self.model))));
                }
                events.push(message(Event::Done(wire::done(&done))));
                self.call.record(&done.stats);
                self.call.end();
                (events, None)
            }
        }
    }
}

/// Checks what a request for reasons says of their writing.
fn reason_options(
    request: &pb::StreamReasonRequest,
    Terms { deadline, share, .. }: Terms,
) -> Result<ReasonOptions, Vec<Violation>> {
    let mut violations = Vec::new();
    if request.max_tokens > MAX_TOKENS {
        let description = format!("must be at most {MAX_TOKENS}; 0 stands for {DEFAULT_TOKENS}");
        violations.push(Violation { field: "max_tokens", description });
    }
    if !(0.0..=MAX_TEMPERATURE).contains(&request.temperature) {
        let description = format!("must be 0 (greedy) to {MAX_TEMPERATURE}");
        violations.push(Violation { field: "temperature", description });
    }
    if !violations.is_empty() {
        return Err(violations);
    }
    let tokens = if request.max_tokens == 0 { DEFAULT_TOKENS } else { request.max_tokens };
    Ok(ReasonOptions {
        deadline,
        max_tokens: tokens as usize,
        temperature: request.temperature,
        seed: request.seed,
        free_answer: request.free_answer,
        share,
    })
}

/// Work that ends at the deadline, however long a step takes.
async fn before<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    match deadline {
        None => work.await,
        Some(deadline) => {
            tokio::time::timeout_at(deadline.into(), work).await.unwrap_or(Err(EngineError::DeadlineExceeded))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampling_is_checked() {
        let check = |max_tokens, temperature, expect: &[&str]| {
            let request = pb::StreamReasonRequest { max_tokens, temperature, ..Default::default() };
            let (share, at_limit) = (Share::default(), AtLimit::Refuse);
            let terms = Terms { deadline: None, share, at_limit, trace: None };
            let fields: Vec<_> = match reason_options(&request, terms) {
                Ok(_) => Vec::new(),
                Err(v) => v.iter().map(|v| v.field).collect(),
            };
            assert_eq!(fields, expect);
        };
        check(0, 0.0, &[]);
        check(8192, 2.0, &[]);
        check(8193, -0.1, &["max_tokens", "temperature"]);
        check(1, f32::NAN, &["temperature"]);
    }
}
