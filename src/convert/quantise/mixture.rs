//! Which type each tensor of a file gets.
//!
//! The rules of `llama_tensor_get_type` and `tensor_type_fallback` in llama.cpp's
//! `src/llama-quant.cpp`, for dense models. A test holds them against `llama_model_quantize` of the linked version.

use super::imatrix::Imatrix;
use super::type_override::{OverrideError, TypeOverride};
use crate::gguf::tensor_type::{FileType, TensorType};

/// What decides the types of a file's tensors, and how they are rounded.
#[derive(Debug, Clone, Copy)]
pub struct Mixture<'a> {
    /// The file's type: rules for all its weights.
    pub file_type: FileType,
    /// Exceptions to the rules; the first that names a weight decides.
    pub overrides: &'a [TypeOverride],
    /// Widen the model by zeros where its rows are no whole K-quant blocks (see [`crate::convert::quantise::pad`]).
    pub pad: bool,
    /// What each column of a weight is worth to the quantisers.
    pub imatrix: Option<&'a Imatrix>,
    /// Move outliers of activations into the weights (see [`crate::convert::quantise::smooth`]); needs `imatrix`.
    pub smooth: bool,
}

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

/// The types of `weights`, which must be in [`tensor_order`], for a model of `n_layers` layers.
///
/// # Errors
/// [`OverrideError`] for an override that decides nothing.
pub fn choose_types(
    mixture: Mixture,
    weights: &[Weight],
    n_layers: u64,
) -> Result<Vec<TensorType>, OverrideError> {
    let Mixture { file_type, .. } = mixture;
    let overridden = overridden_types(mixture, weights)?;
    let tied = !weights.iter().any(|w| w.name == "output.weight");
    let n_attn_v = weights.iter().filter(|w| w.name.contains("attn_v.weight")).count() as u64;
    let (mut i_attn_v, mut i_ffn_down) = (0, 0);
    let mut choose = |(weight, overridden): (&Weight, &Option<TensorType>)| {
        if !is_weight(*weight) {
            return TensorType::F32;
        }
        let default = file_type.default_type();
        if !default.is_quantised() {
            return default;
        }
        let columns = weight.shape[0];
        // Where the type is overridden, the rules' counters stand still, as in llama.cpp.
        let chosen = if let Some(overridden) = *overridden {
            overridden
        } else if weight.name == "output.weight" || (tied && weight.name == "token_embd.weight") {
            output_type(default, columns)
        } else if weight.name.contains("attn_v.weight") {
            i_attn_v += 1;
            attn_v_type(file_type, i_attn_v - 1, n_attn_v)
        } else if weight.name.contains("ffn_down") {
            i_ffn_down += 1;
            ffn_down_type(mixture, i_ffn_down - 1, n_layers)
        } else {
            default
        };
        fallback(chosen, columns)
    };
    Ok(weights.iter().zip(&overridden).map(&mut choose).collect())
}

/// The type that an override gives to each of `weights`.
fn overridden_types(mixture: Mixture, weights: &[Weight]) -> Result<Vec<Option<TensorType>>, OverrideError> {
    let mut types = vec![None; weights.len()];
    for over in mixture.overrides {
        if !mixture.file_type.default_type().is_quantised() {
            return Err(OverrideError::NotQuantised(over.to_string()));
        }
        let (mut found, mut decided) = (false, false);
        for (weight, tensor_type) in weights.iter().zip(&mut types) {
            if !is_weight(*weight) || !over.names(weight.name)? {
                continue;
            }
            found = true;
            decided |= tensor_type.is_none();
            tensor_type.get_or_insert(over.tensor_type);
        }
        match (found, decided) {
            (false, _) => return Err(OverrideError::NoTensor(over.to_string())),
            (true, false) => return Err(OverrideError::Shadowed(over.to_string())),
            (true, true) => {}
        }
    }
    Ok(types)
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

fn ffn_down_type(mixture: Mixture, i: u64, n: u64) -> TensorType {
    match mixture.file_type {
        FileType::Q4KM | FileType::Q5KM if use_more_bits(i, n) => TensorType::Q6K,
        FileType::Q4KS if i < n / 8 => TensorType::Q5K,
        FileType::Q4_0 if mixture.imatrix.is_some() && i < n / 8 => TensorType::Q4_1,
        file => file.default_type(),
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
        TensorType::Q2K | TensorType::Q3K => TensorType::Q4_0,
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
            let mixture = Mixture {
                file_type: FileType::Q4KM,
                overrides: &[],
                pad: false,
                imatrix: None,
                smooth: false,
            };
            assert_eq!(choose_types(mixture, &[weight], 8), Ok(vec![expect]), "{columns} columns");
        }
    }

    #[test]
    fn overrides_that_decide_nothing_are_refused() {
        let weight = |name| Weight { name, shape: &[256, 256] };
        let weights = [weight("blk.0.attn_norm.weight"), weight("blk.0.attn_q.weight")];
        let check = |file_type, overrides: &[&str]| {
            let overrides: Vec<TypeOverride> = overrides.iter().map(|o| o.parse().unwrap()).collect();
            choose_types(
                Mixture { file_type, overrides: &overrides, pad: false, imatrix: None, smooth: false },
                &weights,
                8,
            )
        };
        let refused = |error: fn(String) -> OverrideError, text: &str| Err(error(text.to_owned()));
        let q4 = FileType::Q4KM;
        assert_eq!(check(q4, &["attn_q=q8_0", "attn=q6_k"]), refused(OverrideError::Shadowed, "attn=Q6_K"));
        assert_eq!(check(q4, &["attn_v=q8_0"]), refused(OverrideError::NoTensor, "attn_v=Q8_0"));
        assert_eq!(check(q4, &["attn_norm=q8_0"]), refused(OverrideError::NoTensor, "attn_norm=Q8_0"));
        let f16 = check(FileType::F16, &["attn_q=q8_0"]);
        assert_eq!(f16, refused(OverrideError::NotQuantised, "attn_q=Q8_0"));
        assert_eq!(check(q4, &["attn_q=q8_0"]), Ok(vec![TensorType::F32, TensorType::Q8_0]));
    }
}
