//! A checkpoint: a folder of safetensors with a `config.json`.
//!
//! What lies beside what is taken (a stale index, pickled weights, an adapter) is refused or named in the notes:
//! that a file is there does not say that it is meant.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value as Json;

use super::error::SourceError;
use super::json::read_json;
use super::safetensors::SafetensorsFile;
use super::tensor::TensorSource;
use crate::text::shown::{listed, shown};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const PICKLED: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

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
    /// What was left out of the folder, a sentence each.
    pub notes: Vec<String>,
    buffers: BTreeSet<String>,
}

/// Reads a checkpoint's `config.json`.
///
/// # Errors
/// [`SourceError::AdapterAsBase`], [`SourceError::Io`], [`SourceError::Json`].
pub fn read_config(dir: &Path) -> Result<Json, SourceError> {
    let path = dir.join("config.json");
    if !path.exists() && dir.join("adapter_config.json").is_file() {
        return Err(SourceError::AdapterAsBase(dir.to_owned()));
    }
    read_json(&path)
}

impl Checkpoint {
    /// Reads the headers of all shards; `config` is what [`read_config`] found.
    ///
    /// # Errors
    /// Any [`SourceError`].
    pub fn open(dir: &Path, config: Json) -> Result<Self, SourceError> {
        let mut checkpoint = Self {
            dir: dir.to_owned(),
            config,
            tensors: BTreeMap::new(),
            files: Vec::new(),
            notes: Vec::new(),
            buffers: BTreeSet::new(),
        };
        match checkpoint.choose()? {
            Weights::Single => checkpoint.open_file(&dir.join(SINGLE))?,
            Weights::Shards(weight_map) => checkpoint.open_shards(&weight_map)?,
        }
        checkpoint.note_rest();
        Ok(checkpoint)
    }

    /// Decides which files are the model.
    fn choose(&mut self) -> Result<Weights, SourceError> {
        let index_path = self.dir.join(INDEX);
        let has_single = self.dir.join(SINGLE).is_file();
        if !index_path.exists() {
            return if has_single { Ok(Weights::Single) } else { Err(no_weights(&self.dir)) };
        }
        let weight_map = read_weight_map(&index_path)?;
        let shards: BTreeSet<&str> = weight_map.values().map(String::as_str).collect();
        if !has_single || shards.contains(SINGLE) {
            return Ok(Weights::Shards(weight_map));
        }
        let missing: Vec<&str> =
            shards.iter().copied().filter(|shard| !self.dir.join(shard).is_file()).collect();
        if missing.is_empty() {
            let newer = self.newer(&shards);
            return Err(SourceError::TwoModels { path: self.dir.clone(), shards: shards.len(), newer });
        }
        let missing = listed(&missing);
        self.notes
            .push(format!("{SINGLE} is converted; {INDEX} is left, as its shards are missing: {missing}"));
        Ok(Weights::Single)
    }

    /// Which of the single file and the shards is newer, as the end of a clause.
    fn newer(&self, shards: &BTreeSet<&str>) -> &'static str {
        let time =
            |name: &str| -> Option<SystemTime> { fs::metadata(self.dir.join(name)).ok()?.modified().ok() };
        let newest = shards.iter().filter_map(|shard| time(shard)).max();
        match (time(SINGLE), newest) {
            (Some(single), Some(shards)) if single > shards => " (the single file is newer)",
            (Some(single), Some(shards)) if single < shards => " (the shards are newer)",
            _ => "",
        }
    }

    fn open_file(&mut self, path: &Path) -> Result<(), SourceError> {
        let file = SafetensorsFile::open(path)?;
        for (name, source) in file.tensors {
            if self.tensors.insert(name.clone(), source).is_some() {
                return Err(SourceError::DuplicateTensor { path: path.to_owned(), name });
            }
        }
        self.buffers.extend(file.buffers);
        self.files.push(path.to_owned());
        Ok(())
    }

    fn open_shards(&mut self, weight_map: &BTreeMap<String, String>) -> Result<(), SourceError> {
        let shards: BTreeSet<&String> = weight_map.values().collect();
        for shard in shards {
            let path = self.dir.join(shard);
            if !path.is_file() {
                return Err(SourceError::MissingShard { path: self.dir.clone(), shard: shard.clone() });
            }
            self.open_file(&path)?;
        }
        for (name, shard) in weight_map.iter().filter(|(name, _)| !self.buffers.contains(*name)) {
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

    /// Names what else the folder holds and what of the files is skipped.
    /// Files of the folder that look like weights of the model and are not read.
    fn other_safetensors(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let paths = entries.flatten().map(|entry| entry.path());
        let is_left = |path: &PathBuf| {
            path.extension().is_some_and(|e| e == "safetensors")
                && !self.files.contains(path)
                && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("adapter_model"))
        };
        let names =
            paths.filter(is_left).filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn note_rest(&mut self) {
        if !self.buffers.is_empty() {
            let names: Vec<&String> = self.buffers.iter().collect();
            self.notes.push(format!("buffers without weights are skipped: {}", listed(&names)));
        }
        if let Some(pickled) = PICKLED.iter().find(|file| self.dir.join(file).is_file()) {
            self.notes.push(format!("{pickled} is left; the safetensors are converted"));
        }
        let others: Vec<String> = self.other_safetensors();
        if !others.is_empty() {
            self.notes.push(format!("other safetensors are left: {}", listed(&others)));
        }
        if self.dir.join("adapter_config.json").is_file() {
            let dir = self.dir.file_name().unwrap_or_default().to_string_lossy();
            self.notes.push(format!(
                "the adapter in {} is not merged; pass the same folder or repository as --adapter, too, to merge it",
                shown(&dir)
            ));
        }
    }
}

/// Which files are the model.
enum Weights {
    Single,
    /// The shard of each tensor, as the index has it.
    Shards(BTreeMap<String, String>),
}

fn read_weight_map(path: &Path) -> Result<BTreeMap<String, String>, SourceError> {
    let mut index = read_json(path)?;
    let weight_map = index.get_mut("weight_map").map(Json::take).unwrap_or_default();
    let weight_map: BTreeMap<String, String> =
        serde_json::from_value(weight_map).map_err(|e| SourceError::Json {
            path: path.to_owned(),
            reason: format!("weight_map must map tensor names to file names: {e}"),
        })?;
    match weight_map.values().find(|shard| Path::new(shard).file_name() != Some(shard.as_ref())) {
        Some(shard) => Err(SourceError::ShardName { path: path.to_owned(), shard: shard.clone() }),
        None => Ok(weight_map),
    }
}

fn no_weights(dir: &Path) -> SourceError {
    let has_pickle = PICKLED.iter().any(|file| dir.join(file).is_file());
    let hint = if has_pickle {
        "; pytorch_model.bin is not read: save the model again with save_pretrained(safe_serialization=True)"
    } else {
        ""
    };
    SourceError::NoWeights { path: dir.to_owned(), hint }
}
