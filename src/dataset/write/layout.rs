//! The columns of files, in the order in which they first appear, and what they hold.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;

use super::error::WriteError;
use super::options::OutFormat;
use crate::dataset::record::{Record, Value};

/// Different columns that rows may have; Excel's own limit.
const MAX_COLUMNS: usize = 16_384;
/// Rows of a sheet, the header counted.
const SHEET_ROWS: u64 = 1 << 20;
/// Digits that a double holds for sure.
const EXACT_DIGITS: usize = 17;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Nothing so far.
    #[default]
    Empty,
    /// Truth values.
    Bool,
    /// Whole numbers of 64 bits.
    Integer,
    /// Numbers.
    Real,
    /// Dates, with or without a time.
    Date,
    /// Anything else.
    Text,
}

impl Kind {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Empty,
            Value::Bool(_) => Self::Bool,
            Value::Date(_) => Self::Date,
            Value::Number(text) if text.parse::<i64>().is_ok_and(|n| n.to_string() == *text) => Self::Integer,
            Value::Number(text) => {
                let digits = text.split(['e', 'E']).next().unwrap_or_default();
                let digits = digits.bytes().filter(u8::is_ascii_digit).count();
                let fits = digits <= EXACT_DIGITS && text.parse::<f64>().is_ok();
                if fits { Self::Real } else { Self::Text }
            }
            Value::Text(_) | Value::Json(_) | Value::Error(_) => Self::Text,
        }
    }

    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Empty, kind) | (kind, Self::Empty) => kind,
            (Self::Integer, Self::Real) | (Self::Real, Self::Integer) => Self::Real,
            (a, b) if a == b => a,
            _ => Self::Text,
        }
    }
}

/// A column that is added to a file's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Its name; another one where the file has this already.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// As in the file.
    pub name: String,
    /// All that it holds.
    pub kind: Kind,
}

/// A row's names, and where its columns stand.
type Shape = (Arc<[String]>, Arc<[usize]>);

/// The columns of files, in the order in which they first appear. Two of one name in one row stay two.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    columns: Vec<Column>,
    /// By name and how many of it stand before.
    by_name: HashMap<String, Vec<usize>>,
    last: Option<Shape>,
    files: Vec<PathBuf>,
    rows: u64,
}

impl Layout {
    /// Notes that the rows to come are those of `path`, whose header names these columns, if it has one.
    ///
    /// # Errors
    /// [`WriteError::Columns`].
    pub fn file(&mut self, path: &Path, names: Option<&Arc<[String]>>) -> Result<(), WriteError> {
        self.files.push(path.to_owned());
        names.map_or(Ok(()), |names| self.places(names).map(drop))
    }

    /// Notes a row that is written. One that cannot be read has no record.
    ///
    /// # Errors
    /// [`WriteError::Columns`].
    pub fn row(&mut self, record: Option<&Record>) -> Result<(), WriteError> {
        self.rows += 1;
        let Some(record) = record else { return Ok(()) };
        let places = self.places(&record.names)?;
        for (place, value) in places.iter().zip(&record.values) {
            let column = &mut self.columns[*place];
            if column.kind != Kind::Text {
                column.kind = column.kind.join(Kind::of(value));
            }
        }
        Ok(())
    }

    /// Says how many rows are written, where it isn't all that were noted.
    pub fn set_rows(&mut self, rows: u64) {
        self.rows = rows;
    }

    /// The columns.
    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The files.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Where each of a row's columns stands.
    pub(super) fn places(&mut self, names: &Arc<[String]>) -> Result<Arc<[usize]>, WriteError> {
        if let Some((last, places)) = &self.last
            && Arc::ptr_eq(last, names)
        {
            return Ok(places.clone());
        }
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut places = Vec::with_capacity(names.len());
        for name in names.iter() {
            let before = seen.entry(name).or_default();
            if !self.by_name.contains_key(name) {
                self.by_name.insert(name.clone(), Vec::new());
            }
            let same = self.by_name.entry(name.clone()).or_default();
            if same.len() == *before {
                same.push(self.columns.len());
                self.columns.push(Column { name: name.clone(), kind: Kind::Empty });
            }
            places.push(same[*before]);
            *before += 1;
        }
        if self.columns.len() > MAX_COLUMNS {
            return Err(WriteError::Columns(MAX_COLUMNS));
        }
        let places: Arc<[usize]> = places.into();
        self.last = Some((names.clone(), places.clone()));
        Ok(places)
    }

    /// `added` under names that no column of the files has: `predicted_label` where there is a `label`.
    pub(super) fn named_apart(&self, added: &[Added]) -> Vec<Added> {
        let mut taken: Vec<String> = self.columns.iter().map(|column| fold(&column.name)).collect();
        let mut free = |wanted: &str| {
            let predicted = format!("predicted_{wanted}");
            let numbered = (2..).map(|n| format!("{predicted}_{n}"));
            let mut names = [wanted.to_owned(), predicted.clone()].into_iter().chain(numbered);
            let name = names.find(|name| !taken.contains(&fold(name))).unwrap_or_default();
            taken.push(fold(&name));
            name
        };
        added.iter().map(|column| Added { name: free(&column.name), kind: column.kind }).collect()
    }

