//! The products themselves: four rows with a panel's columns.
//!
//! `vpmaddubsw` multiplies unsigned bytes (activations) by signed ones (weights) and adds pairs in 16 bits, which may
//! not overflow: 255 · 2ⁿ⁻¹ · 2 for weights of n bits, so that 2 (6 bits), 4 (5 bits) or 8 of these (4 bits) can be
//! added before `vpmaddwd` applies the scale. Loads bound the speed: at 4 and 5 bits the weights therefore stay in
//! registers while the rows pass, at 6 bits the sums do.

use std::arch::x86_64::{
    __m256, __m256i, _mm256_add_epi16, _mm256_add_epi32, _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_load_ps,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_storeu_ps,
};

use super::panel::load;
use super::rows::{Bytes, ROWS, Words};
use super::unpacked::{COLUMNS, Narrow, Wide};
use super::weights::BLOCK;

/// Results of a tile.
pub type Tile = [[f32; COLUMNS]; ROWS];

/// A number for each of a tile's results.
type Floats = [[__m256; 2]; ROWS];
type Sums = [[__m256i; 2]; ROWS];

/// Loads both halves of 16 numbers of 32 bits.
macro_rules! halves {
    ($of:expr) => {{
        let halves = $of.as_chunks::<8>().0;
        // SAFETY: every field of a panel's block begins at a multiple of 64.
        unsafe { [load(halves, 0), load(halves, 1)] }
    }};
}

/// Loads both halves of 16 floats.
macro_rules! floats {
    ($of:expr) => {{
        let of: &[f32; COLUMNS] = $of;
        // SAFETY: as above.
        unsafe { [_mm256_load_ps(of.as_ptr()), _mm256_load_ps(of[8..].as_ptr())] }
    }};
}

/// 6-bit weights: sums of two quads.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn six_bits(rows: &[Bytes], panel: &[Narrow]) -> Tile {
    let mut result = [[_mm256_setzero_ps(); 2]; ROWS];
    for (x, w) in rows.iter().zip(panel) {
        let mut sums = [halves!(w.offsets); ROWS];
        for (sub, quads) in w.quads.as_chunks::<4>().0.iter().enumerate() {
            let scales = halves!(w.scales[sub]);
            for (row, sums) in sums.iter_mut().enumerate() {
                for pair in [0, 2] {
                    let first = quad(x, sub * 4 + pair, row);
                    let second = quad(x, sub * 4 + pair + 1, row);
                    let (a, b) = (halves!(quads[pair]), halves!(quads[pair + 1]));
                    for h in 0..2 {
                        let products = _mm256_add_epi16(
                            _mm256_maddubs_epi16(first, a[h]),
                            _mm256_maddubs_epi16(second, b[h]),
                        );
                        sums[h] = _mm256_add_epi32(sums[h], _mm256_madd_epi16(products, scales[h]));
                    }
                }
            }
        }
        add_scaled(&sums, &w.d, &x.scales, &mut result);
    }
    store(&result)
}

/// 4-bit (`CHAIN` = 8) and 5-bit weights (4), which have minima: sums of `CHAIN` quads.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn with_minima<const CHAIN: usize>(rows: &[Bytes], panel: &[Narrow]) -> Tile {
    let mut result = [[_mm256_setzero_ps(); 2]; ROWS];
    for (x, w) in rows.iter().zip(panel) {
        let mut sums = [halves!(w.offsets); ROWS];
        for (chain, quads) in w.quads.as_chunks::<CHAIN>().0.iter().enumerate() {
            let mut products = [[_mm256_setzero_si256(); 2]; ROWS];
            for (i, weights) in quads.iter().enumerate() {
                let weights = halves!(weights);
                for (row, products) in products.iter_mut().enumerate() {
                    let x = quad(x, chain * CHAIN + i, row);
                    for h in 0..2 {
                        let product = _mm256_maddubs_epi16(x, weights[h]);
                        products[h] = if i == 0 { product } else { _mm256_add_epi16(products[h], product) };
                    }
                }
            }
            let scales = halves!(w.scales[chain * CHAIN / 8]);
            for (sums, products) in sums.iter_mut().zip(products) {
                for h in 0..2 {
                    sums[h] = _mm256_add_epi32(sums[h], _mm256_madd_epi16(products[h], scales[h]));
                }
            }
        }
        add_scaled(&sums, &w.d, &x.scales, &mut result);
        for (minima, sums) in w.minima.iter().zip(&x.sums) {
            let minima = floats!(minima);
            for (result, sum) in result.iter_mut().zip(sums) {
                for h in 0..2 {
                    result[h] = _mm256_fmadd_ps(minima[h], _mm256_set1_ps(*sum), result[h]);
                }
            }
        }
    }
    store(&result)
}

/// 8-bit weights by 8-bit activations, both as words. Only the first `width` of each row count.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn eight_bits(rows: &[Words], panel: &[Wide], width: usize) -> Tile {
    let mut result = [[_mm256_setzero_ps(); 2]; ROWS];
    for (block, (x, w)) in rows.iter().zip(panel).enumerate() {
        let count = (width - block * BLOCK).min(BLOCK).div_ceil(32);
        for (i, scales) in w.scales[..count].iter().enumerate() {
            let mut sums: Sums = [[_mm256_setzero_si256(); 2]; ROWS];
            for (x, w) in x.pairs[i * 16..][..16].iter().zip(&w.pairs[i * 16..][..16]) {
                let weights = halves!(w);
                for (sums, x) in sums.iter_mut().zip(x) {
                    let [a, b] = x.map(|x| i32::from(x.cast_unsigned()));
                    let x = _mm256_set1_epi32(a | b << 16);
                    for h in 0..2 {
                        sums[h] = _mm256_add_epi32(sums[h], _mm256_madd_epi16(x, weights[h]));
                    }
                }
            }
            add_scaled(&sums, scales, &x.scales[i], &mut result);
        }
    }
    store(&result)
}

/// Four neighbours of a row, for all columns.
#[inline]
#[target_feature(enable = "avx2")]
fn quad(x: &Bytes, quad: usize, row: usize) -> __m256i {
    _mm256_set1_epi32(i32::from_le_bytes(x.quads[quad][row]))
}

/// Adds a block's sums, times both scales.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_scaled(sums: &Sums, d: &[f32; COLUMNS], scales: &[f32; ROWS], result: &mut Floats) {
    let d = floats!(d);
    for ((result, sums), scale) in result.iter_mut().zip(sums).zip(scales) {
        for h in 0..2 {
            let scale = _mm256_mul_ps(d[h], _mm256_set1_ps(*scale));
            result[h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[h]), scale, result[h]);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn store(result: &Floats) -> Tile {
    let mut tile = [[0.0; COLUMNS]; ROWS];
    for (to, row) in tile.iter_mut().zip(result) {
        for (to, half) in to.as_chunks_mut::<8>().0.iter_mut().zip(row) {
            // SAFETY: eight floats.
            unsafe { _mm256_storeu_ps(to.as_mut_ptr(), *half) };
        }
    }
    tile
}
