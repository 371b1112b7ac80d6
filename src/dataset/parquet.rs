//! Parquet, with every codec of the format.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Type as Physical;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;

use super::columns::{Columns, LABEL};
use super::error::DatasetError;
use super::place::{Place, quoted};
use super::record::{Record, RecordResult, Refused, Value};

/// The rows of a Parquet file.
pub struct ParquetRows {
    path: PathBuf,
    rows: RowIter<'static>,
    names: Arc<[String]>,
    row: u64,
    failed: bool,
}

/// Which columns are decoded.
pub struct Wanted<'a> {
    /// Where the comment and its like are.
    pub columns: &'a Columns,
    /// All columns that are not nested; else only those that `columns` finds, and others may hold anything.
    pub all: bool,
    /// The label is needed.
    pub labelled: bool,
}

impl ParquetRows {
    /// Reads the file's schema.
    ///
    /// # Errors
    /// The file is none of Parquet's, or a wanted column isn't text.
    pub fn open(file: File, path: &Path, wanted: &Wanted<'_>) -> Result<Self, DatasetError> {
        let broken = |error: ParquetError| broken(path, &error.to_string());
        let reader = SerializedFileReader::new(file).map_err(broken)?;
        let schema = reader.metadata().file_metadata().schema().clone();
        let fields = schema.get_fields();
        let all: Vec<String> = fields.iter().map(|field| field.name().to_owned()).collect();
        let places = wanted.columns.locate(&all)?;
        wanted.columns.require(&places, all.iter().map(String::as_str), wanted.labelled)?;
        for (i, field) in places.iter().enumerate().filter_map(|(i, at)| Some((i, &fields[(*at)?]))) {
            let text = field.is_primitive() && field.get_physical_type() == Physical::BYTE_ARRAY;
            if !text && (i != LABEL || !field.is_primitive()) {
                let is = if field.is_primitive() {
                    field.get_physical_type().to_string()
                } else {
                    "a nested column".into()
                };
                let name = quoted(field.name());
                let reason = format!(
                    "column {name} must be text and is {is}; name another one with --comment-column and its like"
                );
                return Err(self::broken(path, &reason));
            }
        }
        let kept: Vec<Arc<Type>> = fields
            .iter()
            .enumerate()
            .filter(|(i, field)| places.contains(&Some(*i)) || wanted.all && field.is_primitive())
            .map(|(_, field)| field.clone())
            .collect();
        let names: Vec<String> = kept.iter().map(|field| field.name().to_owned()).collect();
        let projection = Type::group_type_builder(schema.name()).with_fields(kept).build().map_err(broken)?;
        let rows = RowIter::from_file_into(Box::new(reader)).project(Some(projection)).map_err(broken)?;
        Ok(Self { path: path.into(), rows, names: names.into(), row: 0, failed: false })
    }

    /// The columns' names.
    pub fn names(&self) -> &Arc<[String]> {
        &self.names
    }
}

fn broken(path: &Path, reason: &str) -> DatasetError {
    DatasetError::Broken { path: path.into(), format: "Parquet", reason: reason.into() }
}

impl Iterator for ParquetRows {
    type Item = RecordResult;

    fn next(&mut self) -> Option<RecordResult> {
        if self.failed {
            return None;
        }
        self.row += 1;
        let place = Place::Row(self.row);
        match self.rows.next()? {
            Ok(row) => {
                let values: Result<Vec<Value>, &str> =
                    row.get_column_iter().map(|(_, field)| value(field)).collect();
                let record = values.map(|values| Record { place, names: self.names.clone(), values });
                Some(Ok(record.map_err(|reason| Refused::new(place, reason))))
            }
            Err(error) => {
                self.failed = true;
                let reason = format!("{place}: {error}; the file is damaged, get it again");
                Some(Err(broken(&self.path, &reason)))
            }
        }
    }
}

fn value(field: &Field) -> Result<Value, &'static str> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Str(text) => Value::Text(text.clone()),
        Field::Bool(b) => Value::Bool(*b),
        // Written without the UTF8 annotation.
        Field::Bytes(bytes) => {
            let text =
                std::str::from_utf8(bytes.data()).map_err(|_| "not UTF-8; write the column as text")?;
            Value::Text(text.into())
        }
        Field::Float(x) => Value::Number(format!("{x:?}")),
        Field::Double(x) => Value::Number(format!("{x:?}")),
        Field::Byte(_) | Field::Short(_) | Field::Int(_) | Field::Long(_) | Field::UByte(_) => {
            Value::Number(field.to_string())
        }
        Field::UShort(_) | Field::UInt(_) | Field::ULong(_) | Field::Float16(_) | Field::Decimal(_) => {
            Value::Number(field.to_string())
        }
        other => Value::Text(other.to_string()),
    })
}
