//! A model's answers, kept in a file of JSON lines that grows as they come.
//!
//! The first line tells whose answers these are and to what; each other line is one answer. A run
//! that was cut off goes on where it stopped.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::metrics::Scored;
use crate::files::open;
use crate::sentiment::labels::Sentiment;

/// Bytes of a file of answers: millions of them.
const MAX_BYTES: u64 = 4 << 30;

/// How answers are taken from the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The three labels' probabilities are computed, the highest is the answer.
    #[default]
    Score,
    /// The model writes its answer freely (greedy decoding), and the label is read from the words.
    Generate,
}

/// Whose answers a file holds. Answers of another source are never mixed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// SHA-256 of the model's file.
    pub model: String,
    /// SHA-256 of the profile that the answers were taken under; empty for a server's own.
    pub profile: String,
    /// [`Dataset::fingerprint`](crate::dataset::Dataset::fingerprint).
    pub data: String,
    /// How the answers were taken.
    pub mode: Mode,
}

/// The answer to one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Index of the row in the data set, from 0.
    pub row: usize,
    /// The comment.
    pub comment: String,
    /// The true label.
    pub label: Sentiment,
    /// The answered label; `None` for a free answer that names none.
    pub predicted: Option<Sentiment>,
    /// Joint log-probabilities of the three labels in nats, before calibration ([`Mode::Score`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_probs: Option<[f64; 3]>,
    /// Probabilities of the three labels under the model's own calibration ([`Mode::Score`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probabilities: Option<[f64; 3]>,
    /// What the model wrote ([`Mode::Generate`]).
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
    /// The file holds answers of another model, data set or mode.
    #[error("{} holds answers of another {what} ({found}); name another file", path.display())]
    OtherSource {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What the file names.
        found: String,
    },
    /// A line is not what was written.
    #[error("{}, line {line}: not a prediction: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The parser's reason.
        source: serde_json::Error,
    },
}

/// Read the answers of a finished file, by row. The first line may be missing, so that another
/// program's answers can be read too: a line needs [`Prediction`]'s `row`, `comment`, `label`,
/// `predicted` and `log_probs`.
///
/// # Errors
/// See [`PredictionsError`].
pub fn read(path: &Path) -> Result<BTreeMap<usize, Prediction>, PredictionsError> {
    let text = open::read_text(path, MAX_BYTES)
        .map_err(|source| PredictionsError::Io { path: path.into(), source })?;
    let head = text.lines().next().unwrap_or("");
    let skipped = usize::from(serde_json::from_str::<Source>(head).is_ok());
    parse(path, &text, skipped)
}

/// The answers after the first `skipped` lines.
fn parse(path: &Path, text: &str, skipped: usize) -> Result<BTreeMap<usize, Prediction>, PredictionsError> {
    let prediction = |(i, line)| {
        let prediction: Prediction = serde_json::from_str(line).map_err(bad_line(path, i + 1))?;
        Ok((prediction.row, prediction))
    };
    text.lines().enumerate().skip(skipped).map(prediction).collect()
}

fn bad_line(path: &Path, line: usize) -> impl Fn(serde_json::Error) -> PredictionsError {
    move |source| PredictionsError::Line { path: path.into(), line, source }
}

/// An open predictions file.
#[derive(Debug)]
pub struct PredictionsFile {
    path: PathBuf,
    file: File,
}

impl PredictionsFile {
    /// Open or create the file, and read the answers that it already holds, by row.
    ///
    /// A last line that was cut off in writing is dropped.
    ///
    /// # Errors
    /// See [`PredictionsError`].
    pub fn open(
        path: &Path,
        source: &Source,
    ) -> Result<(Self, BTreeMap<usize, Prediction>), PredictionsError> {
        let io_error = |source| PredictionsError::Io { path: path.into(), source };
        let file = open::regular_with(path, OpenOptions::new().read(true).append(true).create(true))
            .map_err(io_error)?;
        let text = io::read_to_string(&file).map_err(io_error)?;
        let mut opened = Self { path: path.into(), file };
        if text.is_empty() {
            opened.write_line(source)?;
            return Ok((opened, BTreeMap::new()));
        }
        // A first line that was cut off is left for `parse` to refuse: the file may be anything.
        let end = text.rfind('\n').map_or(text.len(), |last| last + 1);
        let head = text.lines().next().unwrap_or("");
        check_source(path, serde_json::from_str(head).map_err(bad_line(path, 1))?, source)?;
        let known = parse(path, &text[..end], 1)?;
        opened.file.set_len(end as u64).map_err(io_error)?;
        Ok((opened, known))
    }

