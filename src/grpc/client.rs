//! The contract from the other side, in the domain's types.

use std::time::Duration;

use tonic::Streaming;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::pb::sentiment_service_client::SentimentServiceClient;
use super::pb::{self, stream_reason_response::Event};
use super::wire;
use crate::engine::{Finish, Stats};
use crate::sentiment::classify::{Classified, ModelCard, ReasonDone, ReasonEvent};
use crate::sentiment::input::RawInput;
use crate::sentiment::score::{Verdict, top};

/// Why a remote answer did not come.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No server there.
    #[error("cannot reach {endpoint}: {source}; is the server running (`ko-sentiment serve`)?")]
    Connect {
        /// The address asked.
        endpoint: String,
        /// The transport's reason.
        source: tonic::transport::Error,
    },
    /// The server refused.
    #[error("{}: {}", code_name(.0), .0.message())]
    Status(#[from] tonic::Status),
    /// The server broke the contract.
    #[error("the server's answer lacks {0}; it may be of another version")]
    Incomplete(&'static str),
}

fn code_name(status: &tonic::Status) -> String {
    format!("{:?}", status.code())
}

/// A connection to a server. Clones share it.
#[derive(Clone)]
pub struct Client {
    inner: SentimentServiceClient<Channel>,
    health: HealthClient<Channel>,
}

impl Client {
    /// Connects to `HOST:PORT`, or to a URL.
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub async fn connect(endpoint: &str) -> Result<Self, ClientError> {
        let url = if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
        let failed = |source| ClientError::Connect { endpoint: endpoint.to_owned(), source };
        let channel = Channel::from_shared(url).map_err(|_| ClientError::Incomplete("a usable address"))?;
        let channel = channel.connect_timeout(Duration::from_secs(10)).connect().await.map_err(failed)?;
        Ok(Self { inner: SentimentServiceClient::new(channel.clone()), health: HealthClient::new(channel) })
    }

    /// Whether the server serves (`grpc.health.v1`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn serving(&mut self) -> Result<bool, ClientError> {
        let response = self.health.check(HealthCheckRequest::default()).await?.into_inner();
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
        let info = self.inner.get_model_info(pb::GetModelInfoRequest {}).await?.into_inner();
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
        classified(&self.inner.classify(request).await?.into_inner())
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
        let events = self.inner.stream_reason(request).await?.into_inner();
        Ok(Reasons { events, free_answer: options.free_answer })
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
}

impl Reasons {
    /// The next event; `None` after the end.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn next(&mut self) -> Result<Option<ReasonEvent>, ClientError> {
        while let Some(message) = self.events.message().await? {
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
