//! Why llama.cpp is not given a file.

use std::path::PathBuf;

use crate::gguf::{GgufError, Value};
use crate::text::escape::{quoted, shown};
use crate::text::shown::shown_path;

/// Why llama.cpp is not given a file. It would end the process, or compute something else than the file says.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The header can't be read.
    #[error(transparent)]
    Header(#[from] GgufError),
    /// Another architecture.
    #[error("it holds a model of architecture {}; this program runs gemma2 and gemma3", quoted(.0))]
    Architecture(String),
    /// A key that must be there is missing.
    #[error("metadata key {} is missing; it must be {expected}", shown(key))]
    Missing {
        /// The key.
        key: String,
        /// What it must be.
        expected: String,
    },
    /// A key with a value that llama.cpp asserts not to see, or that means another model.
    #[error("metadata key {} is {}; it must be {expected}", shown(key), shown(found))]
    Setting {
        /// The key.
        key: String,
        /// Its value, or its type.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// A token that the vocabulary may not have.
    #[error("token {id} of the vocabulary, {}, {fault}", quoted(text))]
    Token {
        /// The token's number.
        id: usize,
        /// Its text.
        text: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// Bytes that no text can be cut into.
    #[error(
        "the vocabulary has no token for {} of the 256 bytes, the first {}; text with such bytes could not be read",
        .0.len(),
        byte_token(.0)
    )]
    NoByte(Vec<u8>),
    /// A tensor that the architecture must have.
    #[error("tensor {text} is missing", text = shown(.0))]
    MissingTensor(String),
    /// A tensor that the architecture does not have.
    #[error("tensor {} is none of {architecture}'s", shown(name))]
    UnknownTensor {
        /// The tensor.
        name: String,
        /// The architecture.
        architecture: &'static str,
    },
    /// A tensor of another shape than the settings say.
    #[error("tensor {name} has shape {found:?}; the metadata says {expected:?}", name = shown(name))]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape, fastest dimension first.
        found: Vec<u64>,
        /// The shape of the metadata.
        expected: Vec<u64>,
    },
    /// A norm that is not F32.
    #[error(
        "tensor {name} is of type {found}; llama.cpp computes with norms of type F32",
        name = shown(name)
    )]
    NormType {
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// Another part of a split file can't be used.
    #[error("part {}: {source}", shown_path(path))]
    Part {
        /// The part.
        path: PathBuf,
        /// What is wrong.
        source: Box<CheckError>,
    },
    /// The file is not the first part.
    #[error(
        "the file is a part of a split model, and not the first or not named as one; name the first part, NAME-00001-of-{0:05}.gguf"
    )]
    NotFirstPart(u64),
}

fn byte_token(bytes: &[u8]) -> String {
    bytes.first().map(|byte| format!("<0x{byte:02X}>")).unwrap_or_default()
}

impl CheckError {
    pub(super) fn setting(key: &str, value: Option<&Value>, expected: impl Into<String>) -> Self {
        let (key, expected) = (key.to_owned(), expected.into());
        match value {
            None => Self::Missing { key, expected },
            Some(value) => Self::Setting { key, found: describe(value), expected },
        }
    }
}

/// A value for a message: small ones as they are, with their type.
fn describe(value: &Value) -> String {
    match value {
        Value::Str(text) => quoted(text).to_string(),
        Value::Array(array) => format!("an array of {} {:?}", array.len(), array.elements()),
        other => format!("{other:?}"),
    }
}
