//! What `eval --against` compares with: another model, or answers that were kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::answerer_args::AnswererArgs;
use super::data_args::Data;
use super::predict::{Answers, Keeping, Taking, ask};
use super::run::Failure;
use super::session::Session;
use crate::eval::fidelity::{Fidelity, Pair};
use crate::eval::identity::Identity;
use crate::eval::predictions::{self, Prediction, Reference};
use crate::eval::report::Comparison;
use crate::gguf::Header;
use crate::sentiment::profile::{Calibration, Scaling};
use crate::sentiment::score::probabilities;
use crate::text::shown::shown_path;

/// A reference that can be used, as far as can be told before the first comment is answered.
pub enum Against {
    /// Another program's answers or those of an earlier run, to all rows.
    Answers(Option<Identity>, Vec<Prediction>),
    /// A model file whose header can be read.
    Model(PathBuf),
}

impl Against {
    /// Opens and checks the reference.
    pub fn open(path: &Path, data: &Data) -> Result<Self, Failure> {
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            Header::read(path).map_err(|e| format!("--against {}: {e}", shown_path(path)))?;
            return Ok(Self::Model(path.to_owned()));
        }
        let Reference { identity, mut answers } = predictions::read_reference(path)?;
        if identity.as_ref().is_some_and(|found| found.data != data.fingerprint) {
            return Err(format!(
                "--against {} holds answers to another data set; make it with the same --data",
                shown_path(path)
            )
            .into());
        }
        answers.retain(|row, _| *row < data.rows.len());
        let fits = |row: usize| {
            answers.get(&row).is_some_and(|p| p.log_probs.is_some() && p.comment == data.rows[row].comment)
        };
        if let Some(row) = (0..data.rows.len()).find(|row| !fits(*row)) {
            return Err(format!(
                "--against {} has no log-probabilities for the comment of row {}; make it with --mode score and the same --data",
                shown_path(path),
                row + 1
            )
            .into());
        }
        Ok(Self::Answers(identity, answers.into_values().collect()))
    }
}

/// How a reference model is asked: as the tested one.
pub struct Asking<'a> {
    /// Flags of the tested model.
    pub answerer: &'a AnswererArgs,
    /// How each answer is taken.
    pub taking: Taking,
    /// Comments asked for at a time.
    pub in_flight: usize,
}

/// What differs between the answers and the reference. An interrupt ends the reference's computation, and not the
/// report.
pub async fn compare(
    asking: &Asking<'_>,
    against: Against,
    data: &Data,
    (ours, calibration): (&Answers, &Calibration),
) -> Result<Comparison, Failure> {
    let (identity, theirs) = match against {
        Against::Answers(identity, predictions) => (identity, predictions),
        Against::Model(path) => tokio::select! {
            answers = answers_of(asking, &path, data) => {
                let Answers { identity, predictions, .. } = answers?;
                (Some(identity), predictions)
            }
            _ = tokio::signal::ctrl_c() => return Err("interrupted: the reference is not compared".into()),
        },
    };
    let named = |theirs: &Identity| {
        ours.identity.differences(theirs).into_iter().map(|difference| difference.what).collect()
    };
    let scaling = |row: usize| calibration.scaling(data.rows[row].shows_video());
    let fidelity = Fidelity::of(&pairs(&ours.predictions, &theirs, scaling)?);
    Ok(Comparison { fidelity, differs: identity.as_ref().map(named) })
}

/// Another model's answers to the same rows.
async fn answers_of(asking: &Asking<'_>, path: &Path, data: &Data) -> Result<Answers, Failure> {
    let mut answerer = asking.answerer.clone();
    answerer.model = Some(path.to_owned());
    let session = Session::open(&answerer).await?;
    let keeping = Keeping { file: None, in_flight: asking.in_flight };
    Ok(ask(&session, asking.taking, data, keeping).await?)
}

/// Both models' probabilities, row by row, under one calibration: what differs is the weights.
fn pairs(
    ours: &[Prediction],
    theirs: &[Prediction],
    scaling: impl Fn(usize) -> Scaling,
) -> Result<Vec<Pair>, Failure> {
    // A row that one of them refuses is in no pair.
    let by_row: BTreeMap<usize, &Prediction> = theirs.iter().map(|r| (r.row, r)).collect();
    let both = ours.iter().filter_map(|p| Some((p, *by_row.get(&p.row)?)));
    let pair = |(p, r): (&Prediction, &Prediction)| {
        let (Some(tested), Some(reference)) = (p.log_probs, r.log_probs) else {
            return Err(format!("row {} has no log-probabilities; use --mode score", p.row + 1).into());
        };
        let scaling = scaling(p.row);
        Ok((p.label, probabilities(tested, &scaling), probabilities(reference, &scaling)))
    };
    both.map(pair).collect()
}
