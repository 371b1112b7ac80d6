//! An opened PEFT adapter: its tensors by module, refused where they are not understood.
//!
//! Source: PEFT's `get_peft_model_state_dict`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub use super::config::AdapterConfig;
pub use super::error::AdapterError;
use super::lora::{LowRank, transpose};
use crate::convert::input::json::read_json;
use crate::convert::input::layout::{Layout, is_vision, text_name};
use crate::convert::input::safetensors::SafetensorsFile;
use crate::convert::input::tensor::TensorSource;
use crate::convert::quantise::read::read_all_f32;
use crate::text::shown::{listed, shown};

/// What an adapter's tensor names start with.
const PREFIX: &str = "base_model.model.";
/// What `torch.compile` puts into names.
const COMPILED: &str = "_orig_mod.";
const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const PICKLED: &str = "adapter_model.bin";
/// Files of a whole model.
const MODEL: [&str; 3] = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"];

#[derive(Debug, Clone, Copy)]
enum Part {
    A,
    B,
    EmbeddingA,
    EmbeddingB,
    Magnitude,
    /// Takes part in training only.
    Training,
}

/// How the names of LoRA's tensors end.
const PARTS: [(&str, Part); 7] = [
    (".lora_A.weight", Part::A),
    (".lora_B.weight", Part::B),
    (".lora_embedding_A", Part::EmbeddingA),
    (".lora_embedding_B", Part::EmbeddingB),
    (".lora_magnitude_vector", Part::Magnitude),
    (".lora_magnitude_vector.weight", Part::Magnitude),
    (".lora_velora_embed", Part::Training),
];

/// The tensors that the adapter has for one module.
#[derive(Debug, Default)]
struct Parts {
    a: Option<TensorSource>,
    b: Option<TensorSource>,
    magnitude: Option<TensorSource>,
    is_embedding: bool,
}

/// An opened adapter.
#[derive(Debug)]
pub struct Adapter {
    /// Its configuration.
    pub config: AdapterConfig,
    /// The file of its tensors.
    pub weights_path: PathBuf,
    /// What was left out of the folder or the file, a sentence each.
    pub notes: Vec<String>,
    /// By the module's name in a text model.
    modules: BTreeMap<String, Parts>,
    /// Whole tensors that replace the base's (`modules_to_save`), by the name in a text model.
    pub replaced: BTreeMap<String, TensorSource>,
    /// How the adapter itself names the modules: its patterns are written for that.
    layout: Layout,
}

impl Adapter {
    /// Reads `adapter_config.json` and the header of `adapter_model.safetensors`. Tensors of the part that reads
    /// pictures are left with `text_only`.
    ///
    /// # Errors
    /// Any [`AdapterError`] but those that need the base.
    pub fn open(dir: &Path, text_only: bool) -> Result<Self, AdapterError> {
        let config = read_adapter_config(dir)?;
        let weights_path = dir.join(WEIGHTS);
        if !weights_path.is_file() && dir.join(PICKLED).is_file() {
            return Err(AdapterError::Config {
                path: dir.join(PICKLED),
                reason: "only safetensors are read: save the adapter again with save_pretrained(safe_serialization=True)"
                    .to_owned(),
            });
        }
        let file = SafetensorsFile::open(&weights_path)?;
        let mut adapter = Self {
            config,
            weights_path,
            notes: beside(dir),
            modules: BTreeMap::new(),
            replaced: BTreeMap::new(),
            layout: Layout::default(),
        };
        if !file.buffers.is_empty() {
            adapter.notes.push(format!("buffers without weights are skipped: {}", listed(&file.buffers)));
        }
        let vision = adapter.sort(file.tensors)?;
        match vision.len() {
            0 => {}
            _ if !text_only => return Err(AdapterError::Vision(vision)),
            n => adapter.notes.push(format!(
                "what the adapter trains of the part that reads pictures is left ({n} tensors: {})",
                listed(&vision)
            )),
        }
        Ok(adapter)
    }

