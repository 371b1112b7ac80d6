//! Parquet from rows of any format: each column has one type, which is that of all its values.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use super::columns::{Cells, Columns, typed};
use super::error::WriteError;
use super::layout::{Added, Kind, Layout};
use super::sink::Sink;
use crate::dataset::record::{Record, Value};

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

/// Writes the rows that wait into a group's next columns.
pub fn write_rows<W: Write + Send>(
    waiting: &mut Columns,
    group: &mut SerializedRowGroupWriter<'_, W>,
) -> Result<(), ParquetError> {
    for (kind, values) in waiting.drain() {
        let missing = || ParquetError::General("a column has no place".into());
        let mut column = group.next_column()?.ok_or_else(missing)?;
        match typed(kind, &values) {
            Cells::Bool(values) => write::<BoolType>(&mut column, values),
            Cells::Integer(values) | Cells::Date(values) => write::<Int64Type>(&mut column, values),
            Cells::Real(values) => write::<DoubleType>(&mut column, values),
            Cells::Text(values) => {
                let bytes = values.into_iter().map(|text| text.map(ByteArray::from)).collect();
                write::<ByteArrayType>(&mut column, bytes)
            }
        }?;
        column.close()?;
    }
    Ok(())
}

fn write<T: DataType>(
    column: &mut SerializedColumnWriter<'_>,
    cells: Vec<Option<T::T>>,
) -> Result<(), ParquetError> {
    let levels: Vec<i16> = cells.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    column.typed::<T>().write_batch(&values, Some(&levels), None).map(drop)
}

/// A file whose groups of rows are written one by one.
pub struct Groups {
    out: SerializedFileWriter<Box<dyn Write + Send>>,
    waiting: Columns,
}

impl Groups {
    /// Begins a file.
    pub fn new(out: Box<dyn Write + Send>, layout: &Layout, added: &[Added]) -> Result<Self, WriteError> {
        let all = layout.typed(added);
        let fields: Result<Vec<TypePtr>, _> = all.iter().map(|(name, kind)| field(name, *kind)).collect();
        let schema = Type::group_type_builder("schema").with_fields(fields?).build()?;
        let out = SerializedFileWriter::new(out, Arc::new(schema), properties())?;
        Ok(Self { out, waiting: Columns::new(all.into_iter().map(|(_, kind)| kind)) })
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        let mut group = self.out.next_row_group()?;
        write_rows(&mut self.waiting, &mut group)?;
        group.close().map(drop)
    }
}

impl Sink for Groups {
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
        self.out.into_inner()?.flush()?;
        Ok(())
    }
}
