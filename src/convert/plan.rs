//! The plan of a conversion, made from headers only: which tensors the file will have, of which
//! type, where each comes from and what happens to it on the way.

use super::quantise::read::read_f32;
use std::collections::{BTreeMap, BTreeSet};

use super::arch::Architecture;
use super::error::ConvertError;
use super::input::checkpoint::Checkpoint;
use super::input::gguf_base::GgufBase;
use super::input::tensor::TensorSource;
use super::merge::adapter::{Adapter, AdapterError};
use super::merge::lora::LowRank;
use super::quantise::imatrix::{Imatrix, ImatrixError};
use super::quantise::mixture::{Mixture, Weight, choose_types, is_weight, tensor_order};
use super::quantise::pad::{Padding, padded_width};
use super::quantise::smooth::{Smoother, Smoothing};
use super::tokenizer::vocab;
use crate::gguf::check;
use crate::gguf::tensor_type::{FileType, TensorType};
use crate::gguf::{Header, Metadata, TensorInfo, Value};

/// One tensor of the result.
#[derive(Debug)]
pub struct PlannedTensor {
    /// Its name, shape, type and place in the result.
    pub info: TensorInfo,
    /// Where its numbers come from: the base, or the adapter that replaces it.
    pub source: TensorSource,
    /// What the adapter adds to it.
    pub low_rank: Option<LowRank>,
    /// Whether `source` is the adapter's own tensor.
    pub is_replaced: bool,
    /// Whether 1 is added (Gemma's norms).
    pub add_one: bool,
    /// What its rows and columns are multiplied by.
    pub smoothing: Option<Smoothing>,
    /// How it is widened.
    pub padding: Option<Padding>,
    /// What each column is worth to the quantiser.
    pub importance: Option<Vec<f32>>,
}

impl PlannedTensor {
    /// Whether the stored bytes are those of the base.
    pub fn is_copy(&self) -> bool {
        let is_same = self.low_rank.is_none() && !self.add_one;
        let is_plain = self.smoothing.is_none() && self.padding.is_none();
        is_same && is_plain && self.source.tensor_type == self.info.tensor_type
    }

    /// Whether numbers of a quantised base are rounded a second time.
    pub fn is_requantised(&self) -> bool {
        let is_exact = self.is_copy() || self.info.tensor_type == TensorType::F32;
        self.source.tensor_type.is_quantised() && !is_exact
    }
}

/// What will be written.
#[derive(Debug)]
pub struct Plan {
    /// The result's architecture.
    pub architecture: Architecture,
    /// The result's type.
    pub file_type: FileType,
    /// The result's header.
    pub header: Header,
    /// The result's tensors, in file order.
    pub tensors: Vec<PlannedTensor>,
    /// Whether the base was quantised, so that merging rounds a second time.
    pub base_is_quantised: bool,
    /// The base's hidden width, if the result's is padded.
    pub padded_from: Option<u32>,
}

impl Plan {
    /// The result's size, in bytes.
    pub fn file_size(&self) -> u64 {
        self.header.file_size()
    }

    /// Names of the tensors that get a LoRA update.
    pub fn merged(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().filter(|t| t.low_rank.is_some()).map(|t| t.info.name.as_str())
    }

    /// Names of the tensors that the adapter puts in place of the base's.
    pub fn replaced(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().filter(|t| t.is_replaced).map(|t| t.info.name.as_str())
    }

    /// How many tensors the adapter updates or replaces.
    pub fn changed(&self) -> usize {
        self.tensors.iter().filter(|t| t.low_rank.is_some() || t.is_replaced).count()
    }

    /// Tensors and bytes of each type.
    pub fn by_type(&self) -> BTreeMap<TensorType, (u64, u64)> {
        let mut types = BTreeMap::new();
        for tensor in &self.tensors {
            let (count, bytes) = types.entry(tensor.info.tensor_type).or_insert((0, 0));
            *count += 1;
            *bytes += tensor.info.bytes();
        }
        types
    }
}

/// A base: what is known before an adapter and a type are chosen.
struct Base {
    architecture: Architecture,
    metadata: Metadata,
    /// By GGUF name.
    tensors: BTreeMap<String, TensorSource>,
    /// Whether the head shares the embedding's weights.
    is_tied: bool,
    /// Whether weights are as in the checkpoint (norms without 1, ...).
    is_checkpoint: bool,
}

