//! Sixty-four neighbouring bytes, in a register of AVX-512 or two of AVX2.

use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _mm_set1_epi16, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256,
    _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set_m128i, _mm256_set1_epi8, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16,
    _mm256_srli_epi16, _mm512_and_si512, _mm512_broadcast_i64x4, _mm512_castps512_ps256,
    _mm512_castsi256_si512, _mm512_cvtepi32_ps, _mm512_dpwssd_epi32, _mm512_extractf32x8_ps, _mm512_fmadd_ps,
    _mm512_inserti64x4, _mm512_loadu_si512, _mm512_maddubs_epi16, _mm512_or_si512, _mm512_permutexvar_epi16,
    _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_sllv_epi16,
    _mm512_srlv_epi16, _mm512_zextsi256_si512,
};

/// What can be done with 64 bytes, which are also 32 words or 16 integers.
///
/// # Safety
/// All of it is for CPUs that have the instructions, in functions that are compiled for them.
pub trait SixtyFour {
    /// 64 bytes.
    type Bytes: Copy;
    /// Sixteen floats.
    type Floats: Copy;

    /// 64 bytes, anywhere.
    unsafe fn load(from: &[u8; 64]) -> Self::Bytes;
    /// 32 bytes, anywhere, twice.
    unsafe fn twice(from: &[u8; 32]) -> Self::Bytes;
    /// The bits of each byte that `mask` has.
    unsafe fn and(a: Self::Bytes, mask: u8) -> Self::Bytes;
    /// The bits of both.
    unsafe fn or(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// The words of the first half shifted left by `A` bits, those of the second by `B`.
    unsafe fn left<const A: i32, const B: i32>(a: Self::Bytes) -> Self::Bytes;
    /// As `left`, to the right.
    unsafe fn right<const A: i32, const B: i32>(a: Self::Bytes) -> Self::Bytes;
    /// Four of sixteen words, those of a quarter, each eight times.
    unsafe fn spread<const QUARTER: usize>(words: __m256i) -> Self::Bytes;
    /// Sixteen integers: eight, and zeros.
    unsafe fn widen(a: __m256i) -> Self::Bytes;
    /// Adds to each integer the products of four unsigned bytes with four signed ones, each two times a word of `scales`.
    unsafe fn add_products(
        sums: Self::Bytes,
        weights: Self::Bytes,
        x: &[i8; 64],
        scales: Self::Bytes,
    ) -> Self::Bytes;

    /// Zeros.
    unsafe fn no_floats() -> Self::Floats;
    /// The integers as floats.
    unsafe fn floats(a: Self::Bytes) -> Self::Floats;
    /// sums + a · b, rounded once.
    unsafe fn add_scaled(sums: Self::Floats, a: Self::Floats, b: f32) -> Self::Floats;
    /// Adds the upper eight to the lower eight.
    unsafe fn fold(a: Self::Floats) -> __m256;
}

/// AVX2.
pub enum Avx2 {}

/// AVX-512 with VNNI.
pub enum Avx512 {}

#[allow(clippy::undocumented_unsafe_blocks, reason = "the trait's")]
impl SixtyFour for Avx512 {
    type Bytes = __m512i;
    type Floats = __m512;

    #[inline(always)]
    unsafe fn load(from: &[u8; 64]) -> __m512i {
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn twice(from: &[u8; 32]) -> __m512i {
        unsafe { _mm512_broadcast_i64x4(_mm256_loadu_si256(from.as_ptr().cast())) }
    }

    #[inline(always)]
    unsafe fn and(a: __m512i, mask: u8) -> __m512i {
        unsafe { _mm512_and_si512(a, _mm512_set1_epi8(mask.cast_signed())) }
    }

    #[inline(always)]
    unsafe fn or(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    unsafe fn left<const A: i32, const B: i32>(a: __m512i) -> __m512i {
        unsafe { _mm512_sllv_epi16(a, halves(A, B)) }
    }

    #[inline(always)]
    unsafe fn right<const A: i32, const B: i32>(a: __m512i) -> __m512i {
        unsafe { _mm512_srlv_epi16(a, halves(A, B)) }
    }

    #[inline(always)]
    unsafe fn spread<const QUARTER: usize>(words: __m256i) -> __m512i {
        const PLACES: [[u16; 32]; 4] = {
            let mut places = [[0; 32]; 4];
            let mut i = 0;
            while i < 128 {
                places[i / 32][i % 32] = (i / 8) as u16;
                i += 1;
            }
            places
        };
        unsafe {
            let places = _mm512_loadu_si512(PLACES[QUARTER].as_ptr().cast());
            _mm512_permutexvar_epi16(places, _mm512_castsi256_si512(words))
        }
    }

    #[inline(always)]
    unsafe fn widen(a: __m256i) -> __m512i {
        unsafe { _mm512_zextsi256_si512(a) }
    }

    #[inline(always)]
    unsafe fn add_products(sums: __m512i, weights: __m512i, x: &[i8; 64], scales: __m512i) -> __m512i {
        unsafe {
            let x = _mm512_loadu_si512(x.as_ptr().cast());
            _mm512_dpwssd_epi32(sums, _mm512_maddubs_epi16(weights, x), scales)
        }
    }

    #[inline(always)]
    unsafe fn no_floats() -> __m512 {
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn floats(a: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(a) }
    }

    #[inline(always)]
    unsafe fn add_scaled(sums: __m512, a: __m512, b: f32) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, _mm512_set1_ps(b), sums) }
    }

