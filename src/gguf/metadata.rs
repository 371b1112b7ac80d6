//! GGUF's metadata: typed values under string keys, in file order.

use std::collections::HashMap;

use super::error::GgufError;

/// The type of an array's elements (the numbers are GGUF's `gguf_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    Str = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::Str,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    pub(super) fn from_id(id: u32) -> Option<Self> {
        Self::ALL.get(id as usize).copied()
    }

    /// Bytes of one element; `None` where it has no fixed size.
    pub(super) fn size(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Str | Self::Array => None,
        }
    }
}

/// An array value, kept as GGUF's own bytes: copying a vocabulary must not change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    pub(super) elements: ValueType,
    pub(super) len: u64,
    pub(super) bytes: Vec<u8>,
}

impl Array {
    /// An array of strings (bytes: a token needs not be UTF-8).
    pub fn from_strings<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Self {
        let mut array = Self { elements: ValueType::Str, len: 0, bytes: Vec::new() };
        for string in strings {
            let string = string.as_ref();
            array.bytes.extend((string.len() as u64).to_le_bytes());
            array.bytes.extend(string);
            array.len += 1;
        }
        array
    }

    /// An array of 32-bit floats.
    pub fn from_f32s(values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { elements: ValueType::F32, len: values.len() as u64, bytes }
    }

    /// An array of signed 32-bit integers.
    pub fn from_i32s(values: &[i32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { elements: ValueType::I32, len: values.len() as u64, bytes }
    }

    /// An array of booleans.
    pub fn from_bools(values: &[bool]) -> Self {
        let bytes: Vec<u8> = values.iter().map(|&value| value.into()).collect();
        Self { elements: ValueType::Bool, len: values.len() as u64, bytes }
    }

    /// Number of elements.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The type of the elements.
    pub fn elements(&self) -> ValueType {
        self.elements
    }

    /// The elements of an array of booleans; none for other arrays, or if a byte is neither 0 nor 1.
    pub fn bools(&self) -> Option<Vec<bool>> {
        let bool = |byte: &u8| if *byte < 2 { Some(*byte == 1) } else { None };
        if self.elements == ValueType::Bool { self.bytes.iter().map(bool).collect() } else { None }
    }

    /// The strings of an array of strings; nothing for other arrays.
    pub fn strings(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = match self.elements {
            ValueType::Str => self.bytes.as_slice(),
            _ => &[],
        };
        std::iter::from_fn(move || {
            let (len, tail) = rest.split_first_chunk::<8>()?;
            let (string, tail) = tail.split_at_checked(u64::from_le_bytes(*len) as usize)?;
            rest = tail;
            Some(string)
        })
    }

    /// The numbers of an array of `i32`; nothing for other arrays.
    pub fn i32s(&self) -> impl Iterator<Item = i32> {
        let bytes = match self.elements {
            ValueType::I32 => self.bytes.as_slice(),
            _ => &[],
        };
        bytes.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b))
    }

    /// The numbers of an array of `f32`; nothing for other arrays.
    pub fn f32s(&self) -> impl Iterator<Item = f32> {
        let bytes = match self.elements {
            ValueType::F32 => self.bytes.as_slice(),
            _ => &[],
        };
        bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))
    }
}

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Str(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Value {
    /// The value as an unsigned integer, if it is a non-negative one.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::U8(v) => Some(v.into()),
            Self::U16(v) => Some(v.into()),
            Self::U32(v) => Some(v.into()),
            Self::U64(v) => Some(v),
            Self::I8(v) => v.try_into().ok(),
            Self::I16(v) => v.try_into().ok(),
            Self::I32(v) => v.try_into().ok(),
            Self::I64(v) => v.try_into().ok(),
            _ => None,
        }
    }

    /// The value as a string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The value as an array, if it is one.
    pub fn as_array(&self) -> Option<&Array> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}

/// Metadata in file order; a key is there at most once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    entries: Vec<(String, Value)>,
    index: HashMap<String, usize>,
}

impl Metadata {
    /// Empty metadata.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.index.get(key).map(|&i| &self.entries[i].1)
    }

    /// Sets a key: in place if it is there, else at the end.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into());
        match self.index.get(&key) {
            Some(&i) => self.entries[i].1 = value,
            None => {
                self.index.insert(key.clone(), self.entries.len());
                self.entries.push((key, value));
            }
        }
    }

    /// Removes every key that `drop` names.
    pub fn remove(&mut self, drop: impl Fn(&str) -> bool) {
        self.entries.retain(|(key, _)| !drop(key));
        self.index = self.entries.iter().enumerate().map(|(i, (key, _))| (key.clone(), i)).collect();
    }

    /// Keys and values in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// A string that must be there.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`], [`GgufError::KeyType`].
    pub fn require_str(&self, key: &str) -> Result<&str, GgufError> {
        let value = self.get(key).ok_or_else(|| GgufError::MissingKey(key.to_owned()))?;
        value.as_str().ok_or_else(|| GgufError::KeyType { key: key.to_owned(), expected: "a string" })
    }

    /// An unsigned integer that must be there.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`], [`GgufError::KeyType`].
    pub fn require_u64(&self, key: &str) -> Result<u64, GgufError> {
        let value = self.get(key).ok_or_else(|| GgufError::MissingKey(key.to_owned()))?;
        value
            .as_u64()
            .ok_or_else(|| GgufError::KeyType { key: key.to_owned(), expected: "an unsigned integer" })
    }
}
