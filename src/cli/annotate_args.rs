//! Flags of `annotate`: which rows, and where to.

use std::path::{Path, PathBuf};

use clap::Args;

use super::run::Failure;
use crate::annotate::{AnnotateError, Journal, Wish, journal_path};
use crate::dataset::OutFormat;
use crate::files::output::check_target;
use crate::sentiment::labels::Sentiment;
use crate::text::shown::shown_path;

/// Where the answers go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output options")]
pub struct OutArgs {
    /// Output file: .csv, .tsv, .jsonl, .parquet, .arrow or .xlsx; - writes to standard output.
    #[arg(long, short = 'o', value_name = "FILE")]
    out: PathBuf,

    /// Output format [default: by the file's name; csv on standard output].
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub out_format: Option<OutFormat>,

    /// Start a .csv or .tsv file with a byte order mark, which Excel needs for Korean text.
    #[arg(long)]
    pub bom: bool,

    /// In a .csv or .tsv file, put an apostrophe before texts that begin with =, +, - or @, so that a spreadsheet does
    /// not compute them. Not needed for .xlsx.
    #[arg(long)]
    pub escape_formulas: bool,

    /// Replace the output file if it exists.
    #[arg(long)]
    pub force: bool,

    /// Start over instead of resuming an interrupted run.
    #[arg(long)]
    pub restart: bool,
}

impl OutArgs {
    /// The output's file, if it isn't standard output.
    pub fn file(&self) -> Option<&Path> {
        Some(self.out.as_path()).filter(|path| path.as_os_str() != "-")
    }

    /// Whether it is standard output.
    pub fn is_stdout(&self) -> bool {
        self.file().is_none()
    }

    /// The output's name for messages.
    pub fn name(&self) -> String {
        self.file().map_or_else(|| "standard output".to_owned(), shown_path)
    }

    /// Refuses an output that cannot be written, before anything is computed.
    pub fn check(&self) -> Result<(), Failure> {
        Ok(self.file().map_or(Ok(()), |path| check_target(path, 0, self.force))?)
    }

    /// The journal of the answers.
    pub fn journal(&self) -> Result<Journal, AnnotateError> {
        match self.file() {
            Some(path) => Journal::open(&journal_path(path)),
            None => Journal::temporary(),
        }
    }
}

/// Which rows are annotated and written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Row options")]
pub struct RowArgs {
    /// Annotate only the first N rows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "sample")]
    limit: Option<u64>,

    /// Annotate N rows drawn at random.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    sample: Option<u64>,

    /// Seed of --sample.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Write only rows with these verdicts: positive, neutral, negative, or 긍정, 중립, 부정; separate several by
    /// commas.
    #[arg(long, value_name = "LABEL", value_delimiter = ',', value_parser = label)]
    pub where_label: Vec<Sentiment>,
}

fn label(text: &str) -> Result<Sentiment, String> {
    Sentiment::parse(text).ok_or_else(|| "must be 긍정, 중립, 부정, positive, neutral or negative".to_owned())
}

impl RowArgs {
    /// Which rows are annotated.
    pub fn wish(&self) -> Wish {
        match (self.limit, self.sample) {
            (_, Some(rows)) => Wish::Sample { rows, seed: self.seed },
            (Some(limit), None) => Wish::First(limit),
            (None, None) => Wish::All,
        }
    }

    /// Flags that decide which row is which. A limit doesn't.
    pub fn that_change_rows(&self) -> Option<(String, String)> {
        self.sample.map(|rows| ("--sample".to_owned(), format!("{rows} with seed {}", self.seed)))
    }
}
