//! `ko-sentiment eval`

use std::path::{Path, PathBuf};

use clap::Args;

use super::answerer_args::AnswererArgs;
use super::data_args::{Data, DataArgs};
use super::eval_reasons::{ReasonsArgs, ReasonsAsked, ReasonsWritten};
use super::predict::{Answers, AskArgs, FittingArgs, Keeping, Taking, ask};
use super::reference::{Against, Asking, compare};
use super::run::{CliResult, Failure, block_on};
use super::session::Session;
use crate::eval::identity::Mode;
use crate::eval::intervals::Intervals;
use crate::eval::metrics::Confusion;
use crate::eval::picture;
use crate::eval::predictions::{self, Prediction, PredictionsFile};
use crate::eval::recalibration::{self, Recalibration};
use crate::eval::report::{Reliability, Report};
use crate::eval::slices::Slices;
use crate::eval::withheld::Withheld;
use crate::files::output;
use crate::sentiment::classify::ModelCard;
use crate::sentiment::input::{DEFAULT_TOKENS, MAX_TOKENS};
use crate::sentiment::profile::Calibration;
use crate::text::shown::shown_path;

const DEFINITIONS: &str = "\
Definitions (more in docs/evaluation.md):
  verdict        the most probable label; on a tie, the first of 긍정, 중립, 부정
  macro average  mean over the labels that occur in the data or among the answers, as scikit-learn's
  accuracy, F1   withheld answers count as answered; a second count leaves them out
  log-loss       mean of -ln(probability of the true label), in nats
  Brier          mean squared distance of the three probabilities from the truth, 0 to 2
  ECE            15 equal bins of the top probability; a bin includes its upper bound
  95 % intervals percentile bootstrap over the rows, 1,000 samples, fixed seed
  --slice-column the 20 most frequent values, the others together; intervals as above
  --against      both models under the tested model's calibration; McNemar's exact test";

/// Measure a model on labelled comments.
///
/// For example: ko-sentiment eval --model model.gguf --data comments.csv --pictures out
#[derive(Debug, Args)]
#[command(after_long_help = DEFINITIONS)]
pub struct EvalArgs {
    #[command(flatten)]
    answerer: AnswererArgs,

    #[command(flatten)]
    data: DataArgs,

    #[command(flatten)]
    eval: MeasureArgs,
}

/// What is measured, and how it is shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Evaluation options")]
struct MeasureArgs {
    /// How the model answers.
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,

    #[command(flatten)]
    ask: AskArgs,

    #[command(flatten)]
    reasons: ReasonsArgs,

    /// Maximum tokens of a free answer, with --mode generate, or of a row's reasons, with --reasons [default: 1024].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TOKENS)))]
    max_tokens: Option<u32>,

    /// Report accuracy and macro F1 for each value of this column as well; may be given several times.
    #[arg(long, value_name = "NAME")]
    slice_column: Vec<String>,

    /// Fit a calibration and report what it would change; `ko-sentiment calibrate` writes it.
    #[arg(long)]
    calibrate: bool,

    #[command(flatten)]
    fitting: FittingArgs,

    /// Reference to compare with: another model, or a predictions file (.jsonl). Add --reproducible so that only the
    /// weights differ.
    #[arg(long, value_name = "FILE", requires = "model")]
    against: Option<PathBuf>,

    /// Folder for confusion.svg and reliability.svg.
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,

    /// Print JSON.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,

    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
}

impl MeasureArgs {
    /// Refuses options that do not apply.
    fn check(&self) -> Result<(), String> {
        let free = self.mode == Mode::Generate;
        let faults = [
            (
                free && (self.calibrate || self.against.is_some()),
                "--calibrate and --against need probabilities, which free answers do not have; use --mode score",
            ),
            (
                free && self.ask.pace.reproducible,
                "--reproducible is for scores, not for free answers; leave it out, or use --mode score",
            ),
            (
                !free && self.max_tokens.is_some() && !self.reasons.wanted(),
                "--max-tokens is for free answers and reasons; leave it out, use --mode generate, or add --reasons",
            ),
            (
                free && self.reasons.wanted(),
                "--reasons follow a scored verdict, which free answers do not have; use --mode score",
            ),
            (
                !self.calibrate && (self.fitting.balance.is_some() || self.fitting.by_video),
                "--balance and --by-video are for a calibration; leave them out, or add --calibrate",
            ),
        ];
        faults.into_iter().find(|(wrong, _)| *wrong).map_or(Ok(()), |(_, fault)| Err(fault.to_owned()))
    }

    fn taking(&self) -> Taking {
        Taking {
            mode: self.mode,
            reproducible: self.ask.pace.reproducible,
            max_tokens: self.max_tokens.unwrap_or(DEFAULT_TOKENS),
        }
    }
}

/// What a run needs at its end, opened before its first comment.
struct Ready {
    file: Option<PredictionsFile>,
    against: Option<Against>,
}

impl Ready {
    fn new(measure: &MeasureArgs, data: &Data) -> Result<Self, Failure> {
        measure.reasons.check()?;
        if let Some(folder) = &measure.pictures {
            prepare(folder).map_err(|e| cannot_draw(folder, &e))?;
        }
        let against = measure.against.as_deref().map(|path| Against::open(path, data)).transpose()?;
        Ok(Self { file: measure.ask.open()?, against })
    }
}

