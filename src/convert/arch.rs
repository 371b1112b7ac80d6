//! The architectures that can be converted: tensor names, metadata, and what changes on the way.
//!
//! Source: `conversion/gemma.py`, `conversion/base.py` and `gguf-py/gguf/constants.py` of llama.cpp.
//! Defaults of absent settings are those of transformers' `Gemma2Config` and `Gemma3TextConfig`.

use serde_json::Value as Json;

use crate::gguf::{Metadata, Value};

/// Why a model's configuration can't be converted.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ArchError {
    /// Not one of the supported architectures.
    #[error("architecture {0:?} is not supported: Gemma2ForCausalLM and Gemma3ForCausalLM are")]
    Unsupported(String),
    /// `config.json` names no architecture.
    #[error("config.json names no architecture: is this a model's folder?")]
    Missing,
    /// The checkpoint is quantised already.
    #[error("the checkpoint is quantised ({0}): convert the original one, in BF16, F16 or F32")]
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
        "config.json: {key} is {found}, but llama.cpp computes {arch} with {expected}: the result would be wrong"
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

    /// The architecture that a `config.json` names.
    ///
    /// # Errors
    /// [`ArchError::Missing`], [`ArchError::Unsupported`], [`ArchError::Quantised`].
    pub fn from_config(config: &Json) -> Result<Self, ArchError> {
        if let Some(quantisation) = config.get("quantization_config").filter(|q| !q.is_null()) {
            let method = quantisation.get("quant_method").and_then(Json::as_str).unwrap_or("unknown method");
            return Err(ArchError::Quantised(method.to_owned()));
        }
        let name = config.get("architectures").and_then(|a| a.get(0)).and_then(Json::as_str);
        match name.ok_or(ArchError::Missing)? {
            "Gemma2ForCausalLM" => Ok(Self::Gemma2),
            "Gemma3ForCausalLM" => Ok(Self::Gemma3),
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

    /// The GGUF names of every tensor that a model of `n_layers` layers must have.
    pub fn tensor_names(self, n_layers: u64) -> Vec<String> {
        let layers = (0..n_layers).flat_map(|layer| {
            self.layer_modules().map(move |(_, gguf)| format!("blk.{layer}.{gguf}.weight"))
        });
        ["token_embd.weight".to_owned(), "output_norm.weight".to_owned()].into_iter().chain(layers).collect()
    }

    /// Whether llama.cpp stores 1 + w of the checkpoint's w: Gemma's norms.
    pub fn adds_one(self, gguf_tensor: &str) -> bool {
        gguf_tensor.ends_with("norm.weight")
    }

    /// The architecture's metadata: keys, types and values of llama.cpp's converter.
    ///
    /// # Errors
    /// [`ArchError::Setting`], [`ArchError::Mismatch`].
    pub fn metadata(self, config: &Json) -> Result<Metadata, ArchError> {
        let config = Config { json: config, arch: self };
        config.check_computation()?;
        let mut out = Metadata::new();
        let mut set = |key: &str, value: Value| out.set(format!("{}.{key}", self.name()), value);
        set("context_length", config.u32_or("max_position_embeddings", self.default_context())?);
        set("embedding_length", config.u32("hidden_size")?);
        set("block_count", config.u32("num_hidden_layers")?);
        set("feed_forward_length", config.u32("intermediate_size")?);
        set("attention.head_count", config.u32("num_attention_heads")?);
        set("attention.head_count_kv", config.u32("num_key_value_heads")?);
        set("attention.layer_norm_rms_epsilon", config.f32_or("rms_norm_eps", 1e-6)?);
        set("attention.key_length", config.u32_or("head_dim", 256)?);
        set("attention.value_length", config.u32_or("head_dim", 256)?);
        match self {
            Self::Gemma2 => {
                set("attn_logit_softcapping", config.f32_or("attn_logit_softcapping", 50.0)?);
                set("final_logit_softcapping", config.f32_or("final_logit_softcapping", 30.0)?);
            }
            Self::Gemma3 => {
                if config.get("final_logit_softcapping").is_some() {
                    set("final_logit_softcapping", config.f32_or("final_logit_softcapping", 0.0)?);
                }
                let (global, local) = config.rope_thetas()?;
                set("rope.freq_base", Value::F32(global));
                set("rope.freq_base_swa", Value::F32(local));
            }
        }
        set("attention.sliding_window", config.u32_or("sliding_window", 4096)?);
        Ok(out)
    }

    const fn default_context(self) -> u32 {
        match self {
            Self::Gemma2 => 8192,
            Self::Gemma3 => 131_072,
        }
    }
}

/// `config.json` with the defaults that transformers fills in.
struct Config<'a> {
    json: &'a Json,
    arch: Architecture,
}

