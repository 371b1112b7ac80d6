//! Scales that move the outliers of activations into the weights, where they round better.
//!
//! llama.cpp's kernels round what comes into a K-quant weight, too: 256 numbers to 8 bits with one scale
//! (`quantize_row_q8_K`), so that one column that is always large leaves few bits to the others. Dividing
//! what comes into a column by s and multiplying the weight's column by s changes nothing but the rounding.
//! The division costs nothing, for it goes into the weight that makes the input:
//!
//! | input of | divided in |
//! | --- | --- |
//! | `attn_q`, `attn_k`, `attn_v` | the weight of `attn_norm` |
//! | `ffn_gate`, `ffn_up` | the weight of `ffn_norm` |
//! | `attn_output` | the rows of `attn_v`: one head's for all query heads that share it |
//! | `ffn_down` | the rows of `ffn_up`: what the gate is multiplied with |
//!
//! s is the square root of the input's root mean square, as the importance matrix has it (SmoothQuant,
//! Xiao et al. 2022, arXiv 2211.10438; s and its exponent ½ as in AWQ, Lin et al. 2023, arXiv 2306.00978).

use std::collections::BTreeMap;
use std::ops::Range;

use super::imatrix::{Imatrix, ImatrixError};
use crate::convert::input::tensor::TensorSource;

/// Columns with less than this part of the mean are scaled as if they had it: none, but for dead ones. (The
/// mean is that of a few outliers.)
const FLOOR: f64 = 1e-10;

/// What smoothing does to one tensor: factors for its columns, its rows, or both.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Smoothing {
    columns: Option<Vec<f32>>,
    rows: Option<Vec<f32>>,
}

impl Smoothing {
    /// Multiplies `numbers`, the rows `rows` of the tensor.
    pub fn apply(&self, rows: Range<u64>, numbers: &mut [f32]) {
        if let Some(columns) = &self.columns {
            for row in numbers.chunks_exact_mut(columns.len()) {
                row.iter_mut().zip(columns).for_each(|(n, s)| *n *= s);
            }
        }
        let count = (rows.end - rows.start) as usize;
        if let Some(factors) = self.rows.as_ref().filter(|_| count > 0) {
            let factors = &factors[rows.start as usize..rows.end as usize];
            for (row, s) in numbers.chunks_exact_mut(numbers.len() / count).zip(factors) {
                row.iter_mut().for_each(|n| *n *= s);
            }
        }
    }

    /// What the columns are worth to the quantiser when their inputs are divided.
    #[must_use]
    pub fn weigh(&self, mut importance: Vec<f32>) -> Vec<f32> {
        if let Some(columns) = &self.columns {
            importance.iter_mut().zip(columns).for_each(|(worth, s)| *worth /= s * s);
        }
        importance
    }
}

/// Finds each tensor's scales.
pub struct Smoother<'a> {
    imatrix: &'a Imatrix,
    tensors: &'a BTreeMap<String, TensorSource>,
    n_head_kv: usize,
}

impl<'a> Smoother<'a> {
    /// For a base with these tensors, by GGUF name, and so many heads of keys and values.
    pub fn new(imatrix: &'a Imatrix, tensors: &'a BTreeMap<String, TensorSource>, n_head_kv: usize) -> Self {
        Self { imatrix, tensors, n_head_kv }
    }

    /// What smoothing does to a tensor; `None` if it stays as it is.
    ///
    /// # Errors
    /// [`ImatrixError::Missing`], [`ImatrixError::Columns`].
    pub fn of(&self, name: &str) -> Result<Option<Smoothing>, ImatrixError> {
        let Some((layer, module)) = name.strip_suffix(".weight").and_then(|name| name.rsplit_once('.'))
        else {
            return Ok(None);
        };
        let weight = |module: &str| format!("{layer}.{module}.weight");
        let attention = || self.scales(&weight("attn_q"));
        let ffn = || self.scales(&weight("ffn_gate"));
        let down = || self.scales(&weight("ffn_down"));
        let output = || self.head_scales(&weight("attn_output"), &weight("attn_v"));
        let (columns, rows) = match module {
            "attn_norm" => (Some(inverse(attention()?)), None),
            "ffn_norm" => (Some(inverse(ffn()?)), None),
            "attn_q" | "attn_k" => (Some(attention()?), None),
            "attn_v" => (Some(attention()?), Some(inverse(output()?.of_heads))),
            "attn_output" => (Some(output()?.of_columns), None),
            "ffn_gate" => (Some(ffn()?), None),
            "ffn_up" => (Some(ffn()?), Some(inverse(down()?))),
            "ffn_down" => (Some(down()?), None),
            _ => return Ok(None),
        };
        Ok(Some(Smoothing { columns, rows }))
    }

