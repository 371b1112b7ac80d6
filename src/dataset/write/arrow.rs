//! An Arrow IPC file from rows of any format: each column has one type, which is that of all its values.

use std::io::{BufWriter, Write};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};

use super::columns::{Cells, Columns, typed};
use super::error::WriteError;
use super::layout::{Added, Kind, Layout};
use super::sink::Sink;
use crate::dataset::record::{Record, Value};

/// A file whose record batches are written one by one.
pub struct Batches {
    out: FileWriter<BufWriter<Box<dyn Write + Send>>>,
    schema: SchemaRef,
    waiting: Columns,
}

impl Batches {
    /// Begins a file.
    pub fn new(out: Box<dyn Write + Send>, layout: &Layout, added: &[Added]) -> Result<Self, WriteError> {
        let (names, kinds): (Vec<String>, Vec<Kind>) = layout.typed(added).into_iter().unzip();
        let field = |(name, kind): (String, &Kind)| Field::new(name, data_type(*kind), true);
        let fields: Vec<Field> = names.into_iter().zip(&kinds).map(field).collect();
        let schema = Arc::new(Schema::new(fields));
        let out = FileWriter::try_new(BufWriter::new(out), &schema)?;
        Ok(Self { out, schema, waiting: Columns::new(kinds) })
    }

    fn flush(&mut self) -> Result<(), ArrowError> {
        let columns = self.waiting.drain().map(|(kind, values)| array(kind, &values)).collect();
        self.out.write(&RecordBatch::try_new(self.schema.clone(), columns)?)
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

fn array(kind: Kind, values: &[Value]) -> ArrayRef {
    match typed(kind, values) {
        Cells::Bool(values) => Arc::new(BooleanArray::from(values)),
        Cells::Integer(values) => Arc::new(Int64Array::from(values)),
        Cells::Real(values) => Arc::new(Float64Array::from(values)),
        Cells::Date(values) => Arc::new(TimestampMicrosecondArray::from(values)),
        Cells::Text(values) => Arc::new(StringArray::from(values)),
    }
}

impl Sink for Batches {
    fn row(&mut self, cells: &[&Value], _: Option<&Record>) -> Result<(), WriteError> {
        if self.waiting.push(cells) {
            self.flush()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), WriteError> {
        if !self.waiting.is_empty() {
            self.flush()?;
        }
        self.out.finish()?;
        Ok(self.out.get_mut().flush()?)
    }
}
