//! A checkpoint: a folder of safetensors with a `config.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::error::SourceError;
use super::json::read_json;
use super::safetensors::SafetensorsFile;
use super::tensor::TensorSource;

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
