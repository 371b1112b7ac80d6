//! A labelled data set on the command line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::out::tell;
use crate::dataset::{
    self, Columns, Counts, Encoding, Format, LabelMap, Place, ReadOptions, Refused, RefusedRows, Row,
};
use crate::eval::run::Refusal;
use crate::eval::slices::SliceColumn;
use crate::text::shown::shown_path;

/// A labelled data set.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data options")]
pub struct DataArgs {
    /// Labelled comments: .csv, .tsv, .jsonl, .json, .txt, .parquet, .arrow or .xlsx, also compressed with gzip or Zstandard;
    /// - reads standard input. Labels are 긍정, 중립, 부정, or positive, neutral, negative, or those of --labels.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,

    #[command(flatten)]
    reading: ReadArgs,

    /// Label column [default: found by the usual names, such as label, sentiment or 감정].
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,

    /// Meaning of the data's own labels, for example 1=긍정,0=중립,-1=부정.
    #[arg(long, value_name = "MAP", allow_hyphen_values = true, conflicts_with = "labels_file")]
    labels: Option<LabelMap>,

    /// The same as a file, one VALUE=LABEL per line.
    #[arg(long, value_name = "FILE")]
    labels_file: Option<PathBuf>,

    /// Use only the first N rows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// How a file of comments is read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data options")]
pub struct ReadArgs {
    /// Comment column [default: found by the usual names, such as comment, text, content, 댓글 or 내용].
    #[arg(long, value_name = "NAME")]
    comment_column: Option<String>,

    /// Column of the video's title; "" for none [default: video_title, title or 제목, if present].
    #[arg(long, value_name = "NAME")]
    video_title_column: Option<String>,

    /// Column of the video's summary; "" for none [default: video_summary, summary or 요약, if present].
    #[arg(long, value_name = "NAME")]
    video_summary_column: Option<String>,

    /// Input format [default: detected from the first bytes and the name].
    #[arg(long, value_name = "FORMAT", value_enum)]
    format: Option<Format>,

    /// Encoding of a text file [default: detected from the byte order mark, else UTF-8 or CP949 by its bytes].
    #[arg(long, value_name = "ENCODING", value_enum)]
    encoding: Option<Encoding>,

    /// Field separator of a .csv or .tsv file: one character, or "tab" [default: in .csv, the most frequent of , ; |
    /// and tab in the header].
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    delimiter: Option<u8>,

    /// Sheet of an .xlsx file, by name or by number from 1 [default: the only one that has rows].
    #[arg(long, value_name = "SHEET")]
    sheet: Option<String>,

    /// Decode HTML in comments and titles (&quot;, &#39;, <br>). A column called textDisplay, as YouTube's, is always
    /// decoded.
    #[arg(long)]
    html: bool,
}

/// One ASCII character, or its name.
fn delimiter(text: &str) -> Result<u8, String> {
    match text {
        "tab" | "\\t" => Ok(b'\t'),
        _ => match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
            _ => Err("must be one ASCII character other than a quote, or \"tab\"".into()),
        },
    }
}

impl ReadArgs {
    /// The flags that were given, and their values.
    pub fn named(&self) -> BTreeMap<String, String> {
        let text = |value: &Option<String>| value.clone();
        let flags = [
            ("--comment-column", text(&self.comment_column)),
            ("--video-title-column", text(&self.video_title_column)),
            ("--video-summary-column", text(&self.video_summary_column)),
            ("--format", self.format.map(|format| format!("{format:?}").to_lowercase())),
            ("--encoding", self.encoding.map(|encoding| format!("{encoding:?}").to_lowercase())),
            ("--delimiter", self.delimiter.map(|byte| format!("{:?}", char::from(byte)))),
            ("--sheet", text(&self.sheet)),
            ("--html", self.html.then(|| "yes".to_owned())),
        ];
        flags.into_iter().filter_map(|(flag, value)| Some((flag.to_owned(), value?))).collect()
    }

