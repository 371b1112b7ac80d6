//! Why a predictions file cannot be used.

use crate::text::shown::shown_path;
use std::io;
use std::path::PathBuf;

/// Why a predictions file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PredictionsError {
    /// The file cannot be opened, read or written.
    #[error("{}: {source}", shown_path(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another run has the file.
    #[error("another run is writing to {}; wait for it, or name another file", shown_path(.0))]
    InUse(PathBuf),
    /// The file holds answers of another run.
    #[error(
        "{} has predictions from another {what} ({found}, where this run has {wanted}); choose another file, or delete it to start again",
        shown_path(path)
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
        "{} is of an earlier version, which did not record every option that changes answers; choose another file, or delete it to start again",
        shown_path(.0)
    )]
    Old(PathBuf),
    /// A line is not what was written.
    #[error(
        "{}, line {line}: not a prediction: {source}; delete the line to compute it again, or choose another file",
        shown_path(path)
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// A line is a prediction, and cannot be one of this run.
    #[error("{}, line {line}: {fault}; delete the line to compute it again", shown_path(path))]
    Changed {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What does not fit.
        fault: String,
    },
}
