//! A PEFT adapter: its configuration and its tensors, refused where they are not understood.
//!
//! Source: PEFT's `LoraConfig`, `check_target_module_exists`, `get_pattern_key` and
//! `get_peft_model_state_dict`.

use super::lora::LowRank;
use crate::convert::quantise::read::read_all_f32;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fancy_regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::lora::transpose;
use crate::convert::input::error::SourceError;
use crate::convert::input::json::read_json;
use crate::convert::input::safetensors::{SafetensorsError, SafetensorsFile};
use crate::convert::input::tensor::TensorSource;
use crate::convert::quantise::read::ReadError;

/// What an adapter's tensor names start with.
const PREFIX: &str = "base_model.model.";

/// Why an adapter can't be merged.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// A file of the adapter can't be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The weights are broken.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
    /// The weights can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// `adapter_config.json` lacks a field or has one of the wrong type.
    #[error("{path}: {reason}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Not LoRA.
    #[error(
        "adapters of type {0} are not supported, only LORA: merge it with PEFT's merge_and_unload and convert the result"
    )]
    PeftType(String),
    /// A setting that changes what the adapter means, and that is not understood.
    #[error(
        "adapter_config.json: {key} = {value} is not supported: merge it with PEFT's merge_and_unload and convert the result"
    )]
    Setting {
        /// The setting.
        key: String,
        /// Its value.
        value: String,
    },
    /// A pattern that is no regular expression.
    #[error("adapter_config.json: {key}: {pattern:?} is not a regular expression")]
    Pattern {
        /// The setting.
        key: &'static str,
        /// The pattern.
        pattern: String,
    },
    /// Tensors that nothing in the base takes.
    #[error("the adapter has tensors that were not understood: {}: is it made for this base?", .0.join(", "))]
    UnusedTensors(Vec<String>),
    /// A module with one half of its LoRA pair.
    #[error("the adapter has no {missing} for {module}: the file is incomplete")]
    MissingHalf {
        /// The module.
        module: String,
        /// The half that is missing.
        missing: &'static str,
    },
    /// A module that the configuration names and the file does not have.
    #[error(
        "target_modules names {0}, but the adapter has no tensors for it: the file is incomplete or made for another base"
    )]
    MissingModule(String),
    /// LoRA tensors for a module that the configuration does not name.
    #[error("the adapter has tensors for {0}, which target_modules does not name: PEFT would drop them")]
    UntargetedModule(String),
    /// A tensor of another shape than the base's module needs.
    #[error("{tensor} is {found:?}, but the base needs {expected:?}: the adapter is made for another model")]
    Shape {
        /// The adapter's tensor.
        tensor: String,
        /// Its shape, rows first, as PyTorch shows it.
        found: Vec<u64>,
        /// The shape that fits, rows first.
        expected: Vec<u64>,
    },
    /// An embedding with another number of tokens.
    #[error(
        "the adapter's embedding has {adapter} tokens and the base's {base}: tokens were added in training; resize the base's embedding in transformers, save it with the tokenizer, and convert that"
    )]
    VocabularyGrew {
        /// Tokens of the adapter's embedding.
        adapter: u64,
        /// Tokens of the base's embedding.
        base: u64,
    },
    /// A trained output head on a model whose head is its embedding.
    #[error(
        "the adapter trains lm_head, but the base ties it to embed_tokens: untie them in transformers, or train without lm_head ({0})"
    )]
    TiedHead(String),
    /// A trained embedding whose head was left as it was.
    #[error(
        "the adapter trains embed_tokens apart from the lm_head that the base ties to it: merged, the two differ, but llama.cpp's Gemma 2 has one matrix for both; train with ensure_weight_tying=True or without embed_tokens"
    )]
    UntiedEmbedding,
    /// DoRA on an embedding.
    #[error("DoRA on {0} is not supported: merge it with PEFT's merge_and_unload and convert the result")]
    EmbeddingDora(String),
}

