//! Zeros that widen a model, so that its rows are whole K-quant blocks.
//!
//! K-quants work in blocks of 256 numbers; a narrower row falls back to an older type, for which
//! ggml has slower kernels. A hidden width of 640 (Gemma 3 270M) becomes 768 by zeros that stay
//! zeros through every layer. What depends on the width is made up for in the weights, with
//! s = √(width / padded width):
//! - RMS norms divide by the root of a mean that now has more zeros in it: their weights get · s.
//! - llama.cpp multiplies the embedding by √width: its rows get · s.
//! - A head that shares the embedding's weights takes s back out of the last norm: no factor there.
//!
//! The model computes the same, but for the norms' epsilon, which weighs (padded width / width)
//! times as much against a mean square millions of times its size.

use crate::gguf::tensor_type::TensorType;

/// What padding does to one tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Padding {
    /// The dimension that is the hidden width: 0 for columns, 1 for rows.
    dimension: usize,
    width: u64,
    /// What its numbers are multiplied by.
    factor: f32,
}

/// The next multiple of a K-quant block: the hidden width of the padded model.
pub fn padded_width(width: u64) -> u64 {
    width.next_multiple_of(TensorType::Q4K.block_len())
}

impl Padding {
    /// For a tensor of a model of hidden width `width`. `None` if the tensor stays as it is.
    pub fn of(name: &str, width: u64, is_tied: bool) -> Option<Self> {
        let dimension = hidden_dimension(name)?;
        let padded = padded_width(width);
        let is_scaled = name == "token_embd.weight"
            || (name.ends_with("norm.weight") && !(is_tied && name == "output_norm.weight"));
        let factor = if is_scaled { (width as f64 / padded as f64).sqrt() as f32 } else { 1.0 };
        (padded != width).then_some(Self { dimension, width: padded, factor })
    }

    /// The padded shape, columns first.
    pub fn shape(&self, shape: &[u64]) -> Vec<u64> {
        let mut shape = shape.to_vec();
        shape[self.dimension] = self.width;
        shape
    }

    /// Multiplies rows of `from` columns and widens them to `to`.
    pub fn widen(&self, numbers: &mut Vec<f32>, from: usize, to: usize) {
        numbers.iter_mut().for_each(|n| *n *= self.factor);
        let rows = numbers.len() / from;
        numbers.resize(rows * to, 0.0);
        for row in (0..rows).rev() {
            numbers.copy_within(row * from..(row + 1) * from, row * to);
            numbers[row * to + from..(row + 1) * to].fill(0.0);
        }
    }
}

/// The dimension of a tensor that is the hidden width: 0 for columns, 1 for rows.
fn hidden_dimension(gguf_tensor: &str) -> Option<usize> {
    let module = gguf_tensor.strip_suffix(".weight")?.rsplit('.').next()?;
    match module {
        "attn_q_norm" | "attn_k_norm" => None,
        "attn_output" | "ffn_down" => Some(1),
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hidden_width_grows() {
        let shape = |name: &str, shape: &[u64]| Padding::of(name, 640, true).map(|p| p.shape(shape));
        assert_eq!(shape("blk.3.attn_q.weight", &[640, 1024]), Some(vec![768, 1024]));
        assert_eq!(shape("blk.3.attn_output.weight", &[1024, 640]), Some(vec![1024, 768]));
        assert_eq!(shape("blk.3.ffn_down.weight", &[640, 640]), Some(vec![640, 768]));
        assert_eq!(shape("blk.3.post_ffw_norm.weight", &[640]), Some(vec![768]));
        assert_eq!(shape("blk.3.attn_q_norm.weight", &[256]), None);
        assert_eq!(Padding::of("blk.3.attn_q.weight", 2304, true), None, "whole blocks already");
    }

    #[test]
    fn rows_are_widened_by_zeros() {
        let padding = Padding { dimension: 0, width: 4, factor: 2.0 };
        let mut numbers = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        padding.widen(&mut numbers, 3, 4);
        assert_eq!(numbers, [2.0, 4.0, 6.0, 0.0, 8.0, 10.0, 12.0, 0.0]);
    }
}