/// Plans the conversion of a checkpoint.
///
/// # Errors
/// Where the base or the adapter is not understood, incomplete, or they do not fit.
pub fn plan_checkpoint(
    checkpoint: &Checkpoint,
    adapter: Option<&Adapter>,
    mixture: Mixture,
) -> Result<Plan, ConvertError> {
    let architecture = Architecture::from_config(&checkpoint.config)?;
    let mut tensors = BTreeMap::new();
    for (name, source) in &checkpoint.tensors {
        let module = name.strip_suffix(".weight").and_then(|module| architecture.gguf_module(module));
        let Some(module) = module else {
            return Err(ConvertError::UnknownTensor(name.clone()));
        };
        tensors.insert(format!("{module}.weight"), source.clone());
    }
    let is_tied = checkpoint.config.get("tie_word_embeddings").is_none_or(|tied| tied != false);
    if is_tied {
        // transformers ignores a saved head then, too.
        tensors.remove("output.weight");
    } else if architecture == Architecture::Gemma2 {
        return Err(ConvertError::UntiedHead);
    } else if !tensors.contains_key("output.weight") {
        return Err(ConvertError::MissingTensor("lm_head.weight".to_owned()));
    }
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", architecture.name());
    metadata.set("general.type", "model");
    for (key, value) in vocab::sampling_metadata(&checkpoint.dir)? {
        metadata.set(key, value);
    }
    metadata.set("general.size_label", size_label(tensors.values().map(|t| t.rows() * t.columns()).sum()));
    for (key, value) in architecture.metadata(&checkpoint.config)?.iter() {
        metadata.set(key, value.clone());
    }
    let n_tokens = count_tokens(architecture, &checkpoint.config, &mut tensors)?;
    for (key, value) in vocab::metadata(&checkpoint.dir, &checkpoint.config, n_tokens)?.iter() {
        metadata.set(key, value.clone());
    }
    plan(Base { architecture, metadata, tensors, is_tied, is_checkpoint: true }, adapter, mixture)
}

/// `general.size_label` of a number of weights: two digits and a unit, as in `9.2B`
/// (`model_weight_count_rounded_notation` in `gguf-py/gguf/utility.py` of llama.cpp).
fn size_label(weights: u64) -> String {
    let (unit, letter) = match weights {
        1_000_000_001.. => (1e9, "B"),
        1_000_001.. => (1e6, "M"),
        _ => (1e3, "K"),
    };
    let scaled = weights as f64 / unit;
    let decimals = usize::from(scaled < 9.5);
    format!("{scaled:.decimals$}{letter}")
}

/// The number of tokens. Gemma 3's embedding may have rows that no token uses: they are dropped.
fn count_tokens(
    architecture: Architecture,
    config: &serde_json::Value,
    tensors: &mut BTreeMap<String, TensorSource>,
) -> Result<u64, ConvertError> {
    let Some(embedding) = tensors.get_mut("token_embd.weight") else {
        return Err(ConvertError::MissingTensor("model.embed_tokens.weight".to_owned()));
    };
    let n_tokens = vocab::count(config, embedding.rows(), architecture == Architecture::Gemma3)?;
    embedding.shape[1] = n_tokens;
    Ok(n_tokens)
}

/// Plans the conversion of a GGUF file.
///
/// # Errors
/// As [`plan_checkpoint`].
pub fn plan_gguf(base: &GgufBase, adapter: Option<&Adapter>, mixture: Mixture) -> Result<Plan, ConvertError> {
    let architecture = Architecture::from_gguf(base.header.architecture()?)?;
    if base.header.metadata.get("split.count").and_then(Value::as_u64).is_some_and(|n| n > 1) {
        return Err(ConvertError::SplitGguf);
    }
    check::header(&base.header)?;
    let mut metadata = base.header.metadata.clone();
    metadata.remove(|key| {
        key.starts_with("ko_sentiment.") || key.starts_with("split.") || key == "general.alignment"
    });
    let is_tied = !base.tensors.contains_key("output.weight");
    plan(
        Base { architecture, metadata, tensors: base.tensors.clone(), is_tied, is_checkpoint: false },
        adapter,
        mixture,
    )
}

