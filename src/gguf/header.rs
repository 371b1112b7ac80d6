//! The GGUF container: reading and writing its header.
//!
//! A file is `GGUF`, a version, the metadata (key-value pairs), the tensor infos, padding to
//! `general.alignment`, then the tensors' data, each padded to the same alignment
//! (source: `ggml/docs/gguf.md`). Only little-endian version 3 is written; 2 and 3 are read.

use std::collections::HashSet;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::error::GgufError;
use super::metadata::{Array, Metadata, Value, ValueType};
use super::tensor_type::TensorType;
use crate::files::open;

const MAGIC: &[u8; 4] = b"GGUF";
const VERSION: u32 = 3;
const DEFAULT_ALIGNMENT: u64 = 32;
/// More dimensions than ggml's tensors can have (`GGML_MAX_DIMS`).
const MAX_DIMS: u32 = 4;
/// The longest key that is read, in bytes.
const MAX_KEY: u64 = 1 << 16;
/// The longest tensor name that ggml keeps (`GGML_MAX_NAME`, with its terminator).
const MAX_NAME: u64 = 63;

/// What the header says of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name, as in `blk.0.attn_q.weight`.
    pub name: String,
    /// Its dimensions, the fastest (a row's columns) first, as ggml counts them.
    pub shape: Vec<u64>,
    /// How its numbers are stored.
    pub tensor_type: TensorType,
    /// Where its data starts, in bytes from the start of the data section.
    pub offset: u64,
}

impl TensorInfo {
    /// Columns of a row: numbers that lie next to each other and are quantised together.
    pub fn columns(&self) -> u64 {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Rows: everything but the columns.
    pub fn rows(&self) -> u64 {
        self.shape.iter().skip(1).product()
    }

    /// Bytes of its data, without padding.
    pub fn bytes(&self) -> u64 {
        self.rows() * self.tensor_type.row_bytes(self.columns())
    }

    fn check_shape(&self) -> Result<(), GgufError> {
        let elements = self.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
        let fits = elements.is_some_and(|n| n > 0 && n < 1 << 58);
        let whole_blocks = self.columns().is_multiple_of(self.tensor_type.block_len());
        if !fits || !whole_blocks {
            return Err(GgufError::Shape { name: self.name.clone(), shape: self.shape.clone() });
        }
        Ok(())
    }
}

/// A GGUF header.
#[derive(Debug, Clone)]
pub struct Header {
    /// The metadata.
    pub metadata: Metadata,
    /// The tensors, in file order.
    pub tensors: Vec<TensorInfo>,
    /// Padding of the data section's start and of each tensor, in bytes.
    pub alignment: u64,
    /// Where the data section starts in the file, in bytes.
    pub data_start: u64,
}

impl Header {
    /// A header for tensors that are to be written one after the other; offsets are set here.
    pub fn new(metadata: Metadata, mut tensors: Vec<TensorInfo>) -> Self {
        let mut offset = 0;
        for tensor in &mut tensors {
            tensor.offset = offset;
            offset += tensor.bytes().next_multiple_of(DEFAULT_ALIGNMENT);
        }
        let mut header = Self { metadata, tensors, alignment: DEFAULT_ALIGNMENT, data_start: 0 };
        header.refresh_data_start();
        header
    }

    /// Finds anew where the data starts: to be called when the metadata has changed.
    pub fn refresh_data_start(&mut self) {
        self.data_start = self.encode().len() as u64;
    }

