//! Products of few rows with Q8_0, from the columns as they lie in the file: nothing is unpacked, and each weight is read
//! once for eight rows.
//!
//! `vpmaddubsw` multiplies unsigned bytes (the weights' sizes) by signed ones (activations with the weights' signs).
//! Neither exceeds 128 by 127, so that sums of two fit 16 bits.

use std::arch::x86_64::{
    __m256, __m256i, _mm_add_ps, _mm_cvtph_ps, _mm_cvtsi32_si128, _mm_storeu_ps, _mm256_abs_epi8,
    _mm256_broadcastss_ps, _mm256_castps256_ps128, _mm256_cvtepi32_ps, _mm256_extractf128_ps,
    _mm256_fmadd_ps, _mm256_hadd_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_mul_ps, _mm256_set1_epi16, _mm256_set1_ps, _mm256_setzero_ps, _mm256_sign_epi8,
};

use super::rows::{ROWS, Signed};
use super::tile::Tile;
use super::unpacked::COLUMNS;
use super::weights::{Kind, SMALL_BYTES, Weights};

/// `G` groups of rows with a panel's columns.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn eight_bits<const G: usize>(rows: [&[Signed]; G], weights: &Weights, first: usize) -> [Tile; G] {
    let mut tiles = [[[0.0; COLUMNS]; ROWS]; G];
    for column in first..weights.columns.min(first + COLUMNS) {
        let sums = dots(rows, weights.column(column));
        for (tile, sums) in tiles.iter_mut().zip(sums) {
            for (row, sum) in tile.iter_mut().zip(add_lanes(sums)) {
                row[column - first] = sum;
            }
        }
    }
    tiles
}

/// Dot products of the rows with a column, in eight parts each.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dots<const G: usize>(rows: [&[Signed]; G], column: &[u8]) -> [[__m256; ROWS]; G] {
    let mut sums = [[_mm256_setzero_ps(); ROWS]; G];
    for (block, bytes) in column.chunks(Kind::Q8_0.bytes()).enumerate() {
        let rows = rows.map(|row| &row[block].parts);
        for (i, bytes) in bytes.as_chunks::<SMALL_BYTES>().0.iter().enumerate() {
            let [low, high, weights @ ..] = bytes;
            let (d, weights) = (half(u16::from_le_bytes([*low, *high])), load(weights));
            let sizes = _mm256_abs_epi8(weights);
            for (sums, parts) in sums.iter_mut().zip(rows) {
                let part = &parts[i];
                for ((sum, x), scale) in sums.iter_mut().zip(&part.numbers).zip(part.scales) {
                    let products = _mm256_maddubs_epi16(sizes, _mm256_sign_epi8(load(x), weights));
                    let products = _mm256_cvtepi32_ps(_mm256_madd_epi16(products, _mm256_set1_epi16(1)));
                    *sum = _mm256_fmadd_ps(products, _mm256_mul_ps(d, _mm256_set1_ps(scale)), *sum);
                }
            }
        }
    }
    sums
}

/// The sum of each row's eight parts.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add_lanes([a, b, c, d]: [__m256; ROWS]) -> [f32; ROWS] {
    let halves = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    let sums = _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps::<1>(halves));
    let mut lanes = [0.0; ROWS];
    // SAFETY: four floats.
    unsafe { _mm_storeu_ps(lanes.as_mut_ptr(), sums) };
    lanes
}

/// A half-precision number in all lanes.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn half(bits: u16) -> __m256 {
    _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load<T>(bytes: &[T; 32]) -> __m256i {
    const { assert!(size_of::<T>() == 1) };
    // SAFETY: 32 bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}