fn plan(mut base: Base, adapter: Option<&Adapter>, mixture: Mixture) -> Result<Plan, ConvertError> {
    let n_layers = base.metadata.require_u64(&format!("{}.block_count", base.architecture))?;
    check_tensor_names(&base, n_layers)?;
    let replaced = adapter.map(|a| replacements(a, &base)).transpose()?.unwrap_or_default();
    if base.is_tied && adapter.is_some_and(Adapter::unties_embedding) {
        untie(&mut base)?;
    }

    let width_key = format!("{}.embedding_length", base.architecture);
    let width = base.metadata.require_u64(&width_key)?;
    let padding_of = |name: &str| mixture.pad.then(|| Padding::of(name, width, base.is_tied)).flatten();
    let shape_of = |name: &str| {
        let shape = &base.tensors[name].shape;
        padding_of(name).map_or_else(|| shape.clone(), |padding| padding.shape(shape))
    };

    let mut names: Vec<String> = base.tensors.keys().cloned().collect();
    names.sort_by(|a, b| tensor_order(a).cmp(&tensor_order(b)));
    let shapes: Vec<Vec<u64>> = names.iter().map(|name| shape_of(name)).collect();
    let weights: Vec<Weight> =
        names.iter().zip(&shapes).map(|(name, shape)| Weight { name, shape }).collect();
    let types = choose_types(mixture, &weights, n_layers)?;

    let base_is_quantised = base.tensors.values().any(|t| t.tensor_type.is_quantised());
    let padded = if mixture.pad { padded_width(width) } else { width };
    let mut metadata = base.metadata.clone();
    metadata.set("general.quantization_version", Value::U32(2));
    metadata.set("general.file_type", Value::U32(mixture.file_type.id()));
    if padded != width {
        metadata.set(width_key, Value::U32(padded as u32));
    }
    let infos = names.iter().zip(&shapes).zip(&types).map(|((name, shape), &tensor_type)| TensorInfo {
        name: name.clone(),
        shape: shape.clone(),
        tensor_type,
        offset: 0,
    });
    if let Some(imatrix) = mixture.imatrix {
        if !mixture.file_type.default_type().is_quantised() {
            return Err(ImatrixError::NotQuantised(imatrix.path.clone()).into());
        }
        imatrix.describe(&mut metadata);
    }
    let header = Header::new(metadata, infos.collect());
    let smoother = smoother(&base, mixture)?;

    let mut used = BTreeSet::new();
    let mut tensors = Vec::new();
    for info in &header.tensors {
        let source = replaced.get(&info.name).unwrap_or(&base.tensors[&info.name]);
        let low_rank = match adapter {
            Some(adapter) => low_rank_of(adapter, &base, info, &mut used)?,
            None => None,
        };
        let is_replaced = replaced.contains_key(&info.name);
        let smoothing = smoother.as_ref().map(|s| s.of(&info.name)).transpose()?.flatten();
        let importance = mixture.imatrix.map(|i| importance_of(i, info, source)).transpose()?.flatten();
        tensors.push(PlannedTensor {
            info: info.clone(),
            source: source.clone(),
            low_rank,
            is_replaced,
            add_one: (base.is_checkpoint || is_replaced) && base.architecture.adds_one(&info.name),
            importance: importance.map(|row| match &smoothing {
                Some(smoothing) => smoothing.weigh(row),
                None => row,
            }),
            smoothing,
            padding: padding_of(&info.name),
        });
    }
    if let Some(adapter) = adapter {
        let mut unused: Vec<&str> = adapter.modules().filter(|m| !used.contains(*m)).collect();
        if base.is_tied && unused.contains(&"lm_head") {
            if !adapter.head_mirrors_embedding()? {
                return Err(AdapterError::TiedHead("its LoRA is not the embedding's".to_owned()).into());
            }
            unused.retain(|module| *module != "lm_head");
        }
        if !unused.is_empty() {
            return Err(AdapterError::UnusedTensors(unused.into_iter().map(str::to_owned).collect()).into());
        }
    }
    if let Some(imatrix) = mixture.imatrix
        && !imatrix.weights.keys().any(|name| base.tensors.contains_key(name))
    {
        return Err(ImatrixError::NoTensor(imatrix.path.clone()).into());
    }
    let file_type = mixture.file_type;
    let padded_from = (padded != width).then_some(width as u32);
    Ok(Plan { architecture: base.architecture, file_type, header, tensors, base_is_quantised, padded_from })
}

fn smoother<'a>(base: &'a Base, mixture: Mixture<'a>) -> Result<Option<Smoother<'a>>, ConvertError> {
    if !mixture.smooth {
        return Ok(None);
    }
    let imatrix = mixture.imatrix.ok_or(ImatrixError::Needed)?;
    let key = format!("{}.attention.head_count_kv", base.architecture);
    let n_head_kv = base.metadata.require_u64(&key)?.max(1) as usize;
    Ok(Some(Smoother::new(imatrix, &base.tensors, n_head_kv)))
}

/// The importance of the columns of one quantised tensor; columns of padding are worth nothing.
fn importance_of(
    imatrix: &Imatrix,
    info: &TensorInfo,
    source: &TensorSource,
) -> Result<Option<Vec<f32>>, ImatrixError> {
    if !info.tensor_type.is_quantised() {
        return Ok(None);
    }
    let row = imatrix.of(&info.name, source.columns())?;
    Ok(row.map(|row| {
        let mut row = row.to_vec();
        row.resize(info.columns() as usize, 0.0);
        row
    }))
}

