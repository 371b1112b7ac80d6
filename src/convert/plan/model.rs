//! The base as a plan sees it: what is known before an adapter and a type are chosen.

use std::collections::{BTreeMap, BTreeSet};

use super::head;
use crate::convert::arch::Architecture;
use crate::convert::error::ConvertError;
use crate::convert::input::checkpoint::Checkpoint;
use crate::convert::input::gguf_base::GgufBase;
use crate::convert::input::layout::{is_vision, text_name};
use crate::convert::input::tensor::TensorSource;
use crate::convert::settings::Settings;
use crate::convert::tokenizer::vocab;
use crate::gguf::check;
use crate::gguf::{Metadata, Value};
use crate::text::shown::listed;

/// Where a result says what was done to it.
pub const PROVENANCE: &str = "ko_sentiment.provenance";

/// A base.
pub struct Model {
    pub architecture: Architecture,
    pub metadata: Metadata,
    /// By GGUF name.
    pub tensors: BTreeMap<String, TensorSource>,
    /// Whether the head shares the embedding's weights.
    pub is_tied: bool,
    /// Whether weights are as in the checkpoint (norms without 1, ...).
    pub is_checkpoint: bool,
    /// Whether an earlier conversion rescaled the tensors.
    pub is_smoothed: bool,
    /// The hidden width before an earlier conversion widened it.
    pub padded_from: Option<u64>,
    /// What is left out and why, a sentence each.
    pub notes: Vec<String>,
}

impl Model {
    /// Of a checkpoint.
    pub fn of_checkpoint(checkpoint: &Checkpoint) -> Result<Self, ConvertError> {
        let settings = Settings::new(&checkpoint.config)?;
        let architecture = settings.architecture();
        let of_architecture = settings.metadata()?;
        let mut model = Self {
            architecture,
            metadata: Metadata::new(),
            tensors: BTreeMap::new(),
            is_tied: false,
            is_checkpoint: true,
            is_smoothed: false,
            padded_from: None,
            notes: checkpoint.notes.clone(),
        };
        model.take_tensors(checkpoint)?;
        let n_tokens = model.cut_vocabulary(&settings)?;
        let vocabulary = vocab::metadata(&checkpoint.dir, &checkpoint.config, n_tokens)?;
        model.notes.extend(vocabulary.note);
        model.check_tensors(&of_architecture)?;
        model.settle_head(settings.ties_head())?;
        let metadata = &mut model.metadata;
        metadata.set("general.architecture", architecture.name());
        metadata.set("general.type", "model");
        for (key, value) in vocab::sampling_metadata(&checkpoint.dir)? {
            metadata.set(key, value);
        }
        let weights = model.tensors.values().map(|t| t.rows() * t.columns()).sum();
        metadata.set("general.size_label", size_label(weights));
        for (key, value) in of_architecture.iter().chain(vocabulary.metadata.iter()) {
            metadata.set(key, value.clone());
        }
        Ok(model)
    }

    /// Of a GGUF file.
    pub fn of_gguf(base: &GgufBase) -> Result<Self, ConvertError> {
        let architecture = Architecture::from_gguf(base.header.architecture()?)?;
        check::header(&base.header)?;
        let said = |key: &str| base.header.metadata.get(&format!("{PROVENANCE}.{key}"));
        let (is_smoothed, padded_from) =
            (said("smooth") == Some(&Value::Bool(true)), said("padded_from").and_then(Value::as_u64));
        let mut metadata = base.header.metadata.clone();
        metadata.remove(|key| {
            key.starts_with("ko_sentiment.") || key.starts_with("split.") || key == "general.alignment"
        });
        let mut model = Self {
            architecture,
            metadata,
            tensors: base.tensors.clone(),
            is_tied: false,
            is_checkpoint: false,
            is_smoothed,
            padded_from,
            notes: Vec::new(),
        };
        model.check_tensors(&base.header.metadata)?;
        // A GGUF file with a head means it.
        model.settle_head(Some(!base.tensors.contains_key(head::HEAD)))?;
        Ok(model)
    }

    /// Takes the text model's tensors by their GGUF names.
    fn take_tensors(&mut self, checkpoint: &Checkpoint) -> Result<(), ConvertError> {
        let mut vision = Vec::new();
        for (name, source) in &checkpoint.tensors {
            if self.architecture == Architecture::Gemma3 && is_vision(name) {
                vision.push(name);
                continue;
            }
            let text = text_name(name);
            let module = text.strip_suffix(".weight").and_then(|m| self.architecture.gguf_module(m));
            let Some(module) = module else {
                return Err(ConvertError::UnknownTensor(name.clone()));
            };
            if self.tensors.insert(format!("{module}.weight"), source.clone()).is_some() {
                return Err(ConvertError::DuplicateTensor(name.clone()));
            }
        }
        if !vision.is_empty() {
            let n = vision.len();
            self.notes
                .push(format!("the part that reads pictures is left ({n} tensors: {})", listed(&vision)));
        }
        Ok(())
    }

