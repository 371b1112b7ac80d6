//! Where weights come from: one tensor's place in a file, a checkpoint folder, a GGUF file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use super::gguf::{GgufError, Header};
use super::quant::{self, QuantError, Rows};
use super::safetensors::{SafetensorsError, SafetensorsFile};
use super::tensor_type::TensorType;

/// A tensor in a file: read in row chunks, never whole.
#[derive(Debug, Clone)]
pub struct TensorSource {
    /// The opened file.
    pub file: Arc<File>,
    /// Its path, for messages.
    pub path: PathBuf,
    /// Where the data starts, in bytes.
    pub offset: u64,
    /// How the numbers are stored.
    pub tensor_type: TensorType,
    /// Dimensions, columns first.
    pub shape: Vec<u64>,
}

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file can't be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The blocks can't be turned into numbers.
    #[error(transparent)]
    Quant(#[from] QuantError),
}

impl TensorSource {
    /// Numbers in a row.
    pub fn columns(&self) -> u64 {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.shape.iter().skip(1).product()
    }

    /// Bytes in a row.
    pub fn row_bytes(&self) -> u64 {
        self.tensor_type.row_bytes(self.columns())
    }

    /// Reads rows as they are stored.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn read_raw(&self, rows: Range<u64>, raw: &mut Vec<u8>) -> Result<(), ReadError> {
        raw.resize(((rows.end - rows.start) * self.row_bytes()) as usize, 0);
        let offset = self.offset + rows.start * self.row_bytes();
        self.file
            .read_exact_at(raw, offset)
            .map_err(|source| ReadError::Io { path: self.path.clone(), source })
    }

    /// Reads rows as F32; `raw` is scratch.
    ///
    /// # Errors
    /// Any [`ReadError`].
    pub fn read_f32(
        &self,
        rows: Range<u64>,
        raw: &mut Vec<u8>,
        numbers: &mut Vec<f32>,
    ) -> Result<(), ReadError> {
        let count = (rows.end - rows.start) as usize;
        self.read_raw(rows, raw)?;
        numbers.resize(count * self.columns() as usize, 0.0);
        let rows = Rows { tensor_type: self.tensor_type, rows: count, columns: self.columns() as usize };
        quant::dequantise(rows, raw, numbers)?;
        Ok(())
    }

    /// Reads the whole tensor as F32: for small ones.
    ///
    /// # Errors
    /// Any [`ReadError`].
    pub fn read_all_f32(&self) -> Result<Vec<f32>, ReadError> {
        let (mut raw, mut numbers) = (Vec::new(), Vec::new());
        self.read_f32(0..self.rows(), &mut raw, &mut numbers)?;
        Ok(numbers)
    }
}

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

/// A folder of safetensors with a `config.json`.
#[derive(Debug)]
pub struct Checkpoint {
    /// The folder.
    pub dir: PathBuf,
    /// `config.json`.
    pub config: Json,
    /// Every tensor, by its Hugging Face name.
    pub tensors: BTreeMap<String, TensorSource>,
    /// The files that hold them, in name order.
    pub files: Vec<PathBuf>,
}

impl Checkpoint {
    /// Reads the configuration and the headers of all shards.
    ///
    /// # Errors
    /// Any [`SourceError`].
    pub fn open(dir: &Path) -> Result<Self, SourceError> {
        let config = read_json(&dir.join("config.json"))?;
        let index_path = dir.join("model.safetensors.index.json");
        let mut checkpoint =
            Self { dir: dir.to_owned(), config, tensors: BTreeMap::new(), files: Vec::new() };
        if index_path.is_file() {
            checkpoint.open_shards(&index_path)?;
        } else {
            let path = dir.join("model.safetensors");
            if !path.is_file() {
                return Err(no_weights(dir));
            }
            checkpoint.open_file(&path)?;
        }
        Ok(checkpoint)
    }

