//! Parquet from rows of any format: each column has one type, which is that of all its values.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use super::cells;
use super::error::WriteError;
use super::layout::{Added, Kind, Layout};
use super::sink::Sink;
use crate::dataset::dates;
use crate::dataset::record::{Record, Value};

/// Rows of a group.
const GROUP_ROWS: usize = 64 << 10;
/// Bytes of texts in a group.
const GROUP_BYTES: usize = 16 << 20;

/// How files are written.
pub fn properties() -> Arc<WriterProperties> {
    Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build())
}

/// A column's type.
pub fn field(name: &str, kind: Kind) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match kind {
        Kind::Bool => (Physical::BOOLEAN, None),
        Kind::Integer => (Physical::INT64, None),
        Kind::Real => (Physical::DOUBLE, None),
        Kind::Date => (Physical::INT64, Some(LogicalType::timestamp(false, TimeUnit::MICROS))),
        Kind::Empty | Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    };
    let builder = Type::primitive_type_builder(name, physical);
    Ok(Arc::new(builder.with_repetition(Repetition::OPTIONAL).with_logical_type(logical).build()?))
}

/// Cells of one column that wait to be written.
pub struct Column {
    kind: Kind,
    cells: Vec<Value>,
}

impl Column {
    /// An empty one.
    pub fn new(kind: Kind) -> Self {
        Self { kind, cells: Vec::new() }
    }

    /// Adds a cell; the bytes of its text.
    pub fn push(&mut self, value: &Value) -> usize {
        self.cells.push(value.clone());
        cells::shown(value).len()
    }

    /// Writes the cells into a group's next column, and forgets them.
    pub fn write<W: Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        let missing = || ParquetError::General("a column has no place".into());
        let mut column = group.next_column()?.ok_or_else(missing)?;
        let cells = std::mem::take(&mut self.cells);
        match self.kind {
            Kind::Bool => write::<BoolType>(&mut column, &cells, |value| match value {
                Value::Bool(b) => Some(*b),
                _ => None,
            }),
            Kind::Integer => write::<Int64Type>(&mut column, &cells, |value| match value {
                Value::Number(text) => text.parse().ok(),
                _ => None,
            }),
            Kind::Real => write::<DoubleType>(&mut column, &cells, |value| match value {
                Value::Number(text) => text.parse().ok(),
                _ => None,
            }),
            Kind::Date => write::<Int64Type>(&mut column, &cells, |value| match value {
                Value::Date(text) => dates::microseconds(text),
                _ => None,
            }),
            Kind::Empty | Kind::Text => write::<ByteArrayType>(&mut column, &cells, |value| match value {
                Value::Null => None,
                other => Some(ByteArray::from(cells::shown(other))),
            }),
        }?;
        column.close()
    }
}

fn write<T: DataType>(
    column: &mut SerializedColumnWriter<'_>,
    cells: &[Value],
    value: impl Fn(&Value) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let found: Vec<Option<T::T>> = cells.iter().map(value).collect();
    let levels: Vec<i16> = found.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = found.into_iter().flatten().collect();
    column.typed::<T>().write_batch(&values, Some(&levels), None).map(drop)
}

/// A file whose groups of rows are written one by one.
pub struct Groups {
    out: SerializedFileWriter<Box<dyn Write + Send>>,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

impl Groups {
    /// Begins a file.
    pub fn new(out: Box<dyn Write + Send>, layout: &Layout, added: &[Added]) -> Result<Self, WriteError> {
        let all = layout.typed(added);
        let fields: Result<Vec<TypePtr>, _> = all.iter().map(|(name, kind)| field(name, *kind)).collect();
        let schema = Type::group_type_builder("schema").with_fields(fields?).build()?;
        let out = SerializedFileWriter::new(out, Arc::new(schema), properties())?;
        let columns = all.iter().map(|(_, kind)| Column::new(*kind)).collect();
        Ok(Self { out, columns, rows: 0, bytes: 0 })
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        let mut group = self.out.next_row_group()?;
        for column in &mut self.columns {
            column.write(&mut group)?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

impl Sink for Groups {
    fn row(&mut self, cells: &[&Value], _: Option<&Record>) -> Result<(), WriteError> {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            self.bytes += column.push(cell);
        }
        self.rows += 1;
        if self.rows == GROUP_ROWS || self.bytes > GROUP_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), WriteError> {
        if self.rows > 0 {
            self.flush()?;
        }
        self.out.into_inner()?.flush()?;
        Ok(())
    }
}
