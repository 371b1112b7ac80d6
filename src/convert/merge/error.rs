//! Why an adapter can't be merged.

use std::path::PathBuf;

use crate::convert::input::error::SourceError;
use crate::convert::input::safetensors::SafetensorsError;
use crate::convert::quantise::read::ReadError;
use crate::text::shown::{listed, shown, shown_path};

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
    /// `adapter_config.json` lacks a field or has one of the wrong type, or the folder isn't an adapter's.
    #[error("{}: {reason}", shown_path(.path))]
    Config {
        /// The file or the folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Not LoRA.
    #[error("adapters of type {} are not supported, only LORA{advice}", shown(.kind))]
    PeftType {
        /// `peft_type`.
        kind: String,
        /// What to do, as the end of a sentence.
        advice: &'static str,
    },
    /// A setting that changes what the adapter means, and that is not understood.
    #[error("adapter_config.json: {} = {} is not supported{advice}", shown(.key), shown(.value))]
    Setting {
        /// The setting.
        key: String,
        /// Its value.
        value: String,
        /// What to do, as the end of a sentence.
        advice: &'static str,
    },
    /// A pattern that is no regular expression, or one too large.
    #[error("adapter_config.json: {key}: {} {reason}", shown(.pattern))]
    Pattern {
        /// The setting.
        key: &'static str,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Tensors that nothing in the base takes.
    #[error(
        "the adapter has {} tensors that this base does not take: {}; convert with the base that it was trained on",
        .0.len(),
        listed(.0)
    )]
    UnusedTensors(Vec<String>),
    /// Tensors of the part that reads pictures.
    #[error(
        "the adapter trains the part that reads pictures, too ({} tensors: {}), which is not converted; take the text part alone with --text-only",
        .0.len(), listed(.0)
    )]
    Vision(Vec<String>),
    /// Two tensors of the adapter that mean the same.
    #[error("the adapter has {} twice, under different names; save it again", shown(.0))]
    Duplicate(String),
    /// A module with one half of its LoRA pair.
    #[error("the adapter has no {missing} for {}: the file is incomplete", shown(.module))]
    MissingHalf {
        /// The module.
        module: String,
        /// The half that is missing.
        missing: &'static str,
    },
    /// A module that the configuration names and the file does not have.
    #[error(
        "target_modules names {module}, but the adapter has no tensors for it, only for {}: it is incomplete or made for another base",
        listed(.found), module = shown(module)
    )]
    MissingModule {
        /// The module.
        module: String,
        /// The first modules that the adapter has tensors for, as the file names them.
        found: Vec<String>,
    },
    /// A module that `modules_to_save` names and the file does not have.
    #[error(
        "modules_to_save names {text}, but the adapter has no tensor for it: the file is incomplete or made for another base",
        text = shown(.0)
    )]
    MissingSaved(String),
    /// LoRA tensors for a module that the configuration does not name.
    #[error(
        "the adapter has tensors for {}, which target_modules does not name: PEFT would drop them",
        shown(.0)
    )]
    UntargetedModule(String),
    /// A tensor of another shape than the base's module needs.
    #[error(
        "{} is {found:?}, but the base needs {expected:?}: the adapter is made for another model",
        shown(.tensor)
    )]
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
    /// An embedding saved beside the adapter, not trained by it, and not the base's.
    #[error(
        "the adapter has a copy of embed_tokens that is not this base's, though modules_to_save does not name it; convert with the base that it was trained on{0}"
    )]
    OtherEmbedding(&'static str),
    /// A trained output head on a model whose head is its embedding.
    #[error(
        "the adapter trains lm_head, but the base ties it to embed_tokens, and llama.cpp's Gemma 2 has one matrix for both; train without lm_head ({text})",
        text = shown(.0)
    )]
    TiedHead(String),
    /// A trained embedding whose head was left as it was.
    #[error(
        "the adapter trains embed_tokens apart from the lm_head that the base ties to it: merged, the two differ, but llama.cpp's Gemma 2 has one matrix for both; train with ensure_weight_tying=True or without embed_tokens"
    )]
    UntiedEmbedding,
    /// DoRA on an embedding.
    #[error(
        "DoRA on {text} is not supported; train the embedding without DoRA, or not at all",
        text = shown(.0)
    )]
    EmbeddingDora(String),
    /// A base whose tensors were rescaled after the adapter was trained.
    #[error(
        "the base was made with --smooth, so its tensors are not those that the adapter was trained on; merge the adapter into the checkpoint, and smooth in the same run"
    )]
    SmoothedBase,
    /// A base that was widened after the adapter was trained.
    #[error(
        "the base was widened by --pad from {0}, so the adapter no longer fits; merge the adapter into the checkpoint, and pad in the same run"
    )]
    PaddedBase(u64),
}
