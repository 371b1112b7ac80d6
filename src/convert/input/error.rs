//! Why a base can't be opened.

use std::io;
use std::path::PathBuf;

use super::safetensors::SafetensorsError;
use crate::gguf::GgufError;
use crate::gguf::check::CheckError;
use crate::text::shown::{shown, shown_path};

/// Why a base can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file can't be read.
    #[error("cannot read {}: {source}", shown_path(.path))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A part of a split GGUF file is missing, or not what it must be.
    #[error(transparent)]
    Parts(#[from] CheckError),
    /// A JSON file is not what it must be.
    #[error("{}: {}", shown_path(.path), shown(.reason))]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A folder without safetensors.
    #[error("{}: no model.safetensors and no model.safetensors.index.json{hint}", shown_path(.path))]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// What to do, where we know.
        hint: &'static str,
    },
    /// An adapter's folder, given as the base.
    #[error("{}: this is an adapter without its base; pass it as --adapter, and the model it was trained on as --base", shown_path(.0))]
    AdapterAsBase(PathBuf),
    /// A single file and shards, each of which may be the model.
    #[error(
        "{}: model.safetensors and the {shards} shards of model.safetensors.index.json are two models{newer}; move away the one that you don't want",
        shown_path(.path)
    )]
    TwoModels {
        /// The folder.
        path: PathBuf,
        /// Number of shards.
        shards: usize,
        /// Which of them is newer, in words, where the file system knows.
        newer: &'static str,
    },
    /// A shard that the index names is not there.
    #[error("{}: shard {} is missing: the index needs it; finish the download", shown_path(.path), shown(.shard))]
    MissingShard {
        /// The folder.
        path: PathBuf,
        /// The shard's file name.
        shard: String,
    },
    /// The index names a file outside the folder.
    #[error("{}: the index names {}, which is not a plain file name", shown_path(.path), shown(.shard))]
    ShardName {
        /// The index.
        path: PathBuf,
        /// The name.
        shard: String,
    },
    /// The index promises a tensor that its shard does not have.
    #[error("{}: tensor {} is not in the shard where the index has it", shown_path(.path), shown(.name))]
    MissingTensor {
        /// The shard.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A shard has a tensor that the index does not name.
    #[error("{}: tensor {} is not in the index: shards of different downloads are mixed", shown_path(.path), shown(.name))]
    ExtraTensor {
        /// The shard.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// Two shards hold the same tensor.
    #[error("{}: tensor {} is in another shard too", shown_path(.path), shown(.name))]
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
    #[error("{}: {source}", shown_path(.path))]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: GgufError,
    },
}
