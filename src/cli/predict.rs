//! What `eval` and `calibrate` share: a labelled data set, and a model's answers to it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::data_args::Data;
use super::progress;
use super::ranges::whole;
use super::session::{Session, SessionError};
use super::subject::Subject;
use crate::ask;
use crate::eval::identity::{Identity, Mode};
use crate::eval::predictions::{Prediction, PredictionsError, PredictionsFile};
use crate::eval::recalibration::Fitting;
use crate::eval::run::{Refusal, RunError, answer_all};
use crate::sentiment::classify::ModelCard;
use crate::sentiment::profile::Calibration;
use crate::sentiment::score::top;
use crate::text::shown::shown;

/// How answers are asked for and kept.
#[derive(Debug, Clone, Args)]
pub struct AskArgs {
    /// File to append each answer to (JSON Lines). An interrupted run with the same model, profile, data and options
    /// resumes from it.
    #[arg(long, value_name = "FILE")]
    pub predictions: Option<PathBuf>,

    #[command(flatten)]
    pub pace: PaceArgs,
}

/// How many comments are asked for at a time.
#[derive(Debug, Clone, Args)]
pub struct PaceArgs {
    /// Maximum comments in flight.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = whole::<usize>(1..=65_536))]
    pub in_flight: usize,

    /// Compute each comment in isolation, for the same bits on every run; slower. Without it, other comments in the
    /// same step shift probabilities slightly, and close verdicts may change.
    #[arg(long)]
    pub reproducible: bool,
}

impl AskArgs {
    /// Opens the predictions file, if there is to be one.
    pub fn open(&self) -> Result<Option<PredictionsFile>, PredictionsError> {
        self.predictions.as_deref().map(PredictionsFile::open).transpose()
    }
}

/// How each answer is taken.
#[derive(Debug, Clone, Copy)]
pub struct Taking {
    /// Scored, or read from a free answer.
    pub mode: Mode,
    /// Apart from the others ([`Mode::Score`]).
    pub reproducible: bool,
    /// Tokens that a free answer may have ([`Mode::Generate`]).
    pub max_tokens: u32,
}

impl Taking {
    fn asked(self) -> ask::Taking {
        match self.mode {
            Mode::Score => ask::Taking::Scores { reproducible: self.reproducible },
            Mode::Generate => ask::Taking::Free { max_tokens: self.max_tokens },
        }
    }
}

/// How a calibration is fitted.
#[derive(Debug, Args)]
pub struct FittingArgs {
    /// Weight of rare labels in the calibration, 0 to 1. 0 takes the labels as frequent as they are here; 1, as if
    /// they were equally frequent. Higher values find more rare labels but lower accuracy [default: 0].
    #[arg(long, value_name = "B", value_parser = share)]
    pub balance: Option<f64>,

    /// Fit comments that show a video's title or summary apart from those that don't [default: if the model does so].
    #[arg(long)]
    pub by_video: bool,
}

impl FittingArgs {
    /// The fit to do where this calibration is in force.
    pub fn fitting(&self, present: Calibration) -> Fitting {
        let by_video = self.by_video || present.with_video.is_some();
        Fitting { balance: self.balance.unwrap_or(0.0), by_video, present }
    }
}

/// A number in 0..=1.
pub fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
    share.ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

/// Why there are no answers.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// A row.
    #[error(transparent)]
    Run(#[from] RunError<SessionError>),
    /// The predictions file.
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
    /// The model did not answer at all.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A server that does not say what decides its answers.
    #[error(
        "the server does not name its profile, so its answers cannot be kept; update it, or leave out --predictions"
    )]
    Anonymous,
    /// No row has an answer.
    #[error("the model refuses all {rows} rows; row {first} of the data set: {reason}")]
    AllRefused {
        /// How many.
        rows: usize,
        /// The first of them, from 1.
        first: usize,
        /// Why it is refused.
        reason: String,
    },
    /// A server that was started anew.
    #[error(
        "the server's {text} changed during the run; delete its answers and start again",
        text = shown(.0)
    )]
    ServerChanged(String),
}

