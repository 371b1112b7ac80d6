//! The contract from the other side, in the domain's types.

use std::time::Duration;

use tonic::codec::CompressionEncoding;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::address::Target;
use super::connect::{ClientOptions, ConnectError, Tokened, with_causes};
use super::pb::sentiment_service_client::SentimentServiceClient;
use super::pb::{self, stream_reason_response::Event};
use super::wire;
use crate::engine::{Finish, Stats};
use crate::sentiment::classify::{Classified, ModelCard, ReasonDone, ReasonEvent};
use crate::sentiment::input::RawInput;
use crate::sentiment::labels::Sentiment;
use crate::sentiment::score::{Verdict, top};
use crate::text::shown::{shown, shown_path};

/// Maximum size of a response in bytes, decompressed: a full batch's results have less than one MiB.
const MAX_RESPONSE: usize = 8 << 20;

/// Why a remote answer did not come.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address, the certificates or the token.
    #[error(transparent)]
    Options(#[from] ConnectError),
    /// No server there.
    #[error(
        "cannot reach {endpoint}: {reason}; is the server running (`ko-sentiment serve`)?",
        endpoint = shown(endpoint)
    )]
    Connect {
        /// The address asked.
        endpoint: String,
        /// The transport's reason, with its causes.
        reason: String,
    },
    /// Nothing came.
    #[error(
        "no answer from {endpoint} within {timeout:?}; check that it is a ko-sentiment server, or raise --timeout",
        endpoint = shown(endpoint)
    )]
    Timeout {
        /// The address asked.
        endpoint: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// The server refused.
    #[error("{}: {}", code_name(.0), .0.message())]
    Status(#[from] tonic::Status),
    /// The server broke the contract.
    #[error("the response has no {0}; the server may be a different version")]
    Incomplete(&'static str),
}

fn code_name(status: &tonic::Status) -> String {
    format!("{:?}", status.code())
}

/// A connection to a server. Clones share it.
#[derive(Clone)]
pub struct Client {
    inner: SentimentServiceClient<Tokened>,
    health: HealthClient<Tokened>,
    patience: Patience,
}

/// How long to wait for what.
#[derive(Debug, Clone)]
struct Patience {
    endpoint: String,
    timeout: Duration,
}

impl Patience {
    /// What `work` gives, if it comes in time.
    async fn wait<T, E: Into<ClientError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, ClientError> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(done) => done.map_err(Into::into),
            Err(_) => Err(ClientError::Timeout { endpoint: self.endpoint.clone(), timeout: self.timeout }),
        }
    }

    /// A request that the server need not finish later. Its own deadline comes after ours, which says more.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout + Duration::from_millis(200));
        request
    }
}

impl Client {
    /// Connects to a server.
    ///
    /// # Errors
    /// [`ClientError::Options`], [`ClientError::Connect`], [`ClientError::Timeout`].
    pub async fn connect(options: &ClientOptions) -> Result<Self, ClientError> {
        let (endpoint, token) = (options.endpoint()?, options.token()?);
        let name = match &options.target {
            Target::Unix(path) => format!("unix:{}", shown_path(path)),
            Target::Tcp { .. } => endpoint.uri().to_string().trim_end_matches('/').to_owned(),
        };
        let patience = Patience { endpoint: name, timeout: options.timeout };
        let failed = |source: tonic::transport::Error| ClientError::Connect {
            endpoint: patience.endpoint.clone(),
            reason: with_causes(&source),
        };
        let channel = patience.wait(async { endpoint.connect().await.map_err(failed) }).await?;
        let channel = InterceptedService::new(channel, token);
        let inner = SentimentServiceClient::new(channel.clone())
            .max_decoding_message_size(MAX_RESPONSE)
            .accept_compressed(CompressionEncoding::Zstd)
            .accept_compressed(CompressionEncoding::Gzip);
        Ok(Self { inner, health: HealthClient::new(channel), patience })
    }

    /// The same connection, for many requests at once: an answer may wait its turn for at least `turn`.
    #[must_use]
    pub fn patient(mut self, turn: Duration) -> Self {
        self.patience.timeout = self.patience.timeout.max(turn);
        self
    }

