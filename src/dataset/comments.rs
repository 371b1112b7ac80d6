//! Rows as comments: what of a record is the comment, its video and its label, and which rows are refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::columns::{COMMENT, Columns, LABEL, Located, SUMMARY, TITLE, is_html};
use super::error::DatasetError;
use super::html;
use super::labels::Unknown;
use super::place::quoted;
use super::record::{Record, Records, Refused};
use super::source::{ReadOptions, name, open};
use crate::sentiment::input::{MAX_COMMENT, MAX_SUMMARY, MAX_TITLE, is_blank, is_too_long};
use crate::sentiment::labels::Sentiment;

/// Names of columns that are kept for a message.
const NAMES_KEPT: usize = 100;

/// A comment, and the row that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// The comment, as in the file; not blank, and no longer than a request's may be.
    pub text: String,
    /// The video's title.
    pub video_title: Option<String>,
    /// The video's summary.
    pub video_summary: Option<String>,
    /// The label, if labels are read.
    pub label: Option<Sentiment>,
    /// The row, with all its columns.
    pub record: Record,
}

/// What of a row is needed.
struct Fields {
    text: String,
    video_title: Option<String>,
    video_summary: Option<String>,
    label: Option<Sentiment>,
}

/// Rows of a file so far: all of them are one or the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that can be used.
    pub read: u64,
    /// Rows that were refused.
    pub refused: u64,
}

impl Counts {
    /// Rows in the file.
    pub fn total(self) -> u64 {
        self.read + self.refused
    }
}

/// The comments of a file, one after the other. An error ends the file; a refused row doesn't.
pub struct Comments {
    path: PathBuf,
    records: Records,
    header: Option<Arc<[String]>>,
    options: ReadOptions,
    labelled: bool,
    shape: Option<(Arc<[String]>, Located)>,
    /// Columns that were there in some row, by role.
    ever: Located,
    names: Vec<String>,
    unknown: Unknown,
    counts: Counts,
    ended: bool,
}

/// What an iteration yields.
pub type CommentResult = Result<Result<Comment, Refused>, DatasetError>;

impl Comments {
    /// Opens a file; `-` is standard input. With `labelled`, each row needs a label.
    ///
    /// # Errors
    /// The file cannot be read, its format isn't clear, or a column isn't.
    pub fn open(path: &Path, options: ReadOptions, labelled: bool) -> Result<Self, DatasetError> {
        let opened = open(path, &options, labelled).map_err(|e| Self::named(e, path))?;
        if let Some(names) = &opened.names {
            let found = options.columns.locate(names)?;
            options.columns.require(&found, names.iter().map(String::as_str), labelled)?;
        }
        Ok(Self {
            path: name(path),
            records: opened.records,
            header: opened.names,
            options,
            labelled,
            shape: None,
            ever: [None; 4],
            names: Vec::new(),
            unknown: Unknown::default(),
            counts: Counts::default(),
            ended: false,
        })
    }

    /// An error without rows of standard input names it in words.
    fn named(error: DatasetError, path: &Path) -> DatasetError {
        match error {
            DatasetError::NoRows(_) => DatasetError::NoRows(name(path)),
            DatasetError::UnknownFormat(_) => DatasetError::UnknownFormat(name(path)),
            other => other,
        }
    }

    /// Rows so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What makes the whole file unfit, once all rows were read: labels that need a map.
    ///
    /// # Errors
    /// [`DatasetError::Labels`].
    pub fn check_labels(&self) -> Result<(), DatasetError> {
        match self.unknown.seen() {
            Some(seen) if self.unknown.numbers || self.counts.read == 0 => Err(DatasetError::Labels {
                column: self.options.columns.label_name(),
                seen,
                example: self.unknown.example(),
            }),
            _ => Ok(()),
        }
    }

