//! Columns that a caller names: their values are kept with each row, and each must be there.

use std::sync::Arc;

use super::columns::position;
use super::error::DatasetError;
use super::place::{listed, quoted};
use super::record::{Record, Value};

/// Names of columns that are kept for a message.
const NAMES_KEPT: usize = 100;

/// Where each wanted column is in a row; `None` if it isn't there.
type Places = Vec<Option<usize>>;

/// Where each of the columns `wanted` is among `names`.
///
/// # Errors
/// [`DatasetError::ManyColumns`].
pub(super) fn places(wanted: &[String], names: &[String]) -> Result<Places, DatasetError> {
    wanted
        .iter()
        .map(|name| {
            let found = position(names, name);
            match found[..] {
                [] => Ok(None),
                [at] => Ok(Some(at)),
                _ => Err(DatasetError::ManyColumns {
                    found: listed(found.iter().map(|i| names[*i].as_str())),
                    role: "column that is meant",
                    flag: "slice",
                }),
            }
        })
        .collect()
}

/// Refuses a file with `names` that lacks one of the columns `wanted`, which stand at `places`.
///
/// # Errors
/// [`DatasetError::NoColumn`].
pub(super) fn require(
    wanted: &[String],
    places: &[Option<usize>],
    names: &[String],
) -> Result<(), DatasetError> {
    let missing = wanted.iter().zip(places).find(|(_, place)| place.is_none());
    missing.map_or(Ok(()), |(name, _)| {
        let found = listed(names.iter().map(String::as_str));
        Err(DatasetError::NoColumn { wanted: quoted(name), found, flag: "slice" })
    })
}

/// The values of the columns that are kept, row by row.
pub(super) struct Kept<'a> {
    wanted: &'a [String],
    shape: Option<(Arc<[String]>, Places)>,
    /// Columns that were there in some row.
    ever: Places,
    /// Names that the rows had.
    names: Vec<String>,
    /// By column, then by row.
    values: Vec<Vec<Arc<str>>>,
}

impl<'a> Kept<'a> {
    /// Of the columns `wanted`.
    pub fn new(wanted: &'a [String]) -> Self {
        let (ever, values) = (vec![None; wanted.len()], vec![Vec::new(); wanted.len()]);
        Self { wanted, shape: None, ever, names: Vec::new(), values }
    }

    /// Takes in the values of one more row.
    ///
    /// # Errors
    /// [`DatasetError::ManyColumns`].
    pub fn add(&mut self, record: &Record) -> Result<(), DatasetError> {
        if !self.shape.as_ref().is_some_and(|(names, _)| Arc::ptr_eq(names, &record.names)) {
            let found = places(self.wanted, &record.names)?;
            for (ever, found) in self.ever.iter_mut().zip(&found) {
                *ever = ever.or(*found);
            }
            let free = NAMES_KEPT.saturating_sub(self.names.len());
            let new = record.names.iter().filter(|name| !self.names.contains(name)).take(free);
            let new: Vec<String> = new.cloned().collect();
            self.names.extend(new);
            self.shape = Some((record.names.clone(), found));
        }
        let places = self.shape.iter().flat_map(|(_, places)| places);
        for (values, place) in self.values.iter_mut().zip(places) {
            let value = place.map_or("", |at| text(&record.values[at]));
            // Neighbours often have the same value, such as a video's title.
            let value = match values.last().filter(|last| ***last == *value) {
                Some(last) => last.clone(),
                None => value.into(),
            };
            values.push(value);
        }
        Ok(())
    }

    /// The values of each column, in the rows' order.
    ///
    /// # Errors
    /// [`DatasetError::NoColumn`] where no row had one of the columns.
    pub fn finish(self) -> Result<Vec<Vec<Arc<str>>>, DatasetError> {
        require(self.wanted, &self.ever, &self.names)?;
        Ok(self.values)
    }
}

/// A value in words; empty where there is none.
fn text(value: &Value) -> &str {
    match value {
        Value::Null => "",
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Text(text)
        | Value::Number(text)
        | Value::Date(text)
        | Value::Json(text)
        | Value::Error(text) => text.trim(),
    }
}
