//! Attention's two products, on a strip of [`LANES`] queries: with keys, and of weights with values.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

/// Queries (a token's head each) that are computed side by side.
pub const LANES: usize = 16;

/// Cells whose keys are read together are a multiple of what either implementation takes at once.
pub const CELLS: usize = 12;

/// A number for each query.
pub type Lane = [f32; LANES];

/// Results don't depend on the implementation: a sum's order is that of its terms, and each is rounded once.
pub trait Strips {
    /// The products of keys, rows of as many numbers as `query` has, with a strip of queries. There are a multiple of
    /// [`CELLS`] keys.
    ///
    /// # Safety
    /// For callers that are compiled for its instructions.
    unsafe fn dot_products(keys: &[f32], query: &[Lane], scores: &mut [Lane]);

    /// Adds the values of some cells, each times its weight, to a strip of every lane's rescaled sum. From a lane's sum
    /// to the next one's are `stride` numbers.
    ///
    /// # Safety
    /// For callers that are compiled for its instructions.
    unsafe fn add_weighted(
        weights: &[Lane],
        values: &[Lane],
        rescale: &Lane,
        sums: &mut [f32],
        stride: usize,
    );
}

/// Written so that the compiler makes vectors of AVX2 of it.
pub enum Plain {}

impl Strips for Plain {
    #[inline(always)]
    unsafe fn dot_products(keys: &[f32], query: &[Lane], scores: &mut [Lane]) {
        // What AVX2's registers hold.
        const AT_ONCE: usize = 6;
        let keys = keys.chunks_exact(AT_ONCE * query.len());
        for (keys, scores) in keys.zip(scores.as_chunks_mut::<AT_ONCE>().0) {
            let mut sums = [[0.0f32; LANES]; AT_ONCE];
            let rows: [&[f32]; AT_ONCE] = std::array::from_fn(|i| &keys[i * query.len()..][..query.len()]);
            for d in 0..query.len() {
                for (sum, row) in sums.iter_mut().zip(&rows) {
                    let key = row[d];
                    for (s, q) in sum.iter_mut().zip(&query[d]) {
                        *s = q.mul_add(key, *s);
                    }
                }
            }
            *scores = sums;
        }
    }

    #[inline(always)]
    unsafe fn add_weighted(
        weights: &[Lane],
        values: &[Lane],
        rescale: &Lane,
        sums: &mut [f32],
        stride: usize,
    ) {
        const AT_ONCE: usize = 4;
        for first in (0..LANES).step_by(AT_ONCE) {
            let mut sum = [[0.0f32; LANES]; AT_ONCE];
            for (i, sum) in sum.iter_mut().enumerate() {
                let old = &sums[(first + i) * stride..][..LANES];
                for (s, old) in sum.iter_mut().zip(old) {
                    *s = old * rescale[first + i];
                }
            }
            for (weight, value) in weights.iter().zip(values) {
                for (i, sum) in sum.iter_mut().enumerate() {
                    let weight = weight[first + i];
                    for (s, v) in sum.iter_mut().zip(value) {
                        *s = v.mul_add(weight, *s);
                    }
                }
            }
            for (i, sum) in sum.iter().enumerate() {
                sums[(first + i) * stride..][..LANES].copy_from_slice(sum);
            }
        }
    }
}

/// With AVX-512: enough sums at once that none waits for its last addition, which the compiler doesn't find.
#[cfg(target_arch = "x86_64")]
pub enum Avx512 {}

#[cfg(target_arch = "x86_64")]
impl Strips for Avx512 {
    #[inline(always)]
    unsafe fn dot_products(keys: &[f32], query: &[Lane], scores: &mut [Lane]) {
        let keys = keys.chunks_exact(CELLS * query.len());
        for (keys, scores) in keys.zip(scores.as_chunks_mut::<CELLS>().0) {
            let rows: [&[f32]; CELLS] = std::array::from_fn(|i| &keys[i * query.len()..][..query.len()]);
            // SAFETY: the caller's, and a lane is as wide as a register.
            unsafe {
                let mut sums = [_mm512_setzero_ps(); CELLS];
                for (d, query) in query.iter().enumerate() {
                    let query = _mm512_loadu_ps(query.as_ptr());
                    for (sum, row) in sums.iter_mut().zip(&rows) {
                        *sum = _mm512_fmadd_ps(query, _mm512_set1_ps(row[d]), *sum);
                    }
                }
                for (to, sum) in scores.iter_mut().zip(sums) {
                    _mm512_storeu_ps(to.as_mut_ptr(), sum);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn add_weighted(
        weights: &[Lane],
        values: &[Lane],
        rescale: &Lane,
        sums: &mut [f32],
        stride: usize,
    ) {
        const AT_ONCE: usize = 8;
        for first in (0..LANES).step_by(AT_ONCE) {
            let place = |i: usize| (first + i) * stride..(first + i) * stride + LANES;
            // SAFETY: the caller's, and a lane is as wide as a register.
            unsafe {
                let mut sum = [_mm512_setzero_ps(); AT_ONCE];
                for (i, sum) in sum.iter_mut().enumerate() {
                    *sum = _mm512_mul_ps(
                        _mm512_loadu_ps(sums[place(i)].as_ptr()),
                        _mm512_set1_ps(rescale[first + i]),
                    );
                }
                for (weight, value) in weights.iter().zip(values) {
                    let value = _mm512_loadu_ps(value.as_ptr());
                    for (i, sum) in sum.iter_mut().enumerate() {
                        *sum = _mm512_fmadd_ps(value, _mm512_set1_ps(weight[first + i]), *sum);
                    }
                }
                for (i, sum) in sum.into_iter().enumerate() {
                    _mm512_storeu_ps(sums[place(i)].as_mut_ptr(), sum);
                }
            }
        }
    }
}