    /// Whether the server serves (`grpc.health.v1`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn serving(&mut self) -> Result<bool, ClientError> {
        let request = self.patience.request(HealthCheckRequest::default());
        let response = self.patience.wait(self.health.check(request)).await?.into_inner();
        Ok(response.status() == ServingStatus::Serving)
    }

    /// Which model answers. Its size and architecture, where the server knows them.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn model(&mut self) -> Result<ModelCard, ClientError> {
        Ok(self.model_and_profile().await?.0)
    }

    /// Which model answers, and its profile's [SHA-256](crate::sentiment::profile::Profile::sha256): empty from
    /// a server of an earlier version.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn model_and_profile(&mut self) -> Result<(ModelCard, String), ClientError> {
        let info = self.info().await?;
        let model = info.model.ok_or(ClientError::Incomplete("`model`"))?;
        let card = ModelCard {
            name: model.name,
            sha256: model.sha256,
            quantization: model.quantization,
            architecture: info.architecture,
            parameters: info.parameters,
            size: info.size_bytes,
            vocabulary: info.vocabulary_size as usize,
            options: info.options.into_iter().collect(),
        };
        Ok((card, info.profile_sha256))
    }

    async fn info(&mut self) -> Result<pb::GetModelInfoResponse, ClientError> {
        let request = self.patience.request(pb::GetModelInfoRequest {});
        Ok(self.patience.wait(self.inner.get_model_info(request)).await?.into_inner())
    }

    /// The labels as the model writes them, in the order of [`Sentiment::ALL`].
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn labels(&mut self) -> Result<[String; 3], ClientError> {
        let mut words = Sentiment::ALL.map(|sentiment| sentiment.korean().to_owned());
        for label in self.info().await?.labels {
            if let (Some(sentiment), false) = (wire::sentiment(label.sentiment()), label.text.is_empty()) {
                words[sentiment.index()] = label.text;
            }
        }
        Ok(words)
    }

    /// The sentiment of a comment.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn classify(
        &mut self,
        raw: RawInput<'_>,
        reproducible: bool,
    ) -> Result<Classified, ClientError> {
        let request =
            pb::ClassifyRequest { comment: raw.comment.to_owned(), video: video(raw), reproducible };
        let request = self.patience.request(request);
        classified(&self.patience.wait(self.inner.classify(request)).await?.into_inner())
    }

    /// The reasons, as a stream.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn reason(&mut self, raw: RawInput<'_>, options: RemoteReason) -> Result<Reasons, ClientError> {
        let request = pb::StreamReasonRequest {
            comment: raw.comment.to_owned(),
            video: video(raw),
            max_tokens: options.max_tokens,
            temperature: options.temperature,
            seed: options.seed,
            free_answer: options.free_answer,
        };
        let events = self.patience.wait(self.inner.stream_reason(request)).await?.into_inner();
        Ok(Reasons { events, free_answer: options.free_answer, patience: self.patience.clone() })
    }
}

/// How to write the reasons.
#[derive(Debug, Clone, Copy)]
pub struct RemoteReason {
    /// Tokens to write at most.
    pub max_tokens: u32,
    /// 0 for the most probable token each time.
    pub temperature: f32,
    /// Of the sampling.
    pub seed: u64,
    /// Let the model answer by itself.
    pub free_answer: bool,
}

/// A remote explanation.
pub struct Reasons {
    events: Streaming<pb::StreamReasonResponse>,
    free_answer: bool,
    patience: Patience,
}

impl Reasons {
    /// The next event; `None` after the end.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn next(&mut self) -> Result<Option<ReasonEvent>, ClientError> {
        while let Some(message) = self.patience.wait(self.events.message()).await? {
            return Ok(Some(match message.event.ok_or(ClientError::Incomplete("`event`"))? {
                // Of a free answer, `done` says the same.
                Event::Verdict(_) if self.free_answer => continue,
                Event::Verdict(verdict) => ReasonEvent::Verdict(classified(&verdict)?),
                Event::Text(text) => ReasonEvent::Text(text),
                Event::Done(done) => ReasonEvent::Done(ReasonDone {
                    finish: match done.finish_reason() {
                        pb::FinishReason::Length => Finish::Length,
                        pb::FinishReason::Stop | pb::FinishReason::Unspecified => Finish::Stop,
                    },
                    stated: wire::sentiment(done.stated_sentiment()),
                    agrees: done.agrees,
                    stats: stats(done.usage, done.timings),
                }),
            }));
        }
        Ok(None)
    }
}

fn video(raw: RawInput<'_>) -> Option<pb::Video> {
    let RawInput { video_id, title, summary, .. } = raw;
    let given = [video_id, title, summary].iter().any(|text| !text.is_empty());
    given.then(|| pb::Video { id: video_id.into(), title: title.into(), summary: summary.into() })
}

fn classified(response: &pb::ClassifyResponse) -> Result<Classified, ClientError> {
    let mut probabilities = [0.0; 3];
    let mut log_probs = [f64::NEG_INFINITY; 3];
    for score in &response.scores {
        if let Some(s) = wire::sentiment(score.sentiment()) {
            probabilities[s.index()] = score.probability;
            log_probs[s.index()] = score.log_probability;
        }
    }
    if response.scores.is_empty() {
        return Err(ClientError::Incomplete("`scores`"));
    }
    let sentiment = wire::sentiment(response.sentiment()).unwrap_or_else(|| top(&probabilities));
    let verdict = Verdict { sentiment, probabilities, log_probs, abstained: response.abstained };
    let stats = stats(response.usage, response.timings);
    Ok(Classified { verdict, stats, from_cache: response.from_cache })
}

fn stats(usage: Option<pb::Usage>, timings: Option<pb::Timings>) -> Stats {
    let (usage, timings) = (usage.unwrap_or_default(), timings.unwrap_or_default());
    let time =
        |d: Option<prost_types::Duration>| d.and_then(|d| Duration::try_from(d).ok()).unwrap_or_default();
    Stats {
        prompt_tokens: usage.prompt_tokens as usize,
        cached_tokens: usage.cached_tokens as usize,
        generated_tokens: usage.generated_tokens as usize,
        queue: time(timings.queue),
        compute: time(timings.compute),
    }
}
