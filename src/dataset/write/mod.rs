//! Files of comments, written: a file's own columns as they were and in their order, and columns added to them.

mod cells;
mod delimited;
mod jsonl;
mod layout;
mod parquet;
mod parquet_copy;
mod xlsx;

use std::io::Write;
use std::path::{Path, PathBuf};

pub use layout::{Kind, Layout};

use self::parquet_copy::ParquetCopy;
use crate::dataset::record::{Record, Value};

/// The format of a written file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OutFormat {
    /// Fields between commas, by RFC 4180.
    Csv,
    /// Fields between tabs; a tab or a line break in a field becomes a space.
    Tsv,
    /// A JSON object per line.
    Jsonl,
    /// Parquet.
    Parquet,
    /// An Excel workbook with one sheet.
    Xlsx,
}

impl OutFormat {
    /// The format that a file's name says.
    pub fn of_name(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "csv" => Self::Csv,
            "tsv" | "tab" => Self::Tsv,
            "jsonl" | "ndjson" => Self::Jsonl,
            "parquet" => Self::Parquet,
            "xlsx" => Self::Xlsx,
            _ => return None,
        })
    }
}

/// How a file is written.
#[derive(Debug, Clone, Copy)]
pub struct WriteOptions {
    /// The format.
    pub format: OutFormat,
    /// A byte order mark before CSV and TSV, by which Excel knows UTF-8.
    pub bom: bool,
    /// An apostrophe before what a spreadsheet would compute, in CSV and TSV. Cells of a workbook are text and never
    /// computed.
    pub escape_formulas: bool,
}

/// A column that is added to a file's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Its name; another one where the file has this already.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system's reason.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The Parquet library's.
    #[error("as Parquet: {0}")]
    Parquet(#[from] ::parquet::errors::ParquetError),
    /// The Excel library's.
    #[error("as xlsx: {0}")]
    Xlsx(#[from] rust_xlsxwriter::XlsxError),
    /// More than a format can hold.
    #[error("{what} are more than an .xlsx file can hold ({limit}); write .csv or .parquet")]
    TooLarge {
        /// Such as `2000000 rows`.
        what: String,
        /// The format's limit.
        limit: u64,
    },
    /// A file with too many different columns.
    #[error("the rows have more than {0} different columns; read a file whose rows are of one shape")]
    Columns(usize),
    /// An input of the copy changed meanwhile.
    #[error("{} changed while it was read; read it again when nothing writes to it", .0.display())]
    Changed(PathBuf),
}

/// Where rows go.
trait Sink {
    /// A row: its cells in the layout's order and then those added, and the record that they are from.
    fn row(&mut self, cells: &[&Value], record: Option<&Record>) -> Result<(), WriteError>;

    /// A row of the input that is left out.
    fn skipped(&mut self) -> Result<(), WriteError> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), WriteError>;
}

/// Writes rows in their order.
pub struct RowWriter {
    layout: Layout,
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
            OutFormat::Xlsx => Box::new(xlsx::Sheet::new(out, &layout, &added)?),
            OutFormat::Parquet => match ParquetCopy::schema_of(layout.files()) {
                Some(schema) => Box::new(ParquetCopy::new(out, layout.files(), &schema, &added)?),
                None => Box::new(parquet::Groups::new(out, &layout, &added)?),
            },
        };
        Ok(Self { layout, sink, width })
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
