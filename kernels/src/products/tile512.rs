//! The products of [`tile`](super::tile) with AVX-512's VNNI: up to eight rows with a panel's columns, and the same results
//! to the bit.
//!
//! `vpdpbusd` multiplies unsigned bytes (activations) by signed ones (weights) and adds four products to a sum of 32
//! bits, where nothing overflows. A register holds all sixteen columns. Loads bound the speed, one a row for each
//! instruction: eight rows share each weight that is loaded.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_add_epi32, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
    _mm512_load_ps, _mm512_load_si512, _mm512_mul_ps, _mm512_mullo_epi32, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_srai_epi32,
    _mm512_store_si512, _mm512_storeu_ps, _mm512_sub_epi32,
};

use super::panel::{COLUMNS, Eights, Narrow};
use super::rows::{Bytes, ROWS, Unsigned};
use super::tile::Tile;
use super::weights::BLOCK;

/// A number for each result of `G` tiles.
type Floats<const G: usize> = [[__m512; ROWS]; G];
type Sums<const G: usize> = [[__m512i; ROWS]; G];

/// Loads sixteen numbers of 32 bits.
macro_rules! load {
    ($of:expr) => {{
        const { assert!(COLUMNS == 16) };
        // SAFETY: every field of a panel's block has 64 bytes for all columns and begins at a multiple of 64.
        unsafe { _mm512_load_si512((&raw const $of).cast()) }
    }};
}

/// Loads sixteen floats.
macro_rules! floats {
    ($of:expr) => {{
        let of: &[f32; COLUMNS] = $of;
        // SAFETY: as above.
        unsafe { _mm512_load_ps(of.as_ptr()) }
    }};
}

/// What [`panel::offsets`](super::panel::offsets) gives.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn offsets<const QUADS: usize>(to: &mut Narrow) {
    let mut sum = _mm512_setzero_si512();
    for (quads, scales) in to.quads.as_chunks::<QUADS>().0.iter().zip(&to.scales) {
        let mut products = _mm512_setzero_si512();
        for quad in quads {
            products = _mm512_dpbusd_epi32(products, _mm512_set1_epi8(i8::MIN), load!(*quad));
        }
        let scales = _mm512_srai_epi32::<16>(load!(*scales));
        sum = _mm512_sub_epi32(sum, _mm512_mullo_epi32(products, scales));
    }
    // SAFETY: sixteen numbers at a multiple of 64.
    unsafe { _mm512_store_si512(to.offsets.as_mut_ptr().cast(), sum) };
}

/// 6-bit weights.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn six_bits<const G: usize>(rows: [&[Bytes]; G], panel: &[Narrow]) -> [Tile; G] {
    let mut result = [[_mm512_setzero_ps(); ROWS]; G];
    for (block, w) in panel.iter().enumerate() {
        let rows = rows.map(|rows| &rows[block]);
        add_scaled(&sums::<4, G>(rows, w), &w.d, rows.map(|x| &x.scales), &mut result);
    }
    store(&result)
}

/// 4-bit and 5-bit weights, which have minima.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn with_minima<const G: usize>(rows: [&[Bytes]; G], panel: &[Narrow]) -> [Tile; G] {
    let mut result = [[_mm512_setzero_ps(); ROWS]; G];
    for (block, w) in panel.iter().enumerate() {
        let rows = rows.map(|rows| &rows[block]);
        add_scaled(&sums::<8, G>(rows, w), &w.d, rows.map(|x| &x.scales), &mut result);
        for (i, minima) in w.minima.iter().enumerate() {
            let minima = floats!(minima);
            for (result, x) in result.iter_mut().zip(rows) {
                for (result, sum) in result.iter_mut().zip(x.sums[i]) {
                    *result = _mm512_fmadd_ps(minima, _mm512_set1_ps(sum), *result);
                }
            }
        }
    }
    store(&result)
}

/// 8-bit weights. Only the first `width` of each row count.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn eight_bits<const G: usize>(
    rows: [&[Unsigned]; G],
    panel: &[Eights],
    width: usize,
) -> [Tile; G] {
    let mut result = [[_mm512_setzero_ps(); ROWS]; G];
    for (block, w) in panel.iter().enumerate() {
        let count = (width - block * BLOCK).min(BLOCK).div_ceil(32);
        let rows = rows.map(|rows| &rows[block]);
        for i in 0..count {
            let mut sums = [[load!(w.offsets[i]); ROWS]; G];
            add_products::<8, G>(rows.map(|x| &x.quads), &w.quads, i, &mut sums);
            add_scaled(&sums, &w.scales[i], rows.map(|x| &x.scales[i]), &mut result);
        }
    }
    store(&result)
}

/// A block's sums, with a scale for every `4 * QUADS` weights.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn sums<const QUADS: usize, const G: usize>(rows: [&Bytes; G], w: &Narrow) -> Sums<G> {
    let mut sums = [[load!(w.offsets); ROWS]; G];
    for part in 0..BLOCK / 4 / QUADS {
        let mut products = [[_mm512_setzero_si512(); ROWS]; G];
        add_products::<QUADS, G>(rows.map(|x| &x.quads), &w.quads, part, &mut products);
        // A scale stands twice in 32 bits.
        let scales = _mm512_srai_epi32::<16>(load!(w.scales[part]));
        for (sums, products) in sums.iter_mut().zip(products) {
            for (sum, product) in sums.iter_mut().zip(products) {
                *sum = _mm512_add_epi32(*sum, _mm512_mullo_epi32(product, scales));
            }
        }
    }
    sums
}

/// Adds the products of the `part`th `QUADS` quads.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn add_products<const QUADS: usize, const G: usize>(
    rows: [&[[[u8; 4]; ROWS]; BLOCK / 4]; G],
    weights: &[[[i8; 4]; COLUMNS]; BLOCK / 4],
    part: usize,
    sums: &mut Sums<G>,
) {
    for i in part * QUADS..part * QUADS + QUADS {
        let weights = load!(weights[i]);
        for (sums, x) in sums.iter_mut().zip(rows) {
            for (sum, quad) in sums.iter_mut().zip(x[i]) {
                *sum = _mm512_dpbusd_epi32(*sum, _mm512_set1_epi32(i32::from_le_bytes(quad)), weights);
            }
        }
    }
}

/// Adds a block's sums, times both scales.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_scaled<const G: usize>(
    sums: &Sums<G>,
    d: &[f32; COLUMNS],
    scales: [&[f32; ROWS]; G],
    result: &mut Floats<G>,
) {
    let d = floats!(d);
    for ((result, sums), scales) in result.iter_mut().zip(sums).zip(scales) {
        for ((result, sum), scale) in result.iter_mut().zip(sums).zip(scales) {
            let scale = _mm512_mul_ps(d, _mm512_set1_ps(*scale));
            *result = _mm512_fmadd_ps(_mm512_cvtepi32_ps(*sum), scale, *result);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store<const G: usize>(result: &Floats<G>) -> [Tile; G] {
    let mut tiles = [[[0.0; COLUMNS]; ROWS]; G];
    for (to, from) in tiles.as_flattened_mut().iter_mut().zip(result.as_flattened()) {
        // SAFETY: sixteen floats.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), *from) };
    }
    tiles
}