    /// Puts the tensors to their modules; returns the names of those that belong to the part that reads pictures.
    fn sort(&mut self, tensors: Vec<(String, TensorSource)>) -> Result<Vec<String>, AdapterError> {
        let (mut unused, mut vision, mut training) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_compiled = false;
        for (name, source) in tensors {
            is_compiled |= name.contains(COMPILED);
            let plain = name.replace(COMPILED, "");
            match plain.strip_prefix(PREFIX) {
                Some(inner) if is_vision(inner) => vision.push(name),
                Some(inner) => match self.sort_in(inner, source)? {
                    Some(Part::Training) => training.push(name),
                    _ => self.note_layout(inner),
                },
                None => unused.push(name),
            }
        }
        if is_compiled {
            self.notes.push(format!("the adapter's names are read without torch.compile's {COMPILED}"));
        }
        if !training.is_empty() {
            self.notes.push(format!("tensors that only training needs are skipped: {}", listed(&training)));
        }
        if unused.is_empty() { Ok(vision) } else { Err(AdapterError::UnusedTensors(unused)) }
    }

    /// The head alone has the same name in two layouts.
    fn note_layout(&mut self, name: &str) {
        if self.layout == Layout::Text {
            self.layout = Layout::of(name);
        }
    }

    /// Puts a tensor to its module; tells which part of LoRA it is.
    fn sort_in(&mut self, name: &str, source: TensorSource) -> Result<Option<Part>, AdapterError> {
        let lora = PARTS.iter().find_map(|(suffix, part)| Some((name.strip_suffix(suffix)?, *part)));
        let twice = || AdapterError::Duplicate(name.to_owned());
        let Some((module, part)) = lora else {
            let whole = name.strip_suffix(".base_layer.weight").map(|module| format!("{module}.weight"));
            let name = text_name(whole.as_deref().unwrap_or(name)).into_owned();
            return match self.replaced.insert(name, source) {
                Some(_) => Err(twice()),
                None => Ok(None),
            };
        };
        if matches!(part, Part::Training) {
            return Ok(Some(part));
        }
        let parts = self.modules.entry(text_name(module).into_owned()).or_default();
        parts.is_embedding |= matches!(part, Part::EmbeddingA | Part::EmbeddingB);
        let slot = match part {
            Part::A | Part::EmbeddingA => &mut parts.a,
            Part::B | Part::EmbeddingB => &mut parts.b,
            Part::Magnitude | Part::Training => &mut parts.magnitude,
        };
        match slot.replace(source) {
            Some(_) => Err(twice()),
            None => Ok(Some(part)),
        }
    }

    /// Whether the adapter has LoRA tensors for a module.
    pub fn has_lora(&self, module: &str) -> bool {
        self.modules.contains_key(module)
    }

    /// Whether PEFT saves this module whole, as `modules_to_save` says.
    pub fn saves(&self, module: &str) -> bool {
        self.config.saves(&self.layout.own_name(module))
    }

    /// Whether the head's LoRA is the embedding's, the other way round: how PEFT saves the two tied.
    ///
    /// # Errors
    /// Where the tensors can't be read.
    pub fn head_mirrors_embedding(&self) -> Result<bool, AdapterError> {
        let parts = |module: &str| {
            let parts = self.modules.get(module)?;
            Some((parts.a.as_ref()?, parts.b.as_ref()?))
        };
        let (Some((head_a, head_b)), Some((a, b))) = (parts("lm_head"), parts("model.embed_tokens")) else {
            return Ok(false);
        };
        let mirrors = |head: &TensorSource, embedding: &TensorSource| -> Result<bool, AdapterError> {
            let turned = transpose(&read_all_f32(embedding)?, embedding.rows() as usize);
            Ok(head.shape.iter().eq(embedding.shape.iter().rev()) && read_all_f32(head)? == turned)
        };
        Ok(mirrors(head_a, b)? && mirrors(head_b, a)?)
    }

