//! A session as what answers a file's comments, for `eval` and `annotate` alike.

use std::time::Duration;

use super::session::{Session, SessionError};
use crate::ask::{Answer, Answerer, NoAnswer, Question, Taking};
use crate::engine::EngineError;
use crate::grpc::{ClientError, FailureKind, RemoteReason};
use crate::sentiment::classify::ReasonEvent;
use crate::sentiment::input::RawInput;
use crate::sentiment::score::top;

/// How long to go on asking one that is full.
const FULL: Duration = Duration::from_secs(600);
/// How long to go on asking a server that is away.
const AWAY: Duration = Duration::from_secs(60);

/// A model or a server, and what of its answers is taken.
pub struct Subject {
    session: Session,
    taking: Taking,
}

impl Subject {
    /// The answers of `session`.
    pub fn new(session: Session, taking: Taking) -> Self {
        Self { session: session.patient(), taking }
    }

    async fn scores(&self, raw: RawInput<'_>, reproducible: bool) -> Result<Answer, SessionError> {
        let verdict = self.session.clone().classify(raw, reproducible).await?.verdict;
        Ok(Answer {
            predicted: Some(top(&verdict.probabilities)),
            abstained: verdict.abstained,
            log_probs: Some(verdict.log_probs),
            probabilities: Some(verdict.probabilities),
            text: None,
            done: None,
        })
    }

    /// A text: the reasons after the verdict, or a free answer.
    async fn text(&self, raw: RawInput<'_>, options: RemoteReason) -> Result<Answer, SessionError> {
        let mut answer = Answer {
            predicted: None,
            abstained: false,
            log_probs: None,
            probabilities: None,
            text: None,
            done: None,
        };
        let mut text = String::new();
        let on_event = |event| match event {
            ReasonEvent::Verdict(classified) => {
                let verdict = classified.verdict;
                answer.predicted = Some(top(&verdict.probabilities));
                answer.abstained = verdict.abstained;
                answer.log_probs = Some(verdict.log_probs);
                answer.probabilities = Some(verdict.probabilities);
            }
            ReasonEvent::Text(piece) => text += &piece,
            ReasonEvent::Done(done) => {
                answer.done = Some(done);
                if options.free_answer {
                    answer.predicted = done.stated;
                }
            }
        };
        self.session.clone().reason(raw, options, on_event).await?;
        if !options.free_answer && answer.probabilities.is_none() {
            return Err(ClientError::Incomplete("verdict").into());
        }
        answer.text = Some(text);
        Ok(answer)
    }
}

impl Answerer for Subject {
    type Error = SessionError;

    async fn answer(&self, question: &Question) -> Result<Answer, NoAnswer<SessionError>> {
        let raw = RawInput {
            comment: &question.comment,
            video_id: "",
            title: question.video_title.as_deref().unwrap_or(""),
            summary: question.video_summary.as_deref().unwrap_or(""),
        };
        let text =
            |max_tokens, free_answer| RemoteReason { max_tokens, temperature: 0.0, seed: 0, free_answer };
        let answer = match self.taking {
            Taking::Scores { reproducible } => self.scores(raw, reproducible).await,
            Taking::Reasons { max_tokens } => self.text(raw, text(max_tokens, false)).await,
            Taking::Free { max_tokens } => self.text(raw, text(max_tokens, true)).await,
        };
        answer.map_err(no_answer)
    }
}

/// Whether an error is the comment's, or passes.
fn no_answer(error: SessionError) -> NoAnswer<SessionError> {
    match &error {
        SessionError::Invalid(_) | SessionError::Engine(EngineError::TooLong { .. }) => {
            NoAnswer::Refused(error.to_string())
        }
        SessionError::Engine(EngineError::Overloaded { retry_after }) => {
            NoAnswer::Later { after: *retry_after, patience: FULL, error }
        }
        SessionError::Client(client) => match client.kind() {
            FailureKind::Request => NoAnswer::Refused(client.reason()),
            FailureKind::Full { after } => NoAnswer::Later { after, patience: FULL, error },
            FailureKind::Away => NoAnswer::Later { after: Duration::from_secs(1), patience: AWAY, error },
            FailureKind::Other => NoAnswer::Failed(error),
        },
        _ => NoAnswer::Failed(error),
    }
}
