//! What `eval` and `calibrate` share: a labelled data set, and a model's answers to it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use sha2::{Digest as _, Sha256};

use super::ranges::whole;
use super::session::{Session, SessionError};
use crate::dataset::{self, Columns, DatasetError, Row};
use crate::eval::predictions::{Mode, Prediction, PredictionsError, PredictionsFile, Source};
use crate::eval::run::{Answer, Predictor, RunError, answer_all};
use crate::grpc::RemoteReason;
use crate::sentiment::classify::ReasonEvent;
use crate::sentiment::input::{DEFAULT_TOKENS, MAX_TOKENS, RawInput};
use crate::sentiment::labels::Sentiment;
use crate::sentiment::profile::ProfileError;

/// A labelled data set.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data options")]
pub struct DataArgs {
    /// Labelled comments: a .jsonl, .csv, .tsv or .parquet file. Labels are 긍정, 중립, 부정 or positive,
    /// neutral, negative.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,

    /// Column of the comment.
    #[arg(long, value_name = "NAME", default_value = "comment")]
    comment_column: String,

    /// Column of the label.
    #[arg(long, value_name = "NAME", default_value = "label")]
    label_column: String,

    /// Column of the video's title [default: video_title, if there].
    #[arg(long, value_name = "NAME")]
    video_title_column: Option<String>,

    /// Column of the video's summary [default: video_summary, if there].
    #[arg(long, value_name = "NAME")]
    video_summary_column: Option<String>,

    /// Use only the first N rows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// A data set that was read.
pub struct Data {
    /// The rows to answer.
    pub rows: Arc<[Row]>,
    /// Of all rows of the file.
    pub fingerprint: String,
    /// The data set in words.
    pub words: String,
}

impl Data {
    /// The rows' labels.
    pub fn labels(&self) -> Vec<Sentiment> {
        self.rows.iter().map(|row| row.label).collect()
    }
}

impl DataArgs {
    /// Reads the rows.
    pub fn read(&self) -> Result<Data, DatasetError> {
        let columns = Columns {
            comment: self.comment_column.clone(),
            label: self.label_column.clone(),
            video_title: self.video_title_column.clone(),
            video_summary: self.video_summary_column.clone(),
        };
        let mut dataset = dataset::read(&self.data, &columns)?;
        let all = dataset.rows.len();
        dataset.rows.truncate(self.limit.map_or(all, |n| n as usize));
        let name = self.data.display();
        let words = match dataset.rows.len() {
            n if n == all => format!("{name}, {n} rows"),
            n => format!("{name}, the first {n} of {all} rows"),
        };
        Ok(Data { rows: dataset.rows.into(), fingerprint: dataset.fingerprint, words })
    }
}

/// How answers are asked for and kept.
#[derive(Debug, Clone, Args)]
pub struct AskArgs {
    /// Append each answer to this file (JSON lines). A run that was cut off goes on from it.
    #[arg(long, value_name = "FILE")]
    pub predictions: Option<PathBuf>,

    /// Comments asked for at a time.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = whole::<usize>(1..=65_536))]
    pub in_flight: usize,

    /// Compute each comment apart from the others, for the same numbers on every run: slower. Without it,
    /// a probability moves a little with what shares its step, and verdicts near a border flip.
    #[arg(long)]
    pub reproducible: bool,

    /// Tokens that a free answer may have (--mode generate).
    #[arg(long, value_name = "N", default_value_t = DEFAULT_TOKENS, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TOKENS)))]
    pub max_tokens: u32,
}

/// How a calibration is fitted.
#[derive(Debug, Args)]
pub struct BalanceArgs {
    /// Weight of rare labels in the calibration, 0 to 1. At 0, probabilities are honest for comments like
    /// these; above it, rare labels are found more often, at the cost of accuracy; at 1, as if the three
    /// labels were equally frequent.
    #[arg(long, value_name = "B", default_value_t = 0.0, value_parser = share)]
    pub balance: f64,
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
    /// The profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

/// The answers to all rows, in their order.
pub struct Answers {
    /// Whose answers these are.
    pub source: Source,
    /// The answers.
    pub predictions: Vec<Prediction>,
    /// How many of them were computed now, and in what time; the others were in the file.
    pub computed: (usize, Duration),
}

struct Subject {
    session: Session,
    mode: Mode,
    reproducible: bool,
    max_tokens: u32,
}

impl Predictor for Subject {
    type Error = SessionError;

