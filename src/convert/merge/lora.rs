//! The arithmetic of a LoRA merge, on rows of F32.
//!
//! W + scale · B·A (Hu et al. 2021, arXiv 2106.09685), in F32 as PEFT's `get_delta_weight`; with DoRA (Liu et al. 2024, arXiv 2402.09353) each row is then set
//! to its trained length: m · V / ‖V‖.

use crate::convert::input::tensor::TensorSource;
use crate::convert::quantise::read::read_all_f32;
use std::ops::Range;

use crate::convert::quantise::read::ReadError;

/// What happens to one of the base's weights.
#[derive(Debug, Clone)]
pub struct LowRank {
    /// B (rows × rank), or A for an embedding (rank × rows).
    pub left: TensorSource,
    /// A (rank × columns), or B for an embedding (columns × rank).
    pub right: TensorSource,
    /// Whether `left` and `right` are an embedding's, and so transposed.
    pub is_embedding: bool,
    /// The rank.
    pub rank: u64,
    /// What the product is multiplied by.
    pub scale: f32,
    /// DoRA's length of each row.
    pub magnitude: Option<TensorSource>,
}

/// A module's update in memory: (rows + columns) · rank numbers.
#[derive(Debug)]
pub struct Update {
    /// rows × rank.
    left: Vec<f32>,
    /// rank × columns.
    right: Vec<f32>,
    rank: usize,
    columns: usize,
    scale: f32,
    magnitude: Option<Vec<f32>>,
}

impl Update {
    /// Reads the update's matrices for a weight of `columns` columns.
    ///
    /// # Errors
    /// Any [`ReadError`].
    pub fn load(low_rank: &LowRank, columns: u64) -> Result<Self, ReadError> {
        let (rank, columns) = (low_rank.rank as usize, columns as usize);
        let (mut left, mut right) = (read_all_f32(&low_rank.left)?, read_all_f32(&low_rank.right)?);
        if low_rank.is_embedding {
            left = transpose(&left, rank);
            right = transpose(&right, columns);
        }
        let magnitude = low_rank.magnitude.as_ref().map(read_all_f32).transpose()?;
        Ok(Self { left, right, rank, columns, scale: low_rank.scale, magnitude })
    }

    /// Merges the update into `weights`, the rows `rows` of the weight.
    pub fn apply(&self, rows: Range<u64>, weights: &mut [f32]) {
        let mut product = vec![0.0; self.columns];
        for (row, weights) in rows.zip(weights.chunks_exact_mut(self.columns)) {
            let row = row as usize;
            multiply(&self.left[row * self.rank..][..self.rank], &self.right, &mut product);
            for (w, p) in weights.iter_mut().zip(&product) {
                *w += p * self.scale;
            }
            if let Some(magnitude) = &self.magnitude {
                let factor = magnitude[row] / length(weights);
                weights.iter_mut().for_each(|w| *w *= factor);
            }
        }
    }
}

/// ‖v‖, summed eight numbers side by side as `torch.linalg.norm` does on the CPU, so that DoRA has
/// the bits of PEFT's.
fn length(v: &[f32]) -> f32 {
    let (eights, rest) = v.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for eight in eights {
        for (sum, x) in sums.iter_mut().zip(eight) {
            *sum += x * x;
        }
    }
    let sum = sums.into_iter().reduce(|a, b| a + b).unwrap_or(0.0);
    rest.iter().fold(sum, |sum, x| sum + x * x).sqrt()
}

/// `product` = `left` (a row) · `right` (as many rows as `left` has numbers).
///
/// The sum runs over the rank with one rounding a step, which is what BLAS libraries do on
/// processors with a fused multiply-add, so that a merge has the bits of PEFT's.
fn multiply(left: &[f32], right: &[f32], product: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("fma") && is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { multiply_avx2(left, right, product) };
    }
    multiply_portable(left, right, product);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn multiply_avx2(left: &[f32], right: &[f32], product: &mut [f32]) {
    multiply_portable(left, right, product);
}

#[inline(always)]
fn multiply_portable(left: &[f32], right: &[f32], product: &mut [f32]) {
    product.fill(0.0);
    for (l, right) in left.iter().zip(right.chunks_exact(product.len())) {
        for (p, r) in product.iter_mut().zip(right) {
            *p = l.mul_add(*r, *p);
        }
    }
}

/// `matrix` has `rows` rows; its transpose.
pub fn transpose(matrix: &[f32], rows: usize) -> Vec<f32> {
    let columns = matrix.len() / rows;
    (0..columns).flat_map(|c| (0..rows).map(move |r| matrix[r * columns + c])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(magnitude: Option<Vec<f32>>) -> Update {
        // B = [[1, 2], [0, 1]], A = [[1, 0, 1], [0, 1, 1]]: B·A = [[1, 2, 3], [0, 1, 1]]
        Update {
            left: vec![1.0, 2.0, 0.0, 1.0],
            right: vec![1.0, 0.0, 1.0, 0.0, 1.0, 1.0],
            rank: 2,
            columns: 3,
            scale: 0.5,
            magnitude,
        }
    }

    #[test]
    fn adds_the_scaled_product() {
        let mut weights = [1.0, 1.0, 1.0, 2.0, 2.0, 2.0];
        update(None).apply(0..2, &mut weights);
        assert_eq!(weights, [1.5, 2.0, 2.5, 2.0, 2.5, 2.5]);
    }

    #[test]
    fn a_chunk_is_the_same_as_its_rows_of_the_whole() {
        let mut weights = [2.0, 2.0, 2.0];
        update(None).apply(1..2, &mut weights);
        assert_eq!(weights, [2.0, 2.5, 2.5]);
    }

    #[test]
    fn dora_sets_each_rows_length() {
        let mut weights = [0.0, -0.5, 2.5, 2.0, 2.0, 2.0];
        update(Some(vec![8.0, 1.0])).apply(0..2, &mut weights);
        let length = |row: &[f32]| row.iter().map(|w| w * w).sum::<f32>().sqrt();
        assert!((length(&weights[..3]) - 8.0).abs() < 1e-5);
        assert!((length(&weights[3..]) - 1.0).abs() < 1e-6);
        assert!((weights[2] / weights[0] - 8.0).abs() < 1e-5, "the direction stays");
    }

    #[test]
    fn transposes() {
        assert_eq!(transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
