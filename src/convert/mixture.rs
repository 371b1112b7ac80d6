//! Which type each tensor of a file gets.
//!
//! The rules of `llama_tensor_get_type` and `tensor_type_fallback` in llama.cpp's
//! `src/llama-quant.cpp`, for dense models without an importance matrix. A test holds them
//! against `llama_model_quantize` of the linked version.

use super::tensor_type::{FileType, TensorType};

/// What the rules look at.
#[derive(Debug, Clone, Copy)]
pub struct Weight<'a> {
    /// The tensor's GGUF name.
    pub name: &'a str,
    /// Its dimensions, columns first.
    pub shape: &'a [u64],
}

/// The order in which llama.cpp keeps tensors, and in which the mixture counts them: those
/// outside the layers first, then layer by layer, by name in each.
pub fn tensor_order(name: &str) -> (i64, &str) {
    let layer = name.strip_prefix("blk.").and_then(|rest| rest.split('.').next()?.parse().ok());
    (layer.unwrap_or(-1), name)
}

/// Whether a tensor is stored in the file's type: norms and vectors stay F32
/// (`tensor_allows_quantization`).
pub fn is_weight(weight: Weight) -> bool {
    weight.shape.len() >= 2 && weight.name.ends_with("weight") && !weight.name.contains("_norm.weight")
}

/// The types of `weights`, which must be in [`tensor_order`], in a file of type `file`, for a
/// model of `n_layers` layers.
pub fn choose_types(file: FileType, weights: &[Weight], n_layers: u64) -> Vec<TensorType> {
    let tied = !weights.iter().any(|w| w.name == "output.weight");
    let n_attn_v = weights.iter().filter(|w| w.name.contains("attn_v.weight")).count() as u64;
    let (mut i_attn_v, mut i_ffn_down) = (0, 0);
    let mut choose = |weight: &Weight| {
        if !is_weight(*weight) {
            return TensorType::F32;
        }
        let default = file.default_type();
        if !default.is_quantised() {
            return default;
        }
        let columns = weight.shape[0];
        let chosen = if weight.name == "output.weight" || (tied && weight.name == "token_embd.weight") {
            output_type(default, columns)
        } else if weight.name.contains("attn_v.weight") {
            i_attn_v += 1;
            attn_v_type(file, i_attn_v - 1, n_attn_v)
        } else if weight.name.contains("ffn_down") {
            i_ffn_down += 1;
            ffn_down_type(file, i_ffn_down - 1, n_layers)
        } else {
            default
        };
        fallback(chosen, columns)
    };
    weights.iter().map(&mut choose).collect()
}

fn output_type(default: TensorType, columns: u64) -> TensorType {
    match default {
        _ if !columns.is_multiple_of(default.block_len()) => TensorType::Q8_0,
        TensorType::Q8_0 => TensorType::Q8_0,
        _ => TensorType::Q6K,
    }
}

fn attn_v_type(file: FileType, i: u64, n: u64) -> TensorType {
    match file {
        FileType::Q4KM | FileType::Q5KM if use_more_bits(i, n) => TensorType::Q6K,
        FileType::Q4KS if i < 4 => TensorType::Q5K,
        _ => file.default_type(),
    }
}

fn ffn_down_type(file: FileType, i: u64, n: u64) -> TensorType {
    match file {
        FileType::Q4KM | FileType::Q5KM if use_more_bits(i, n) => TensorType::Q6K,
        FileType::Q4KS if i < n / 8 => TensorType::Q5K,
        _ => file.default_type(),
    }
}

/// The first and last eighth of the layers, and every third between.
fn use_more_bits(i: u64, n: u64) -> bool {
    i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2
}

/// Rows that are no whole number of blocks get a type with smaller blocks.
fn fallback(chosen: TensorType, columns: u64) -> TensorType {
    if columns.is_multiple_of(chosen.block_len()) {
        return chosen;
    }
    let smaller = match chosen {
        TensorType::Q4K => TensorType::Q5_0,
        TensorType::Q5K => TensorType::Q5_1,
        TensorType::Q6K => TensorType::Q8_0,
        other => other,
    };
    if columns.is_multiple_of(smaller.block_len()) { smaller } else { TensorType::F16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_numeric_by_layer() {
        let mut names =
            ["blk.10.attn_q.weight", "token_embd.weight", "blk.2.ffn_up.weight", "blk.2.attn_q.weight"];
        names.sort_by(|a, b| tensor_order(a).cmp(&tensor_order(b)));
        assert_eq!(
            names,
            ["token_embd.weight", "blk.2.attn_q.weight", "blk.2.ffn_up.weight", "blk.10.attn_q.weight"]
        );
    }

    #[test]
    fn rows_that_do_not_fit_fall_back() {
        for (columns, expect) in [(256, TensorType::Q4K), (640, TensorType::Q5_0), (100, TensorType::F16)] {
            let weight = Weight { name: "blk.0.attn_q.weight", shape: &[columns, 8] };
            assert_eq!(choose_types(FileType::Q4KM, &[weight], 8), [expect], "{columns} columns");
        }
    }
}