    /// Add one answer.
    ///
    /// # Errors
    /// [`PredictionsError::Io`].
    pub fn append(&mut self, prediction: &Prediction) -> Result<(), PredictionsError> {
        self.write_line(prediction)
    }

    fn write_line(&mut self, value: &impl Serialize) -> Result<(), PredictionsError> {
        serde_json::to_string(value)
            .map_err(io::Error::from)
            // One call, so that a line is cut off only by a crash.
            .and_then(|json| self.file.write_all(format!("{json}\n").as_bytes()))
            .map_err(|source| PredictionsError::Io { path: self.path.clone(), source })
    }
}

fn check_source(path: &Path, found: Source, wanted: &Source) -> Result<(), PredictionsError> {
    let (what, found) = if found.model != wanted.model {
        ("model", found.model)
    } else if found.profile != wanted.profile {
        ("profile", found.profile)
    } else if found.data != wanted.data {
        ("data set", found.data)
    } else if found.mode != wanted.mode {
        ("mode", format!("{:?}", found.mode).to_lowercase())
    } else {
        return Ok(());
    };
    Err(PredictionsError::OtherSource { path: path.into(), what, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source { model: "m".into(), profile: "p".into(), data: "d".into(), mode: Mode::Score }
    }

    fn prediction(row: usize) -> Prediction {
        Prediction {
            row,
            comment: "줄\n바꿈".into(),
            label: Sentiment::Neutral,
            predicted: Some(Sentiment::Negative),
            log_probs: Some([-1.5, -0.1, -3.0]),
            probabilities: Some([0.2, 0.7, 0.1]),
            text: None,
        }
    }

    #[test]
    fn a_run_goes_on_after_a_half_written_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.jsonl");
        let (mut file, known) = PredictionsFile::open(&path, &source()).unwrap();
        assert!(known.is_empty());
        file.append(&prediction(1)).unwrap();
        file.append(&prediction(0)).unwrap();
        file.file.write_all(b"{\"row\": 2, \"comm").unwrap();
        drop(file);
        let (mut file, known) = PredictionsFile::open(&path, &source()).unwrap();
        assert_eq!(known.into_values().collect::<Vec<_>>(), [prediction(0), prediction(1)]);
        file.append(&prediction(2)).unwrap();
        let (_, known) = PredictionsFile::open(&path, &source()).unwrap();
        assert_eq!(known.len(), 3);
    }

    #[test]
    fn the_first_line_may_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.jsonl");
        let line = serde_json::to_string(&prediction(3)).unwrap();
        let check = |text: String, expect: Result<Vec<Prediction>, &str>| {
            std::fs::write(&path, text).unwrap();
            match (read(&path), expect) {
                (Ok(found), Ok(expect)) => assert_eq!(found.into_values().collect::<Vec<_>>(), expect),
                (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{error}"),
                (found, expect) => panic!("{found:?} is not {expect:?}"),
            }
        };
        let head = serde_json::to_string(&source()).unwrap();
        check(format!("{head}\n{line}\n"), Ok(vec![prediction(3)]));
        check(format!("{line}\n"), Ok(vec![prediction(3)]));
        check(format!("{line}\n{{}}\n"), Err("line 2: not a prediction"));
        check("id,text\n".into(), Err("line 1: not a prediction"));
    }

    #[test]
    fn answers_of_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.jsonl");
        PredictionsFile::open(&path, &source()).unwrap();
        let check = |change: fn(&mut Source), expect: &str| {
            let mut other = source();
            change(&mut other);
            let error = PredictionsFile::open(&path, &other).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(|s| s.model = "n".into(), "another model (m)");
        check(|s| s.profile = "q".into(), "another profile (p)");
        check(|s| s.data = "e".into(), "another data set (d)");
        check(|s| s.mode = Mode::Generate, "another mode (score)");
        std::fs::write(&path, "id,text\n").unwrap();
        check(|_| (), "line 1: not a prediction");
        assert_eq!(std::fs::read(&path).unwrap(), b"id,text\n");
    }

    #[test]
    fn a_file_that_is_no_predictions_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "one line, no end").unwrap();
        PredictionsFile::open(&path, &source()).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), b"one line, no end");
    }
}
