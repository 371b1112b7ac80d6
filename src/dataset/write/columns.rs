//! Rows that wait to be written many at a time, by column: what Arrow and Parquet share.

use super::cells;
use super::layout::Kind;
use crate::dataset::dates;
use crate::dataset::record::Value;

/// Rows that wait at most.
const ROWS: usize = 64 << 10;
/// Bytes of texts that wait at most.
const BYTES: usize = 16 << 20;

/// Rows that wait.
pub struct Columns {
    columns: Vec<(Kind, Vec<Value>)>,
    rows: usize,
    bytes: usize,
}

/// Values of one type; a value of another is none.
pub enum Cells<'a> {
    /// True or false.
    Bool(Vec<Option<bool>>),
    /// Whole numbers.
    Integer(Vec<Option<i64>>),
    /// Numbers.
    Real(Vec<Option<f64>>),
    /// Microseconds since 1970-01-01.
    Date(Vec<Option<i64>>),
    /// Anything, as it is shown.
    Text(Vec<Option<&'a str>>),
}

impl Columns {
    /// None yet, of columns of these types.
    pub fn new(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self { columns: kinds.into_iter().map(|kind| (kind, Vec::new())).collect(), rows: 0, bytes: 0 }
    }

    /// Adds a row. Whether as many wait as may.
    pub fn push(&mut self, row: &[&Value]) -> bool {
        for ((_, waiting), value) in self.columns.iter_mut().zip(row) {
            self.bytes += cells::shown(value).len();
            waiting.push((*value).clone());
        }
        self.rows += 1;
        self.rows >= ROWS || self.bytes > BYTES
    }

    /// Columns of a row.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Whether no row waits.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Each column's values, in order; they wait no longer.
    pub fn drain(&mut self) -> impl Iterator<Item = (Kind, Vec<Value>)> {
        (self.rows, self.bytes) = (0, 0);
        self.columns.iter_mut().map(|(kind, waiting)| (*kind, std::mem::take(waiting)))
    }
}

/// A column's values as its type has them.
pub fn typed(kind: Kind, values: &[Value]) -> Cells<'_> {
    fn number<T: std::str::FromStr>(value: &Value) -> Option<T> {
        if let Value::Number(text) = value { text.parse().ok() } else { None }
    }
    let values = values.iter();
    match kind {
        Kind::Bool => {
            Cells::Bool(values.map(|v| if let Value::Bool(b) = v { Some(*b) } else { None }).collect())
        }
        Kind::Integer => Cells::Integer(values.map(number).collect()),
        Kind::Real => Cells::Real(values.map(number).collect()),
        Kind::Date => {
            let date = |v: &Value| if let Value::Date(text) = v { dates::microseconds(text) } else { None };
            Cells::Date(values.map(date).collect())
        }
        Kind::Empty | Kind::Text => {
            Cells::Text(values.map(|v| (*v != Value::Null).then(|| cells::shown(v))).collect())
        }
    }
}