    /// Reads and checks the header of a file; the tensors' data is not touched.
    ///
    /// # Errors
    /// Any [`GgufError`]: every length is checked against the file's size before it is allocated.
    pub fn read(path: &Path) -> Result<Self, GgufError> {
        let io = |source| GgufError::Io { path: path.to_owned(), source };
        let file = open::regular(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        Self::parse(BufReader::with_capacity(1 << 20, file), size).map_err(|e| match e {
            GgufError::Io { source, .. } => io(source),
            other => other,
        })
    }

    /// Reads and checks a header from `reader`, which has `size` bytes.
    ///
    /// # Errors
    /// As [`Header::read`].
    pub fn parse(reader: impl Read, size: u64) -> Result<Self, GgufError> {
        let mut input = Input { reader, size, left: size };
        let magic = input.array()?;
        if &magic != MAGIC {
            return Err(GgufError::Magic(magic));
        }
        let version = input.u32()?;
        if !(2..=VERSION).contains(&version) {
            return Err(GgufError::Version(version));
        }
        let n_tensors = input.u64()?;
        let n_keys = input.u64()?;
        let metadata = input.metadata(n_keys)?;
        let tensors = input.tensors(n_tensors)?;
        let alignment = match metadata.get("general.alignment") {
            Some(_) => metadata.require_u64("general.alignment")?,
            None => DEFAULT_ALIGNMENT,
        };
        if !alignment.is_power_of_two() || !(8..=1 << 20).contains(&alignment) {
            return Err(GgufError::Alignment(alignment));
        }
        let data_start = (size - input.left).next_multiple_of(alignment);
        let header = Self { metadata, tensors, alignment, data_start };
        header.check_offsets(size)?;
        Ok(header)
    }

    fn check_offsets(&self, size: u64) -> Result<(), GgufError> {
        let mut expected = 0;
        for tensor in &self.tensors {
            if tensor.offset != expected {
                return Err(GgufError::Offset { name: tensor.name.clone(), found: tensor.offset, expected });
            }
            // A tensor has at most 2^60 bytes, and what lies before it is within the file: no overflow.
            let end = expected + tensor.bytes();
            if size < self.data_start + end {
                return Err(GgufError::DataTruncated { found: size, expected: self.data_start + end });
            }
            expected = end.next_multiple_of(self.alignment);
        }
        Ok(())
    }

    /// `general.architecture`, as in `gemma3`.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`], [`GgufError::KeyType`].
    pub fn architecture(&self) -> Result<&str, GgufError> {
        self.metadata.require_str("general.architecture")
    }

    /// The size of the whole file, in bytes: header, data and padding.
    pub fn file_size(&self) -> u64 {
        let data = self.tensors.last().map_or(0, |t| t.offset + t.bytes().next_multiple_of(self.alignment));
        self.data_start + data
    }

    /// The header's bytes, padded to where the data starts.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.iter().len() as u64).to_le_bytes());
        for (key, value) in self.metadata.iter() {
            put_str(&mut out, key);
            put_value(&mut out, value);
        }
        for tensor in &self.tensors {
            put_str(&mut out, &tensor.name);
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            out.extend(tensor.shape.iter().flat_map(|d| d.to_le_bytes()));
            out.extend(tensor.tensor_type.id().to_le_bytes());
            out.extend(tensor.offset.to_le_bytes());
        }
        out.resize(out.len().next_multiple_of(self.alignment as usize), 0);
        out
    }

    /// Writes the header.
    ///
    /// # Errors
    /// What `writer` answers.
    pub fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        writer.write_all(&self.encode())
    }
}

/// C's functions end a name at a zero byte: what they find would be another key than ours.
fn plain_name(name: String) -> Result<String, GgufError> {
    if name.is_empty() || name.chars().any(char::is_control) { Err(GgufError::Name(name)) } else { Ok(name) }
}