impl Config<'_> {
    fn get(&self, key: &str) -> Option<&Json> {
        self.json.get(key).filter(|v| !v.is_null())
    }

    fn u32(&self, key: &'static str) -> Result<Value, ArchError> {
        let number = self.get(key).and_then(Json::as_u64).and_then(|n| u32::try_from(n).ok());
        number.map(Value::U32).ok_or(ArchError::Setting { key, expected: "a whole number" })
    }

    fn u32_or(&self, key: &'static str, default: u32) -> Result<Value, ArchError> {
        // Only an absent key has the default: null means "off", which no file can say.
        if self.json.get(key).is_none() { Ok(Value::U32(default)) } else { self.u32(key) }
    }

    fn f32_or(&self, key: &'static str, default: f32) -> Result<Value, ArchError> {
        match self.json.get(key) {
            None => Ok(Value::F32(default)),
            Some(value) => value
                .as_f64()
                .map(|n| Value::F32(n as f32))
                .ok_or(ArchError::Setting { key, expected: "a number" }),
        }
    }

    /// The rotary bases of full and of sliding-window layers. transformers 5 nests them in
    /// `rope_parameters`; older files have `rope_theta` and `rope_local_base_freq`.
    fn rope_thetas(&self) -> Result<(f32, f32), ArchError> {
        let nested = |layers: &str| self.get("rope_parameters")?.get(layers)?.get("rope_theta")?.as_f64();
        let flat = |key: &str| self.get(key).and_then(Json::as_f64);
        let global = nested("full_attention").or(flat("rope_theta")).unwrap_or(1_000_000.0);
        let local = nested("sliding_attention").or(flat("rope_local_base_freq")).unwrap_or(10_000.0);
        Ok((global as f32, local as f32))
    }

    /// Settings that GGUF has no key for, or for which llama.cpp assumes a value.
    fn check_computation(&self) -> Result<(), ArchError> {
        self.expect("hidden_activation", "gelu_pytorch_tanh", |v| v.as_str() == Some("gelu_pytorch_tanh"))?;
        self.expect("attention_bias", "false", |v| v.as_bool() == Some(false))?;
        self.expect("use_bidirectional_attention", "false", |v| v.as_bool() == Some(false))?;
        let scaled = |v: &Json| v.get("rope_type").is_some_and(|t| t != "default");
        self.expect("rope_scaling", "none", |_| false)?;
        self.expect("rope_parameters", "no scaling", |v| {
            !scaled(v) && !v.as_object().is_some_and(|layers| layers.values().any(scaled))
        })?;
        match self.arch {
            Architecture::Gemma2 => {
                let theta = |v: &Json| v.as_f64() == Some(10_000.0);
                self.expect("rope_theta", "10000", theta)?;
                self.expect("rope_parameters", "theta 10000", |v| v.get("rope_theta").is_none_or(theta))?;
            }
            Architecture::Gemma3 => {
                self.expect("attn_logit_softcapping", "none", |_| false)?;
                let period = |v: &Json| v.as_u64() == Some(6);
                self.expect("sliding_window_pattern", "6", period)?;
                self.expect("_sliding_window_pattern", "6", period)?;
            }
        }
        self.expect("layer_types", "one full-attention layer in each period", |v| self.layers_alternate(v))?;
        let scale = self.attention_scale();
        self.expect("query_pre_attn_scalar", &scale.to_string(), |v| v.as_f64() == Some(scale as f64))
    }

    /// Whether the last layer of each period (2 in Gemma 2, 6 in Gemma 3) is the only one with full
    /// attention.
    fn layers_alternate(&self, layer_types: &Json) -> bool {
        let period = match self.arch {
            Architecture::Gemma2 => 2,
            Architecture::Gemma3 => 6,
        };
        let expected =
            |i: usize| if (i + 1).is_multiple_of(period) { "full_attention" } else { "sliding_attention" };
        let layers = layer_types.as_array();
        layers.is_some_and(|layers| layers.iter().enumerate().all(|(i, layer)| layer == expected(i)))
    }

    /// What llama.cpp divides the attention's logits by the square root of.
    fn attention_scale(&self) -> u64 {
        let number = |key| self.get(key).and_then(Json::as_u64);
        let is_27b = match self.arch {
            Architecture::Gemma2 => number("num_hidden_layers") == Some(46),
            Architecture::Gemma3 => number("num_hidden_layers") == Some(62),
        };
        match (number("hidden_size"), number("num_attention_heads")) {
            (Some(width), Some(heads)) if is_27b && heads > 0 => width / heads,
            _ => number("head_dim").unwrap_or(256),
        }
    }

    fn expect(
        &self,
        key: &'static str,
        expected: &str,
        holds: impl Fn(&Json) -> bool,
    ) -> Result<(), ArchError> {
        match self.get(key) {
            Some(value) if !holds(value) => Err(ArchError::Mismatch {
                key,
                found: value.to_string(),
                expected: expected.to_owned(),
                arch: self.arch,
            }),
            _ => Ok(()),
        }
    }
}