/// The answers to all rows, in their order.
pub struct Answers {
    /// What decided the answers.
    pub identity: Identity,
    /// The model that answered.
    pub model: ModelCard,
    /// The answers.
    pub predictions: Vec<Prediction>,
    /// Rows that the model refuses.
    pub refused: Vec<Refusal>,
    /// How many of them were computed now, and in what time; the others were in the file.
    pub computed: (usize, Duration),
}

/// Where answers are kept, and how many are asked for at a time.
pub struct Keeping {
    /// The open predictions file, if there is one.
    pub file: Option<PredictionsFile>,
    /// Comments asked for at a time.
    pub in_flight: usize,
}

/// Asks for all answers that the predictions file does not hold yet, with a progress bar.
pub async fn ask(
    session: &Session,
    taking: Taking,
    data: &Data,
    keeping: Keeping,
) -> Result<Answers, AskError> {
    let Keeping { mut file, in_flight } = keeping;
    let (identity, model) = identity(session, taking, data).await?;
    let mut known = match &mut file {
        Some(_) if identity.profile.is_empty() => return Err(AskError::Anonymous),
        Some(file) => file.resume(&identity, &data.rows)?,
        None => BTreeMap::new(),
    };
    let todo: Vec<usize> = (0..data.rows.len()).filter(|i| !known.contains_key(i)).collect();
    let bar = progress::bar(todo.len() as u64);
    let start = Instant::now();
    let keep = |prediction: Prediction| {
        if let Some(file) = &mut file {
            file.append(&prediction)?;
        }
        known.insert(prediction.row, prediction);
        bar.inc(1);
        Ok(())
    };
    let subject = Subject::new(session.clone(), taking.asked());
    let refused = answer_all(Arc::new(subject), &data.rows, &todo, in_flight, keep).await?;
    let computed = (todo.len() - refused.len(), start.elapsed());
    bar.finish_and_clear();
    same_server(session, taking, data, &identity).await?;
    // The file may hold answers beyond --limit.
    known.retain(|row, _| *row < data.rows.len());
    let mut predictions: Vec<Prediction> = known.into_values().collect();
    if let (true, Some((row, reason))) = (predictions.is_empty(), refused.first()) {
        return Err(AskError::AllRefused { rows: refused.len(), first: row + 1, reason: reason.clone() });
    }
    if let Session::Local(classifier) = session {
        mark_withheld(&mut predictions, classifier.profile().calibration.abstain_below);
    }
    Ok(Answers { identity, model, predictions, refused, computed })
}

/// Another program's answers may not say whether they are withheld.
fn mark_withheld(predictions: &mut [Prediction], abstain_below: f64) {
    for p in predictions {
        p.abstained = p.probabilities.is_some_and(|scores| scores[top(&scores).index()] < abstain_below);
    }
}

async fn identity(
    session: &Session,
    taking: Taking,
    data: &Data,
) -> Result<(Identity, ModelCard), SessionError> {
    let (card, profile) = session.clone().model_and_profile().await?;
    let mut options = card.options.clone();
    let (name, value) = match taking.mode {
        Mode::Score => ("reproducible", if taking.reproducible { "yes".to_owned() } else { "no".to_owned() }),
        Mode::Generate => ("max-tokens", taking.max_tokens.to_string()),
    };
    options.insert(name.to_owned(), value);
    let (model, data) = (card.sha256.clone(), data.fingerprint.clone());
    Ok((Identity { model, profile, data, mode: taking.mode, options }, card))
}

/// Refuses answers of a server that was started anew with something else meanwhile. If it is gone, the answers are
/// all there.
async fn same_server(
    session: &Session,
    taking: Taking,
    data: &Data,
    before: &Identity,
) -> Result<(), AskError> {
    let Ok((after, _)) = identity(session, taking, data).await else { return Ok(()) };
    match before.differences(&after).into_iter().next() {
        Some(difference) => Err(AskError::ServerChanged(difference.what)),
        None => Ok(()),
    }
}
