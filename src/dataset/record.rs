//! A row as its file has it: all columns, in their order, with values as they were written.

use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

use super::error::DatasetError;
use super::place::Place;

/// A value as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing: an empty cell, JSON's null.
    Null,
    /// Text. Every field of a CSV or TSV file is text.
    Text(String),
    /// A number, as it was written.
    Number(String),
    /// A truth value.
    Bool(bool),
    /// A date, or a date and a time: `2025-03-01`, `2025-03-01 12:30:00`.
    Date(String),
    /// A list or an object, as JSON.
    Json(String),
    /// An error that a spreadsheet shows in place of a value, such as `#REF!`.
    Error(String),
}

impl Value {
    /// Text and numbers as they were written; `None` for nothing.
    ///
    /// # Errors
    /// What the value is, if it is neither.
    pub fn text(&self) -> Result<Option<&str>, String> {
        match self {
            Value::Null => Ok(None),
            Value::Text(text) | Value::Number(text) | Value::Date(text) => Ok(Some(text)),
            Value::Bool(true) => Ok(Some("true")),
            Value::Bool(false) => Ok(Some("false")),
            Value::Json(_) => Err("a list or an object".into()),
            Value::Error(error) => Err(format!("the spreadsheet error {error}")),
        }
    }

    /// The value within a JSON value.
    pub(super) fn into_json(self) -> Json {
        match self {
            Value::Null => Json::Null,
            Value::Bool(b) => Json::Bool(b),
            Value::Number(text) => serde_json::from_str(&text).unwrap_or(Json::Null),
            Value::Json(text) => serde_json::from_str(&text).unwrap_or(Json::String(text)),
            Value::Text(text) | Value::Date(text) | Value::Error(text) => Json::String(text),
        }
    }
}

/// A row as its file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it begins.
    pub place: Place,
    /// The columns' names. Rows of one shape share them.
    pub names: Arc<[String]>,
    /// As many as `names`.
    pub values: Vec<Value>,
}

/// A row that cannot be used. It is counted, and the rows after it are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Where the row begins.
    pub place: Place,
    /// What is wrong with it, and what to do.
    pub reason: String,
    /// The row, if its columns could be told apart.
    pub record: Option<Box<Record>>,
}

impl Refused {
    /// A row at `place` that is refused for `reason`, without its columns.
    pub fn new(place: Place, reason: impl Into<String>) -> Self {
        Self { place, reason: reason.into(), record: None }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// What a reader yields for each row of its file. An error ends the file.
pub type RecordResult = Result<Result<Record, Refused>, DatasetError>;

/// The rows of a file, one after the other.
pub type Records = Box<dyn Iterator<Item = RecordResult> + Send>;