/// Refuses a base with tensors too many or too few.
fn check_tensor_names(base: &Base, n_layers: u64) -> Result<(), ConvertError> {
    let expected: BTreeSet<String> = base.architecture.tensor_names(n_layers).into_iter().collect();
    if let Some(missing) = expected.iter().find(|name| !base.tensors.contains_key(*name)) {
        return Err(ConvertError::MissingTensor(missing.clone()));
    }
    match base.tensors.keys().find(|name| !expected.contains(*name) && *name != "output.weight") {
        Some(unknown) => Err(ConvertError::UnknownTensor(unknown.clone())),
        None => Ok(()),
    }
}

/// Gives the model a head of its own: the embedding as it was before training.
fn untie(base: &mut Base) -> Result<(), AdapterError> {
    if base.architecture == Architecture::Gemma2 {
        return Err(AdapterError::UntiedEmbedding);
    }
    let embedding = base.tensors["token_embd.weight"].clone();
    base.tensors.insert("output.weight".to_owned(), embedding);
    base.is_tied = false;
    Ok(())
}

fn low_rank_of(
    adapter: &Adapter,
    base: &Base,
    info: &TensorInfo,
    used: &mut BTreeSet<String>,
) -> Result<Option<LowRank>, AdapterError> {
    let module = info.name.strip_suffix(".weight").and_then(|module| base.architecture.hf_module(module));
    let Some(module) = module else { return Ok(None) };
    let weight = &base.tensors[&info.name];
    let is_weight = is_weight(Weight { name: &info.name, shape: &weight.shape });
    let is_linear = is_weight && module != "model.embed_tokens";
    let low_rank = adapter.low_rank(&module, (weight.rows(), weight.columns()), is_linear)?;
    used.insert(module);
    Ok(low_rank)
}

/// The tensors that the adapter puts in place of the base's, by GGUF name.
fn replacements(adapter: &Adapter, base: &Base) -> Result<BTreeMap<String, TensorSource>, ConvertError> {
    let mut replaced = BTreeMap::new();
    let mut unused = Vec::new();
    let mut tied_head = None;
    for (name, source) in &adapter.replaced {
        let module = name.strip_suffix(".weight").and_then(|module| base.architecture.gguf_module(module));
        let gguf_name = module.map(|module| format!("{module}.weight"));
        match gguf_name.and_then(|name| base.tensors.get_key_value(&name)) {
            Some((gguf_name, tensor)) => {
                check_replacement(name, source, tensor)?;
                replaced.insert(gguf_name.clone(), source.clone());
            }
            None if name == "lm_head.weight" && base.is_tied => tied_head = Some(source),
            None => unused.push(name.clone()),
        }
    }
    // PEFT may save the head next to a trained embedding; tied, it must be the same.
    if let Some(head) = tied_head {
        let embedding = replaced.get("token_embd.weight").unwrap_or(&base.tensors["token_embd.weight"]);
        check_replacement("lm_head.weight", head, embedding)?;
        if !same_numbers(head, embedding)? {
            return Err(AdapterError::TiedHead("its lm_head.weight is not the embedding".to_owned()).into());
        }
    }
    if unused.is_empty() { Ok(replaced) } else { Err(AdapterError::UnusedTensors(unused).into()) }
}

fn check_replacement(name: &str, source: &TensorSource, base: &TensorSource) -> Result<(), AdapterError> {
    if source.shape == base.shape {
        return Ok(());
    }
    let is_vocabulary = name == "model.embed_tokens.weight" || name == "lm_head.weight";
    if is_vocabulary && source.columns() == base.columns() {
        return Err(AdapterError::VocabularyGrew { adapter: source.rows(), base: base.rows() });
    }
    Err(AdapterError::Shape {
        tensor: name.to_owned(),
        found: source.shape.iter().rev().copied().collect(),
        expected: base.shape.iter().rev().copied().collect(),
    })
}

/// Whether two tensors of one shape hold the same numbers.
fn same_numbers(a: &TensorSource, b: &TensorSource) -> Result<bool, AdapterError> {
    let (mut raw, mut left, mut right) = (Vec::new(), Vec::new(), Vec::new());
    for start in (0..a.rows()).step_by(1024) {
        let rows = start..(start + 1024).min(a.rows());
        read_f32(a, rows.clone(), &mut raw, &mut left)?;
        read_f32(b, rows, &mut raw, &mut right)?;
        if left != right {
            return Ok(false);
        }
    }
    Ok(true)
}