    async fn answer(&self, row: &Row) -> Result<Answer, SessionError> {
        let raw = RawInput {
            comment: &row.comment,
            video_id: "",
            title: row.video_title.as_deref().unwrap_or(""),
            summary: row.video_summary.as_deref().unwrap_or(""),
        };
        let mut session = self.session.clone();
        if self.mode == Mode::Score {
            let verdict = session.classify(raw, self.reproducible).await?.verdict;
            return Ok(Answer {
                predicted: Some(verdict.sentiment),
                log_probs: Some(verdict.log_probs),
                probabilities: Some(verdict.probabilities),
                text: None,
            });
        }
        let free = RemoteReason { max_tokens: self.max_tokens, temperature: 0.0, seed: 0, free_answer: true };
        let (mut text, mut stated) = (String::new(), None);
        let on_event = |event| match event {
            ReasonEvent::Verdict(_) => {}
            ReasonEvent::Text(piece) => text += &piece,
            ReasonEvent::Done(done) => stated = done.stated,
        };
        session.reason(raw, free, on_event).await?;
        Ok(Answer { predicted: stated, log_probs: None, probabilities: None, text: Some(text) })
    }
}

/// Asks for all answers that the predictions file does not hold yet, with a progress bar.
pub async fn ask(session: &Session, mode: Mode, data: &Data, args: &AskArgs) -> Result<Answers, AskError> {
    let source = source(session, mode, data).await?;
    let (mut file, mut known) = match &args.predictions {
        Some(path) => {
            let (file, known) = PredictionsFile::open(path, &source)?;
            (Some(file), known)
        }
        None => (None, BTreeMap::new()),
    };
    let todo: Vec<usize> = (0..data.rows.len()).filter(|i| !known.contains_key(i)).collect();
    let bar = ProgressBar::new(todo.len() as u64).with_style(style());
    let start = Instant::now();
    let keep = |prediction: Prediction| {
        if let Some(file) = &mut file {
            file.append(&prediction)?;
        }
        known.insert(prediction.row, prediction);
        bar.inc(1);
        Ok(())
    };
    let AskArgs { reproducible, max_tokens, .. } = *args;
    let subject = Subject { session: session.clone(), mode, reproducible, max_tokens };
    answer_all(Arc::new(subject), data.rows.clone(), &todo, args.in_flight, keep).await?;
    let computed = (todo.len(), start.elapsed());
    bar.finish_and_clear();
    // The file may hold answers beyond --limit.
    known.retain(|row, _| *row < data.rows.len());
    Ok(Answers { source, predictions: known.into_values().collect(), computed })
}

async fn source(session: &Session, mode: Mode, data: &Data) -> Result<Source, AskError> {
    let profile = match session {
        Session::Local(classifier) => hex(&Sha256::digest(classifier.profile().to_toml()?)),
        // A server's profile is its own affair: the file's hash covers it, unless it was started with another.
        Session::Remote(_) => String::new(),
    };
    let model = session.clone().model().await?.sha256;
    Ok(Source { model, profile, data: data.fingerprint.clone(), mode })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn style() -> ProgressStyle {
    let speed = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A bar that cannot be drawn is no reason to stop.
        let _ = write!(out, "{:.1}", state.per_sec());
    };
    ProgressStyle::with_template("{bar:30} {pos}/{len} comments, {speed} comments/s, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("speed", speed)
}
