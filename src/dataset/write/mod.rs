//! Files of comments, written: a file's own columns as they were and in their order, and columns added to them.

mod arrow;
mod cells;
mod columns;
mod delimited;
mod error;
mod jsonl;
mod layout;
mod options;
mod parquet;
mod parquet_copy;
mod sink;
mod xlsx;

use std::io::Write;

pub use error::WriteError;
pub use layout::{Added, Kind, Layout};
pub use options::{OutFormat, WriteOptions};

use self::parquet_copy::ParquetCopy;
use self::sink::Sink;
use crate::dataset::record::{Record, Value};

/// Writes rows in their order.
pub struct RowWriter {
    layout: Layout,
    added: Vec<Added>,
    sink: Box<dyn Sink>,
    width: usize,
}

impl RowWriter {
    /// Begins a file. `layout` knows all the columns of the rows to come, and how many there are at most.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn new(
        out: Box<dyn Write + Send>,
        options: WriteOptions,
        layout: Layout,
        added: &[Added],
    ) -> Result<Self, WriteError> {
        let added = layout.named_apart(added);
        let width = layout.columns().len() + added.len();
        layout.check(options.format, width)?;
        let sink: Box<dyn Sink> = match options.format {
            OutFormat::Csv => Box::new(delimited::Table::csv(out, options, &layout, &added)?),
            OutFormat::Tsv => Box::new(delimited::Table::tsv(out, options, &layout, &added)?),
            OutFormat::Jsonl => Box::new(jsonl::Lines::new(out, &added)),
            OutFormat::Arrow => Box::new(arrow::Batches::new(out, &layout, &added)?),
            OutFormat::Xlsx => Box::new(xlsx::Sheet::new(out, &layout, &added)?),
            OutFormat::Parquet => match ParquetCopy::schema_of(layout.files()) {
                Some(schema) => Box::new(ParquetCopy::new(out, layout.files(), &schema, &added)?),
                None => Box::new(parquet::Groups::new(out, &layout, &added)?),
            },
        };
        Ok(Self { layout, added, sink, width })
    }

    /// The names of a row's columns of which the format holds the beginning alone: a cell of an .xlsx file has a limit.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn cut(&mut self, record: Option<&Record>, added: &[Value]) -> Result<Vec<String>, WriteError> {
        let mut names = Vec::new();
        if let Some(record) = record {
            let places = self.layout.places(&record.names)?;
            let own = places.iter().zip(&record.values).filter(|(_, value)| self.sink.cuts(value));
            names.extend(own.map(|(place, _)| self.layout.columns()[*place].name.clone()));
        }
        let added = self.added.iter().zip(added).filter(|(_, value)| self.sink.cuts(value));
        names.extend(added.map(|(column, _)| column.name.clone()));
        Ok(names)
    }

    /// Writes a row. Without a record, such as for a line that cannot be read, its own columns are empty.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn write(&mut self, record: Option<&Record>, added: &[Value]) -> Result<(), WriteError> {
        const NOTHING: Value = Value::Null;
        let mut cells = vec![&NOTHING; self.width - added.len()];
        if let Some(record) = record {
            let places = self.layout.places(&record.names)?;
            for (place, value) in places.iter().zip(&record.values) {
                if let Some(cell) = cells.get_mut(*place) {
                    *cell = value;
                }
            }
        }
        cells.extend(added);
        self.sink.row(&cells, record)
    }

    /// Tells that a row of the input is left out.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn skip(&mut self) -> Result<(), WriteError> {
        self.sink.skipped()
    }

    /// Writes what is left and ends the file.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn finish(self) -> Result<(), WriteError> {
        self.sink.finish()
    }
}