    /// The mean squares of what comes into a weight, one a column.
    fn mean_squares(&self, name: &str) -> Result<&'a [f32], ImatrixError> {
        let missing = || ImatrixError::Missing { path: self.imatrix.path.clone(), name: name.to_owned() };
        self.imatrix.of(name, self.tensors[name].columns())?.ok_or_else(missing)
    }

    fn scales(&self, name: &str) -> Result<Vec<f32>, ImatrixError> {
        Ok(scales(self.mean_squares(name)?))
    }

    fn head_scales(&self, output: &str, value: &str) -> Result<HeadScales, ImatrixError> {
        let rows = self.tensors[value].rows() as usize;
        Ok(HeadScales::new(self.mean_squares(output)?, rows, rows / self.n_head_kv))
    }
}

/// The scales of what the heads hand on: of the rows of `attn_v`, and the same for the columns of
/// `attn_output`, where the query heads of a group have one head of values.
struct HeadScales {
    of_heads: Vec<f32>,
    of_columns: Vec<f32>,
}

impl HeadScales {
    /// From the mean squares of `attn_output`'s columns, for `rows` rows of values in heads of `size`.
    fn new(mean_squares: &[f32], rows: usize, size: usize) -> Self {
        let group = mean_squares.len() / rows;
        let row_of = |column: usize| column / (group * size) * size + column % size;
        let mut means = vec![0.0; rows];
        for (column, square) in mean_squares.iter().enumerate() {
            means[row_of(column)] += square / group as f32;
        }
        let of_heads = scales(&means);
        let of_columns = (0..mean_squares.len()).map(|column| of_heads[row_of(column)]).collect();
        Self { of_heads, of_columns }
    }
}

/// The scales of columns with these mean squares; their geometric mean is 1, so that the weights stay in
/// the range of F16.
fn scales(mean_squares: &[f32]) -> Vec<f32> {
    let mean = mean_squares.iter().map(|m| f64::from(*m)).sum::<f64>() / mean_squares.len() as f64;
    if mean == 0.0 {
        return vec![1.0; mean_squares.len()];
    }
    let logarithms: Vec<f64> =
        mean_squares.iter().map(|m| f64::from(*m).max(mean * FLOOR).ln() / 4.0).collect();
    let middle = logarithms.iter().sum::<f64>() / logarithms.len() as f64;
    logarithms.iter().map(|l| (l - middle).exp() as f32).collect()
}

fn inverse(mut scales: Vec<f32>) -> Vec<f32> {
    scales.iter_mut().for_each(|s| *s = 1.0 / *s);
    scales
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_fourth_roots_around_one() {
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a / b - 1.0).abs() < 1e-5);
        assert!(close(&scales(&[1.0, 16.0, 256.0]), &[0.5, 1.0, 2.0]));
        let quiet = scales(&[0.0, 1.0]);
        assert!(quiet.iter().all(|s| s.is_finite() && *s > 0.0) && quiet[0] < quiet[1], "{quiet:?}");
        assert_eq!(scales(&[0.0, 0.0]), [1.0, 1.0]);
    }

    #[test]
    fn query_heads_share_the_scales_of_their_values() {
        // Two heads of values, of size 2, each for two query heads.
        let squares = [1.0, 16.0, 1.0, 16.0, 256.0, 0.0, 0.0, 2.0];
        let heads = HeadScales::new(&squares, 4, 2);
        assert_eq!(heads.of_heads, scales(&[1.0, 16.0, 128.0, 1.0]));
        let [a, b, c, d] = heads.of_heads[..] else { panic!() };
        assert_eq!(heads.of_columns, [a, b, a, b, c, d, c, d]);
    }

    #[test]
    fn rows_and_columns_are_multiplied() {
        let smoothing = Smoothing { columns: Some(vec![2.0, 3.0]), rows: Some(vec![1.0, 10.0, 100.0]) };
        let mut numbers = [1.0; 4];
        smoothing.apply(1..3, &mut numbers);
        assert_eq!(numbers, [20.0, 30.0, 200.0, 300.0]);
        assert_eq!(smoothing.weigh(vec![4.0, 9.0, 0.0]), [1.0, 1.0, 0.0]);
    }
}
