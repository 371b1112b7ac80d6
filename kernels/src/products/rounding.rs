//! How activations are rounded, on x86-64.

use std::arch::x86_64::{
    __m256, __m256i, _mm256_and_ps, _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cvtps_epi32,
    _mm256_loadu_ps, _mm256_madd_epi16, _mm256_max_ps, _mm256_mul_ps, _mm256_or_ps, _mm256_packs_epi16,
    _mm256_packs_epi32, _mm256_permute4x64_epi64, _mm256_permutevar8x32_epi32, _mm256_set1_epi8,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32, _mm256_setzero_ps,
    _mm256_storeu_ps, _mm256_storeu_si256, _mm256_sub_ps, _mm256_testz_si256, _mm256_xor_si256,
};

/// Blocks with smaller numbers are taken for zeros: 1 / scale would overflow.
const LEAST: f32 = 1e-30;

/// The scale of some numbers that are rounded to ±`most`, and what they are multiplied by: 0 for none.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn scale(x: &[f32], most: f32) -> (f32, f32) {
    let (mut max, mut bad) = (_mm256_setzero_ps(), _mm256_setzero_ps());
    let absolute = _mm256_castsi256_ps(_mm256_set1_epi32(i32::MAX));
    for x in x.as_chunks::<8>().0 {
        let x = load(x);
        // 0, or NaN for what is not finite.
        bad = _mm256_or_ps(bad, _mm256_sub_ps(x, x));
        max = _mm256_max_ps(_mm256_and_ps(x, absolute), max);
    }
    let bad = _mm256_castps_si256(bad);
    if _mm256_testz_si256(bad, bad) == 0 {
        return (f32::NAN, 0.0);
    }
    let mut lanes = [0.0; 8];
    // SAFETY: eight floats.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), max) };
    let max = lanes.into_iter().fold(0.0, f32::max);
    if max < LEAST { (0.0, 0.0) } else { (max / most, most / max) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(x: &[f32; 8]) -> __m256 {
    // SAFETY: eight floats.
    unsafe { _mm256_loadu_ps(x.as_ptr()) }
}

/// Rounds eight numbers, ties to even.
#[inline]
#[target_feature(enable = "avx2")]
fn round(x: &[f32; 8], factor: f32) -> __m256i {
    _mm256_cvtps_epi32(_mm256_mul_ps(load(x), _mm256_set1_ps(factor)))
}

/// Rounds numbers to ±127: twice sixteen words as packing leaves them, four of each eight.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn rounded(x: &[f32; 32], factor: f32) -> [__m256i; 2] {
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| round(&x.as_chunks::<8>().0[i], factor));
    [_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d)]
}

/// The bytes of [`rounded`] numbers, in their order.
#[inline]
#[target_feature(enable = "avx2")]
fn pack([ab, cd]: [__m256i; 2]) -> __m256i {
    // Packing works on halves: four numbers of each of the four, twice.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_permutevar8x32_epi32(_mm256_packs_epi16(ab, cd), order)
}

/// Rounds numbers to ±127.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn round_to_signed(x: &[f32; 32], factor: f32, bytes: &mut [i8; 32]) {
    // SAFETY: 32 bytes.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), pack(rounded(x, factor))) };
}

/// Rounds numbers to 128 ± 127, and gives the sum of what they are rounded to, less 128 each.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn round_to_bytes(x: &[f32; 32], factor: f32, bytes: &mut [u8; 32]) -> i32 {
    let words = rounded(x, factor);
    let ones = _mm256_set1_epi16(1);
    let sums = [_mm256_madd_epi16(words[0], ones), _mm256_madd_epi16(words[1], ones)];
    let packed = _mm256_xor_si256(pack(words), _mm256_set1_epi8(i8::MIN));
    let mut lanes = [[0i32; 8]; 2];
    // SAFETY: 32 bytes each.
    unsafe {
        _mm256_storeu_si256(bytes.as_mut_ptr().cast(), packed);
        _mm256_storeu_si256(lanes[0].as_mut_ptr().cast(), sums[0]);
        _mm256_storeu_si256(lanes[1].as_mut_ptr().cast(), sums[1]);
    }
    lanes.as_flattened().iter().sum()
}

/// Rounds numbers to ±127.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn round_to_words(x: &[f32; 16], factor: f32, words: &mut [i16; 16]) {
    let [a, b] = [0, 1].map(|i| round(&x.as_chunks::<8>().0[i], factor));
    let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(a, b));
    // SAFETY: 32 bytes.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), packed) };
}