/// `target_modules`, `exclude_modules`: names (or name endings), or one regular expression.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Modules {
    Pattern(String),
    Names(Vec<String>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// The part of `adapter_config.json` that changes a merge.
#[derive(Debug, Clone, Deserialize)]
pub struct AdapterConfig {
    peft_type: String,
    /// LoRA's rank.
    pub r: u32,
    /// LoRA's numerator: the update is scaled by alpha / r.
    pub lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    target_modules: Option<Modules>,
    exclude_modules: Option<Modules>,
    modules_to_save: Option<Vec<String>>,
    layers_to_transform: Option<OneOrMany<i64>>,
    layers_pattern: Option<OneOrMany<String>>,
    #[serde(default)]
    rank_pattern: Option<Map<String, Json>>,
    #[serde(default)]
    alpha_pattern: Option<Map<String, Json>>,
    init_lora_weights: Option<Json>,
    bias: Option<String>,
    /// Whether a trained embedding was tied to the head in training, too.
    #[serde(default)]
    ensure_weight_tying: bool,
    /// The base that the adapter was trained on.
    pub base_model_name_or_path: Option<String>,
    #[serde(flatten)]
    other: Map<String, Json>,
}

/// Settings that do not change a merge, whatever they say.
///
/// `fan_in_fan_out` is among them because PEFT itself sets it to false for `nn.Linear`, and Gemma's
/// projections are all that; `eva_config` only chooses how A and B start.
const HARMLESS: [&str; 17] = [
    "auto_mapping",
    "corda_config",
    "eva_config",
    "fan_in_fan_out",
    "inference_mode",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "parent_library",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
    "velora_config",
];

impl AdapterConfig {
    /// Reads `adapter_config.json` and refuses what a merge would get wrong.
    ///
    /// # Errors
    /// [`AdapterError::Config`], [`AdapterError::PeftType`], [`AdapterError::Setting`],
    /// [`AdapterError::Pattern`].
    pub fn parse(json: Json, path: &Path) -> Result<Self, AdapterError> {
        let bad = |reason: String| AdapterError::Config { path: path.to_owned(), reason };
        let peft_type = json.get("peft_type").and_then(Json::as_str).unwrap_or("unknown");
        if peft_type != "LORA" {
            return Err(AdapterError::PeftType(peft_type.to_owned()));
        }
        let config: Self = serde_json::from_value(json).map_err(|e| bad(e.to_string()))?;
        debug_assert_eq!(config.peft_type, "LORA");
        let refuse = |key: &str, value: &Json| {
            Err(AdapterError::Setting { key: key.to_owned(), value: value.to_string() })
        };
        for (key, value) in &config.other {
            if !HARMLESS.contains(&key.as_str()) && !is_off(value) {
                return refuse(key, value);
            }
        }
        match &config.init_lora_weights {
            // These ways to start change the base's own weights.
            Some(Json::String(how)) if !["gaussian", "eva", "orthogonal"].contains(&how.as_str()) => {
                return refuse("init_lora_weights", &Json::from(how.as_str()));
            }
            _ => {}
        }
        if config.bias.as_deref().is_some_and(|bias| bias != "none") {
            return refuse("bias", &Json::from(config.bias));
        }
        if config.r == 0 {
            return Err(bad("r must be at least 1".to_owned()));
        }
        for (key, pattern) in
            [("rank_pattern", &config.rank_pattern), ("alpha_pattern", &config.alpha_pattern)]
        {
            for (name, value) in pattern.iter().flatten() {
                if value.as_f64().is_none_or(|v| v <= 0.0) {
                    return Err(bad(format!("{key}: {name:?} must be a positive number, not {value}")));
                }
                pattern_regex(key, name)?;
            }
        }
        for (key, modules) in
            [("target_modules", &config.target_modules), ("exclude_modules", &config.exclude_modules)]
        {
            if let Some(Modules::Pattern(pattern)) = modules {
                full_match(key, pattern)?;
            }
        }
        Ok(config)
    }

    /// Whether LoRA is put on a linear module or an embedding of this name.
    fn targets(&self, module: &str, is_linear: bool) -> Result<bool, AdapterError> {
        if matches(self.exclude_modules.as_ref(), "exclude_modules", module)? || self.saves(module) {
            return Ok(false);
        }
        if let Some(Modules::Pattern(all)) = &self.target_modules
            && all == "all-linear"
        {
            return Ok(is_linear && module != "lm_head");
        }
        let targeted = matches(self.target_modules.as_ref(), "target_modules", module)?;
        let by_name = matches!(self.target_modules, Some(Modules::Names(_)));
        Ok(targeted && (!by_name || self.transforms_layer(module)))
    }

    /// Whether `modules_to_save` names this module or one around it.
    fn saves(&self, module: &str) -> bool {
        let names = self.modules_to_save.iter().flatten();
        let dotted = format!(".{module}.");
        names.into_iter().any(|name| dotted.contains(&format!(".{name}.")))
    }

    fn transforms_layer(&self, module: &str) -> bool {
        let Some(layers) = self.layers_to_transform.as_ref().map(OneOrMany::as_slice) else { return true };
        if layers.is_empty() {
            return true;
        }
        let patterns = self.layers_pattern.as_ref().map(OneOrMany::as_slice).unwrap_or_default();
        let mut parts = module.split('.').peekable();
        while let Some(part) = parts.next() {
            let Some(layer) = parts.peek().and_then(|next| next.parse::<i64>().ok()) else { continue };
            if patterns.is_empty() || patterns.iter().any(|p| p == part) {
                return layers.contains(&layer);
            }
        }
        false
    }

    /// The rank and the scale of a module's update: alpha / r, or alpha / √r with rsLoRA.
    fn rank_and_scale(&self, module: &str) -> Result<(u64, f32), AdapterError> {
        let rank =
            find_pattern("rank_pattern", self.rank_pattern.as_ref(), module)?.unwrap_or(f64::from(self.r));
        let alpha =
            find_pattern("alpha_pattern", self.alpha_pattern.as_ref(), module)?.unwrap_or(self.lora_alpha);
        let divisor = if self.use_rslora { rank.sqrt() } else { rank };
        Ok((rank as u64, (alpha / divisor) as f32))
    }
}

/// Values that mean that a setting is not used.
fn is_off(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(on) => !on,
        Json::Array(list) => list.is_empty(),
        Json::Object(map) => map.is_empty(),
        Json::String(text) => text.is_empty(),
        Json::Number(_) => false,
    }
}

