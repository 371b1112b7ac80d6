//! Why a base can't be opened.

use std::io;
use std::path::PathBuf;

use super::safetensors::SafetensorsError;
use crate::gguf::GgufError;

/// Why a base can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file can't be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A JSON file is not what it must be.
    #[error("{path}: {reason}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A folder without safetensors.
    #[error("{path}: no model.safetensors and no model.safetensors.index.json{hint}")]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// What to do, where we know.
        hint: &'static str,
    },
    /// A shard that the index names is not there.
    #[error("{path}: shard {shard} is missing: the index needs it; finish the download")]
    MissingShard {
        /// The folder.
        path: PathBuf,
        /// The shard's file name.
        shard: String,
    },
    /// The index names a file outside the folder.
    #[error("{path}: the index names {shard:?}, which is not a plain file name")]
    ShardName {
        /// The index.
        path: PathBuf,
        /// The name.
        shard: String,
    },
    /// The index promises a tensor that its shard does not have.
    #[error("{path}: tensor {name:?} is not in the shard where the index has it")]
    MissingTensor {
        /// The shard.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A shard has a tensor that the index does not name.
    #[error("{path}: tensor {name:?} is not in the index: shards of different downloads are mixed")]
    ExtraTensor {
        /// The shard.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// Two shards hold the same tensor.
    #[error("{path}: tensor {name:?} is in another shard too")]
    DuplicateTensor {
        /// The second shard.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A broken safetensors file.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
    /// A broken GGUF file.
    #[error("{path}: {source}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: GgufError,
    },
}
