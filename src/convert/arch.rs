//! The architectures that can be converted: their tensors' names, and what changes on the way.
//!
//! Source: `conversion/gemma.py`, `conversion/base.py` and `gguf-py/gguf/constants.py` of llama.cpp.

use crate::text::shown::shown;

/// Why a model's configuration can't be converted.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ArchError {
    /// Not one of the supported architectures.
    #[error(
        "architecture {} is not supported: Gemma2ForCausalLM, Gemma3ForCausalLM and Gemma3ForConditionalGeneration are",
        shown(.0)
    )]
    Unsupported(String),
    /// `config.json` names no architecture.
    #[error("config.json names no architecture: is this a model's folder?")]
    Missing,
    /// The checkpoint is quantised already.
    #[error("the checkpoint is quantised ({}); convert the original one, in BF16, F16 or F32", shown(.0))]
    Quantised(String),
    /// A setting that must be there is missing or has the wrong type.
    #[error("config.json: {key} must be {expected}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What it must be, in words.
        expected: &'static str,
    },
    /// A setting that llama.cpp computes with another value.
    #[error(
        "config.json: {key} is {}, but llama.cpp computes {arch} with {expected}: the result would be wrong",
        shown(.found)
    )]
    Mismatch {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: String,
        /// The value that llama.cpp assumes.
        expected: String,
        /// The architecture.
        arch: Architecture,
    },
}

/// A supported architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Architecture {
    Gemma2,
    Gemma3,
}

/// The modules of a layer: Hugging Face's name, GGUF's name.
const LAYER_MODULES: [(&str, &str); 13] = [
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
];

/// The modules outside the layers.
const OTHER_MODULES: [(&str, &str); 3] =
    [("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")];

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Architecture {
    /// `general.architecture`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3",
        }
    }

    /// The architecture of a GGUF file.
    ///
    /// # Errors
    /// [`ArchError::Unsupported`].
    pub fn from_gguf(name: &str) -> Result<Self, ArchError> {
        match name {
            "gemma2" => Ok(Self::Gemma2),
            "gemma3" => Ok(Self::Gemma3),
            other => Err(ArchError::Unsupported(other.to_owned())),
        }
    }

    /// The GGUF name of a module, as in `model.layers.3.self_attn.q_proj` → `blk.3.attn_q`.
    pub fn gguf_module(self, module: &str) -> Option<String> {
        if let Some((_, gguf)) = OTHER_MODULES.iter().find(|(hf, _)| *hf == module) {
            return Some((*gguf).to_owned());
        }
        let (layer, rest) = module.strip_prefix("model.layers.")?.split_once('.')?;
        let layer: u32 = layer.parse().ok()?;
        let (_, gguf) = self.layer_modules().find(|(hf, _)| *hf == rest)?;
        Some(format!("blk.{layer}.{gguf}"))
    }

    /// The Hugging Face name of a module: [`Architecture::gguf_module`] backwards.
    pub fn hf_module(self, module: &str) -> Option<String> {
        if let Some((hf, _)) = OTHER_MODULES.iter().find(|(_, gguf)| *gguf == module) {
            return Some((*hf).to_owned());
        }
        let (layer, rest) = module.strip_prefix("blk.")?.split_once('.')?;
        let layer: u32 = layer.parse().ok()?;
        let (hf, _) = self.layer_modules().find(|(_, gguf)| *gguf == rest)?;
        Some(format!("model.layers.{layer}.{hf}"))
    }

    /// The tensors that a layer has.
    fn layer_modules(self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        let n = match self {
            Self::Gemma2 => 11,
            Self::Gemma3 => 13,
        };
        LAYER_MODULES.iter().take(n)
    }

    /// The GGUF names of every tensor that a model of `n_layers` layers must have, one at a time: the number
    /// may be anything until they are found.
    pub fn tensor_names(self, n_layers: u64) -> impl Iterator<Item = String> {
        let layers = (0..n_layers).flat_map(move |layer| {
            self.layer_modules().map(move |(_, gguf)| format!("blk.{layer}.{gguf}.weight"))
        });
        ["token_embd.weight".to_owned(), "output_norm.weight".to_owned()].into_iter().chain(layers)
    }

    /// Whether llama.cpp computes this architecture with an output head of its own.
    pub const fn can_have_head(self) -> bool {
        matches!(self, Self::Gemma3)
    }

    /// Whether llama.cpp stores 1 + w of the checkpoint's w: Gemma's norms.
    pub fn adds_one(self, gguf_tensor: &str) -> bool {
        gguf_tensor.ends_with("norm.weight")
    }
}
