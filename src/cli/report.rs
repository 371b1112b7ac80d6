//! `ko-sentiment report`

use std::path::PathBuf;

use clap::Args;

use super::data_args::ReadArgs;
use super::out::tell;
use super::run::CliResult;
use crate::files::output::{check_target, replace};
use crate::report::{Language, collect, page};
use crate::text::shown::shown_path;

/// Make an HTML report of an annotated file.
///
/// For example: ko-sentiment report answers.csv --out report.html
///
/// The report is one file without scripts and needs no network. It shows the share of each sentiment, over time and by
/// video, the clearest and the most divided comments, telling words, and how sure the model is.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// File that `annotate` wrote.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// HTML file to write.
    #[arg(long, short = 'o', value_name = "FILE")]
    out: PathBuf,

    /// Language of the report.
    #[arg(long, value_enum, default_value_t)]
    language: Language,

    /// Date column [default: found by the usual names, such as date, published_at, 날짜 or 작성일].
    #[arg(long, value_name = "NAME")]
    date_column: Option<String>,

    /// Replace the output file if it exists.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    reading: ReadArgs,
}

pub fn run(args: &ReportArgs) -> CliResult {
    check_target(&args.out, 0, args.force)?;
    let findings = collect(&args.file, &args.reading.options(), args.date_column.as_deref())?;
    let name = args.file.file_name().unwrap_or(args.file.as_os_str()).to_string_lossy();
    let page = page(&findings, &name, args.language);
    replace(&args.out, page.as_bytes())?;
    tell(format_args!("{}: {} of {} rows", shown_path(&args.out), findings.total(), findings.rows));
    Ok(())
}
