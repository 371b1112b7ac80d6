//! Questions and answers, and who answers.

use std::time::Duration;

use crate::sentiment::classify::ReasonDone;
use crate::sentiment::labels::Sentiment;

/// A comment and its video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The comment.
    pub comment: String,
    /// The video's title.
    pub video_title: Option<String>,
    /// The video's summary.
    pub video_summary: Option<String>,
}

/// What of an answer is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taking {
    /// The three probabilities.
    Scores {
        /// Computed apart from other comments.
        reproducible: bool,
    },
    /// The probabilities and the reasons.
    Reasons {
        /// Maximum tokens of the reasons.
        max_tokens: u32,
    },
    /// A free answer, whose words name the label.
    Free {
        /// Maximum tokens of the answer.
        max_tokens: u32,
    },
}

/// One answer. Arrays are in the order of [`Sentiment::ALL`].
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The sentiment; `None` if the words of a free answer name none.
    pub predicted: Option<Sentiment>,
    /// The model withholds the answer.
    pub abstained: bool,
    /// ln P(label | prompt), in nats; `None` for a free answer.
    pub log_probs: Option<[f64; 3]>,
    /// Calibrated probabilities; `None` for a free answer.
    pub probabilities: Option<[f64; 3]>,
    /// The free answer, or the reasons.
    pub text: Option<String>,
    /// How that text ended.
    pub done: Option<ReasonDone>,
}

/// Why a question has no answer.
#[derive(Debug)]
pub enum NoAnswer<E> {
    /// The comment itself cannot be answered, however often it is asked; and why.
    Refused(String),
    /// There is no room now.
    Later {
        /// When to ask again.
        after: Duration,
        /// How long to go on asking.
        patience: Duration,
        /// What is wrong.
        error: E,
    },
    /// No comment can be answered.
    Failed(E),
}

/// What answers: a model in this process, or a server.
pub trait Answerer: Send + Sync + 'static {
    /// Why nothing is answered any more.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Answers one question.
    fn answer(
        &self,
        question: &Question,
    ) -> impl Future<Output = Result<Answer, NoAnswer<Self::Error>>> + Send;
}
