//! `ko-sentiment eval`

use std::path::{Path, PathBuf};

use clap::Args;

use super::predict::{Answers, AskArgs, BalanceArgs, Data, DataArgs, ask};
use super::run::{CliResult, block_on};
use super::session::Session;
use super::text_args::AnswererArgs;
use crate::eval::calibrate::check_labels;
use crate::eval::fidelity::{Fidelity, Pair};
use crate::eval::metrics::Confusion;
use crate::eval::picture;
use crate::eval::predictions::{self, Mode, Prediction};
use crate::eval::report::{Recalibration, Reliability, Report};
use crate::files::output;
use crate::sentiment::profile::Calibration;
use crate::sentiment::score::probabilities;

/// For example: ko-sentiment eval --model model.gguf --data comments.csv --pictures out
#[derive(Debug, Args)]
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
    /// How answers are taken from the model.
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,

    #[command(flatten)]
    ask: AskArgs,

    /// Fit a calibration, and report what it would change; `ko-sentiment calibrate` writes it.
    #[arg(long)]
    calibrate: bool,

    #[command(flatten)]
    balance: BalanceArgs,

    /// Compare with a reference: another model, or a predictions file (.jsonl). With --reproducible, only
    /// the weights differ.
    #[arg(long, value_name = "FILE", requires = "model")]
    against: Option<PathBuf>,

    /// Write confusion.svg and reliability.svg into this folder.
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,

    /// Print JSON.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,

    /// Print Markdown.
    #[arg(long)]
    markdown: bool,
}

pub fn run(args: &EvalArgs) -> CliResult {
    let measure = &args.eval;
    if measure.mode == Mode::Generate && (measure.calibrate || measure.against.is_some()) {
        return Err(
            "--calibrate and --against need probabilities, which free answers do not have: use --mode score"
                .into(),
        );
    }
    let data = args.data.read()?;
    if measure.calibrate {
        check_labels(&data.labels())?;
    }
    let (mut report, predictions) = block_on(measured(args, &data))??;
    // What was measured is shown even where nothing can be fitted.
    let balance = measure.balance.balance;
    let fitted = measure.calibrate.then(|| Recalibration::of(&predictions, balance)).transpose();
    report.calibration = fitted.as_ref().ok().cloned().flatten();
    if let Some(folder) = &measure.pictures {
        draw(&report, folder).map_err(|e| format!("cannot write pictures to {}: {e}", folder.display()))?;
    }
    if measure.json {
        println!("{:#}", report.json());
    } else if measure.markdown {
        print!("{}", report.markdown());
    } else {
        print!("{}", report.text());
    }
    fitted?;
    Ok(())
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn measured(args: &EvalArgs, data: &Data) -> Result<(Report, Vec<Prediction>), Failure> {
    let measure = &args.eval;
    let mut session = Session::open(&args.answerer).await?;
    let answers = ask(&session, measure.mode, data, &measure.ask).await?;
    let model = describe(&args.answerer, &mut session).await?;
    let fidelity = match (&measure.against, session) {
        (Some(path), Session::Local(classifier)) => {
            let calibration = classifier.profile().calibration.clone();
            // One model in memory at a time.
            drop(classifier);
            let reference = reference(args, path, data).await?;
            Some(Fidelity::of(&pairs(&answers.predictions, &reference, &calibration)?))
        }
        _ => None,
    };
    let Answers { source, predictions, computed: (rows, time) } = answers;
    let scored = predictions::probabilities(&predictions);
    let report = Report {
        model,
        data: data.words.clone(),
        source,
        confusion: Confusion::of(predictions.iter().map(|p| (p.label, p.predicted))),
        reliability: (measure.mode == Mode::Score).then_some(Reliability::of(&scored)),
        calibration: None,
        fidelity,
        speed: (rows > 0).then_some((rows, time.as_secs_f64())),
    };
    Ok((report, predictions))
}

/// The model in words.
pub async fn describe(args: &AnswererArgs, session: &mut Session) -> Result<String, Failure> {
    let card = session.model().await?;
    let place = match (&args.model, &args.endpoint) {
        (Some(path), None) => path.display().to_string(),
        (_, endpoint) => endpoint.clone().unwrap_or_default(),
    };
    let parts = [card.name, card.quantization].into_iter().filter(|part| !part.is_empty());
    Ok(format!("{place} ({})", parts.collect::<Vec<_>>().join(", ")))
}

/// The reference's answers to the same rows.
async fn reference(args: &EvalArgs, path: &Path, data: &Data) -> Result<Vec<Prediction>, Failure> {
    if path.extension().is_some_and(|extension| extension == "jsonl") {
        return Ok(predictions::read(path)?.into_values().collect());
    }
    let mut answerer = args.answerer.clone();
    answerer.model = Some(path.to_owned());
    let session = Session::open(&answerer).await?;
    let asked = AskArgs { predictions: None, ..args.eval.ask.clone() };
    Ok(ask(&session, Mode::Score, data, &asked).await?.predictions)
}

/// Both models' probabilities, row by row, under one calibration: what differs is the weights.
fn pairs(
    ours: &[Prediction],
    theirs: &[Prediction],
    calibration: &Calibration,
) -> Result<Vec<Pair>, Failure> {
    let mut pairs = Vec::with_capacity(ours.len());
    for p in ours {
        let found = theirs.binary_search_by_key(&p.row, |r| r.row).ok().map(|i| &theirs[i]);
        let same = found.filter(|r| r.comment == p.comment);
        let (Some(tested), Some(reference)) = (p.log_probs, same.and_then(|r| r.log_probs)) else {
            let row = p.row + 1;
            return Err(format!("the reference has no log-probabilities for the comment of row {row}; make it with --mode score and the same --data").into());
        };
        pairs.push((p.label, probabilities(tested, calibration), probabilities(reference, calibration)));
    }
    Ok(pairs)
}

fn draw(report: &Report, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let write = |name: &str, picture: String| {
        output::replace(&folder.join(name), picture.as_bytes()).map_err(std::io::Error::other)
    };
    write("confusion.svg", picture::confusion(&report.confusion))?;
    if let Some(Reliability { bins, .. }) = &report.reliability {
        write("reliability.svg", picture::reliability(bins))?;
    }
    Ok(())
}
