//! The lines of a predictions file, read and checked.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::error::PredictionsError;
use super::prediction::Prediction;
use crate::dataset::Row;
use crate::eval::identity::{Identity, Mode};
use crate::files::open;
use crate::sentiment::score::top;

/// Bytes of a file to compare with, at most.
const MAX_BYTES: u64 = 4 << 30;

/// The first line up to version 0.1.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct OldHead {
    model: String,
    profile: String,
    data: String,
    mode: Mode,
}

/// A file's whole lines. A last line without an end was cut off in writing, and is dropped.
pub(super) struct Lines<'a> {
    path: &'a Path,
    /// Numbered from 1; blank ones are left out.
    lines: Vec<(usize, &'a [u8])>,
    /// Bytes up to the end of the last whole line.
    pub end: usize,
}

impl<'a> Lines<'a> {
    pub fn new(path: &'a Path, bytes: &'a [u8]) -> Self {
        let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |last| last + 1);
        let lines = bytes[..end].split(|b| *b == b'\n').enumerate().map(|(i, line)| (i + 1, line));
        Self { path, lines: lines.filter(|(_, line)| !line.trim_ascii().is_empty()).collect(), end }
    }

    /// The first line, taken off, if it is an identity.
    pub fn head(&mut self) -> Result<Option<Identity>, PredictionsError> {
        let Some((_, line)) = self.lines.first() else { return Ok(None) };
        let head = serde_json::from_slice::<Identity>(line).ok();
        if head.is_some() {
            self.lines.remove(0);
        } else if serde_json::from_slice::<OldHead>(line).is_ok() {
            return Err(PredictionsError::Old(self.path.into()));
        }
        Ok(head)
    }

    /// The answers by row, each with the number of its line. A repeated line counts once.
    pub fn answers(&self) -> Result<BTreeMap<usize, (usize, Prediction)>, PredictionsError> {
        let mut answers: BTreeMap<usize, (usize, Prediction)> = BTreeMap::new();
        for (line, bytes) in &self.lines {
            let prediction: Prediction = serde_json::from_slice(bytes)
                .map_err(|source| PredictionsError::Line { path: self.path.into(), line: *line, source })?;
            let row = prediction.row;
            match answers.get(&row) {
                Some((_, known)) if *known == prediction => {}
                Some((first, _)) => {
                    let fault = format!("row {} has another answer in line {first}", row + 1);
                    return Err(PredictionsError::Changed { path: self.path.into(), line: *line, fault });
                }
                None => {
                    answers.insert(row, (*line, prediction));
                }
            }
        }
        Ok(answers)
    }
}

/// Why a prediction cannot be the answer to its row in a run of this mode.
pub(super) fn fault(prediction: &Prediction, row: Option<&Row>, mode: Mode) -> Option<String> {
    let number = prediction.row + 1;
    if let Some(row) = row {
        if prediction.comment != row.comment {
            return Some(format!("the comment is not that of row {number} of the data"));
        }
        if prediction.label != row.label {
            return Some(format!(
                "row {number} is labelled {} here and {} in the data, where labels are to be corrected",
                prediction.label, row.label
            ));
        }
    }
    match (mode, &prediction.log_probs, &prediction.probabilities) {
        (Mode::Generate, ..) if prediction.text.is_none() => Some("`text` is missing".to_owned()),
        (Mode::Generate, ..) => None,
        (Mode::Score, Some(_), Some(p)) if prediction.predicted == Some(top(p)) => None,
        (Mode::Score, Some(_), Some(_)) => Some("`predicted` is not the most probable label".to_owned()),
        (Mode::Score, ..) => Some("`log_probs` or `probabilities` are missing".to_owned()),
    }
}

/// Reads the answers of a finished file, by row. The first line may be missing, so that another program's
/// answers can be read: a line needs [`Prediction`]'s `row`, `comment`, `label`, `predicted` and `log_probs`.
///
/// # Errors
/// See [`PredictionsError`].
pub fn read(path: &Path) -> Result<BTreeMap<usize, Prediction>, PredictionsError> {
    Ok(read_reference(path)?.answers)
}

/// Answers to compare with.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Whose they are, where the file says so.
    pub identity: Option<Identity>,
    /// By row.
    pub answers: BTreeMap<usize, Prediction>,
}

/// Reads answers to compare with, as [`read`].
///
/// # Errors
/// See [`PredictionsError`].
pub fn read_reference(path: &Path) -> Result<Reference, PredictionsError> {
    let bytes =
        open::read(path, MAX_BYTES).map_err(|source| PredictionsError::Io { path: path.into(), source })?;
    // Another program may leave the last line without an end.
    let whole =
        match serde_json::from_slice::<Prediction>(bytes.rsplit(|b| *b == b'\n').next().unwrap_or(&[])) {
            Ok(_) => [&bytes[..], b"\n"].concat(),
            Err(_) => bytes,
        };
    let mut lines = Lines::new(path, &whole);
    if lines.end == 0 && !whole.is_empty() {
        // No line has an end: to be named, not dropped.
        lines.lines.push((1, &whole));
    }
    let identity = lines.head()?;
    let answers = lines.answers()?.into_iter().map(|(row, (_, answer))| (row, answer)).collect();
    Ok(Reference { identity, answers })
}