    /// Whether the format can hold the rows.
    ///
    /// # Errors
    /// [`WriteError::TooLarge`].
    pub fn check(&self, format: OutFormat, width: usize) -> Result<(), WriteError> {
        let too_large = |count: u64, what: &str, limit| {
            let what = format!("{count} {what}");
            if count > limit { Err(WriteError::TooLarge { what, limit }) } else { Ok(()) }
        };
        if format == OutFormat::Xlsx {
            too_large(self.rows, "rows", SHEET_ROWS - 1)?;
            too_large(width as u64, "columns", MAX_COLUMNS as u64)?;
        }
        Ok(())
    }

    /// All columns of the output, the added ones last: names, each once, and kinds.
    pub(super) fn typed(&self, added: &[Added]) -> Vec<(String, Kind)> {
        let own = self.names_once().into_iter().zip(self.columns.iter().map(|column| column.kind));
        own.chain(added.iter().map(|column| (column.name.clone(), column.kind))).collect()
    }

    /// The columns' names, each once: a second of a name is `name_2`.
    fn names_once(&self) -> Vec<String> {
        let mut taken: HashMap<&str, usize> = HashMap::new();
        let name = |column: &Column| column.name.clone();
        let mut names: Vec<String> = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let count = taken.entry(&column.name).or_default();
            *count += 1;
            let mut wanted = name(column);
            let mut number = *count;
            while number > 1 && (wanted == column.name || self.by_name.contains_key(&wanted)) {
                wanted = format!("{}_{number}", column.name);
                number += 1;
            }
            names.push(wanted);
        }
        names
    }
}

/// A name without what programs do not tell apart: case, and how a syllable is composed.
fn fold(name: &str) -> String {
    name.trim().nfc().collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::place::Place;

    fn record(cells: &[(&str, Value)]) -> Record {
        let (names, values): (Vec<String>, Vec<Value>) =
            cells.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).unzip();
        Record { place: Place::Line(1), names: names.into(), values }
    }

    fn number(text: &str) -> Value {
        Value::Number(text.into())
    }

    #[test]
    fn columns_are_joined_in_their_order() {
        let mut layout = Layout::default();
        layout
            .row(Some(&record(&[("a", number("1")), ("b", Value::Null), ("b", Value::Bool(true))])))
            .unwrap();
        layout.row(Some(&record(&[("c", Value::Text("x".into())), ("a", number("2.5"))]))).unwrap();
        layout.row(None).unwrap();
        let found: Vec<_> = layout.columns().iter().map(|c| (c.name.as_str(), c.kind)).collect();
        let expect = [("a", Kind::Real), ("b", Kind::Empty), ("b", Kind::Bool), ("c", Kind::Text)];
        assert_eq!(found, expect);
        assert_eq!(layout.names_once(), ["a", "b", "b_2", "c"]);
        let other: Arc<[String]> = vec!["b".to_owned(), "a".to_owned()].into();
        assert_eq!(*layout.places(&other).unwrap(), [1, 0]);
    }

    #[test]
    fn what_a_column_holds() {
        let check = |values: &[Value], expect: Kind| {
            let mut layout = Layout::default();
            values.iter().for_each(|value| layout.row(Some(&record(&[("x", value.clone())]))).unwrap());
            assert_eq!(layout.columns()[0].kind, expect, "{values:?}");
        };
        check(&[Value::Null], Kind::Empty);
        check(&[number("1"), Value::Null, number("-9223372036854775808")], Kind::Integer);
        check(&[number("9223372036854775808")], Kind::Text);
        check(&[number("1"), number("1e9")], Kind::Real);
        check(&[number("0.12345678901234567890")], Kind::Text);
        check(&[number("1"), Value::Bool(true)], Kind::Text);
        check(&[Value::Date("2025-03-01".into()), Value::Null], Kind::Date);
        check(&[Value::Json("[]".into())], Kind::Text);
    }

    #[test]
    fn added_columns_have_names_of_their_own() {
        let check = |own: &[&str], expect: &[&str]| {
            let mut layout = Layout::default();
            let cells: Vec<_> = own.iter().map(|name| (*name, Value::Null)).collect();
            layout.row(Some(&record(&cells))).unwrap();
            let added = ["label", "error"].map(|name| Added { name: name.into(), kind: Kind::Text });
            let names: Vec<String> = layout.named_apart(&added).into_iter().map(|a| a.name).collect();
            assert_eq!(names, expect);
        };
        check(&["comment"], &["label", "error"]);
        check(&["comment", "Label "], &["predicted_label", "error"]);
        check(&["label", "predicted_label", "error"], &["predicted_label_2", "predicted_error"]);
    }

    #[test]
    fn a_sheet_has_its_limits() {
        let layout = Layout { rows: SHEET_ROWS - 1, ..Layout::default() };
        assert!(layout.check(OutFormat::Xlsx, 10).is_ok());
        let layout = Layout { rows: SHEET_ROWS, ..Layout::default() };
        let refusal = layout.check(OutFormat::Xlsx, 10).unwrap_err().to_string();
        assert!(
            refusal.starts_with("1048576 rows are more than an .xlsx file can hold (1048575)"),
            "{refusal}"
        );
        assert!(layout.check(OutFormat::Csv, 10).is_ok());
    }
}
