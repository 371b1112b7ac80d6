//! A model's answers, kept in a file of JSON lines that grows as they come.
//!
//! The first line is the [identity](super::identity) of the run; each other line is one answer. An interrupted
//! run resumes from the file ([`PredictionsFile`]).

mod file;
mod lines;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::metrics::Scored;
use crate::sentiment::labels::Sentiment;

pub use file::PredictionsFile;
pub use lines::{Reference, read, read_reference};

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
    /// Joint log-probabilities of the three labels in nats, before calibration ([`Mode::Score`](super::identity::Mode)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_probs: Option<[f64; 3]>,
    /// Probabilities of the three labels under the model's own calibration ([`Mode::Score`](super::identity::Mode)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probabilities: Option<[f64; 3]>,
    /// What the model wrote ([`Mode::Generate`](super::identity::Mode)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The rows' true labels and probabilities, for predictions that have them.
pub fn probabilities(predictions: &[Prediction]) -> Vec<Scored> {
    let scored = |p: &Prediction| Some((p.label, p.probabilities?));
    predictions.iter().filter_map(scored).collect()
}

/// The rows' true labels and log-probabilities, for predictions that have them.
pub fn log_probs(predictions: &[Prediction]) -> Vec<Scored> {
    let scored = |p: &Prediction| Some((p.label, p.log_probs?));
    predictions.iter().filter_map(scored).collect()
}

/// Why a predictions file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PredictionsError {
    /// The file cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another run has the file.
    #[error("another run is writing to {}; wait for it, or name another file", .0.display())]
    InUse(PathBuf),
    /// The file holds answers of another run.
    #[error(
        "{} holds answers of another {what} ({found}, where this run has {wanted}); name another file, or delete it to ask again",
        path.display()
    )]
    OtherSource {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: String,
        /// What the file names.
        found: String,
        /// What this run has.
        wanted: String,
    },
    /// The first line is that of a version that did not write the whole identity.
    #[error(
        "{} is of an earlier version, which did not record every option that changes answers; name another file, or delete it to ask again",
        .0.display()
    )]
    Old(PathBuf),
    /// A line is not what was written.
    #[error("{}, line {line}: not a prediction: {source}; delete the line to ask again, or name another file", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// A line is a prediction, and cannot be one of this run.
    #[error("{}, line {line}: {fault}; delete the line to ask again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What does not fit.
        fault: String,
    },
}