    #[inline(always)]
    unsafe fn fold(a: __m512) -> __m256 {
        unsafe { _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a)) }
    }
}

/// 32 words: sixteen times each number.
#[inline]
#[target_feature(enable = "avx512f")]
fn halves(a: i32, b: i32) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_set1_epi32(a | a << 16), _mm256_set1_epi32(b | b << 16))
}

#[allow(clippy::undocumented_unsafe_blocks, reason = "the trait's")]
impl SixtyFour for Avx2 {
    type Bytes = [__m256i; 2];
    type Floats = [__m256; 2];

    #[inline(always)]
    unsafe fn load(from: &[u8; 64]) -> [__m256i; 2] {
        let at = |i: usize| unsafe { _mm256_loadu_si256(from.as_ptr().add(32 * i).cast()) };
        [at(0), at(1)]
    }

    #[inline(always)]
    unsafe fn twice(from: &[u8; 32]) -> [__m256i; 2] {
        [unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }; 2]
    }

    #[inline(always)]
    unsafe fn and(a: [__m256i; 2], mask: u8) -> [__m256i; 2] {
        a.map(|a| unsafe { _mm256_and_si256(a, _mm256_set1_epi8(mask.cast_signed())) })
    }

    #[inline(always)]
    unsafe fn or([a, b]: [__m256i; 2], [c, d]: [__m256i; 2]) -> [__m256i; 2] {
        unsafe { [_mm256_or_si256(a, c), _mm256_or_si256(b, d)] }
    }

    #[inline(always)]
    unsafe fn left<const A: i32, const B: i32>([a, b]: [__m256i; 2]) -> [__m256i; 2] {
        unsafe { [_mm256_slli_epi16::<A>(a), _mm256_slli_epi16::<B>(b)] }
    }

    #[inline(always)]
    unsafe fn right<const A: i32, const B: i32>([a, b]: [__m256i; 2]) -> [__m256i; 2] {
        unsafe { [_mm256_srli_epi16::<A>(a), _mm256_srli_epi16::<B>(b)] }
    }

    #[inline(always)]
    unsafe fn spread<const QUARTER: usize>(words: __m256i) -> [__m256i; 2] {
        // Shuffles stay within 128 bits, so the eight words that have the four are in both halves first.
        unsafe {
            let eight = match QUARTER / 2 {
                0 => _mm256_permute2x128_si256::<0x00>(words, words),
                _ => _mm256_permute2x128_si256::<0x11>(words, words),
            };
            [0, 1].map(|pair| {
                let first = 4 * (QUARTER % 2) + 2 * pair;
                let bytes = |word: usize| i16::from_le_bytes([2 * word as u8, 2 * word as u8 + 1]);
                let (low, high) = (_mm_set1_epi16(bytes(first)), _mm_set1_epi16(bytes(first + 1)));
                _mm256_shuffle_epi8(eight, _mm256_set_m128i(high, low))
            })
        }
    }

    #[inline(always)]
    unsafe fn widen(a: __m256i) -> [__m256i; 2] {
        [a, unsafe { _mm256_setzero_si256() }]
    }

    #[inline(always)]
    unsafe fn add_products(
        sums: [__m256i; 2],
        weights: [__m256i; 2],
        x: &[i8; 64],
        scales: [__m256i; 2],
    ) -> [__m256i; 2] {
        [0, 1].map(|i| unsafe {
            let x = _mm256_loadu_si256(x.as_ptr().add(32 * i).cast());
            let products = _mm256_madd_epi16(_mm256_maddubs_epi16(weights[i], x), scales[i]);
            _mm256_add_epi32(sums[i], products)
        })
    }

    #[inline(always)]
    unsafe fn no_floats() -> [__m256; 2] {
        [unsafe { _mm256_setzero_ps() }; 2]
    }

    #[inline(always)]
    unsafe fn floats(a: [__m256i; 2]) -> [__m256; 2] {
        a.map(|a| unsafe { _mm256_cvtepi32_ps(a) })
    }

    #[inline(always)]
    unsafe fn add_scaled(sums: [__m256; 2], a: [__m256; 2], b: f32) -> [__m256; 2] {
        [0, 1].map(|i| unsafe { _mm256_fmadd_ps(a[i], _mm256_set1_ps(b), sums[i]) })
    }

    #[inline(always)]
    unsafe fn fold([low, high]: [__m256; 2]) -> __m256 {
        unsafe { _mm256_add_ps(low, high) }
    }
}
