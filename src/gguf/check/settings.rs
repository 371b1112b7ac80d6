//! The keys that llama.cpp's loader reads, held against what it asserts.
//!
//! Source: `load_hparams` in `llama-model.cpp`, `models/gemma2.cpp`, `models/gemma3.cpp`,
//! `llama-model-loader.cpp` and the graph that they lead to. A key that the loader does not read may be
//! anything.

use super::error::CheckError;
use crate::gguf::{Header, Metadata, Value};

/// `LLAMA_MAX_LAYERS`.
const MAX_LAYERS: u64 = 512;
/// More than any model has; products of two fit 64 bits, and each fits llama.cpp's 32.
const MAX_WIDTH: u64 = 1 << 20;
/// Tokens of context: 16 million.
const MAX_CONTEXT: u64 = 1 << 24;
/// Multiple of which a mapped tensor's address must be (`TENSOR_ALIGNMENT` in `ggml-impl.h`).
const TENSOR_ALIGNMENT: u64 = 32;

/// The architectures that the graph is checked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Gemma2,
    Gemma3,
}

impl Family {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3",
        }
    }
}

/// What the tensors' shapes follow from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) family: Family,
    pub(super) layers: u64,
    pub(super) width: u64,
    pub(super) heads: u64,
    pub(super) kv_heads: u64,
    pub(super) head: u64,
    pub(super) feed_forward: u64,
}

