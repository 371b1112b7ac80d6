//! What is kept of an answer.

use serde::{Deserialize, Serialize};

use crate::ask::Answer;
use crate::sentiment::labels::Sentiment;
use crate::sentiment::score::top;

/// What is kept of an answer, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// An answer.
    Answer {
        /// Calibrated, in the order of [`Sentiment::ALL`].
        probabilities: [f64; 3],
        /// The model withholds it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        abstained: bool,
        /// Why, in the model's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reasons: Option<String>,
    },
    /// The model refuses the comment, and why.
    Refused(String),
}

impl Reply {
    /// What is kept of `answer`.
    pub fn of(answer: Result<Answer, String>) -> Self {
        match answer {
            Ok(Answer { probabilities: Some(probabilities), abstained, text, .. }) => {
                Self::Answer { probabilities, abstained, reasons: text }
            }
            Ok(_) => Self::Refused("the answer has no probabilities".to_owned()),
            Err(reason) => Self::Refused(reason),
        }
    }

    /// The most probable sentiment.
    pub fn sentiment(&self) -> Option<Sentiment> {
        match self {
            Self::Answer { probabilities, .. } => Some(top(probabilities)),
            Self::Refused(_) => None,
        }
    }
}
