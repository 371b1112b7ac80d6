//! Sixteen numbers of 32 bits, one for each of a panel's columns, in the registers of AVX-512 or of AVX.

use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _mm256_add_epi32, _mm256_cvtepi32_ps, _mm256_dpbusd_avx_epi32,
    _mm256_fmadd_ps, _mm256_load_ps, _mm256_load_si256, _mm256_mul_ps, _mm256_mullo_epi32, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_srai_epi32, _mm256_store_si256,
    _mm256_storeu_ps, _mm256_sub_epi32, _mm512_add_epi32, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32,
    _mm512_fmadd_ps, _mm512_load_ps, _mm512_load_si512, _mm512_mul_ps, _mm512_mullo_epi32, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_srai_epi32, _mm512_store_si512,
    _mm512_storeu_ps, _mm512_sub_epi32,
};

use super::unpacked::COLUMNS;

/// What can be done with sixteen numbers.
///
/// # Safety
/// All of it is for CPUs that have the instructions, in functions that are compiled for them. What is loaded or stored as
/// 64 bytes begins at a multiple of 64.
pub trait Sixteen {
    /// Integers.
    type Ints: Copy;
    /// Floats.
    type Floats: Copy;

    /// Zeros.
    unsafe fn zeros() -> Self::Ints;
    /// 64 bytes.
    unsafe fn load<T>(from: &[T; COLUMNS]) -> Self::Ints;
    /// 64 bytes.
    unsafe fn store(numbers: Self::Ints, to: &mut [i32; COLUMNS]);
    /// Adds to each sum the products of four unsigned bytes with four signed ones (`vpdpbusd`).
    unsafe fn add_products(sums: Self::Ints, quad: [u8; 4], weights: Self::Ints) -> Self::Ints;
    /// a + b.
    unsafe fn add(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// a − b.
    unsafe fn subtract(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// a · b, its lower 32 bits.
    unsafe fn multiply(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// The upper 16 bits, with their sign.
    unsafe fn upper_halves(a: Self::Ints) -> Self::Ints;

    /// Zeros.
    unsafe fn no_floats() -> Self::Floats;
    /// 64 bytes.
    unsafe fn load_floats(from: &[f32; COLUMNS]) -> Self::Floats;
    /// sums + a · b, rounded once.
    unsafe fn add_scaled(sums: Self::Floats, a: Self::Floats, b: f32) -> Self::Floats;
    /// sums + a · (b · c), where the products in parentheses are rounded.
    unsafe fn add_both_scaled(sums: Self::Floats, a: Self::Ints, b: Self::Floats, c: f32) -> Self::Floats;
    /// 64 bytes, anywhere.
    unsafe fn store_floats(numbers: Self::Floats, to: &mut [f32; COLUMNS]);
}

/// With AVX-512 and its VNNI.
pub enum Avx512 {}

/// With AVX2 and AVX-VNNI.
pub enum AvxVnni {}

#[allow(clippy::undocumented_unsafe_blocks, reason = "the trait's")]
impl Sixteen for Avx512 {
    type Ints = __m512i;
    type Floats = __m512;

    #[inline(always)]
    unsafe fn zeros() -> __m512i {
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn load<T>(from: &[T; COLUMNS]) -> __m512i {
        const { assert!(size_of::<[T; COLUMNS]>() == 64) };
        unsafe { _mm512_load_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn store(numbers: __m512i, to: &mut [i32; COLUMNS]) {
        unsafe { _mm512_store_si512(to.as_mut_ptr().cast(), numbers) }
    }

    #[inline(always)]
    unsafe fn add_products(sums: __m512i, quad: [u8; 4], weights: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sums, _mm512_set1_epi32(i32::from_le_bytes(quad)), weights) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn subtract(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_sub_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn multiply(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_mullo_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn upper_halves(a: __m512i) -> __m512i {
        unsafe { _mm512_srai_epi32::<16>(a) }
    }

    #[inline(always)]
    unsafe fn no_floats() -> __m512 {
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load_floats(from: &[f32; COLUMNS]) -> __m512 {
        unsafe { _mm512_load_ps(from.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn add_scaled(sums: __m512, a: __m512, b: f32) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, _mm512_set1_ps(b), sums) }
    }

    #[inline(always)]
    unsafe fn add_both_scaled(sums: __m512, a: __m512i, b: __m512, c: f32) -> __m512 {
        unsafe { _mm512_fmadd_ps(_mm512_cvtepi32_ps(a), _mm512_mul_ps(b, _mm512_set1_ps(c)), sums) }
    }

    #[inline(always)]
    unsafe fn store_floats(numbers: __m512, to: &mut [f32; COLUMNS]) {
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), numbers) }
    }
}

/// Does something with both halves.
macro_rules! halves {
    (|$i:ident| $of:expr) => {
        [
            {
                let $i = 0;
                $of
            },
            {
                let $i = 1;
                $of
            },
        ]
    };
}

#[allow(clippy::undocumented_unsafe_blocks, reason = "the trait's")]
impl Sixteen for AvxVnni {
    type Ints = [__m256i; 2];
    type Floats = [__m256; 2];

    #[inline(always)]
    unsafe fn zeros() -> Self::Ints {
        [unsafe { _mm256_setzero_si256() }; 2]
    }

    #[inline(always)]
    unsafe fn load<T>(from: &[T; COLUMNS]) -> Self::Ints {
        const { assert!(size_of::<[T; COLUMNS]>() == 64) };
        halves!(|i| unsafe { _mm256_load_si256(from.as_ptr().cast::<__m256i>().add(i)) })
    }

    #[inline(always)]
    unsafe fn store(numbers: Self::Ints, to: &mut [i32; COLUMNS]) {
        let [(), ()] =
            halves!(|i| unsafe { _mm256_store_si256(to.as_mut_ptr().cast::<__m256i>().add(i), numbers[i]) });
    }

    #[inline(always)]
    unsafe fn add_products(sums: Self::Ints, quad: [u8; 4], weights: Self::Ints) -> Self::Ints {
        let quad = unsafe { _mm256_set1_epi32(i32::from_le_bytes(quad)) };
        halves!(|i| unsafe { _mm256_dpbusd_avx_epi32(sums[i], quad, weights[i]) })
    }

    #[inline(always)]
    unsafe fn add(a: Self::Ints, b: Self::Ints) -> Self::Ints {
        halves!(|i| unsafe { _mm256_add_epi32(a[i], b[i]) })
    }

    #[inline(always)]
    unsafe fn subtract(a: Self::Ints, b: Self::Ints) -> Self::Ints {
        halves!(|i| unsafe { _mm256_sub_epi32(a[i], b[i]) })
    }

    #[inline(always)]
    unsafe fn multiply(a: Self::Ints, b: Self::Ints) -> Self::Ints {
        halves!(|i| unsafe { _mm256_mullo_epi32(a[i], b[i]) })
    }

    #[inline(always)]
    unsafe fn upper_halves(a: Self::Ints) -> Self::Ints {
        halves!(|i| unsafe { _mm256_srai_epi32::<16>(a[i]) })
    }

    #[inline(always)]
    unsafe fn no_floats() -> Self::Floats {
        [unsafe { _mm256_setzero_ps() }; 2]
    }

    #[inline(always)]
    unsafe fn load_floats(from: &[f32; COLUMNS]) -> Self::Floats {
        halves!(|i| unsafe { _mm256_load_ps(from.as_ptr().add(8 * i)) })
    }

    #[inline(always)]
    unsafe fn add_scaled(sums: Self::Floats, a: Self::Floats, b: f32) -> Self::Floats {
        halves!(|i| unsafe { _mm256_fmadd_ps(a[i], _mm256_set1_ps(b), sums[i]) })
    }

    #[inline(always)]
    unsafe fn add_both_scaled(sums: Self::Floats, a: Self::Ints, b: Self::Floats, c: f32) -> Self::Floats {
        halves!(|i| unsafe {
            _mm256_fmadd_ps(_mm256_cvtepi32_ps(a[i]), _mm256_mul_ps(b[i], _mm256_set1_ps(c)), sums[i])
        })
    }

    #[inline(always)]
    unsafe fn store_floats(numbers: Self::Floats, to: &mut [f32; COLUMNS]) {
        let [(), ()] = halves!(|i| unsafe { _mm256_storeu_ps(to.as_mut_ptr().add(8 * i), numbers[i]) });
    }
}
