//! Unpacks sixteen columns of weights on x86-64.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_load_si256, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_setr_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srai_epi16, _mm256_store_si256,
    _mm256_storeu_si256, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32,
    _mm256_unpacklo_epi64,
};

use super::unpacked::{COLUMNS, Columns, Eights, Narrow, Wide, decode_columns};
use super::weights::{BLOCK, Weights};

/// Columns of a vector.
const HALF: usize = 8;

/// Unpacks block `block` of the columns from `first` on of a K-quant with a scale for every `4 * QUADS` weights, but for its
/// [`offsets`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
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
    }
    if QUADS == 8 {
        spread_per_32(columns, &mut to.minima);
    }
    spread_scales(columns, &mut to.scales);
}

/// Unpacks block `block` of the columns from `first` on of Q8_0.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn wide(weights: &Weights, (first, block): (usize, usize), columns: &mut Columns, to: &mut Wide) {
    decode_columns(weights, first, block, columns);
    let mut quads = Aligned([[[0; 4]; COLUMNS]; BLOCK / 4]);
    interleave(columns, &mut quads.0);
    for (pairs, quad) in to.pairs.as_chunks_mut::<2>().0.iter_mut().zip(&quads.0) {
        widen(quad, pairs);
    }
    spread_per_32(columns, &mut to.scales);
}

/// Unpacks block `block` of the columns from `first` on of Q8_0 as bytes, but for the offsets.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn eights(
    weights: &Weights,
    (first, block): (usize, usize),
    columns: &mut Columns,
    to: &mut Eights,
) {
    decode_columns(weights, first, block, columns);
    interleave(columns, &mut to.quads);
    spread_per_32(columns, &mut to.scales);
}

/// Turns bytes into words: each column's first two, then its last two.
#[inline]
#[target_feature(enable = "avx2")]
fn widen(quad: &[[i8; 4]; COLUMNS], pairs: &mut [[[i16; 2]; COLUMNS]; 2]) {
    // A byte is put into the upper half of its word, and shifted down with its sign.
    let first = _mm256_setr_epi8(
        -1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, //
        -1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13,
    );
    let last = _mm256_or_si256(first, _mm256_set1_epi16(0x0200));
    for half in 0..COLUMNS / HALF {
        // SAFETY: the columns' half of an aligned block.
        let bytes = unsafe { load(quad.as_chunks::<HALF>().0, half) };
        for (places, pairs) in [first, last].into_iter().zip(pairs.iter_mut()) {
            let words = _mm256_srai_epi16::<8>(_mm256_shuffle_epi8(bytes, places));
            let to = &mut pairs.as_chunks_mut::<HALF>().0[half];
            // SAFETY: 32 bytes at a multiple of 32 within an aligned block.
            unsafe { _mm256_store_si256(to.as_mut_ptr().cast(), words) };
        }
    }
}

#[repr(C, align(64))]
struct Aligned([[[i8; 4]; COLUMNS]; BLOCK / 4]);

/// Brings four neighbours of all columns together: 8 × 8 transpositions.
#[inline]
#[target_feature(enable = "avx2")]
fn interleave(columns: &Columns, quads: &mut [[[i8; 4]; COLUMNS]; BLOCK / 4]) {
    for (half, columns) in columns.as_chunks::<HALF>().0.iter().enumerate() {
        for (part, quads) in quads.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let mut rows = [_mm256_setzero_si256(); 8];
            for (row, column) in rows.iter_mut().zip(columns) {
                let bytes: &[i8; 32] = &column.weights.as_chunks::<32>().0[part];
                // SAFETY: 32 bytes at a multiple of 32 within an aligned block.
                *row = unsafe { _mm256_load_si256(bytes.as_ptr().cast()) };
            }
            let rows = transpose(rows);
            for (quad, row) in quads.iter_mut().zip(rows) {
                let to: &mut [[i8; 4]; HALF] = &mut quad.as_chunks_mut::<HALF>().0[half];
                // SAFETY: 32 bytes at a multiple of 32 within an aligned block.
                unsafe { _mm256_store_si256(to.as_mut_ptr().cast(), row) };
            }
        }
    }
}