fn matches(modules: Option<&Modules>, key: &'static str, module: &str) -> Result<bool, AdapterError> {
    let is_named = |name: &String| {
        module.strip_suffix(name.as_str()).is_some_and(|head| head.is_empty() || head.ends_with('.'))
    };
    match modules {
        None => Ok(false),
        Some(Modules::Names(names)) => Ok(names.iter().any(is_named)),
        Some(Modules::Pattern(pattern)) if pattern.is_empty() => Ok(false),
        Some(Modules::Pattern(pattern)) => run(&full_match(key, pattern)?, key, pattern, module),
    }
}

/// Python's `re.fullmatch`.
fn full_match(key: &'static str, pattern: &str) -> Result<Regex, AdapterError> {
    compile(key, pattern, &format!(r"\A(?:{pattern})\z"))
}

/// PEFT's `get_pattern_key`: the whole module name or its ending after a dot.
fn pattern_regex(key: &'static str, pattern: &str) -> Result<Regex, AdapterError> {
    compile(key, pattern, &format!(r"\A(?:.*\.)?(?:{pattern})\z"))
}

fn compile(key: &'static str, pattern: &str, regex: &str) -> Result<Regex, AdapterError> {
    Regex::new(regex).map_err(|_| AdapterError::Pattern { key, pattern: pattern.to_owned() })
}

fn run(regex: &Regex, key: &'static str, pattern: &str, module: &str) -> Result<bool, AdapterError> {
    regex.is_match(module).map_err(|_| AdapterError::Pattern { key, pattern: pattern.to_owned() })
}

fn find_pattern(
    key: &'static str,
    patterns: Option<&Map<String, Json>>,
    module: &str,
) -> Result<Option<f64>, AdapterError> {
    for (pattern, value) in patterns.into_iter().flatten() {
        if run(&pattern_regex(key, pattern)?, key, pattern, module)? {
            return Ok(value.as_f64());
        }
    }
    Ok(None)
}

#[derive(Debug, Clone, Copy)]
enum Part {
    A,
    B,
    EmbeddingA,
    EmbeddingB,
    Magnitude,
}