fn put_str(out: &mut Vec<u8>, string: &str) {
    out.extend((string.len() as u64).to_le_bytes());
    out.extend(string.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    let mut put = |value_type: ValueType, bytes: &[u8]| {
        out.extend((value_type as u32).to_le_bytes());
        out.extend(bytes);
    };
    match value {
        Value::U8(v) => put(ValueType::U8, &v.to_le_bytes()),
        Value::I8(v) => put(ValueType::I8, &v.to_le_bytes()),
        Value::U16(v) => put(ValueType::U16, &v.to_le_bytes()),
        Value::I16(v) => put(ValueType::I16, &v.to_le_bytes()),
        Value::U32(v) => put(ValueType::U32, &v.to_le_bytes()),
        Value::I32(v) => put(ValueType::I32, &v.to_le_bytes()),
        Value::F32(v) => put(ValueType::F32, &v.to_le_bytes()),
        Value::Bool(v) => put(ValueType::Bool, &[u8::from(*v)]),
        Value::U64(v) => put(ValueType::U64, &v.to_le_bytes()),
        Value::I64(v) => put(ValueType::I64, &v.to_le_bytes()),
        Value::F64(v) => put(ValueType::F64, &v.to_le_bytes()),
        Value::Str(v) => {
            put(ValueType::Str, &[]);
            put_str(out, v);
        }
        Value::Array(array) => {
            put(ValueType::Array, &(array.elements as u32).to_le_bytes());
            out.extend(array.len.to_le_bytes());
            out.extend(&array.bytes);
        }
    }
}

/// A reader that knows how much is left, so that a lying length is refused before it is allocated.
struct Input<R> {
    reader: R,
    size: u64,
    left: u64,
}

impl<R: Read> Input<R> {
    fn claim(&mut self, wanted: u64) -> Result<(), GgufError> {
        if wanted > self.left {
            return Err(GgufError::Truncated { wanted, left: self.left });
        }
        self.left -= wanted;
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), GgufError> {
        self.reader.read_exact(buffer).map_err(|source| GgufError::Io { path: PathBuf::new(), source })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        self.claim(N as u64)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn bytes(&mut self, len: u64) -> Result<Vec<u8>, GgufError> {
        self.claim(len)?;
        let mut bytes = vec![0; len as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn string(&mut self) -> Result<String, GgufError> {
        let len = self.u64()?;
        self.text(len)
    }

    fn text(&mut self, len: u64) -> Result<String, GgufError> {
        String::from_utf8(self.bytes(len)?).map_err(|_| GgufError::Utf8)
    }

    /// A key: at most `max` bytes.
    fn name(&mut self, max: u64) -> Result<String, GgufError> {
        match self.u64()? {
            len if len > max && len <= self.left => Err(GgufError::KeyLength(len)),
            len => self.text(len).and_then(plain_name),
        }
    }

    fn metadata(&mut self, n_keys: u64) -> Result<Metadata, GgufError> {
        let mut metadata = Metadata::new();
        for _ in 0..n_keys {
            let key = self.name(MAX_KEY)?;
            if metadata.get(&key).is_some() {
                return Err(GgufError::DuplicateKey(key));
            }
            let value = self.value(&key)?;
            metadata.set(key, value);
        }
        Ok(metadata)
    }

    fn value_type(&mut self, key: &str) -> Result<ValueType, GgufError> {
        let id = self.u32()?;
        ValueType::from_id(id).ok_or_else(|| GgufError::ValueType { key: key.to_owned(), id })
    }

    fn value(&mut self, key: &str) -> Result<Value, GgufError> {
        Ok(match self.value_type(key)? {
            ValueType::U8 => Value::U8(u8::from_le_bytes(self.array()?)),
            ValueType::I8 => Value::I8(i8::from_le_bytes(self.array()?)),
            ValueType::U16 => Value::U16(u16::from_le_bytes(self.array()?)),
            ValueType::I16 => Value::I16(i16::from_le_bytes(self.array()?)),
            ValueType::U32 => Value::U32(self.u32()?),
            ValueType::I32 => Value::I32(i32::from_le_bytes(self.array()?)),
            ValueType::F32 => Value::F32(f32::from_le_bytes(self.array()?)),
            ValueType::Bool => Value::Bool(u8::from_le_bytes(self.array()?) != 0),
            ValueType::Str => Value::Str(self.string()?),
            ValueType::U64 => Value::U64(self.u64()?),
            ValueType::I64 => Value::I64(i64::from_le_bytes(self.array()?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(self.array()?)),
            ValueType::Array => Value::Array(self.array_value(key)?),
        })
    }

    fn array_value(&mut self, key: &str) -> Result<Array, GgufError> {
        let elements = self.value_type(key)?;
        let len = self.u64()?;
        let bytes = match (elements, elements.size()) {
            (_, Some(size)) => self.bytes(len.saturating_mul(size))?,
            (ValueType::Str, None) => {
                let mut bytes = Vec::new();
                for _ in 0..len {
                    let string_len = self.u64()?;
                    bytes.extend(string_len.to_le_bytes());
                    bytes.extend(self.bytes(string_len)?);
                }
                bytes
            }
            (_, None) => return Err(GgufError::NestedArray(key.to_owned())),
        };
        Ok(Array { elements, len, bytes })
    }

    fn tensors(&mut self, n_tensors: u64) -> Result<Vec<TensorInfo>, GgufError> {
        let mut tensors: Vec<TensorInfo> = Vec::new();
        let mut names = HashSet::new();
        for _ in 0..n_tensors {
            let tensor = self.tensor()?;
            if !names.insert(tensor.name.clone()) {
                return Err(GgufError::DuplicateTensor(tensor.name));
            }
            tensors.push(tensor);
        }
        Ok(tensors)
    }

    fn tensor(&mut self) -> Result<TensorInfo, GgufError> {
        let len = self.u64()?;
        if len > MAX_NAME {
            return Err(GgufError::NameLength(len));
        }
        let name = self.text(len).and_then(plain_name)?;
        let n_dims = self.u32()?;
        if n_dims == 0 || n_dims > MAX_DIMS {
            return Err(GgufError::Shape { name, shape: vec![] });
        }
        let shape = (0..n_dims).map(|_| self.u64()).collect::<Result<Vec<_>, _>>()?;
        let id = self.u32()?;
        let Some(tensor_type) = TensorType::from_id(id) else {
            return Err(GgufError::TensorType { name, id });
        };
        let offset = self.u64()?;
        let tensor = TensorInfo { name, shape, tensor_type, offset };
        tensor.check_shape()?;
        debug_assert!(self.left <= self.size);
        Ok(tensor)
    }
}
