//! The products with ARM's dot products: four rows with a panel's columns, and the same results as x86-64's to the bit.
//!
//! `sdot` multiplies signed bytes and adds four products to each of four sums of 32 bits, where nothing overflows. A
//! vector holds a quad of four columns, another the same quad of all four rows, of which each `sdot` takes one. Eight
//! columns pass at a time: their products and sums stay in the 32 registers.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, vcvtq_f32_s32, vdupq_n_f32, vdupq_n_s32, vfmaq_f32, vfmaq_n_f32,
    vld1q_f32, vld1q_s8, vld1q_s32, vmlaq_s32, vmulq_n_f32, vshrq_n_s32, vst1q_f32,
};
use std::arch::asm;

use super::rows::{Bytes, ROWS, Unsigned};
use super::unpacked::{COLUMNS, Eights, Narrow};
use super::weights::BLOCK;

/// Results of a tile.
pub type Tile = [[f32; COLUMNS]; ROWS];

/// Columns of a vector.
const LANES: usize = 4;

/// Vectors that pass at a time.
const VECTORS: usize = 2;

/// How often these pass.
const PARTS: usize = COLUMNS / LANES / VECTORS;

/// A number for each column that passes and each row.
type Floats = [[float32x4_t; ROWS]; VECTORS];
type Sums = [[int32x4_t; ROWS]; VECTORS];

/// 6-bit weights.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn six_bits(rows: &[Bytes], panel: &[Narrow]) -> Tile {
    let mut result = [[[vdupq_n_f32(0.0); ROWS]; VECTORS]; PARTS];
    for (x, w) in rows.iter().zip(panel) {
        for (part, result) in result.iter_mut().enumerate() {
            add_scaled(&sums::<4>(x, w, part), floats(&w.d, part), &x.scales, result);
        }
    }
    store(&result)
}

/// 4-bit and 5-bit weights, which have minima.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn with_minima(rows: &[Bytes], panel: &[Narrow]) -> Tile {
    let mut result = [[[vdupq_n_f32(0.0); ROWS]; VECTORS]; PARTS];
    for (x, w) in rows.iter().zip(panel) {
        for (part, result) in result.iter_mut().enumerate() {
            add_scaled(&sums::<8>(x, w, part), floats(&w.d, part), &x.scales, result);
            for (minima, sums) in w.minima.iter().zip(&x.sums) {
                for (result, minima) in result.iter_mut().zip(floats(minima, part)) {
                    for (result, sum) in result.iter_mut().zip(sums) {
                        *result = vfmaq_n_f32(*result, minima, *sum);
                    }
                }
            }
        }
    }
    store(&result)
}

/// 8-bit weights. Only the first `width` of each row count.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn eight_bits(rows: &[Unsigned], panel: &[Eights], width: usize) -> Tile {
    let mut result = [[[vdupq_n_f32(0.0); ROWS]; VECTORS]; PARTS];
    for (block, (x, w)) in rows.iter().zip(panel).enumerate() {
        let count = (width - block * BLOCK).min(BLOCK).div_ceil(32);
        let quads = x.quads.as_chunks::<8>().0.iter().zip(w.quads.as_chunks::<8>().0);
        for (part, result) in result.iter_mut().enumerate() {
            for (i, (x_quads, w_quads)) in quads.clone().take(count).enumerate() {
                let mut sums = [[vdupq_n_s32(0); ROWS]; VECTORS];
                add_products(x_quads, w_quads, part, &mut sums);
                add_scaled(&sums, floats(&w.scales[i], part), &x.scales[i], result);
            }
        }
    }
    store(&result)
}

/// A block's sums, with a scale for every `4 * QUADS` weights.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sums<const QUADS: usize>(x: &Bytes, w: &Narrow, part: usize) -> Sums {
    let mut sums = [[vdupq_n_s32(0); ROWS]; VECTORS];
    let quads = x.quads.as_chunks::<QUADS>().0.iter().zip(w.quads.as_chunks::<QUADS>().0);
    for ((x, quads), scales) in quads.zip(&w.scales) {
        let mut products = [[vdupq_n_s32(0); ROWS]; VECTORS];
        add_products(x, quads, part, &mut products);
        let scales = vectors(scales, part);
        for ((sums, products), scales) in sums.iter_mut().zip(products).zip(scales) {
            // SAFETY: four numbers of 32 bits. A scale stands twice in each.
            let scales = vshrq_n_s32::<16>(unsafe { vld1q_s32(scales.as_ptr().cast()) });
            for (sum, product) in sums.iter_mut().zip(products) {
                *sum = vmlaq_s32(*sum, product, scales);
            }
        }
    }
    sums
}

/// Adds the products of some quads.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_products<const QUADS: usize>(
    x: &[[[u8; 4]; ROWS]; QUADS],
    weights: &[[[i8; 4]; COLUMNS]; QUADS],
    part: usize,
    sums: &mut Sums,
) {
    for (x, weights) in x.iter().zip(weights) {
        // SAFETY: 16 bytes.
        let x = unsafe { vld1q_s8(x.as_ptr().cast()) };
        for (sums, weights) in sums.iter_mut().zip(vectors(weights, part)) {
            // SAFETY: 16 bytes.
            let weights = unsafe { vld1q_s8(weights.as_ptr().cast()) };
            sums[0] = dot::<0>(sums[0], weights, x);
            sums[1] = dot::<1>(sums[1], weights, x);
            sums[2] = dot::<2>(sums[2], weights, x);
            sums[3] = dot::<3>(sums[3], weights, x);
        }
    }
}

/// Adds the dot products of four columns' quads with one row's. The standard library's function is not stable.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot<const ROW: usize>(mut sums: int32x4_t, weights: int8x16_t, rows: int8x16_t) -> int32x4_t {
    const { assert!(ROW < ROWS) };
    // SAFETY: changes nothing but the register of the sums.
    unsafe {
        asm!(
            "sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]",
            inout(vreg) sums, in(vreg) weights, in(vreg) rows, const ROW,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Adds a block's sums, times both scales.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_scaled(sums: &Sums, d: [float32x4_t; VECTORS], scales: &[f32; ROWS], result: &mut Floats) {
    for ((result, sums), d) in result.iter_mut().zip(sums).zip(d) {
        for ((result, sum), scale) in result.iter_mut().zip(sums).zip(scales) {
            *result = vfmaq_f32(*result, vcvtq_f32_s32(*sum), vmulq_n_f32(d, *scale));
        }
    }
}

/// A part's columns, a vector of them at a time.
#[inline(always)]
fn vectors<T>(of: &[T; COLUMNS], part: usize) -> &[[T; LANES]; VECTORS] {
    &of.as_chunks::<LANES>().0.as_chunks::<VECTORS>().0[part]
}

/// Loads a part's floats.
#[inline]
#[target_feature(enable = "neon")]
fn floats(of: &[f32; COLUMNS], part: usize) -> [float32x4_t; VECTORS] {
    let [a, b] = vectors(of, part);
    // SAFETY: four floats each.
    unsafe { [vld1q_f32(a.as_ptr()), vld1q_f32(b.as_ptr())] }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(result: &[Floats; PARTS]) -> Tile {
    let mut tile = [[0.0; COLUMNS]; ROWS];
    for (vector, rows) in result.as_flattened().iter().enumerate() {
        for (to, row) in tile.iter_mut().zip(rows) {
            let to: &mut [f32; LANES] = &mut to.as_chunks_mut::<LANES>().0[vector];
            // SAFETY: four floats.
            unsafe { vst1q_f32(to.as_mut_ptr(), *row) };
        }
    }
    tile
}
