//! Activations, rounded for the tiles: four rows side by side.

use half::f16;

#[cfg(target_arch = "x86_64")]
use super::rounding::{round_to_bytes, round_to_signed, round_to_words, scale};
#[cfg(target_arch = "aarch64")]
use super::rounding_neon::{round_to_bytes, round_to_signed, round_to_words, scale};
use super::weights::BLOCK;

/// Rows side by side.
pub const ROWS: usize = 4;

/// What a byte of [`Bytes`] and [`Unsigned`] holds for 0: one factor of x86-64's products of bytes is unsigned, ARM's
/// are signed.
pub const ZERO: u8 = if cfg!(target_arch = "x86_64") { 128 } else { 0 };

/// [`BLOCK`] numbers of four rows in 8 bits.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Bytes {
    /// Four neighbours of each row, each [`ZERO`] + number / scale.
    pub quads: [[[u8; 4]; ROWS]; BLOCK / 4],
    /// A row's scale; NaN if any of its numbers is not finite.
    pub scales: [f32; ROWS],
    /// Sums of 32 rounded numbers, times the scale.
    pub sums: [[f32; ROWS]; BLOCK / 32],
}

/// [`BLOCK`] numbers of four rows in 8 bits with a scale per 32, stored in 16 bits each.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Words {
    /// Two neighbours of each row, each number / scale.
    pub pairs: [[[i16; 2]; ROWS]; BLOCK / 2],
    /// As in [`Bytes`], for every 32 numbers, and rounded to 16 bits as llama.cpp does it.
    pub scales: [[f32; ROWS]; BLOCK / 32],
}

/// [`BLOCK`] numbers of four rows in 8 bits with a scale per 32, as [`Bytes`].
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Unsigned {
    /// Four neighbours of each row, each [`ZERO`] + number / scale.
    pub quads: [[[u8; 4]; ROWS]; BLOCK / 4],
    /// As in [`Words`].
    pub scales: [[f32; ROWS]; BLOCK / 32],
}

/// [`BLOCK`] numbers of four rows in 8 bits with a scale per 32, each row's 32 together.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Every 32.
    pub parts: [Part; BLOCK / 32],
}

/// 32 numbers of four rows.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
pub struct Part {
    /// Each number / scale.
    pub numbers: [[i8; 32]; ROWS],
    /// As in [`Words`].
    pub scales: [f32; ROWS],
}

/// [`BLOCK`] numbers of four rows in 8 bits, a row after the other.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Few {
    /// Each number / scale.
    pub numbers: [[i8; BLOCK]; ROWS],
    /// Sums of 16 rounded numbers.
    pub sums: [[i16; BLOCK / 16]; ROWS],
    /// As in [`Bytes`].
    pub scales: [f32; ROWS],
}

impl Bytes {
    /// A block of zeros.
    pub const ZERO: Self =
        Self { quads: [[[ZERO; 4]; ROWS]; BLOCK / 4], scales: [0.0; ROWS], sums: [[0.0; ROWS]; BLOCK / 32] };

    /// Rounds a row's [`BLOCK`] numbers.
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma,f16c"))]
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,dotprod"))]
    pub(super) fn set(&mut self, row: usize, x: &[f32; BLOCK]) {
        let (scale, factor) = scale(x, 127.0);
        self.scales[row] = scale;
        let mut bytes = [ZERO; BLOCK];
        let mut sums = [0.0; BLOCK / 32];
        if factor != 0.0 {
            let parts = x.as_chunks::<32>().0.iter().zip(bytes.as_chunks_mut::<32>().0);
            for ((x, bytes), sum) in parts.zip(&mut sums) {
                *sum = round_to_bytes(x, factor, bytes) as f32;
            }
        }
        for (quad, bytes) in self.quads.iter_mut().zip(bytes.as_chunks::<4>().0) {
            quad[row] = *bytes;
        }
        for (to, sum) in self.sums.iter_mut().zip(sums) {
            to[row] = sum * scale;
        }
    }
}

