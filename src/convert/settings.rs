//! `config.json`: what is refused, and the metadata that it becomes.
//!
//! Source: `conversion/gemma.py` and `conversion/base.py` of llama.cpp. Defaults of absent settings are those of
//! transformers' `Gemma2Config` and `Gemma3TextConfig`.

use serde_json::{Map, Value as Json};

use super::arch::{ArchError, Architecture};
use crate::gguf::{Metadata, Value};

/// The settings of the text model, with the defaults that transformers fills in.
#[derive(Debug)]
pub struct Settings {
    json: Map<String, Json>,
    arch: Architecture,
}

impl Settings {
    /// Reads `config.json`. In a model with pictures, `text_config` goes before the top level.
    ///
    /// # Errors
    /// [`ArchError::Quantised`], [`ArchError::Missing`], [`ArchError::Unsupported`].
    pub fn new(config: &Json) -> Result<Self, ArchError> {
        let text = config.get("text_config").and_then(Json::as_object);
        let quantised = quantisation(config).or_else(|| quantisation(config.get("text_config")?));
        if let Some(method) = quantised {
            return Err(ArchError::Quantised(method));
        }
        let name = config.get("architectures").and_then(|a| a.get(0)).and_then(Json::as_str);
        let arch = match name.ok_or(ArchError::Missing)? {
            "Gemma2ForCausalLM" => Architecture::Gemma2,
            "Gemma3ForCausalLM" | "Gemma3ForConditionalGeneration" => Architecture::Gemma3,
            other => return Err(ArchError::Unsupported(other.to_owned())),
        };
        let mut json = config.as_object().cloned().unwrap_or_default();
        json.extend(text.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
        Ok(Self { json, arch })
    }

    /// The architecture.
    pub const fn architecture(&self) -> Architecture {
        self.arch
    }

    /// Whether the output head is the embedding; `None` if the configuration doesn't say.
    pub fn ties_head(&self) -> Option<bool> {
        self.get("tie_word_embeddings").map(|tied| *tied != false)
    }

    /// `vocab_size`, if the configuration says it.
    pub fn vocab_size(&self) -> Option<u64> {
        self.get("vocab_size").and_then(Json::as_u64)
    }

    /// The architecture's metadata: keys, types and values of llama.cpp's converter.
    ///
    /// # Errors
    /// [`ArchError::Setting`], [`ArchError::Mismatch`].
    pub fn metadata(&self) -> Result<Metadata, ArchError> {
        self.check_computation()?;
        let default = |of_gemma3| (self.arch == Architecture::Gemma3).then_some(of_gemma3);
        let mut out = Metadata::new();
        let mut set = |key: &str, value: Value| out.set(format!("{}.{key}", self.arch), value);
        set("context_length", self.u32("max_position_embeddings", Some(self.default_context()))?);
        set("embedding_length", self.u32("hidden_size", default(2304))?);
        set("block_count", self.u32("num_hidden_layers", default(26))?);
        set("feed_forward_length", self.u32("intermediate_size", default(9216))?);
        set("attention.head_count", self.u32("num_attention_heads", default(8))?);
        set("attention.head_count_kv", self.u32("num_key_value_heads", default(4))?);
        set("attention.layer_norm_rms_epsilon", self.f32("rms_norm_eps", 1e-6)?);
        set("attention.key_length", self.u32("head_dim", Some(256))?);
        set("attention.value_length", self.u32("head_dim", Some(256))?);
        match self.arch {
            Architecture::Gemma2 => {
                set("attn_logit_softcapping", self.f32("attn_logit_softcapping", 50.0)?);
                set("final_logit_softcapping", self.f32("final_logit_softcapping", 30.0)?);
            }
            Architecture::Gemma3 => {
                if self.get("final_logit_softcapping").is_some() {
                    set("final_logit_softcapping", self.f32("final_logit_softcapping", 0.0)?);
                }
                let (global, local) = self.rope_thetas();
                set("rope.freq_base", Value::F32(global));
                set("rope.freq_base_swa", Value::F32(local));
                if let Some(factor) = self.rope_factor()? {
                    set("rope.scaling.type", "linear".into());
                    set("rope.scaling.factor", Value::F32(factor));
                }
            }
        }
        set("attention.sliding_window", self.u32("sliding_window", Some(4096))?);
        Ok(out)
    }

    const fn default_context(&self) -> u32 {
        match self.arch {
            Architecture::Gemma2 => 8192,
            Architecture::Gemma3 => 131_072,
        }
    }

    fn get(&self, key: &str) -> Option<&Json> {
        self.json.get(key).filter(|v| !v.is_null())
    }

    fn u32(&self, key: &'static str, default: Option<u32>) -> Result<Value, ArchError> {
        // Only an absent key has the default: null means "off", which no file can say.
        if let (None, Some(default)) = (self.json.get(key), default) {
            return Ok(Value::U32(default));
        }
        let number = self.get(key).and_then(Json::as_u64).and_then(|n| u32::try_from(n).ok());
        number.map(Value::U32).ok_or(ArchError::Setting { key, expected: "a whole number" })
    }

    fn f32(&self, key: &'static str, default: f32) -> Result<Value, ArchError> {
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
    fn rope_thetas(&self) -> (f32, f32) {
        let nested = |layers: &str| self.get("rope_parameters")?.get(layers)?.get("rope_theta")?.as_f64();
        let flat = |key: &str| self.get(key).and_then(Json::as_f64);
        let global = nested("full_attention").or(flat("rope_theta")).unwrap_or(1_000_000.0);
        let local = nested("sliding_attention").or(flat("rope_local_base_freq")).unwrap_or(10_000.0);
        (global as f32, local as f32)
    }

    /// Gemma 3's linear scaling of the full layers' positions (4B and larger).
    fn rope_factor(&self) -> Result<Option<f32>, ArchError> {
        let nested = self.get("rope_parameters").and_then(|r| r.get("full_attention"));
        let scaling = self.get("rope_scaling").or(nested).filter(|s| is_scaled(s));
        let factor = |scaling: &Json| {
            let factor = scaling.get("factor").and_then(Json::as_f64).filter(|f| *f > 0.0);
            let expected = "a linear scaling with a factor";
            factor.map(|f| f as f32).ok_or(ArchError::Setting { key: "rope_scaling", expected })
        };
        scaling.map(factor).transpose()
    }

    /// Refuses settings that GGUF has no key for, or for which llama.cpp assumes a value.
    fn check_computation(&self) -> Result<(), ArchError> {
        self.expect("hidden_activation", "gelu_pytorch_tanh", |v| v.as_str() == Some("gelu_pytorch_tanh"))?;
        self.expect("attention_bias", "false", |v| v.as_bool() == Some(false))?;
        self.expect("use_bidirectional_attention", "false", |v| v.as_bool() == Some(false))?;
        self.check_rope()?;
        if self.arch == Architecture::Gemma3 {
            self.expect("attn_logit_softcapping", "none", |_| false)?;
            let period = |v: &Json| v.as_u64() == Some(6);
            self.expect("sliding_window_pattern", "6", period)?;
            self.expect("_sliding_window_pattern", "6", period)?;
        }
        self.expect("layer_types", "one full-attention layer in each period", |v| self.layers_alternate(v))?;
        let scale = self.attention_scale();
        let key = "query_pre_attn_scalar";
        match self.get(key) {
            // transformers takes 256 then, whatever the size of a head.
            None if scale != 256 => Err(self.mismatch(key, "256 (not said)".to_owned(), &scale.to_string())),
            _ => self.expect(key, &scale.to_string(), |v| v.as_f64() == Some(scale as f64)),
        }
    }

    fn check_rope(&self) -> Result<(), ArchError> {
        let layers = |v: &Json| v.as_object().is_some_and(|layers| layers.values().any(is_scaled));
        match self.arch {
            Architecture::Gemma2 => {
                self.expect("rope_scaling", "none", |_| false)?;
                self.expect("rope_parameters", "no scaling", |v| !is_scaled(v) && !layers(v))?;
                let theta = |v: &Json| v.as_f64() == Some(10_000.0);
                self.expect("rope_theta", "10000", theta)?;
                self.expect("rope_parameters", "theta 10000", |v| v.get("rope_theta").is_none_or(theta))
            }
            Architecture::Gemma3 => {
                // With the older key "type", transformers and llama.cpp both drop the factor in silence.
                self.expect("rope_scaling", "rope_type \"linear\"", |v| !is_scaled(v) || is_linear(v))?;
                self.expect("rope_parameters", "linear scaling in full_attention alone", |v| {
                    let of = |layers: &str| v.get(layers).is_some_and(is_scaled);
                    let full = v.get("full_attention").is_none_or(|f| !is_scaled(f) || is_linear(f));
                    full && !is_scaled(v) && !of("sliding_attention")
                })
            }
        }
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
            Some(value) if !holds(value) => Err(self.mismatch(key, value.to_string(), expected)),
            _ => Ok(()),
        }
    }

    fn mismatch(&self, key: &'static str, found: String, expected: &str) -> ArchError {
        ArchError::Mismatch { key, found, expected: expected.to_owned(), arch: self.arch }
    }
}

/// Whether a rope setting scales positions, by its newer key or its older one.
fn is_scaled(rope: &Json) -> bool {
    ["rope_type", "type"].iter().any(|key| rope.get(key).is_some_and(|t| !t.is_null() && t != "default"))
}

fn is_linear(rope: &Json) -> bool {
    rope.get("rope_type").is_some_and(|t| t == "linear")
}

/// How the weights are quantised, as any of the usual libraries says it.
fn quantisation(config: &Json) -> Option<String> {
    for key in ["quantization_config", "compression_config", "quantization"] {
        let Some(how) = config.get(key).filter(|how| is_said(how)) else { continue };
        let is_on = |key: &str| how.get(key).is_some_and(|on| on == true);
        let bits = how.get("bits").and_then(Json::as_u64);
        return Some(match how.get("quant_method").and_then(Json::as_str) {
            Some(method) => method.to_owned(),
            None if is_on("load_in_4bit") || is_on("load_in_8bit") => "bitsandbytes".to_owned(),
            None if key == "quantization" => "MLX".to_owned(),
            None => bits.map_or("unknown method".to_owned(), |bits| format!("unknown method, {bits} bits")),
        });
    }
    None
}

fn is_said(value: &Json) -> bool {
    let is_empty = value.as_object().is_some_and(Map::is_empty);
    !value.is_null() && *value != false && !is_empty
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A small Gemma 3's configuration with other settings; null takes one out.
    fn metadata(changes: Json) -> Result<Metadata, ArchError> {
        let mut config = json!({
            "architectures": ["Gemma3ForCausalLM"], "hidden_size": 640, "num_hidden_layers": 6,
            "intermediate_size": 2048, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256,
        });
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        Settings::new(&config)?.metadata()
    }

    #[test]
    fn quantised_checkpoints_are_refused_by_method() {
        let check = |config: Json, method: &str| {
            assert_eq!(metadata(config).unwrap_err(), ArchError::Quantised(method.to_owned()));
        };
        for method in ["bitsandbytes", "gptq", "awq", "fp8", "compressed-tensors", "hqq"] {
            check(json!({"quantization_config": {"quant_method": method}}), method);
        }
        check(json!({"quantization_config": {"load_in_8bit": true}}), "bitsandbytes");
        check(json!({"quantization_config": {"bits": 4}}), "unknown method, 4 bits");
        check(json!({"quantization": {"group_size": 64, "bits": 4}}), "MLX");
        check(json!({"compression_config": {"quant_method": "compressed-tensors"}}), "compressed-tensors");
        check(json!({"text_config": {"quantization_config": {"quant_method": "fp8"}}}), "fp8");
        // The method is told before what else is wrong.
        check(json!({"architectures": null, "quantization_config": {"quant_method": "awq"}}), "awq");
        assert!(metadata(json!({"quantization_config": null, "quantization": {}})).is_ok());
    }

    #[test]
    fn an_attention_scale_that_is_not_said_is_256() {
        assert!(metadata(json!({})).is_ok());
        let refused = metadata(json!({"head_dim": 64})).unwrap_err().to_string();
        assert!(refused.contains("query_pre_attn_scalar is 256 (not said)"), "{refused}");
        assert!(metadata(json!({"head_dim": 64, "query_pre_attn_scalar": 64})).is_ok());
        assert!(metadata(json!({"query_pre_attn_scalar": 64})).is_err());
    }

    #[test]
    fn linear_scaling_of_positions_is_kept_and_others_are_refused() {
        let factor = |changes: Json| {
            metadata(changes).map(|m| match m.get("gemma3.rope.scaling.factor") {
                Some(Value::F32(factor)) => Some(*factor),
                _ => None,
            })
        };
        let linear = json!({"rope_type": "linear", "factor": 8.0});
        assert_eq!(factor(json!({})), Ok(None));
        assert_eq!(factor(json!({"rope_scaling": linear})), Ok(Some(8.0)));
        assert_eq!(factor(json!({"rope_parameters": {"full_attention": linear}})), Ok(Some(8.0)));
        for refused in [
            json!({"rope_scaling": {"type": "linear", "factor": 8.0}}),
            json!({"rope_scaling": {"rope_type": "yarn", "factor": 8.0}}),
            json!({"rope_scaling": {"rope_type": "linear"}}),
            json!({"rope_parameters": {"sliding_attention": linear}}),
            json!({"rope_parameters": linear}),
        ] {
            assert!(factor(refused.clone()).is_err(), "{refused}");
        }
    }

    #[test]
    fn the_text_part_of_a_model_with_pictures() {
        let config = json!({
            "architectures": ["Gemma3ForConditionalGeneration"],
            "text_config": {
                "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024,
                "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            },
            "vision_config": {"hidden_size": 1152},
        });
        let metadata = Settings::new(&config).unwrap().metadata().unwrap();
        for (key, expect) in [
            ("embedding_length", 2560),
            ("block_count", 34),
            ("attention.head_count", 8),
            ("attention.head_count_kv", 4),
            ("attention.sliding_window", 1024),
            ("context_length", 131_072),
        ] {
            assert_eq!(metadata.get(&format!("gemma3.{key}")), Some(&Value::U32(expect)), "{key}");
        }
    }
}