fn cannot_draw(folder: &Path, error: &std::io::Error) -> String {
    format!("cannot write pictures to {}: {error}; name a folder with --pictures", shown_path(folder))
}

pub fn run(args: &EvalArgs) -> CliResult {
    let measure = &args.eval;
    measure.check()?;
    let mut data = args.data.read(&measure.slice_column)?;
    data.warn_refused();
    if measure.calibrate {
        recalibration::check(&data.rows, measure.fitting.by_video)?;
    }
    let ready = Ready::new(measure, &data)?;
    let Measured { mut report, predictions, calibration, reasoned, compared } =
        block_on(measured(args, &mut data, ready))??;
    // What was measured is shown even where nothing can be fitted, compared or drawn.
    let fitting = measure.fitting.fitting(calibration);
    let fitted = measure.calibrate.then(|| Recalibration::of(&data.rows, &predictions, &fitting)).transpose();
    report.calibration = fitted.as_ref().ok().cloned().flatten();
    if measure.json {
        let mut json = report.json();
        json["data_rows"] = data.counts_json();
        println!("{json:#}");
    } else if measure.markdown {
        print!("{}", report.markdown());
    } else {
        print!("{}", report.text());
    }
    if let Some(folder) = &measure.pictures {
        draw(&report, folder).map_err(|e| cannot_draw(folder, &e))?;
    }
    reasoned?;
    compared?;
    fitted?;
    Ok(())
}

struct Measured {
    report: Report,
    predictions: Vec<Prediction>,
    /// The tested model's; a server's isn't known.
    calibration: Calibration,
    /// Why there are not all reasons, where some were asked for.
    reasoned: CliResult,
    /// Why there is no comparison, where one was asked for.
    compared: CliResult,
}

async fn measured(args: &EvalArgs, data: &mut Data, ready: Ready) -> Result<Measured, Failure> {
    let measure = &args.eval;
    let session = Session::open(&args.answerer).await?;
    let keeping = Keeping { file: ready.file, in_flight: measure.ask.pace.in_flight };
    let answers = ask(&session, measure.taking(), data, keeping).await?;
    data.refuse(&answers.refused);
    let mut report = report_of(describe(&args.answerer, &answers.model), data, &answers);
    let (mut reasoned, mut compared) = (Ok(()), Ok(()));
    let (max_tokens, in_flight) = (measure.taking().max_tokens, measure.ask.pace.in_flight);
    let asked = ReasonsAsked { session: &session, max_tokens, in_flight };
    match measure.reasons.write(&asked, data, &answers.predictions).await {
        Ok(Some(ReasonsWritten { figures, ended })) => {
            report.reasons = Some(figures);
            reasoned = ended;
        }
        Ok(None) => {}
        Err(error) => reasoned = Err(error),
    }
    let calibration = match &session {
        Session::Local(classifier) => classifier.profile().calibration.clone(),
        Session::Remote(_) => Calibration::default(),
    };
    if let (Some(against), Session::Local(classifier)) = (ready.against, session) {
        // One model in memory at a time.
        drop(classifier);
        let asking = Asking { answerer: &args.answerer, taking: measure.taking(), in_flight };
        match compare(&asking, against, data, (&answers, &calibration)).await {
            Ok(comparison) => report.fidelity = Some(comparison),
            Err(error) => compared = Err(error),
        }
    }
    Ok(Measured { report, predictions: answers.predictions, calibration, reasoned, compared })
}

fn report_of(model: String, data: &Data, answers: &Answers) -> Report {
    let Answers { identity, predictions, computed: (rows, time), .. } = answers;
    let scored = predictions::probabilities(predictions);
    Report {
        model,
        data: data.words(),
        identity: identity.clone(),
        limit: data.limit,
        confusion: Confusion::of(predictions.iter().map(|p| (p.label, p.predicted))),
        intervals: Intervals::of(predictions),
        withheld: Withheld::of(predictions),
        reliability: (identity.mode == Mode::Score).then_some(Reliability::of(&scored)),
        calibration: None,
        fidelity: None,
        slices: data.slices.iter().map(|column| Slices::of(column, predictions)).collect(),
        reasons: None,
        speed: (*rows > 0).then_some((*rows, time.as_secs_f64())),
    }
}

/// The model in words.
fn describe(args: &AnswererArgs, card: &ModelCard) -> String {
    let place = match (&args.model, &args.endpoint) {
        (Some(path), None) => shown_path(path),
        (_, endpoint) => endpoint.clone().unwrap_or_default(),
    };
    let parts = [card.name.as_str(), card.quantization.as_str()].into_iter().filter(|part| !part.is_empty());
    format!("{place} ({})", parts.collect::<Vec<_>>().join(", "))
}

/// Makes the folder, and a file in it that goes again.
fn prepare(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    tempfile::tempfile_in(folder).map(drop)
}

fn draw(report: &Report, folder: &Path) -> std::io::Result<()> {
    let write = |name: &str, picture: String| {
        output::replace(&folder.join(name), picture.as_bytes()).map_err(std::io::Error::other)
    };
    write("confusion.svg", picture::confusion(&report.confusion))?;
    if let Some(Reliability { bins, .. }) = &report.reliability {
        write("reliability.svg", picture::reliability(bins))?;
    }
    Ok(())
}