    fn locate(&mut self, names: &Arc<[String]>) -> Result<Located, DatasetError> {
        if let Some((shape, found)) = &self.shape
            && Arc::ptr_eq(shape, names)
        {
            return Ok(*found);
        }
        let found = self.options.columns.locate(names)?;
        for (ever, found) in self.ever.iter_mut().zip(found) {
            *ever = ever.or(found);
        }
        for name in names.iter().take(NAMES_KEPT) {
            if self.names.len() < NAMES_KEPT && !self.names.contains(name) {
                self.names.push(name.clone());
            }
        }
        self.shape = Some((names.clone(), found));
        Ok(found)
    }

    fn comment(&mut self, record: Record) -> Result<Result<Comment, Refused>, DatasetError> {
        let found = self.locate(&record.names)?;
        Ok(match self.fields(&record, found) {
            Ok(Fields { text, video_title, video_summary, label }) => {
                Ok(Comment { text, video_title, video_summary, label, record })
            }
            Err(reason) => Err(Refused { place: record.place, reason, record: Some(Box::new(record)) }),
        })
    }

    fn fields(&mut self, record: &Record, found: Located) -> Result<Fields, String> {
        let field = |role: usize, max: usize| -> Result<Option<String>, String> {
            let Some(at) = found[role] else { return Ok(None) };
            let column = || quoted(&record.names[at]);
            let text = record.values[at].text();
            let text = text.map_err(|what| format!("column {} must be text and is {what}", column()))?;
            let Some(text) = text else { return Ok(None) };
            let html = self.options.html || is_html(&record.names[at]);
            let text = if html { html::shown(text) } else { text.to_owned() };
            if is_too_long(&text, max) {
                return Err(format!("column {} has more than {max} characters; shorten it", column()));
            }
            Ok(Some(text).filter(|text| !is_blank(text)))
        };
        let text = field(COMMENT, MAX_COMMENT)?.ok_or("the comment is missing or blank")?;
        let (video_title, video_summary) = (field(TITLE, MAX_TITLE)?, field(SUMMARY, MAX_SUMMARY)?);
        let label = if self.labelled { Some(self.label(record, found[LABEL])?) } else { None };
        Ok(Fields { text, video_title, video_summary, label })
    }

    fn label(&mut self, record: &Record, at: Option<usize>) -> Result<Sentiment, String> {
        let value = at.map(|at| record.values[at].text()).transpose();
        let found = value.map_err(|what| format!("the label is {what}"))?.flatten().unwrap_or_default();
        if is_blank(found) {
            return Err("the label is missing".into());
        }
        self.options.labels.get(found).ok_or_else(|| {
            self.unknown.note(found);
            format!(
                "label {} is none of 긍정, 중립, 부정, positive, neutral and negative; say what it means with --labels",
                quoted(found)
            )
        })
    }

    /// Refuses a file that lacked a column in every row.
    fn end(&self) -> Result<(), DatasetError> {
        let columns: &Columns = &self.options.columns;
        match self.shape {
            Some(_) => columns.require(&self.ever, self.names.iter().map(String::as_str), self.labelled),
            None => Ok(()),
        }
    }

    /// The columns, where the format names them once for all rows.
    pub fn header(&self) -> Option<&Arc<[String]>> {
        self.header.as_ref()
    }

    /// The file's name in words.
    pub fn name(&self) -> &Path {
        &self.path
    }
}

impl Iterator for Comments {
    type Item = CommentResult;

    fn next(&mut self) -> Option<CommentResult> {
        if self.ended {
            return None;
        }
        let read = match self.records.next() {
            None => {
                self.ended = true;
                return self.end().err().map(Err);
            }
            Some(Ok(Ok(record))) => self.comment(record),
            Some(Ok(Err(refused))) => Ok(Err(refused)),
            Some(Err(error)) => Err(error),
        };
        match &read {
            Ok(Ok(_)) => self.counts.read += 1,
            Ok(Err(_)) => self.counts.refused += 1,
            Err(_) => self.ended = true,
        }
        Some(read)
    }
}