impl Words {
    /// A block of zeros.
    pub const ZERO: Self = Self { pairs: [[[0; 2]; ROWS]; BLOCK / 2], scales: [[0.0; ROWS]; BLOCK / 32] };

    /// Rounds a row's [`BLOCK`] numbers.
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma,f16c"))]
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,dotprod"))]
    pub(super) fn set(&mut self, row: usize, x: &[f32; BLOCK]) {
        let mut words = [0i16; BLOCK];
        let parts = x.as_chunks::<32>().0.iter().zip(words.as_chunks_mut::<32>().0);
        for ((x, words), scales) in parts.zip(&mut self.scales) {
            let (scale, factor) = scale(x, 127.0);
            scales[row] = f16::from_f32(scale).to_f32();
            if factor != 0.0 {
                for (x, words) in x.as_chunks::<16>().0.iter().zip(words.as_chunks_mut::<16>().0) {
                    round_to_words(x, factor, words);
                }
            }
        }
        for (pair, words) in self.pairs.iter_mut().zip(words.as_chunks::<2>().0) {
            pair[row] = *words;
        }
    }
}

impl Unsigned {
    /// A block of zeros.
    pub const ZERO: Self = Self { quads: [[[ZERO; 4]; ROWS]; BLOCK / 4], scales: [[0.0; ROWS]; BLOCK / 32] };

    /// Rounds a row's [`BLOCK`] numbers.
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma,f16c"))]
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,dotprod"))]
    pub(super) fn set(&mut self, row: usize, x: &[f32; BLOCK]) {
        let mut bytes = [ZERO; BLOCK];
        let parts = x.as_chunks::<32>().0.iter().zip(bytes.as_chunks_mut::<32>().0);
        for ((x, bytes), scales) in parts.zip(&mut self.scales) {
            let (scale, factor) = scale(x, 127.0);
            scales[row] = f16::from_f32(scale).to_f32();
            if factor != 0.0 {
                round_to_bytes(x, factor, bytes);
            }
        }
        for (quad, bytes) in self.quads.iter_mut().zip(bytes.as_chunks::<4>().0) {
            quad[row] = *bytes;
        }
    }
}

impl Signed {
    /// A block of zeros.
    pub const ZERO: Self =
        Self { parts: [Part { numbers: [[0; 32]; ROWS], scales: [0.0; ROWS] }; BLOCK / 32] };

    /// Rounds a row's [`BLOCK`] numbers.
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma,f16c"))]
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,dotprod"))]
    pub(super) fn set(&mut self, row: usize, x: &[f32; BLOCK]) {
        for (x, part) in x.as_chunks::<32>().0.iter().zip(&mut self.parts) {
            let (scale, factor) = scale(x, 127.0);
            part.scales[row] = f16::from_f32(scale).to_f32();
            part.numbers[row] = [0; 32];
            if factor != 0.0 {
                round_to_signed(x, factor, &mut part.numbers[row]);
            }
        }
    }
}

impl Few {
    /// A block of zeros.
    pub const ZERO: Self =
        Self { numbers: [[0; BLOCK]; ROWS], sums: [[0; BLOCK / 16]; ROWS], scales: [0.0; ROWS] };

    /// Rounds a row's [`BLOCK`] numbers.
    #[inline]
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma,f16c"))]
    #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,dotprod"))]
    pub(super) fn set(&mut self, row: usize, x: &[f32; BLOCK]) {
        let (scale, factor) = scale(x, 127.0);
        self.scales[row] = scale;
        let numbers = &mut self.numbers[row];
        *numbers = [0; BLOCK];
        if factor != 0.0 {
            for (x, numbers) in x.as_chunks::<32>().0.iter().zip(numbers.as_chunks_mut::<32>().0) {
                round_to_signed(x, factor, numbers);
            }
        }
        for (sum, numbers) in self.sums[row].iter_mut().zip(numbers.as_chunks::<16>().0) {
            *sum = numbers.iter().map(|number| i16::from(*number)).sum();
        }
    }
}
