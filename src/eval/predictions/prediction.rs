//! The answer to one row.

use serde::{Deserialize, Serialize};

use crate::eval::metrics::Scored;
use crate::sentiment::labels::Sentiment;

/// The answer to one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Index of the row in the data set, from 0.
    pub row: usize,
    /// The comment.
    pub comment: String,
    /// The true label.
    pub label: Sentiment,
    /// The answered label, of an abstained answer the most probable one; `None` for a free answer that names none.
    pub predicted: Option<Sentiment>,
    /// The model abstains: the highest probability is below the profile's threshold.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub abstained: bool,
    /// Joint log-probabilities of the three labels in nats, before calibration ([`Mode::Score`](crate::eval::identity::Mode)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_probs: Option<[f64; 3]>,
    /// Probabilities of the three labels under the model's own calibration ([`Mode::Score`](crate::eval::identity::Mode)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probabilities: Option<[f64; 3]>,
    /// What the model wrote ([`Mode::Generate`](crate::eval::identity::Mode)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The rows' true labels and probabilities, for predictions that have them.
pub fn probabilities(predictions: &[Prediction]) -> Vec<Scored> {
    let scored = |p: &Prediction| Some((p.label, p.probabilities?));
    predictions.iter().filter_map(scored).collect()
}