/// Brings the scales of all columns together, each twice.
#[inline]
#[target_feature(enable = "avx2")]
fn spread_scales(columns: &Columns, scales: &mut [[[i16; 2]; COLUMNS]; 16]) {
    // Of each two scales the first twice, then the second.
    let first = _mm256_setr_epi8(
        0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13, //
        0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13,
    );
    let second = _mm256_or_si256(first, _mm256_set1_epi8(2));
    for (half, columns) in columns.as_chunks::<HALF>().0.iter().enumerate() {
        let mut rows = [_mm256_setzero_si256(); 8];
        for (row, column) in rows.iter_mut().zip(columns) {
            // SAFETY: 32 bytes.
            *row = unsafe { _mm256_loadu_si256(column.scales.as_ptr().cast()) };
        }
        for (pair, row) in scales.as_chunks_mut::<2>().0.iter_mut().zip(transpose(rows)) {
            for (to, places) in pair.iter_mut().zip([first, second]) {
                let to: &mut [[i16; 2]; HALF] = &mut to.as_chunks_mut::<HALF>().0[half];
                // SAFETY: 32 bytes at a multiple of 32 within an aligned block.
                unsafe { _mm256_store_si256(to.as_mut_ptr().cast(), _mm256_shuffle_epi8(row, places)) };
            }
        }
    }
}

/// Brings what all columns have for every 32 weights together.
#[inline]
#[target_feature(enable = "avx2")]
fn spread_per_32(columns: &Columns, to: &mut [[f32; COLUMNS]; BLOCK / 32]) {
    for (half, columns) in columns.as_chunks::<HALF>().0.iter().enumerate() {
        let mut rows = [_mm256_setzero_si256(); 8];
        for (row, column) in rows.iter_mut().zip(columns) {
            // SAFETY: 32 bytes.
            *row = unsafe { _mm256_loadu_si256(column.per_32.as_ptr().cast()) };
        }
        for (to, row) in to.iter_mut().zip(transpose(rows)) {
            let to: &mut [f32; HALF] = &mut to.as_chunks_mut::<HALF>().0[half];
            // SAFETY: 32 bytes at a multiple of 32 within an aligned block.
            unsafe { _mm256_store_si256(to.as_mut_ptr().cast(), row) };
        }
    }
}

/// Transposes 8 × 8 numbers of 32 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(r: [__m256i; 8]) -> [__m256i; 8] {
    let mut a = r;
    for i in [0, 2, 4, 6] {
        a[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        a[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
    let mut b = a;
    for i in [0, 4] {
        b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    let mut c = b;
    for i in 0..4 {
        c[i] = _mm256_permute2x128_si256::<0x20>(b[i], b[i + 4]);
        c[i + 4] = _mm256_permute2x128_si256::<0x31>(b[i], b[i + 4]);
    }
    c
}

/// −128 · Σ scale · weight: a product with activations that are all 128, two quads at a time so that 16 bits suffice.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn offsets<const QUADS: usize>(to: &mut Narrow) {
    let x = _mm256_set1_epi8(i8::MIN);
    for half in 0..COLUMNS / HALF {
        let mut sum = _mm256_setzero_si256();
        for (sub, quads) in to.quads.as_chunks::<QUADS>().0.iter().enumerate() {
            // SAFETY: the columns' half of an aligned block.
            let scales = unsafe { load(to.scales[sub].as_chunks::<HALF>().0, half) };
            for quad in quads {
                // SAFETY: as above.
                let w = unsafe { load(quad.as_chunks::<HALF>().0, half) };
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(x, w), scales));
            }
        }
        let mut sums = [0i32; HALF];
        // SAFETY: 32 bytes.
        unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), sum) };
        to.offsets.as_chunks_mut::<HALF>().0[half] = sums.map(|sum| -sum);
    }
}

/// One half of the columns.
///
/// # Safety
/// It has 32 bytes at a multiple of 32.
#[inline]
#[target_feature(enable = "avx2")]
pub unsafe fn load<T>(halves: &[T], half: usize) -> __m256i {
    const { assert!(size_of::<T>() == 32) };
    // SAFETY: the caller's.
    unsafe { _mm256_load_si256((&raw const halves[half]).cast()) }
}