/// The metadata under the architecture's name.
struct Keys<'a> {
    metadata: &'a Metadata,
    prefix: &'static str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// A whole number within limits, of the one type that llama.cpp takes.
    fn number(&self, name: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64, CheckError> {
        let key = self.key(name);
        let value = self.metadata.get(&key);
        match value {
            Some(Value::U32(n)) if range.contains(&u64::from(*n)) => Ok(u64::from(*n)),
            _ => {
                let expected = format!("a U32 from {} to {}", range.start(), range.end());
                Err(CheckError::setting(&key, value, expected))
            }
        }
    }

    fn number_or(
        &self,
        name: &str,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, CheckError> {
        if self.metadata.get(&self.key(name)).is_none() { Ok(default) } else { self.number(name, range) }
    }

    /// A key that may only say what is so without it.
    fn only(&self, name: &str, allowed: &[Value], expected: &str) -> Result<(), CheckError> {
        let key = self.key(name);
        match self.metadata.get(&key) {
            Some(value) if !allowed.contains(value) => {
                Err(CheckError::setting(&key, Some(value), format!("{expected}, or not be there")))
            }
            _ => Ok(()),
        }
    }

    /// A finite F32 that `fits`, if the key is there.
    fn real(&self, name: &str, expected: &str, fits: impl Fn(f32) -> bool) -> Result<(), CheckError> {
        let key = self.key(name);
        match self.metadata.get(&key) {
            None => Ok(()),
            Some(Value::F32(x)) if x.is_finite() && fits(*x) => Ok(()),
            value => Err(CheckError::setting(&key, value, format!("an F32 {expected}"))),
        }
    }
}

/// The family of a header.
pub(super) fn family(header: &Header) -> Result<Family, CheckError> {
    match header.architecture()? {
        "gemma2" => Ok(Family::Gemma2),
        "gemma3" => Ok(Family::Gemma3),
        other => Err(CheckError::Architecture(other.to_owned())),
    }
}

/// Checks every key under the architecture's name that llama.cpp reads.
pub(super) fn check(header: &Header) -> Result<Settings, CheckError> {
    let family = family(header)?;
    let keys = Keys { metadata: &header.metadata, prefix: family.name() };
    general(header)?;
    let settings = shape(&keys, family)?;
    rope(&keys, settings.head)?;
    numbers(&keys, family)?;
    window(&keys, family, settings.layers)?;
    foreign(&keys)?;
    Ok(settings)
}

/// The first tensor's address is the map's plus an offset of the alignment's multiple.
pub(super) fn alignment(header: &Header) -> Result<(), CheckError> {
    let key = "general.alignment";
    let value = header.metadata.get(key);
    if header.alignment.is_multiple_of(TENSOR_ALIGNMENT) && matches!(value, None | Some(Value::U32(_))) {
        return Ok(());
    }
    Err(CheckError::setting(key, value, format!("a U32 and a power of two from {TENSOR_ALIGNMENT} up")))
}

/// Keys of every architecture.
fn general(header: &Header) -> Result<(), CheckError> {
    alignment(header)?;
    for (key, is_text) in [("general.name", true), ("general.file_type", false)] {
        match (header.metadata.get(key), is_text) {
            (None | Some(Value::Str(_)), true) | (None | Some(Value::U32(_)), false) => {}
            (value, _) => {
                let expected = if is_text { "a string" } else { "a U32" };
                return Err(CheckError::setting(key, value, expected));
            }
        }
    }
    // A policy of activations' types by tensor name: none of ours, and read with assertions.
    let policy = header.metadata.iter().find(|(key, _)| key.starts_with("general.tensor_extra."));
    policy.map_or(Ok(()), |(key, value)| Err(CheckError::setting(key, Some(value), "absent")))
}

fn shape(keys: &Keys, family: Family) -> Result<Settings, CheckError> {
    let layers = keys.number("block_count", 1..=MAX_LAYERS)?;
    let width = keys.number("embedding_length", 1..=MAX_WIDTH)?;
    keys.number("context_length", 1..=MAX_CONTEXT)?;
    let heads = keys.number("attention.head_count", 1..=MAX_WIDTH)?;
    let kv_heads = keys.number_or("attention.head_count_kv", heads, 1..=heads)?;
    if !heads.is_multiple_of(kv_heads) {
        let key = keys.key("attention.head_count_kv");
        return Err(CheckError::setting(
            &key,
            keys.metadata.get(&key),
            format!("a divisor of the {heads} heads"),
        ));
    }
    // A head as long as the others, for keys and values, in full and in sliding layers.
    let head = keys.number_or("attention.key_length", width / heads, 2..=MAX_WIDTH)?;
    if !head.is_multiple_of(2) || head < 2 {
        let key = keys.key("attention.key_length");
        return Err(CheckError::setting(&key, keys.metadata.get(&key), "even, because rope turns pairs"));
    }
    keys.number_or("attention.value_length", width / heads, head..=head)?;
    for name in ["attention.key_length_swa", "attention.value_length_swa"] {
        keys.number_or(name, head, head..=head)?;
    }
    let values = keys.metadata.get(&keys.key("attention.value_length"));
    if values.is_none() && width / heads != head {
        return Err(CheckError::setting(&keys.key("attention.value_length"), None, format!("{head}")));
    }
    let feed_forward = keys.number("feed_forward_length", 1..=MAX_WIDTH)?;
    Ok(Settings { family, layers, width, heads, kv_heads, head, feed_forward })
}

fn rope(keys: &Keys, head: u64) -> Result<(), CheckError> {
    for name in ["rope.freq_base", "rope.freq_base_swa"] {
        keys.real(name, "above 0", |x| x > 0.0)?;
    }
    for name in ["rope.dimension_count", "rope.dimension_count_swa"] {
        if !keys.number_or(name, head, 2..=head)?.is_multiple_of(2) {
            let key = keys.key(name);
            return Err(CheckError::setting(&key, keys.metadata.get(&key), "even"));
        }
    }
    // llama.cpp asserts that it knows the name; those that it knows beside these change the arithmetic.
    let known = [Value::from("none"), Value::from("linear")];
    keys.only("rope.scaling.type", &known, "\"none\" or \"linear\"")?;
    for name in ["rope.scaling.factor", "rope.scale_linear"] {
        keys.real(name, "above 0", |x| x > 0.0)?;
    }
    keys.real("rope.scaling.attn_factor", "above 0", |x| x > 0.0)?;
    keys.real("rope.scaling.alpha", "that is finite", |_| true)?;
    keys.number_or("rope.scaling.original_context_length", 1, 1..=MAX_CONTEXT)?;
    keys.only("rope.scaling.finetuned", &[Value::Bool(false), Value::Bool(true)], "a boolean")
}

/// Epsilon and soft caps.
fn numbers(keys: &Keys, family: Family) -> Result<(), CheckError> {
    let name = "attention.layer_norm_rms_epsilon";
    if keys.metadata.get(&keys.key(name)).is_none() {
        return Err(CheckError::setting(&keys.key(name), None, "an F32 above 0"));
    }
    keys.real(name, "above 0 and below 1", |x| x > 0.0 && x < 1.0)?;
    match family {
        // It divides by both.
        Family::Gemma2 => {
            keys.real("attn_logit_softcapping", "above 0", |x| x > 0.0)?;
            keys.real("final_logit_softcapping", "above 0", |x| x > 0.0)
        }
        Family::Gemma3 => keys.real("final_logit_softcapping", "from 0 up", |x| x >= 0.0),
    }
}

/// The sliding window and which layers have it.
fn window(keys: &Keys, family: Family, layers: u64) -> Result<(), CheckError> {
    let (default, least) = match family {
        Family::Gemma2 => (4096, 1),
        // 0 is none.
        Family::Gemma3 => (0, 0),
    };
    let window = keys.number_or("attention.sliding_window", default, least..=MAX_CONTEXT)?;
    let key = keys.key("attention.sliding_window_pattern");
    let value = keys.metadata.get(&key);
    // Of a period's layers, the last does not slide.
    let slides = match value {
        None => Some(true),
        Some(Value::U32(period)) if *period > 0 && u64::from(*period) <= MAX_LAYERS => Some(*period > 1),
        Some(Value::Array(array)) if array.len() == layers => {
            array.bools().map(|layers| layers.contains(&true))
        }
        Some(_) => None,
    };
    let expected = match slides {
        None => format!("a U32 or {layers} booleans"),
        // llama.cpp's memory for a window asserts it (llama-model.cpp, `is_swa_any`).
        Some(false) if window > 0 => "a pattern with a sliding layer, as there is a window".to_owned(),
        Some(_) => return Ok(()),
    };
    Err(CheckError::setting(&key, value, expected))
}

/// What these architectures have none of: experts, other heads, pooling, draft layers.
fn foreign(keys: &Keys) -> Result<(), CheckError> {
    let none = [Value::U32(0)];
    for name in [
        "expert_count",
        "expert_used_count",
        "expert_group_count",
        "expert_group_used_count",
        "nextn_predict_layers",
        "pooling_type",
        "classifier.pooling_type",
        "embedding_length_out",
        "dense_2_feat_out",
        "dense_3_feat_in",
    ] {
        keys.only(name, &none, "U32(0)")?;
    }
    keys.only("attention.causal", &[Value::Bool(true)], "true")?;
    keys.only("classifier.output_labels", &[], "no array")
}
