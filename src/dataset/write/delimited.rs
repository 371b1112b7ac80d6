//! CSV by RFC 4180, and TSV, written without quoting: texts that need it are escaped.

use std::borrow::Cow;
use std::io::{BufWriter, Write};

use super::cells;
use super::error::WriteError;
use super::layout::{Added, Layout};
use super::options::WriteOptions;
use super::sink::Sink;
use crate::dataset::escape;
use crate::dataset::record::{Record, Value};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A CSV or TSV file.
pub struct Table {
    out: csv::Writer<BufWriter<Box<dyn Write + Send>>>,
    escape: bool,
    /// Without quoting.
    is_tsv: bool,
}

impl Table {
    /// Begins a CSV file.
    pub fn csv(
        out: Box<dyn Write + Send>,
        options: WriteOptions,
        layout: &Layout,
        added: &[Added],
    ) -> Result<Self, WriteError> {
        Self::begin(out, options, (layout, added), false)
    }

    /// Begins a TSV file.
    pub fn tsv(
        out: Box<dyn Write + Send>,
        options: WriteOptions,
        layout: &Layout,
        added: &[Added],
    ) -> Result<Self, WriteError> {
        Self::begin(out, options, (layout, added), true)
    }

    fn begin(
        out: Box<dyn Write + Send>,
        options: WriteOptions,
        (layout, added): (&Layout, &[Added]),
        is_tsv: bool,
    ) -> Result<Self, WriteError> {
        let mut out = BufWriter::new(out);
        if options.bom {
            out.write_all(BOM)?;
        }
        let mut builder = csv::WriterBuilder::new();
        builder.flexible(true);
        if is_tsv {
            builder.delimiter(b'\t').quote_style(csv::QuoteStyle::Never);
        }
        let mut table = Self { out: builder.from_writer(out), escape: options.escape_formulas, is_tsv };
        let own = layout.columns().iter().map(|column| &column.name);
        let names: Vec<Value> =
            own.chain(added.iter().map(|column| &column.name)).cloned().map(Value::Text).collect();
        table.row(&names.iter().collect::<Vec<_>>(), None)?;
        Ok(table)
    }

    fn field<'a>(&self, value: &'a Value) -> Cow<'a, str> {
        let text = if self.escape { cells::escaped(value) } else { cells::shown(value).into() };
        if self.is_tsv { escape::field(&text).into_owned().into() } else { text }
    }
}

impl Sink for Table {
    fn row(&mut self, cells: &[&Value], _: Option<&Record>) -> Result<(), WriteError> {
        for cell in cells {
            let field = self.field(cell);
            self.out.write_field(field.as_bytes()).map_err(io_error)?;
        }
        self.out.write_record(None::<&[u8]>).map_err(io_error)
    }

    fn finish(self: Box<Self>) -> Result<(), WriteError> {
        let mut out = self.out.into_inner().map_err(|e| WriteError::Io(e.into_error()))?;
        Ok(out.flush()?)
    }
}

fn io_error(error: csv::Error) -> WriteError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => WriteError::Io(error),
        other => WriteError::Io(std::io::Error::other(format!("{other:?}"))),
    }
}
