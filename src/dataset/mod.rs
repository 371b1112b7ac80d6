//! People's files of comments: CSV, TSV, JSON, Parquet, Arrow, Excel, plain text, and what yt-dlp and YouTube's Data
//! API write.
//!
//! Each row of a file is read or refused, and a refused one has its place and reason: rows read and rows
//! refused are the rows in the file. Rows come one after the other ([`Comments`]), so that memory does not
//! grow with the file; yt-dlp's videos and pages of the Data API are held one at a time. [`RowWriter`] writes them
//! again, with columns added.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use self::kept::Kept;
use crate::sentiment::input;
use crate::sentiment::labels::Sentiment;

mod arrow;
mod arrow_value;
mod columns;
mod comments;
pub mod dates;
mod delimited;
mod encoding;
mod error;
mod escape;
mod html;
mod json;
mod kept;
mod labels;
mod lines;
mod parquet;
mod place;
mod record;
mod source;
mod text;
mod tsv;
mod wanted;
mod write;
mod xlsx;
mod youtube;

pub use columns::Columns;
pub use comments::{Comment, CommentResult, Comments, Counts};
pub use encoding::Encoding;
pub use error::DatasetError;
pub use labels::LabelMap;
pub use place::Place;
pub use record::{Record, Refused, Value};
pub use source::{Format, ReadOptions};
pub use write::{Added, Kind, Layout, OutFormat, RowWriter, WriteError, WriteOptions};

/// Refused rows that are kept with their reasons.
const KEPT: usize = 10;

/// A comment, the video that it is about where the data set has it, and what people called it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The comment, as in the file.
    pub comment: String,
    /// The video's title.
    pub video_title: Option<String>,
    /// The video's summary.
    pub video_summary: Option<String>,
    /// The right answer.
    pub label: Sentiment,
}

impl Row {
    /// Whether a request with this row's texts shows its video.
    pub fn shows_video(&self) -> bool {
        let [title, summary] =
            [&self.video_title, &self.video_summary].map(|text| text.as_deref().unwrap_or_default());
        input::shows_video(title, summary)
    }
}

/// The labelled rows of one file.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// In the file's order.
    pub rows: Vec<Row>,
    /// Where each row stands in the file.
    pub places: Vec<Place>,
    /// Values of the columns [`ReadOptions::kept`], by column and then by row; empty where nothing stands.
    pub kept: Vec<Vec<Arc<str>>>,
    /// SHA-256 of the rows' content, in hexadecimal: equal rows in another format are the same data set.
    pub fingerprint: String,
    /// Rows of the file that cannot be used.
    pub refused: RefusedRows,
}

/// Rows that were refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefusedRows {
    /// How many.
    pub count: u64,
    /// The first ten.
    pub first: Vec<Refused>,
}

impl RefusedRows {
    /// Counts a row, and keeps it if it is one of the first.
    pub fn add(&mut self, refused: Refused) {
        self.count += 1;
        if self.first.len() < KEPT {
            self.first.push(Refused { record: None, ..refused });
        }
    }
}

/// Reads all rows of a labelled file; `-` is standard input.
///
/// # Errors
/// See [`DatasetError`]. A row that cannot be used is none: it is counted.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DatasetError> {
    let mut comments = Comments::open(path, options.clone(), true)?;
    if let Some(names) = comments.header() {
        kept::require(&options.kept, &kept::places(&options.kept, names)?, names)?;
    }
    let mut kept = Kept::new(&options.kept);
    let (mut rows, mut places, mut refused) = (Vec::new(), Vec::new(), RefusedRows::default());
    for comment in comments.by_ref() {
        match comment? {
            Ok(Comment { text, video_title, video_summary, label: Some(label), record }) => {
                kept.add(&record)?;
                places.push(record.place);
                rows.push(Row { comment: text, video_title, video_summary, label });
            }
            Ok(Comment { record, .. }) => refused.add(Refused::new(record.place, "the label is missing")),
            Err(row) => refused.add(row),
        }
    }
    comments.check_labels()?;
    if rows.is_empty() {
        return Err(no_rows(comments.name().into(), &refused));
    }
    let fingerprint = fingerprint(&rows);
    Ok(Dataset { rows, places, kept: kept.finish()?, fingerprint, refused })
}

/// Why a file without rows has none.
pub fn no_rows(path: PathBuf, refused: &RefusedRows) -> DatasetError {
    match refused.first.first() {
        None => DatasetError::NoRows(path),
        Some(first) => DatasetError::AllRefused { path, count: refused.count, first: first.to_string() },
    }
}

fn fingerprint(rows: &[Row]) -> String {
    let mut hash = Sha256::new();
    let mut field = |text: Option<&str>| {
        // A length before each field, so that text cannot move from one to the next.
        hash.update(text.map_or(u64::MAX, |t| t.len() as u64).to_le_bytes());
        hash.update(text.unwrap_or(""));
    };
    for row in rows {
        field(Some(&row.comment));
        field(row.video_title.as_deref());
        field(row.video_summary.as_deref());
        field(Some(row.label.korean()));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