/// How the names of LoRA's tensors end.
const PARTS: [(&str, Part); 6] = [
    (".lora_A.weight", Part::A),
    (".lora_B.weight", Part::B),
    (".lora_embedding_A", Part::EmbeddingA),
    (".lora_embedding_B", Part::EmbeddingB),
    (".lora_magnitude_vector", Part::Magnitude),
    (".lora_magnitude_vector.weight", Part::Magnitude),
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
    modules: BTreeMap<String, Parts>,
    /// Whole tensors that replace the base's (`modules_to_save`), by Hugging Face name.
    pub replaced: BTreeMap<String, TensorSource>,
}

impl Adapter {
    /// Reads `adapter_config.json` and the header of `adapter_model.safetensors`.
    ///
    /// # Errors
    /// Any [`AdapterError`] but those that need the base.
    pub fn open(dir: &Path) -> Result<Self, AdapterError> {
        let config_path = dir.join("adapter_config.json");
        let config = AdapterConfig::parse(read_json(&config_path)?, &config_path)?;
        let weights_path = dir.join("adapter_model.safetensors");
        if !weights_path.is_file() && dir.join("adapter_model.bin").is_file() {
            return Err(AdapterError::Config {
                path: dir.join("adapter_model.bin"),
                reason: "only safetensors are read: save the adapter again with save_pretrained(safe_serialization=True)"
                    .to_owned(),
            });
        }
        let file = SafetensorsFile::open(&weights_path)?;
        let mut adapter = Self { config, weights_path, modules: BTreeMap::new(), replaced: BTreeMap::new() };
        let mut unused = Vec::new();
        for (name, source) in file.tensors {
            match name.strip_prefix(PREFIX) {
                Some(inner) => adapter.sort_in(inner, source),
                None => unused.push(name),
            }
        }
        if unused.is_empty() { Ok(adapter) } else { Err(AdapterError::UnusedTensors(unused)) }
    }

    fn sort_in(&mut self, name: &str, source: TensorSource) {
        let lora = PARTS.iter().find_map(|(suffix, part)| Some((name.strip_suffix(suffix)?, *part)));
        if let Some((module, part)) = lora {
            let parts = self.modules.entry(module.to_owned()).or_default();
            parts.is_embedding |= matches!(part, Part::EmbeddingA | Part::EmbeddingB);
            match part {
                Part::A | Part::EmbeddingA => parts.a = Some(source),
                Part::B | Part::EmbeddingB => parts.b = Some(source),
                Part::Magnitude => parts.magnitude = Some(source),
            }
        } else if let Some(module) = name.strip_suffix(".base_layer.weight") {
            self.replaced.insert(format!("{module}.weight"), source);
        } else {
            self.replaced.insert(name.to_owned(), source);
        }
    }

    /// Whether the embedding is trained and the head, tied in the base, is not: PEFT's
    /// `merge_and_unload` unties them then.
    pub fn unties_embedding(&self) -> bool {
        let trains_embedding = self.modules.contains_key("model.embed_tokens")
            || self.replaced.contains_key("model.embed_tokens.weight");
        trains_embedding && !self.config.ensure_weight_tying && !self.replaced.contains_key("lm_head.weight")
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
        let targeted = self.config.targets(module, is_linear)?;
        let Some(parts) = self.modules.get(module) else {
            return if targeted { Err(AdapterError::MissingModule(module.to_owned())) } else { Ok(None) };
        };
        if !targeted {
            return Err(AdapterError::UntargetedModule(module.to_owned()));
        }
        let half = |part: &Option<TensorSource>, missing| {
            part.clone().ok_or_else(|| AdapterError::MissingHalf { module: module.to_owned(), missing })
        };
        let (a, b) = (half(&parts.a, "lora_A")?, half(&parts.b, "lora_B")?);
        let (rank, scale) = self.config.rank_and_scale(module)?;
        let (rows, columns) = shape;
        let names =
            if parts.is_embedding { ["lora_embedding_A", "lora_embedding_B"] } else { ["lora_A", "lora_B"] };
        let (left, right) = if parts.is_embedding {
            check_shape(module, names[0], &a, &[rank, rows])?;
            check_shape(module, names[1], &b, &[columns, rank])?;
            (a, b)
        } else {
            check_shape(module, names[0], &a, &[rank, columns])?;
            check_shape(module, names[1], &b, &[rows, rank])?;
            (b, a)
        };
        let magnitude = self.magnitude(module, parts, rows)?;
        Ok(Some(LowRank { left, right, is_embedding: parts.is_embedding, rank, scale, magnitude }))
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
