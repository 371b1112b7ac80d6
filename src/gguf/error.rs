//! Why a GGUF file can't be read.

use std::io;
use std::path::PathBuf;

use crate::text::escape::quoted;
use crate::text::shown::shown_path;

/// What is wrong with a GGUF file.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The file can't be opened or read.
    #[error("cannot read {path}: {source}", path = shown_path(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file: it starts with {0:?}, not \"GGUF\"")]
    Magic([u8; 4]),
    /// A version that this reader does not know.
    #[error("GGUF version {0} is not supported (2 and 3 are); convert the model again")]
    Version(u32),
    /// The header goes past the end of the file.
    #[error("the header is cut off: it needs {wanted} more bytes where {left} are left")]
    Truncated {
        /// Bytes that the next field needs.
        wanted: u64,
        /// Bytes left in the file.
        left: u64,
    },
    /// A key or a tensor name is not UTF-8.
    #[error("a name in the header is not UTF-8")]
    Utf8,
    /// A key or a tensor name that is empty or holds control characters.
    #[error("the name {} in the header is empty or holds control characters", quoted(.0))]
    Name(String),
    /// A key that is longer than any.
    #[error("a metadata key of {0} bytes: the header is damaged")]
    KeyLength(u64),
    /// A value type that GGUF does not define.
    #[error("metadata key {}: unknown value type {id}", quoted(key))]
    ValueType {
        /// The key.
        key: String,
        /// The type's number.
        id: u32,
    },
    /// An array of arrays, which no known key uses.
    #[error("metadata key {}: arrays of arrays are not supported", quoted(.0))]
    NestedArray(String),
    /// A key that occurs twice.
    #[error("metadata key {} occurs twice", quoted(.0))]
    DuplicateKey(String),
    /// A tensor that occurs twice.
    #[error("tensor {} occurs twice", quoted(.0))]
    DuplicateTensor(String),
    /// A tensor name that ggml would cut.
    #[error("tensor name of {0} bytes: ggml keeps 63")]
    NameLength(u64),
    /// No dimension, more than four, a zero, a product past 2^63, or a row that is no whole number of blocks.
    #[error("tensor {}: impossible shape {shape:?}", quoted(name))]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape, fastest dimension first.
        shape: Vec<u64>,
    },
    /// A tensor type that is not supported.
    #[error("tensor {}: unsupported tensor type {id}", quoted(name))]
    TensorType {
        /// The tensor.
        name: String,
        /// The type's number in ggml.
        id: u32,
    },
    /// `general.alignment` is not a power of two.
    #[error("general.alignment is {0}, not a power of two from 8 up")]
    Alignment(u64),
    /// A tensor does not start where the previous one ends.
    #[error("tensor {}: its data is at offset {found}, expected {expected}", quoted(name))]
    Offset {
        /// The tensor.
        name: String,
        /// What the header says.
        found: u64,
        /// The end of the previous tensor, aligned.
        expected: u64,
    },
    /// The file ends before the tensors do.
    #[error("the file is cut off: it has {found} bytes, and a tensor of it ends at {expected}")]
    DataTruncated {
        /// The file's size.
        found: u64,
        /// Where the first tensor ends that is not whole.
        expected: u64,
    },
    /// A key that must be there is not.
    #[error("metadata key {0:?} is missing")]
    MissingKey(String),
    /// A key's value has another type than it must have.
    #[error("metadata key {}: expected {expected}", quoted(key))]
    KeyType {
        /// The key.
        key: String,
        /// The expected type, in words.
        expected: &'static str,
    },
}
