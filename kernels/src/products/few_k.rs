//! Products of few rows with K-quants, from the columns as they lie in the file, one after the other: weights are read in
//! the order that memory is fastest in, and once for all rows.
//!
//! `vpmaddubsw` multiplies weights, which are unsigned as stored, by signed activations: two products are at most
//! 2 · 63 · 127, which fits 16 bits. `vpmaddwd` applies the scales. What an integer adds up in a block is exact as a float:
//! at most 16 · 63 · 127 · 128 < 2²⁴.

use std::arch::x86_64::{
    __m256i, _MM_HINT_T0, _mm_cvtph_ps, _mm_cvtsi32_si128, _mm_cvtsi64_si128, _mm_cvtss_f32, _mm_loadu_si128,
    _mm_prefetch, _mm_unpacklo_epi8, _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi16, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_slli_epi16, _mm256_sub_epi16,
};

use super::few::add_lanes;
use super::rows::{Few, ROWS};
use super::sixty_four::{Avx2, Avx512, SixtyFour};
use super::unpacked::COLUMNS;
use super::weights::{BLOCK, Kind, Weights};
use crate::level::Level;

/// Bytes after those at hand that are asked for: those of the next columns where a column ends.
const AHEAD: usize = 2048;

/// The rows' results with a panel's columns.
type Results<const R: usize> = [[f32; COLUMNS]; R];