    /// Modules that the adapter has LoRA tensors for.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// The update of a module whose weight has `rows` × `columns`, if the adapter has one.
    ///
    /// # Errors
    /// Where the tensors are incomplete, do not fit, or disagree with the configuration.
    pub fn low_rank(
        &self,
        module: &str,
        shape: (u64, u64),
        is_linear: bool,
    ) -> Result<Option<LowRank>, AdapterError> {
        let own_name = self.layout.own_name(module);
        let targeted = self.config.targets(&own_name, is_linear)?;
        let Some(parts) = self.modules.get(module) else {
            return if targeted { Err(self.missing_module(module)) } else { Ok(None) };
        };
        if !targeted {
            return Err(AdapterError::UntargetedModule(module.to_owned()));
        }
        let half = |part: &Option<TensorSource>, missing| {
            part.clone().ok_or_else(|| AdapterError::MissingHalf { module: module.to_owned(), missing })
        };
        let (a, b) = (half(&parts.a, "lora_A")?, half(&parts.b, "lora_B")?);
        let (rank, scale) = self.config.rank_and_scale(&own_name)?;
        let (rows, columns) = shape;
        let (left, right) = if parts.is_embedding {
            check_shape(module, "lora_embedding_A", &a, &[rank, rows])?;
            check_shape(module, "lora_embedding_B", &b, &[columns, rank])?;
            (a, b)
        } else {
            check_shape(module, "lora_A", &a, &[rank, columns])?;
            check_shape(module, "lora_B", &b, &[rows, rank])?;
            (b, a)
        };
        let magnitude = self.magnitude(module, parts, rows)?;
        Ok(Some(LowRank { left, right, is_embedding: parts.is_embedding, rank, scale, magnitude }))
    }

    fn missing_module(&self, module: &str) -> AdapterError {
        AdapterError::MissingModule {
            module: module.to_owned(),
            found: self.modules.keys().cloned().collect(),
        }
    }

    fn magnitude(
        &self,
        module: &str,
        parts: &Parts,
        rows: u64,
    ) -> Result<Option<TensorSource>, AdapterError> {
        let name = "lora_magnitude_vector";
        match (&parts.magnitude, self.config.use_dora) {
            (None, false) => Ok(None),
            (None, true) => Err(AdapterError::MissingHalf { module: module.to_owned(), missing: name }),
            (Some(_), false) => Err(AdapterError::UnusedTensors(vec![format!("{PREFIX}{module}.{name}")])),
            (Some(_), true) if parts.is_embedding => Err(AdapterError::EmbeddingDora(module.to_owned())),
            (Some(magnitude), true) => {
                check_shape(module, name, magnitude, &[rows])?;
                Ok(Some(magnitude.clone()))
            }
        }
    }
}

/// Reads `adapter_config.json` of an adapter's folder, and refuses what a merge would get wrong.
///
/// # Errors
/// As [`AdapterConfig::parse`], and [`AdapterError::Config`] for a folder without one.
pub fn read_adapter_config(dir: &Path) -> Result<AdapterConfig, AdapterError> {
    let path = dir.join(CONFIG);
    if !path.exists() {
        return Err(no_config(dir));
    }
    AdapterConfig::parse(read_json(&path)?, &path)
}

/// What else lies in an adapter's folder and is left.
fn beside(dir: &Path) -> Vec<String> {
    let mut notes = Vec::new();
    if dir.join(PICKLED).is_file() {
        notes.push(format!("{PICKLED} is left; the adapter is {WEIGHTS}"));
    }
    if let Some(model) = MODEL.iter().find(|file| dir.join(file).is_file()) {
        notes.push(format!("{model} beside the adapter is left; the weights are those of --base"));
    }
    notes
}

/// Why a folder without `adapter_config.json` is none of an adapter, and what was meant.
fn no_config(dir: &Path) -> AdapterError {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut below: Vec<String> = entries
        .filter(|path| path.join(CONFIG).is_file())
        .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    below.sort();
    let reason = if let [only] = &below[..] {
        format!("no {CONFIG} here, but in the folder {}; pass that one", shown(only))
    } else if !below.is_empty() {
        format!("no {CONFIG} here, but in the folders {}; pass one of them", listed(&below))
    } else if dir.join("adapters.safetensors").is_file() {
        "this is an adapter of MLX, not of PEFT: fuse it with mlx_lm.fuse, and convert the result".to_owned()
    } else if dir.join("config.json").is_file() {
        format!("no {CONFIG}, but a model's config.json: pass a merged model as --base, without --adapter")
    } else {
        format!("no {CONFIG}: pass the folder that PEFT's save_pretrained made")
    };
    AdapterError::Config { path: dir.to_owned(), reason }
}

fn check_shape(
    module: &str,
    part: &str,
    source: &TensorSource,
    expected: &[u64],
) -> Result<(), AdapterError> {
    let found: Vec<u64> = source.shape.iter().rev().copied().collect();
    if found == expected {
        return Ok(());
    }
    Err(AdapterError::Shape { tensor: format!("{module}.{part}"), found, expected: expected.to_vec() })
}