    fn open_file(&mut self, path: &Path) -> Result<(), SourceError> {
        let file = SafetensorsFile::open(path)?;
        for (name, source) in file.tensors {
            if self.tensors.insert(name.clone(), source).is_some() {
                return Err(SourceError::DuplicateTensor { path: path.to_owned(), name });
            }
        }
        self.files.push(path.to_owned());
        Ok(())
    }

    fn open_shards(&mut self, index_path: &Path) -> Result<(), SourceError> {
        let weight_map = read_weight_map(index_path)?;
        let mut shards: Vec<&String> = weight_map.values().collect();
        shards.sort();
        shards.dedup();
        for shard in shards {
            if Path::new(shard).file_name() != Some(shard.as_ref()) {
                return Err(SourceError::ShardName { path: index_path.to_owned(), shard: shard.clone() });
            }
            let path = self.dir.join(shard);
            if !path.is_file() {
                return Err(SourceError::MissingShard { path: self.dir.clone(), shard: shard.clone() });
            }
            self.open_file(&path)?;
        }
        for (name, shard) in &weight_map {
            let path = self.dir.join(shard);
            if self.tensors.get(name).is_none_or(|t| t.path != path) {
                return Err(SourceError::MissingTensor { path, name: name.clone() });
            }
        }
        for (name, source) in &self.tensors {
            if !weight_map.contains_key(name) {
                return Err(SourceError::ExtraTensor { path: source.path.clone(), name: name.clone() });
            }
        }
        Ok(())
    }
}

fn read_weight_map(path: &Path) -> Result<BTreeMap<String, String>, SourceError> {
    let mut index = read_json(path)?;
    let weight_map = index.get_mut("weight_map").map(Json::take).unwrap_or_default();
    serde_json::from_value(weight_map).map_err(|e| SourceError::Json {
        path: path.to_owned(),
        reason: format!("weight_map must map tensor names to file names: {e}"),
    })
}

fn no_weights(dir: &Path) -> SourceError {
    let has_pickle =
        dir.join("pytorch_model.bin").is_file() || dir.join("pytorch_model.bin.index.json").is_file();
    let hint = if has_pickle {
        "; pytorch_model.bin is not read: save the model again with save_pretrained(safe_serialization=True)"
    } else {
        ""
    };
    SourceError::NoWeights { path: dir.to_owned(), hint }
}

/// Reads a JSON file.
///
/// # Errors
/// [`SourceError::Io`], [`SourceError::Json`].
pub fn read_json(path: &Path) -> Result<Json, SourceError> {
    let text = fs::read(path).map_err(|source| SourceError::Io { path: path.to_owned(), source })?;
    serde_json::from_slice(&text)
        .map_err(|e| SourceError::Json { path: path.to_owned(), reason: format!("not valid JSON: {e}") })
}

/// As [`read_json`], but a file that is not there is `None`.
///
/// # Errors
/// As [`read_json`].
pub fn read_json_if_there(path: &Path) -> Result<Option<Json>, SourceError> {
    if path.is_file() { read_json(path).map(Some) } else { Ok(None) }
}

/// A GGUF file as a base.
#[derive(Debug)]
pub struct GgufBase {
    /// Where it is.
    pub path: PathBuf,
    /// Its header.
    pub header: Header,
    /// Every tensor, by its GGUF name.
    pub tensors: BTreeMap<String, TensorSource>,
}

impl GgufBase {
    /// Reads the header.
    ///
    /// # Errors
    /// [`SourceError::Gguf`], [`SourceError::Io`].
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let header =
            Header::read(path).map_err(|source| SourceError::Gguf { path: path.to_owned(), source })?;
        let file = File::open(path).map_err(|source| SourceError::Io { path: path.to_owned(), source })?;
        let file = Arc::new(file);
        let source = |info: &super::gguf::TensorInfo| TensorSource {
            file: Arc::clone(&file),
            path: path.to_owned(),
            offset: header.data_start + info.offset,
            tensor_type: info.tensor_type,
            shape: info.shape.clone(),
        };
        let tensors = header.tensors.iter().map(|info| (info.name.clone(), source(info))).collect();
        Ok(Self { path: path.to_owned(), header, tensors })
    }
}
