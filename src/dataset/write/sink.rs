//! What a format does with rows.

use super::error::WriteError;
use crate::dataset::record::{Record, Value};

/// Where rows go.
pub trait Sink {
    /// A row: its cells in the layout's order and then those added, and the record that they are from.
    fn row(&mut self, cells: &[&Value], record: Option<&Record>) -> Result<(), WriteError>;

    /// Whether a cell of this value holds less than the value.
    fn cuts(&self, _: &Value) -> bool {
        false
    }

    /// A row of the input that is left out.
    fn skipped(&mut self) -> Result<(), WriteError> {
        Ok(())
    }

    /// Writes what is left.
    fn finish(self: Box<Self>) -> Result<(), WriteError>;
}
