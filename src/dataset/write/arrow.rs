//! An Arrow IPC file from rows of any format: each column has one type, which is that of all its values.

use std::io::{BufWriter, Write};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};

use super::cells;
use super::error::WriteError;
use super::layout::{Added, Kind, Layout};
use super::sink::Sink;
use crate::dataset::dates;
use crate::dataset::record::{Record, Value};

/// Rows of a record batch.
const BATCH_ROWS: usize = 64 << 10;
/// Bytes of texts in a record batch.
const BATCH_BYTES: usize = 16 << 20;

/// A file whose record batches are written one by one.
pub struct Batches {
    out: FileWriter<BufWriter<Box<dyn Write + Send>>>,
    schema: SchemaRef,
    kinds: Vec<Kind>,
    /// By column.
    waiting: Vec<Vec<Value>>,
    rows: usize,
    bytes: usize,
}

impl Batches {
    /// Begins a file.
    pub fn new(out: Box<dyn Write + Send>, layout: &Layout, added: &[Added]) -> Result<Self, WriteError> {
        let (names, kinds): (Vec<String>, Vec<Kind>) = layout.typed(added).into_iter().unzip();
        let field = |(name, kind): (String, &Kind)| Field::new(name, data_type(*kind), true);
        let fields: Vec<Field> = names.into_iter().zip(&kinds).map(field).collect();
        let schema = Arc::new(Schema::new(fields));
        let out = FileWriter::try_new(BufWriter::new(out), &schema)?;
        Ok(Self { out, schema, waiting: vec![Vec::new(); kinds.len()], kinds, rows: 0, bytes: 0 })
    }

    fn flush(&mut self) -> Result<(), ArrowError> {
        let columns = self.kinds.iter().zip(&mut self.waiting);
        let columns = columns.map(|(kind, cells)| array(*kind, &std::mem::take(cells))).collect();
        self.out.write(&RecordBatch::try_new(self.schema.clone(), columns)?)?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Bool => DataType::Boolean,
        Kind::Integer => DataType::Int64,
        Kind::Real => DataType::Float64,
        Kind::Date => DataType::Timestamp(TimeUnit::Microsecond, None),
        Kind::Empty | Kind::Text => DataType::Utf8,
    }
}

fn array(kind: Kind, cells: &[Value]) -> ArrayRef {
    fn of<'a, T>(cells: &'a [Value], value: impl Fn(&'a Value) -> Option<T>) -> Vec<Option<T>> {
        cells.iter().map(value).collect()
    }
    match kind {
        Kind::Bool => Arc::new(BooleanArray::from(of(cells, |value| match value {
            Value::Bool(b) => Some(*b),
            _ => None,
        }))),
        Kind::Integer => Arc::new(Int64Array::from(of(cells, |value| match value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        }))),
        Kind::Real => Arc::new(Float64Array::from(of(cells, |value| match value {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        }))),
        Kind::Date => Arc::new(TimestampMicrosecondArray::from(of(cells, |value| match value {
            Value::Date(text) => dates::microseconds(text),
            _ => None,
        }))),
        Kind::Empty | Kind::Text => Arc::new(StringArray::from(of(cells, |value| match value {
            Value::Null => None,
            other => Some(cells::shown(other)),
        }))),
    }
}

impl Sink for Batches {
    fn row(&mut self, cells: &[&Value], _: Option<&Record>) -> Result<(), WriteError> {
        for (column, cell) in self.waiting.iter_mut().zip(cells) {
            self.bytes += cells::shown(cell).len();
            column.push((*cell).clone());
        }
        self.rows += 1;
        if self.rows == BATCH_ROWS || self.bytes > BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), WriteError> {
        if self.rows > 0 {
            self.flush()?;
        }
        self.out.finish()?;
        Ok(self.out.get_mut().flush()?)
    }
}