    /// What the flags say, without labels.
    pub fn options(&self) -> ReadOptions {
        let columns = Columns {
            comment: self.comment_column.clone(),
            label: None,
            video_title: self.video_title_column.clone(),
            video_summary: self.video_summary_column.clone(),
        };
        ReadOptions {
            columns,
            labels: LabelMap::default(),
            format: self.format,
            encoding: self.encoding,
            delimiter: self.delimiter,
            sheet: self.sheet.clone(),
            html: self.html,
            all_columns: false,
            kept: Vec::new(),
        }
    }
}

/// A data set that was read.
pub struct Data {
    /// The rows to answer.
    pub rows: Arc<[Row]>,
    /// Where each of them stands in the file.
    places: Vec<Place>,
    /// The columns that were asked for, with a value for each row of the file.
    pub slices: Vec<SliceColumn>,
    /// Of all rows of the file.
    pub fingerprint: String,
    /// The file's name.
    name: String,
    /// Rows of the file.
    pub counts: Counts,
    /// Rows of the file that cannot be used.
    pub refused: RefusedRows,
    /// `--limit`.
    pub limit: Option<u32>,
}

impl Data {
    /// Tells on standard error which rows cannot be used.
    pub fn warn_refused(&self) {
        warn_refused(self.counts, &self.refused);
    }

    /// The data set in words.
    pub fn words(&self) -> String {
        let Counts { read, refused } = self.counts;
        let used = self.rows.len();
        let first = if used < self.places.len() { format!(", the first {used} used") } else { String::new() };
        format!("{}, {} rows: {read} read, {refused} refused{first}", self.name, self.counts.total())
    }

    /// Counts rows that the model refuses as refused, and tells which on standard error.
    pub fn refuse(&mut self, refusals: &[Refusal]) {
        let mut refused = RefusedRows::default();
        for (row, reason) in refusals {
            let place = self.places.get(*row).copied().unwrap_or(Place::Row(*row as u64 + 1));
            refused.add(Refused::new(place, reason.clone()));
            self.refused.add(Refused::new(place, reason.clone()));
        }
        self.counts.read -= refused.count;
        self.counts.refused += refused.count;
        warn_refused(
            Counts { read: self.rows.len() as u64 - refused.count, refused: refused.count },
            &refused,
        );
    }

    /// The file's rows as figures for a program.
    pub fn counts_json(&self) -> Value {
        let first = self.refused.first.iter();
        let first = first.map(|row| json!({ "place": row.place.to_string(), "reason": row.reason }));
        json!({
            "total": self.counts.total(),
            "read": self.counts.read,
            "refused": self.counts.refused,
            "first_refused": first.collect::<Vec<_>>(),
        })
    }
}

/// Tells on standard error which rows cannot be used.
pub fn warn_refused(counts: Counts, refused: &RefusedRows) {
    if refused.count == 0 {
        return;
    }
    tell(format_args!("{} of {} rows are refused:", counts.refused, counts.total()));
    for row in &refused.first {
        tell(format_args!("  {row}"));
    }
    let more = refused.count - refused.first.len() as u64;
    if more > 0 {
        tell(format_args!("  and {more} more"));
    }
}

impl DataArgs {
    /// Reads the rows, and the columns `slices` beside them.
    pub fn read(&self, slices: &[String]) -> Result<Data, Box<dyn std::error::Error + Send + Sync>> {
        let mut options = self.reading.options();
        options.kept = slices.to_vec();
        options.columns.label.clone_from(&self.label_column);
        options.labels = match &self.labels_file {
            Some(path) => LabelMap::read(path)?,
            None => self.labels.clone().unwrap_or_default(),
        };
        let mut dataset = dataset::read(&self.data, &options)?;
        let all = dataset.rows.len();
        let counts = Counts { read: all as u64, refused: dataset.refused.count };
        dataset.rows.truncate(self.limit.map_or(all, |n| n as usize));
        let name = match self.data.as_os_str() {
            name if name == "-" => "standard input".into(),
            _ => shown_path(&self.data),
        };
        let named = options.kept.into_iter().zip(dataset.kept);
        let slices = named.map(|(name, values)| SliceColumn { name, values }).collect();
        let (rows, places, refused) = (dataset.rows.into(), dataset.places, dataset.refused);
        let fingerprint = dataset.fingerprint;
        Ok(Data { rows, places, slices, fingerprint, name, counts, refused, limit: self.limit })
    }
}
