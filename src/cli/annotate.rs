//! `ko-sentiment annotate`

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::annotate_args::{OutArgs, RowArgs};
use super::answerer_args::AnswererArgs;
use super::data_args::{ReadArgs, warn_refused};
use super::interrupt::Interrupt;
use super::out::tell;
use super::predict::PaceArgs;
use super::progress::Progress;
use super::run::{Failure, block_on};
use super::session::Session;
use super::subject::Subject;
use crate::annotate::{
    AnnotateError, FileDesk, Identity, Input, Journal, Reading, Shown, Summary, Survey, Target, open_inputs,
    survey, write_all,
};
use crate::ask::{AskError, Taking, ask_all};
use crate::dataset::{Counts, OutFormat, ReadOptions, WriteError, WriteOptions};
use crate::files::output::Output;
use crate::sentiment::input::{DEFAULT_TOKENS, MAX_TOKENS};
use crate::text::shown::shown_path;

/// Exit code of a run whose output has rows without an answer.
const SOME_REFUSED: u8 = 3;
/// Exit code of a run that was interrupted, as a shell's.
const INTERRUPTED: u8 = 130;

const EXIT_CODES: &str = "\
Exit codes:
  0    every row has an answer
  1    the run failed; the same command resumes from the answers so far
  2    wrong usage
  3    the output is written, but some rows have no answer; their `error` column says why
  130  interrupted; the same command resumes

More in docs/files.md.";

/// Add sentiment columns to files of comments: CSV, Excel, JSON, Parquet, Arrow.
///
/// For example: ko-sentiment annotate comments.csv --model model.gguf --out answers.csv
///
/// The output has the input's columns, unchanged, and then label, probability, positive, neutral, negative, abstained
/// and error. If the input already has a label column, the new one is called predicted_label; likewise for the others.
/// To resume an interrupted run, give the same command again.
#[derive(Debug, Args)]
#[command(after_long_help = EXIT_CODES)]
pub struct AnnotateArgs {
    /// Files of comments: .csv, .tsv, .jsonl, .json, .txt, .parquet, .arrow or .xlsx, also compressed with gzip or Zstandard;
    /// - reads standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Add a column with the model's reasons; about 100 times the work.
    #[arg(long, conflicts_with = "reproducible")]
    reasons: bool,

    /// Maximum tokens of a row's reasons.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_TOKENS, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TOKENS)))]
    max_tokens: u32,

    #[command(flatten)]
    pace: PaceArgs,

    #[command(flatten)]
    out: OutArgs,

    #[command(flatten)]
    rows: RowArgs,

    #[command(flatten)]
    reading: ReadArgs,

    #[command(flatten)]
    answerer: AnswererArgs,
}

