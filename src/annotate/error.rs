//! Why a file cannot be annotated.

use std::io;
use std::path::{Path, PathBuf};

use crate::dataset::WriteError;
use crate::files::output::OutputError;
use crate::text::shown::shown_path;

/// Why a file cannot be annotated.
#[derive(Debug, thiserror::Error)]
pub enum AnnotateError {
    /// An input cannot be read.
    #[error("{0}")]
    Read(String),
    /// An input that is no more what it was.
    #[error(
        "{text} changed while it was annotated; start over with --restart when nothing writes to it",
        text = shown_path(Path::new(.0))
    )]
    Changed(String),
    /// The journal cannot be opened, read or written.
    #[error("cannot keep answers in {}: {source}", shown_path(path))]
    Journal {
        /// The journal.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another run has the journal.
    #[error(
        "another run is writing the same output ({} is in use); wait for it, or choose another --out",
        shown_path(.0)
    )]
    InUse(PathBuf),
    /// The journal is another run's.
    #[error(
        "{} holds the answers of an interrupted run with another {what} ({found}, where this run has {wanted}); run it with the same, or start over with --restart",
        shown_path(path)
    )]
    OtherRun {
        /// The journal.
        path: PathBuf,
        /// What differs.
        what: String,
        /// What the journal has.
        found: String,
        /// What this run has.
        wanted: String,
    },
    /// A line of the journal is not what was written.
    #[error("{}, line {line}: {fault}; start over with --restart", shown_path(path))]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong.
        fault: String,
    },
    /// The output cannot be made.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The output cannot be written.
    #[error("cannot write {name}: {source}", name = shown_path(Path::new(name)))]
    Write {
        /// The output.
        name: String,
        /// Why.
        source: WriteError,
    },
    /// Stopped from outside.
    #[error("interrupted")]
    Interrupted,
}
