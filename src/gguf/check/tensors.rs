//! Names, shapes and types of the tensors, as the architecture has them.
//!
//! Source: `load_arch_tensors` in `models/gemma2.cpp` and `models/gemma3.cpp` of llama.cpp.

use std::collections::HashMap;

use super::error::CheckError;
use super::settings::{Family, Settings};
use crate::gguf::TensorInfo;
use crate::gguf::tensor_type::TensorType;

/// Checks the tensors of all parts against the settings and the number of tokens.
pub(super) fn check(settings: &Settings, tokens: u64, tensors: &[&TensorInfo]) -> Result<(), CheckError> {
    let mut left: HashMap<&str, &TensorInfo> = tensors.iter().map(|t| (t.name.as_str(), *t)).collect();
    let mut take = |name: String, shape: &[u64]| {
        let tensor = left.remove(name.as_str()).ok_or(CheckError::MissingTensor(name))?;
        fits(tensor, shape)
    };
    for (name, shape) in expected(settings, tokens) {
        take(name, &shape)?;
    }
    if settings.family == Family::Gemma3
        && let Some(output) = left.remove("output.weight")
    {
        fits(output, &[settings.width, tokens])?;
    }
    // llama.cpp counts tensors, and knows some that no Gemma has: biases, scales.
    match left.into_keys().min() {
        None => Ok(()),
        Some(name) => {
            Err(CheckError::UnknownTensor { name: name.to_owned(), architecture: settings.family.name() })
        }
    }
}

/// Names and shapes of the tensors that must be there.
pub(super) fn expected(settings: &Settings, tokens: u64) -> Vec<(String, Vec<u64>)> {
    let layer = |layer: u64| {
        let named = move |(name, shape)| (format!("blk.{layer}.{name}.weight"), shape);
        layer_tensors(settings).into_iter().map(named)
    };
    let outer =
        [("token_embd.weight", vec![settings.width, tokens]), ("output_norm.weight", vec![settings.width])];
    let outer = outer.map(|(name, shape)| (name.to_owned(), shape));
    outer.into_iter().chain((0..settings.layers).flat_map(layer)).collect()
}

/// The tensors of a layer and their shapes, fastest dimension first.
fn layer_tensors(s: &Settings) -> Vec<(&'static str, Vec<u64>)> {
    let (queries, keys) = (s.heads * s.head, s.kv_heads * s.head);
    let mut tensors = vec![
        ("attn_q", vec![s.width, queries]),
        ("attn_k", vec![s.width, keys]),
        ("attn_v", vec![s.width, keys]),
        ("attn_output", vec![queries, s.width]),
        ("ffn_gate", vec![s.width, s.feed_forward]),
        ("ffn_up", vec![s.width, s.feed_forward]),
        ("ffn_down", vec![s.feed_forward, s.width]),
        ("attn_norm", vec![s.width]),
        ("post_attention_norm", vec![s.width]),
        ("ffn_norm", vec![s.width]),
        ("post_ffw_norm", vec![s.width]),
    ];
    if s.family == Family::Gemma3 {
        tensors.extend([("attn_q_norm", vec![s.head]), ("attn_k_norm", vec![s.head])]);
    }
    tensors
}

fn fits(tensor: &TensorInfo, expected: &[u64]) -> Result<(), CheckError> {
    let name = || tensor.name.clone();
    // Trailing ones are the same shape to ggml.
    let ones = tensor.shape.iter().skip(expected.len()).all(|n| *n == 1);
    if !tensor.shape.starts_with(expected) || !ones {
        return Err(CheckError::Shape {
            name: name(),
            found: tensor.shape.clone(),
            expected: expected.to_vec(),
        });
    }
    if expected.len() == 1 && tensor.tensor_type != TensorType::F32 {
        return Err(CheckError::NormType { name: name(), found: tensor.tensor_type.to_string() });
    }
    Ok(())
}
