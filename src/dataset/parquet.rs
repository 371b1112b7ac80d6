//! Parquet, with every codec of the format.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;
use serde_json::Value as Json;

use super::dates;
use super::error::DatasetError;
use super::place::Place;
use super::record::{Record, RecordResult, Refused, Value};
use super::wanted::{Kind, Wanted};

/// The rows of a Parquet file.
pub struct ParquetRows {
    path: PathBuf,
    rows: RowIter<'static>,
    names: Arc<[String]>,
    moments: Vec<Option<Moment>>,
    row: u64,
    failed: bool,
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
        let kind = |at: usize| Kind {
            is_text: fields[at].is_primitive() && fields[at].get_physical_type() == Physical::BYTE_ARRAY,
            is_nested: !fields[at].is_primitive(),
            name: if fields[at].is_primitive() {
                fields[at].get_physical_type().to_string()
            } else {
                String::new()
            },
        };
        let chosen = wanted.choose(&all, kind, |reason| self::broken(path, reason))?;
        let kept: Vec<Arc<Type>> = chosen.into_iter().map(|at| fields[at].clone()).collect();
        let moments = kept.iter().map(|field| Moment::of(field)).collect();
        let names: Vec<String> = kept.iter().map(|field| field.name().to_owned()).collect();
        let projection = Type::group_type_builder(schema.name()).with_fields(kept).build().map_err(broken)?;
        let rows = RowIter::from_file_into(Box::new(reader)).project(Some(projection)).map_err(broken)?;
        Ok(Self { path: path.into(), rows, names: names.into(), moments, row: 0, failed: false })
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
                let fields = row.get_column_iter().map(|(_, field)| field).zip(&self.moments);
                let values: Result<Vec<Value>, &str> =
                    fields.map(|(field, moment)| value(field, *moment)).collect();
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

/// A column of moments.
#[derive(Clone, Copy)]
struct Moment {
    per_second: i64,
    utc: bool,
}

impl Moment {
    fn of(field: &Type) -> Option<Self> {
        let info = field.get_basic_info();
        let (unit, utc) = match (info.logical_type_ref(), info.converted_type()) {
            (Some(LogicalType::Timestamp(stamp)), _) => (&stamp.unit, stamp.is_adjusted_to_u_t_c),
            (None, ConvertedType::TIMESTAMP_MILLIS) => (&TimeUnit::MILLIS, true),
            (None, ConvertedType::TIMESTAMP_MICROS) => (&TimeUnit::MICROS, true),
            _ => return None,
        };
        let per_second = match unit {
            TimeUnit::MILLIS => 1_000,
            TimeUnit::MICROS => 1_000_000,
            TimeUnit::NANOS => 1_000_000_000,
        };
        Some(Self { per_second, utc })
    }

    /// As pandas writes it: with its zone, if it has one.
    fn value(self, units: i64) -> Value {
        let text = dates::moment(units, self.per_second);
        if self.utc { Value::Text(text + "+00:00") } else { Value::Date(text) }
    }
}

fn value(field: &Field, moment: Option<Moment>) -> Result<Value, &'static str> {
    if let (Some(moment), Field::Long(n) | Field::TimestampMillis(n) | Field::TimestampMicros(n)) =
        (moment, field)
    {
        return Ok(moment.value(*n));
    }
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
        Field::Date(days) => Value::Date(dates::date(i64::from(*days))),
        Field::TimeMillis(n) => Value::Text(dates::time(i64::from(*n), 1_000)),
        Field::TimeMicros(n) => Value::Text(dates::time(*n, 1_000_000)),
        Field::TimestampMillis(n) => Value::Text(dates::moment(*n, 1_000) + "+00:00"),
        Field::TimestampMicros(n) => Value::Text(dates::moment(*n, 1_000_000) + "+00:00"),
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => {
            Value::Json(json(field)?.to_string())
        }
    })
}

/// A nested value.
fn json(field: &Field) -> Result<Json, &'static str> {
    Ok(match field {
        Field::Group(row) => {
            let entries = row.get_column_iter().map(|(name, field)| Ok((name.clone(), json(field)?)));
            Json::Object(entries.collect::<Result<_, &'static str>>()?)
        }
        Field::ListInternal(list) => Json::Array(list.elements().iter().map(json).collect::<Result<_, _>>()?),
        Field::MapInternal(map) => {
            let entry = |(key, field): &(Field, Field)| {
                let key = value(key, None)?;
                Ok((key.text().ok().flatten().unwrap_or_default().to_owned(), json(field)?))
            };
            Json::Object(map.entries().iter().map(entry).collect::<Result<_, &'static str>>()?)
        }
        plain => value(plain, None)?.into_json(),
    })
}
