//! Who answers, behind one face: a model in this process, or a server.

use std::sync::Arc;

use super::answerer_args::AnswererArgs;
use crate::engine::{EngineError, Share};
use crate::grpc::{Client, ClientError, RemoteReason, ServerError};
use crate::load::{LoadError, load};
use crate::sentiment::classify::{Classified, Classifier, ModelCard, Options, ReasonEvent, ReasonOptions};
use crate::sentiment::input::{Input, RawInput, Violation};
use crate::sentiment::labels::Sentiment;

use super::profile_arg::ProfileArgError;
use super::trial::TrialError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The model cannot be run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The model ended the process that tried it.
    #[error(transparent)]
    Trial(#[from] TrialError),
    /// `--profile` cannot be used.
    #[error(transparent)]
    Profile(#[from] ProfileArgError),
    /// Neither `--model` nor `--endpoint`.
    #[error("name a model with --model FILE, or a server with --endpoint HOST:PORT")]
    Nobody,
    /// The input breaks the contract.
    #[error("{}", violations_text(.0))]
    Invalid(Vec<Violation>),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The server.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A server of our own.
    #[error(transparent)]
    Server(#[from] ServerError),
}

fn violations_text(violations: &[Violation]) -> String {
    let faults: Vec<String> = violations.iter().map(|v| format!("{} {}", v.field, v.description)).collect();
    faults.join("; ")
}

/// A model in this process, or a connection to a server.
#[derive(Clone)]
pub enum Session {
    /// In this process.
    Local(Arc<Classifier>),
    /// Elsewhere.
    Remote(Box<Client>),
}

impl Session {
    /// Loads the model, or connects.
    pub async fn open(args: &AnswererArgs) -> Result<Self, SessionError> {
        match (&args.endpoint, &args.model) {
            (Some(endpoint), _) => {
                let options = args.client.options(endpoint).map_err(ClientError::from)?;
                Ok(Self::Remote(Box::new(Client::connect(&options).await?)))
            }
            (None, Some(model)) => {
                args.options.try_first(model)?;
                Ok(Self::Local(Arc::new(load(model, args.options.options()?)?)))
            }
            (None, None) => Err(SessionError::Nobody),
        }
    }

    /// The same, once it has answered, for many requests at once: each may wait its turn.
    #[must_use]
    pub fn patient(self) -> Self {
        const TURN: std::time::Duration = std::time::Duration::from_secs(300);
        match self {
            Self::Remote(client) => Self::Remote(Box::new(client.patient(TURN))),
            local @ Self::Local(_) => local,
        }
    }

    /// Which model answers.
    pub async fn model(&mut self) -> Result<ModelCard, SessionError> {
        match self {
            Self::Local(classifier) => Ok(classifier.card().clone()),
            Self::Remote(client) => Ok(client.model().await?),
        }
    }

    /// Which model answers, and its profile's SHA-256: empty from a server of an earlier version.
    pub async fn model_and_profile(&mut self) -> Result<(ModelCard, String), SessionError> {
        match self {
            Self::Local(classifier) => Ok((classifier.card().clone(), classifier.profile().sha256())),
            Self::Remote(client) => Ok(client.model_and_profile().await?),
        }
    }

    /// The labels as the model writes them, in the order of [`Sentiment::ALL`].
    pub async fn labels(&mut self) -> Result<[String; 3], SessionError> {
        match self {
            Self::Local(classifier) => {
                Ok(Sentiment::ALL.map(|sentiment| classifier.profile().labels.get(sentiment).clone()))
            }
            Self::Remote(client) => Ok(client.labels().await?),
        }
    }

    /// The sentiment of a comment.
    pub async fn classify(
        &mut self,
        raw: RawInput<'_>,
        reproducible: bool,
    ) -> Result<Classified, SessionError> {
        match self {
            Self::Local(classifier) => {
                let input = Input::new(raw).map_err(SessionError::Invalid)?;
                let options = Options { reproducible, ..Options::default() };
                Ok(classifier.classify(&input, options).await?)
            }
            Self::Remote(client) => Ok(client.classify(raw, reproducible).await?),
        }
    }

    /// The reasons: `on_event` sees every event.
    pub async fn reason(
        &mut self,
        raw: RawInput<'_>,
        options: RemoteReason,
        mut on_event: impl FnMut(ReasonEvent),
    ) -> Result<(), SessionError> {
        match self {
            Self::Local(classifier) => {
                let input = Input::new(raw).map_err(SessionError::Invalid)?;
                let options = ReasonOptions {
                    deadline: None,
                    max_tokens: options.max_tokens as usize,
                    temperature: options.temperature,
                    seed: options.seed,
                    free_answer: options.free_answer,
                    share: Share::default(),
                };
                let mut events = classifier.reason(&input, options)?;
                while let Some(event) = events.next().await {
                    on_event(event?);
                }
            }
            Self::Remote(client) => {
                let mut events = client.reason(raw, options).await?;
                while let Some(event) = events.next().await? {
                    on_event(event);
                }
            }
        }
        Ok(())
    }
}
