//! A cell of an Arrow array as a value.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use serde_json::{Map, Value as Json};

use super::dates;
use super::record::Value;
use crate::text::shown::shown;

const DAY_MILLISECONDS: i64 = 86_400_000;

/// The value of a row.
///
/// # Errors
/// Why it cannot be shown.
pub fn value(array: &ArrayRef, row: usize) -> Result<Value, String> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    let number = |text: String| Ok(Value::Number(text));
    match array.data_type() {
        DataType::Null => Ok(Value::Null),
        DataType::Boolean => Ok(Value::Bool(array.as_boolean().value(row))),
        DataType::Float16 => number(format!("{:?}", array.as_primitive::<Float16Type>().value(row).to_f32())),
        DataType::Float32 => number(format!("{:?}", array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => number(format!("{:?}", array.as_primitive::<Float64Type>().value(row))),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            match integer(dictionary.keys(), row).and_then(|key| usize::try_from(key).ok()) {
                Some(key) if key < dictionary.values().len() => value(dictionary.values(), key),
                _ => Err("its value is not in the column's dictionary".into()),
            }
        }
        of if of.is_nested() => Ok(Value::Json(nested(array, row)?.to_string())),
        of if of.is_temporal() => moment(array, row),
        _ => text(array, row)
            .or_else(|| decimal(array, row))
            .or_else(|| Some(Ok(Value::Number(integer(array, row)?.to_string()))))
            .unwrap_or_else(|| Err(unknown(array))),
    }
}

fn unknown(array: &dyn Array) -> String {
    format!("a column is {}, which is not read; write it as text", shown(&array.data_type().to_string()))
}

/// A text, or bytes that are one.
fn text(array: &ArrayRef, row: usize) -> Option<Result<Value, String>> {
    let bytes = match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).as_bytes(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).as_bytes(),
        DataType::Utf8View => array.as_string_view().value(row).as_bytes(),
        DataType::Binary => array.as_binary::<i32>().value(row),
        DataType::LargeBinary => array.as_binary::<i64>().value(row),
        DataType::BinaryView => array.as_binary_view().value(row),
        DataType::FixedSizeBinary(_) => array.as_fixed_size_binary().value(row),
        _ => return None,
    };
    let text = std::str::from_utf8(bytes).map(|text| Value::Text(text.into()));
    Some(text.map_err(|_| "not UTF-8; write the column as text".into()))
}

fn decimal(array: &ArrayRef, row: usize) -> Option<Result<Value, String>> {
    let text = match array.data_type() {
        DataType::Decimal32(..) => array.as_primitive::<Decimal32Type>().value_as_string(row),
        DataType::Decimal64(..) => array.as_primitive::<Decimal64Type>().value_as_string(row),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(..) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        _ => return None,
    };
    Some(Ok(Value::Number(text)))
}

/// A whole number.
fn integer(array: &dyn Array, row: usize) -> Option<i128> {
    fn of<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> Option<i128>
    where
        i128: From<T::Native>,
    {
        Some(array.as_primitive_opt::<T>()?.value(row).into())
    }
    match array.data_type() {
        DataType::Int8 => of::<Int8Type>(array, row),
        DataType::Int16 => of::<Int16Type>(array, row),
        DataType::Int32 => of::<Int32Type>(array, row),
        DataType::Int64 => of::<Int64Type>(array, row),
        DataType::UInt8 => of::<UInt8Type>(array, row),
        DataType::UInt16 => of::<UInt16Type>(array, row),
        DataType::UInt32 => of::<UInt32Type>(array, row),
        DataType::UInt64 => of::<UInt64Type>(array, row),
        _ => None,
    }
}

/// A date, a time of day, or a moment: with its zone, if it has one, as pandas writes it.
fn moment(array: &ArrayRef, row: usize) -> Result<Value, String> {
    let (units, per_second) = match array.data_type() {
        DataType::Date32 => {
            let days = i64::from(array.as_primitive::<Date32Type>().value(row));
            return Ok(Value::Date(dates::date(days)));
        }
        DataType::Date64 => {
            let milliseconds = array.as_primitive::<Date64Type>().value(row);
            return Ok(Value::Date(dates::date(milliseconds.div_euclid(DAY_MILLISECONDS))));
        }
        DataType::Time32(TimeUnit::Second) => {
            (i64::from(array.as_primitive::<Time32SecondType>().value(row)), 1)
        }
        DataType::Time32(_) => (i64::from(array.as_primitive::<Time32MillisecondType>().value(row)), 1_000),
        DataType::Time64(TimeUnit::Microsecond) => {
            (array.as_primitive::<Time64MicrosecondType>().value(row), 1_000_000)
        }
        DataType::Time64(_) => (array.as_primitive::<Time64NanosecondType>().value(row), 1_000_000_000),
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => (array.as_primitive::<TimestampSecondType>().value(row), 1),
            TimeUnit::Millisecond => (array.as_primitive::<TimestampMillisecondType>().value(row), 1_000),
            TimeUnit::Microsecond => (array.as_primitive::<TimestampMicrosecondType>().value(row), 1_000_000),
            TimeUnit::Nanosecond => {
                (array.as_primitive::<TimestampNanosecondType>().value(row), 1_000_000_000)
            }
        },
        _ => return Err(unknown(array)),
    };
    Ok(match array.data_type() {
        DataType::Timestamp(_, None) => Value::Date(dates::moment(units, per_second)),
        DataType::Timestamp(_, Some(_)) => Value::Text(dates::moment(units, per_second) + "+00:00"),
        _ => Value::Text(dates::time(units, per_second)),
    })
}

/// A list or an object.
fn nested(array: &ArrayRef, row: usize) -> Result<Json, String> {
    let list = |items: ArrayRef| {
        let items = (0..items.len()).map(|i| json(&items, i));
        items.collect::<Result<Vec<_>, _>>().map(Json::Array)
    };
    match array.data_type() {
        DataType::List(_) => list(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => list(array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => list(array.as_fixed_size_list().value(row)),
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let entry = |(field, column): (&arrow_schema::FieldRef, &ArrayRef)| {
                Ok((field.name().clone(), json(column, row)?))
            };
            columns.map(entry).collect::<Result<Map<_, _>, String>>().map(Json::Object)
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let [keys, values] = entries.columns() else { return Err(unknown(array)) };
            let entry = |i| {
                let key = value(keys, i)?;
                Ok((key.text().ok().flatten().unwrap_or_default().to_owned(), json(values, i)?))
            };
            (0..entries.len()).map(entry).collect::<Result<Map<_, _>, String>>().map(Json::Object)
        }
        _ => Err(unknown(array)),
    }
}

fn json(array: &ArrayRef, row: usize) -> Result<Json, String> {
    value(array, row).map(Value::into_json)
}