    /// The number of tokens. The embedding of Gemma 3, and its head, may have rows that no token uses: they
    /// are dropped.
    fn cut_vocabulary(&mut self, settings: &Settings) -> Result<u64, ConvertError> {
        let may_be_longer = self.architecture == Architecture::Gemma3;
        let Some(embedding) = self.tensors.get_mut("token_embd.weight") else {
            return Err(ConvertError::MissingTensor("model.embed_tokens.weight".to_owned()));
        };
        let cut = |tensor: &mut TensorSource| {
            let n_tokens = vocab::count(settings.vocab_size(), tensor.rows(), may_be_longer)?;
            if let Some(rows) = tensor.shape.get_mut(1) {
                *rows = n_tokens;
            }
            Ok::<u64, ConvertError>(n_tokens)
        };
        let n_tokens = cut(embedding)?;
        if let Some(head) = self.tensors.get_mut("output.weight")
            && head.rows() > n_tokens
        {
            cut(head)?;
        }
        Ok(n_tokens)
    }

    fn settle_head(&mut self, ties: Option<bool>) -> Result<(), ConvertError> {
        let settled = head::settle(self.architecture, &mut self.tensors, ties)?;
        self.is_tied = settled.is_tied;
        self.notes.extend(settled.note);
        Ok(())
    }

    /// The number of layers, as the configuration has it.
    pub fn n_layers(&self) -> Result<u64, ConvertError> {
        Ok(self.metadata.require_u64(&format!("{}.block_count", self.architecture))?)
    }

    /// The hidden width, as the configuration has it.
    pub fn width(&self) -> Result<u64, ConvertError> {
        Ok(self.metadata.require_u64(&self.width_key())?)
    }

    /// The key of the hidden width.
    pub fn width_key(&self) -> String {
        format!("{}.embedding_length", self.architecture)
    }

    /// Refuses a base with tensors too many or too few, or of shapes that the configuration does not give.
    fn check_tensors(&self, metadata: &Metadata) -> Result<(), ConvertError> {
        let dimensions = Dimensions::new(self.architecture, metadata);
        let n_layers = metadata.require_u64(&format!("{}.block_count", self.architecture))?;
        let mut expected = BTreeSet::from([head::HEAD.to_owned()]);
        // The first one that is missing ends this, however many layers there ought to be.
        for name in self.architecture.tensor_names(n_layers) {
            let Some(tensor) = self.tensors.get(&name) else {
                return Err(ConvertError::MissingTensor(name));
            };
            dimensions.check(&name, tensor)?;
            expected.insert(name);
        }
        match self.tensors.keys().find(|name| !expected.contains(*name)) {
            Some(unknown) => Err(ConvertError::UnknownTensor(unknown.clone())),
            None => Ok(()),
        }
    }
}

/// The dimensions that the configuration gives to tensors; `None` where it doesn't.
struct Dimensions {
    width: Option<u64>,
    ffn: Option<u64>,
    head: Option<u64>,
    queries: Option<u64>,
    keys: Option<u64>,
}

impl Dimensions {
    fn new(architecture: Architecture, metadata: &Metadata) -> Self {
        let number = |key: &str| metadata.get(&format!("{architecture}.{key}"))?.as_u64();
        let head = number("attention.key_length");
        let times = |key: &str| number(key)?.checked_mul(head?);
        Self {
            width: number("embedding_length"),
            ffn: number("feed_forward_length"),
            head,
            queries: times("attention.head_count"),
            keys: times("attention.head_count_kv"),
        }
    }

    /// The shape of a tensor, columns first.
    fn of(&self, name: &str) -> Vec<Option<u64>> {
        let module = name.strip_suffix(".weight").unwrap_or(name).rsplit('.').next().unwrap_or(name);
        match module {
            "token_embd" => vec![self.width, None],
            "attn_q" => vec![self.width, self.queries],
            "attn_k" | "attn_v" => vec![self.width, self.keys],
            "attn_output" => vec![self.queries, self.width],
            "ffn_gate" | "ffn_up" => vec![self.width, self.ffn],
            "ffn_down" => vec![self.ffn, self.width],
            "attn_q_norm" | "attn_k_norm" => vec![self.head],
            _ => vec![self.width],
        }
    }

    fn check(&self, name: &str, tensor: &TensorSource) -> Result<(), ConvertError> {
        let expected = self.of(name);
        let fits = |(expected, found): (&Option<u64>, &u64)| expected.is_none_or(|n| n == *found);
        if expected.len() == tensor.shape.len() && expected.iter().zip(&tensor.shape).all(fits) {
            return Ok(());
        }
        let text = |n: &Option<u64>| n.map_or("any".to_owned(), |n| n.to_string());
        Err(ConvertError::Shape {
            name: name.to_owned(),
            found: tensor.shape.iter().rev().copied().collect(),
            expected: expected.iter().rev().map(text).collect::<Vec<_>>().join(", "),
        })
    }
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