pub fn run(args: &AnnotateArgs) -> Result<ExitCode, Failure> {
    let format = args.out.format(&args.files)?;
    args.out.check()?;
    let inputs = open_inputs(&args.files)?;
    // A Parquet file is copied as it is, whatever its columns hold; all else needs all columns read.
    let options = ReadOptions { all_columns: true, ..args.reading.options() };
    let found = survey(&inputs, &options, args.rows.wish(), format)?;
    let mut journal = args.out.journal()?;
    let done = block_on(annotate(args, (&inputs, &options), found, &mut journal));
    match done? {
        Ok(summary) => {
            journal.remove()?;
            Ok(args.tell(&summary))
        }
        Err(Ended::Interrupted(message)) => {
            tell(format_args!("{message}"));
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(Ended::Failed(failure)) => Err(failure),
    }
}

/// Why there is no output.
enum Ended {
    Interrupted(String),
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl AnnotateArgs {
    fn taking(&self) -> Taking {
        match self.reasons {
            true => Taking::Reasons { max_tokens: self.max_tokens },
            false => Taking::Scores { reproducible: self.pace.reproducible },
        }
    }

    /// What decides the answers.
    async fn identity(&self, session: &Session, inputs: &[Input]) -> Result<Identity, Failure> {
        let (card, profile) = session.clone().model_and_profile().await?;
        if profile.is_empty() {
            return Err("the server does not name its profile, so a run could not go on after an interruption; update the server".into());
        }
        let mut identity = Identity::default().with("model", card.sha256).with("profile", profile);
        for (name, value) in card.options {
            identity = identity.with(format!("--{name}"), value);
        }
        for (i, input) in inputs.iter().enumerate() {
            identity = identity.with(format!("file {}", i + 1), input.sha256());
        }
        let taking = match self.taking() {
            Taking::Reasons { max_tokens } => format!("reasons of {max_tokens} tokens"),
            Taking::Scores { reproducible: true } => "reproducible scores".to_owned(),
            Taking::Scores { .. } | Taking::Free { .. } => "scores".to_owned(),
        };
        identity = identity.with("kind of answer", taking);
        for (flag, value) in self.rows.that_change_rows().into_iter().chain(self.reading.named()) {
            identity = identity.with(flag, value);
        }
        Ok(identity)
    }

    /// Tells what was written; the exit code.
    fn tell(&self, summary: &Summary) -> ExitCode {
        let [positive, neutral, negative] = summary.answered;
        let answered = positive + neutral + negative;
        tell(format_args!(
            "{}: {} rows; 긍정 {positive}, 중립 {neutral}, 부정 {negative}, withheld {}",
            self.out.name(),
            summary.written,
            summary.abstained
        ));
        if summary.cut > 0 {
            tell(format_args!(
                "{}; a cell of .xlsx holds 32,767 characters, and the `error` column names what is cut; write .csv \
                 or .parquet to keep all",
                cut_rows(summary.cut)
            ));
        }
        warn_refused(Counts { read: answered, refused: summary.refused.count }, &summary.refused);
        ExitCode::from(if summary.refused.count > 0 { SOME_REFUSED } else { 0 })
    }
}

fn cut_rows(count: u64) -> String {
    if count == 1 {
        "1 row has a text that was cut".into()
    } else {
        format!("{count} rows have texts that were cut")
    }
}

async fn annotate(
    args: &AnnotateArgs,
    (inputs, options): (&[Input], &ReadOptions),
    found: Survey,
    journal: &mut Journal,
) -> Result<Summary, Ended> {
    let session = Session::open(&args.answerer).await?;
    let identity = args.identity(&session, inputs).await?;
    if args.out.restart {
        journal.clear()?;
    }
    journal.resume(&identity)?;
    let interrupt = Interrupt::listen();
    let asked = Reading {
        inputs,
        options: ReadOptions { all_columns: false, ..options.clone() },
        select: found.select.clone(),
    };
    let subject = Arc::new(Subject::new(session.clone(), args.taking()));
    let mut progress = Progress::new(found.comments);
    let result = {
        let mut desk = FileDesk::new(asked, journal, |is_new| progress.answer(is_new))?;
        tokio::select! {
            asked = ask_all(subject, &mut desk, args.pace.in_flight) => Some(asked),
            () = interrupt.come() => None,
        }
    };
    progress.end();
    match result {
        None => return Err(interrupted(&progress, &args.out)),
        Some(Err(AskError::Desk(error))) => return Err(error.into()),
        Some(Err(AskError::Answerer(_, error))) => return Err(error.into()),
        Some(Err(AskError::Task(error))) => return Err(error.into()),
        Some(Ok(())) => {}
    }
    // A server may have been started anew with something else meanwhile. If it is gone, the answers are all there.
    if let (Session::Remote(_), Ok(now)) = (&session, args.identity(&session, inputs).await)
        && let Some((what, ..)) = identity.difference(&now)
    {
        return Err(
            format!("the server's {what} changed while it was asked; start over with --restart").into()
        );
    }
    let shown = Shown {
        words: session.clone().labels().await?,
        reasons: args.reasons,
        only: args.rows.where_label.clone(),
    };
    let written = write(args, (inputs, options), (found, &shown), journal, &interrupt);
    match written {
        Err(Ended::Interrupted(_)) => Err(interrupted(&progress, &args.out)),
        other => other,
    }
}

fn interrupted(progress: &Progress, out: &OutArgs) -> Ended {
    let (done, new) = progress.counts();
    let kept = if out.is_stdout() { "" } else { "; give the same command again to go on" };
    Ended::Interrupted(format!("interrupted after {done} rows ({new} of them now){kept}"))
}

/// Writes the output, which gets its name when it is whole.
fn write(
    args: &AnnotateArgs,
    (inputs, options): (&[Input], &ReadOptions),
    (found, shown): (Survey, &Shown),
    journal: &Journal,
    interrupt: &Interrupt,
) -> Result<Summary, Ended> {
    let format = args.out.format(&args.files)?;
    let reading = Reading { inputs, options: options.clone(), select: found.select };
    let options = WriteOptions { format, bom: args.out.bom, escape_formulas: args.out.escape_formulas };
    let name = args.out.name();
    let target =
        |out: Box<dyn Write + Send>| Target { name: &name, out, options, layout: found.layout, shown };
    let stop = || interrupt.has_come();
    let written = match args.out.file() {
        None => write_all(reading, journal, target(Box::new(io::stdout())), &stop),
        Some(path) => to_file(path, args.out.force, |out| write_all(reading, journal, target(out), &stop)),
    };
    written.map_err(|error| match error {
        AnnotateError::Interrupted => Ended::Interrupted(String::new()),
        // Nobody reads standard output any more: the command ends quietly.
        AnnotateError::Write { source: WriteError::Io(error), .. }
            if error.kind() == io::ErrorKind::BrokenPipe =>
        {
            error.into()
        }
        other => other.into(),
    })
}

fn to_file(
    path: &Path,
    force: bool,
    write: impl FnOnce(Box<dyn Write + Send>) -> Result<Summary, AnnotateError>,
) -> Result<Summary, AnnotateError> {
    let output = Output::create(path, 0, force)?;
    let file = output.file().try_clone().map_err(|e| output.io_error(e))?;
    let summary = write(Box::new(file))?;
    output.finish(force)?;
    Ok(summary)
}

impl OutArgs {
    /// The format of the output.
    fn format(&self, files: &[PathBuf]) -> Result<OutFormat, Failure> {
        if let Some(path) = self.file() {
            let same = |file: &PathBuf| match (file.canonicalize(), path.canonicalize()) {
                (Ok(file), Ok(out)) => file == out,
                _ => false,
            };
            if files.iter().any(same) {
                return Err(format!("{} is an input; choose another --out", shown_path(path)).into());
            }
        }
        match (self.out_format, self.file().map(OutFormat::of_name)) {
            (Some(format), _) | (None, Some(Some(format))) => Ok(format),
            (None, None) => Ok(OutFormat::Csv),
            (None, Some(None)) => Err(format!(
                "{}: the name must end in .csv, .tsv, .jsonl, .parquet, .arrow or .xlsx; or say the format with --out-format",
                self.name()
            )
            .into()),
        }
    }
}
