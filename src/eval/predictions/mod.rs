//! A model's answers, kept in a file of JSON lines that grows as they come.
//!
//! The first line is the [identity](super::identity) of the run; each other line is one answer. An interrupted
//! run resumes from the file ([`PredictionsFile`]).

mod error;
mod file;
mod lines;
mod prediction;

pub use error::PredictionsError;
pub use file::PredictionsFile;
pub use lines::{Reference, read, read_reference};
pub use prediction::{Prediction, probabilities};
