//! The GGUF file format: header, metadata, tensor types, what llama.cpp must not be given, and changing
//! one value of a finished file.
//!
//! Source: `docs/gguf.md` of ggml.

pub mod check;
mod error;
mod header;
mod metadata;
pub mod rewrite;
pub mod tensor_type;

pub use error::GgufError;
pub use header::{Header, TensorInfo};
pub use metadata::{Array, Metadata, Value, ValueType};