/// `R` rows, the first of a group's and the ones after it, with a panel's columns. `groups` are whole rows' blocks.
///
/// # Safety
/// The level's instructions are there.
pub(super) unsafe fn products<const R: usize>(
    level: Level,
    groups: &[Few],
    weights: &Weights,
    first: usize,
) -> Results<R> {
    // SAFETY: the caller's.
    unsafe {
        match (weights.kind, level) {
            (Kind::Q4K, Level::Avx512) => wide::<FourBits, R>(groups, weights, first),
            (Kind::Q5K, Level::Avx512) => wide::<FiveBits, R>(groups, weights, first),
            (Kind::Q6K, Level::Avx512) => wide::<SixBits, R>(groups, weights, first),
            (Kind::Q4K, _) => narrow::<FourBits, R>(groups, weights, first),
            (Kind::Q5K, _) => narrow::<FiveBits, R>(groups, weights, first),
            (Kind::Q6K, _) => narrow::<SixBits, R>(groups, weights, first),
            (Kind::Q8_0, _) => unreachable!("activations rounded for K-quants"),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c")]
fn wide<K: Packed, const R: usize>(groups: &[Few], weights: &Weights, first: usize) -> Results<R> {
    // SAFETY: the instructions are there.
    unsafe { columns::<Avx512, K, R>(groups, weights, first) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn narrow<K: Packed, const R: usize>(groups: &[Few], weights: &Weights, first: usize) -> Results<R> {
    // SAFETY: the instructions are there.
    unsafe { columns::<Avx2, K, R>(groups, weights, first) }
}

#[inline(always)]
unsafe fn columns<S: SixtyFour, K: Packed, const R: usize>(
    groups: &[Few],
    weights: &Weights,
    first: usize,
) -> Results<R> {
    let mut results = [[0.0; COLUMNS]; R];
    for column in first..weights.columns.min(first + COLUMNS) {
        // SAFETY: the caller's.
        let sums = unsafe { dots::<S, K, R>(groups, weights.column(column)) };
        for (results, sums) in results.chunks_mut(ROWS).zip(sums.chunks(ROWS)) {
            // SAFETY: any level has AVX2.
            let sums = unsafe {
                add_lanes(std::array::from_fn(|i| {
                    sums.get(i).map_or(_mm256_setzero_ps(), |sum| S::fold(*sum))
                }))
            };
            for (results, sum) in results.iter_mut().zip(sums) {
                results[column - first] = sum;
            }
        }
    }
    results
}

/// Dot products of the rows with a column, in sixteen parts each.
#[inline(always)]
unsafe fn dots<S: SixtyFour, K: Packed, const R: usize>(groups: &[Few], column: &[u8]) -> [S::Floats; R] {
    let blocks = column.len() / K::BYTES;
    // SAFETY: the caller's.
    unsafe {
        let mut results = [S::no_floats(); R];
        for (block, bytes) in column.chunks_exact(K::BYTES).enumerate() {
            for line in (0..K::BYTES).step_by(64) {
                _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().wrapping_add(AHEAD + line).cast());
            }
            let w = K::unpack::<S>(bytes);
            for (row, result) in results.iter_mut().enumerate() {
                let (x, row) = (&groups[row / ROWS * blocks + block], row % ROWS);
                let minima = S::widen(_mm256_madd_epi16(w.minima, load(&x.sums[row])));
                let nothing = S::widen(_mm256_setzero_si256());
                let mut sum = if K::MINIMA_HAVE_A_FACTOR { nothing } else { minima };
                for i in 0..4 {
                    let x = &x.numbers[row].as_chunks::<64>().0[i];
                    sum = S::add_products(sum, w.weights[i], x, w.scales[i]);
                }
                let mut scaled = S::no_floats();
                if K::MINIMA_HAVE_A_FACTOR {
                    scaled = S::add_scaled(scaled, S::floats(minima), w.d_min);
                }
                scaled = S::add_scaled(scaled, S::floats(sum), w.d);
                *result = S::add_scaled(*result, scaled, x.scales[row]);
            }
        }
        results
    }
}

/// A block of a column: each weight is `d · scale · weight + d_min · minimum`, where the weight isn't negative.
struct Unpacked<S: SixtyFour> {
    weights: [S::Bytes; 4],
    /// A word for every eight words that two weights' products become.
    scales: [S::Bytes; 4],
    /// For every 16 weights.
    minima: __m256i,
    d: f32,
    /// Unless minima have the factor `d`.
    d_min: f32,
}

/// How blocks are stored: llama.cpp's `ggml-common.h`.
trait Packed {
    /// Of a block.
    const BYTES: usize;
    /// Or else they have the weights'.
    const MINIMA_HAVE_A_FACTOR: bool;
    /// # Safety
    /// As for [`SixtyFour`], and the block has its bytes.
    unsafe fn unpack<S: SixtyFour>(block: &[u8]) -> Unpacked<S>;
}

enum FourBits {}
enum FiveBits {}
enum SixBits {}

impl Packed for FourBits {
    const BYTES: usize = Kind::Q4K.bytes();
    const MINIMA_HAVE_A_FACTOR: bool = true;

    #[inline(always)]
    unsafe fn unpack<S: SixtyFour>(block: &[u8]) -> Unpacked<S> {
        let nibbles = block[16..144].as_chunks::<32>().0;
        // SAFETY: the caller's.
        unsafe {
            let at = |i: usize| S::and(S::right::<0, 4>(S::twice(&nibbles[i])), 15);
            with_minima(block, [at(0), at(1), at(2), at(3)])
        }
    }
}

impl Packed for FiveBits {
    const BYTES: usize = Kind::Q5K.bytes();
    const MINIMA_HAVE_A_FACTOR: bool = true;

    #[inline(always)]
    unsafe fn unpack<S: SixtyFour>(block: &[u8]) -> Unpacked<S> {
        let parts = block[16..176].as_chunks::<32>().0;
        // SAFETY: the caller's.
        unsafe {
            // Bit i of these bytes is the fifth of the weights of the ith 32.
            let high = S::twice(&parts[0]);
            let high = [
                S::left::<4, 3>(high),
                S::left::<2, 1>(high),
                S::right::<0, 1>(high),
                S::right::<2, 3>(high),
            ];
            let at = |i: usize| {
                let low = S::and(S::right::<0, 4>(S::twice(&parts[1 + i])), 15);
                S::or(low, S::and(high[i], 16))
            };
            with_minima(block, [at(0), at(1), at(2), at(3)])
        }
    }
}

impl Packed for SixBits {
    const BYTES: usize = Kind::Q6K.bytes();
    const MINIMA_HAVE_A_FACTOR: bool = false;

    #[inline(always)]
    unsafe fn unpack<S: SixtyFour>(block: &[u8]) -> Unpacked<S> {
        let (low, rest) = block.split_at(128);
        let (high, rest) = rest.split_at(64);
        let (low, high) = (low.as_chunks::<64>().0, high.as_chunks::<32>().0);
        // SAFETY: the caller's.
        unsafe {
            let half = |i: usize| {
                let (low, high) = (S::load(&low[i]), S::twice(&high[i]));
                [
                    S::or(S::and(low, 15), S::and(S::left::<4, 2>(high), 48)),
                    S::or(S::and(S::right::<4, 4>(low), 15), S::and(S::right::<0, 2>(high), 48)),
                ]
            };
            let ([a, b], [c, d]) = (half(0), half(1));
            let scales = _mm256_cvtepi8_epi16(_mm_loadu_si128(rest.as_ptr().cast()));
            // Weights are stored as 32 + weight.
            let minima = _mm256_sub_epi16(_mm256_setzero_si256(), _mm256_slli_epi16::<5>(scales));
            Unpacked {
                weights: [a, b, c, d],
                scales: spread::<S>(scales),
                minima,
                d: float(&rest[16..18]),
                d_min: 0.0,
            }
        }
    }
}

/// A block of Q4_K or Q5_K with these weights. Its scales and minima have 6 bits each, packed into twelve bytes.
#[inline(always)]
unsafe fn with_minima<S: SixtyFour>(block: &[u8], weights: [S::Bytes; 4]) -> Unpacked<S> {
    let packed = |i: usize| u32::from_le_bytes(block[4 + 4 * i..][..4].try_into().unwrap_or_default());
    let [a, b, c] = [packed(0), packed(1), packed(2)];
    let upper = |a: u32| (a >> 2) & 0x3030_3030;
    let scales = join(a & 0x3F3F_3F3F, (c & 0x0F0F_0F0F) | upper(a));
    let minima = join(b & 0x3F3F_3F3F, ((c >> 4) & 0x0F0F_0F0F) | upper(b));
    // SAFETY: the caller's.
    unsafe {
        let (d, d_min) = (float(&block[..2]), -float(&block[2..4]));
        Unpacked { weights, scales: spread::<S>(doubled(scales)), minima: doubled(minima), d, d_min }
    }
}

#[inline(always)]
fn join(low: u32, high: u32) -> i64 {
    (u64::from(low) | u64::from(high) << 32).cast_signed()
}

/// Eight bytes as words, each twice.
#[inline]
#[target_feature(enable = "avx2")]
fn doubled(bytes: i64) -> __m256i {
    let bytes = _mm_cvtsi64_si128(bytes);
    _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(bytes, bytes))
}

/// The scales of every 64 weights.
#[inline(always)]
unsafe fn spread<S: SixtyFour>(scales: __m256i) -> [S::Bytes; 4] {
    // SAFETY: the caller's.
    unsafe {
        [S::spread::<0>(scales), S::spread::<1>(scales), S::spread::<2>(scales), S::spread::<3>(scales)]
    }
}

/// A half-precision number.
#[inline]
#[target_feature(enable = "f16c")]
fn float(bytes: &[u8]) -> f32 {
    let bits = u16::from_le_bytes([bytes[0], bytes[1]]);
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(words: &[i16; BLOCK / 16]) -> __m256i {
    // SAFETY: 32 bytes.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}
