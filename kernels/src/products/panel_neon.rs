//! Unpacks sixteen columns of weights on ARM. Activations are signed there, so nothing has to be taken off.

use std::arch::aarch64::{int32x4_t, vdupq_n_s32, vld1q_s32, vst1q_s32, vzip1q_s32, vzip2q_s32};

use super::unpacked::{COLUMNS, Columns, Eights, Narrow, decode_columns};
use super::weights::{BLOCK, Weights};

/// Columns of a vector.
const LANES: usize = 4;

/// Unpacks block `block` of the columns from `first` on of a K-quant with a scale for every `4 * QUADS` weights.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn narrow<const QUADS: usize>(
    weights: &Weights,
    (first, block): (usize, usize),
    columns: &mut Columns,
    to: &mut Narrow,
) {
    decode_columns(weights, first, block, columns);
    interleave(columns, &mut to.quads);
    for (c, column) in columns.iter().enumerate() {
        to.d[c] = column.d;
        for (to, scale) in to.scales[..BLOCK / 4 / QUADS].iter_mut().zip(column.scales) {
            to[c] = [scale; 2];
        }
        for (to, minimum) in to.minima.iter_mut().zip(column.per_32) {
            to[c] = minimum;
        }
    }
}

/// Unpacks block `block` of the columns from `first` on of Q8_0.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn eights(
    weights: &Weights,
    (first, block): (usize, usize),
    columns: &mut Columns,
    to: &mut Eights,
) {
    decode_columns(weights, first, block, columns);
    interleave(columns, &mut to.quads);
    for (c, column) in columns.iter().enumerate() {
        for (to, scale) in to.scales.iter_mut().zip(column.per_32) {
            to[c] = scale;
        }
    }
}

/// Brings four neighbours of all columns together: 4 × 4 transpositions.
#[inline]
#[target_feature(enable = "neon")]
fn interleave(columns: &Columns, quads: &mut [[[i8; 4]; COLUMNS]; BLOCK / 4]) {
    for (part, columns) in columns.as_chunks::<LANES>().0.iter().enumerate() {
        for (i, quads) in quads.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut rows = [vdupq_n_s32(0); LANES];
            for (row, column) in rows.iter_mut().zip(columns) {
                let bytes: &[i8; 16] = &column.weights.as_chunks::<16>().0[i];
                // SAFETY: 16 bytes.
                *row = unsafe { vld1q_s32(bytes.as_ptr().cast()) };
            }
            for (quad, row) in quads.iter_mut().zip(transpose(rows)) {
                let to: &mut [[i8; 4]; LANES] = &mut quad.as_chunks_mut::<LANES>().0[part];
                // SAFETY: 16 bytes.
                unsafe { vst1q_s32(to.as_mut_ptr().cast(), row) };
            }
        }
    }
}

/// Transposes 4 × 4 numbers of 32 bits.
#[inline]
#[target_feature(enable = "neon")]
fn transpose([a, b, c, d]: [int32x4_t; LANES]) -> [int32x4_t; LANES] {
    let (low, high) = ([vzip1q_s32(a, c), vzip1q_s32(b, d)], [vzip2q_s32(a, c), vzip2q_s32(b, d)]);
    [
        vzip1q_s32(low[0], low[1]),
        vzip2q_s32(low[0], low[1]),
        vzip1q_s32(high[0], high[1]),
        vzip2q_s32(high[0], high[1]),
    ]
}
