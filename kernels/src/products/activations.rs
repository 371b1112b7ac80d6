//! Activations, and how they are rounded.

use super::rows::{Bytes, Few, ROWS, Signed, Unsigned, Words};
use super::weights::{BLOCK, Kind};
use crate::level::{Level, available};

/// Activations: rows of finite numbers. A row with others gets results that are not finite either.
#[derive(Debug, Clone, Copy)]
pub struct Activations<'a> {
    /// From the first row's first number to the last one's last.
    pub data: &'a [f32],
    /// From a row to the next.
    pub stride: usize,
    /// Numbers in a row.
    pub width: usize,
    /// Number of rows.
    pub rows: usize,
}

impl Activations<'_> {
    /// Groups of [`ROWS`] rows; the last may lack some.
    pub fn groups(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    /// Gives each block of a group's rows to `put`: which block, which of the rows.
    #[inline(always)]
    fn blocks(&self, group: usize, mut put: impl FnMut(usize, usize, &[f32; BLOCK])) {
        for row in group * ROWS..self.rows.min(group * ROWS + ROWS) {
            let x = &self.data[row * self.stride..][..self.width];
            let (blocks, rest) = x.as_chunks::<BLOCK>();
            for (i, block) in blocks.iter().enumerate() {
                put(i, row % ROWS, block);
            }
            if !rest.is_empty() {
                let mut block = [0.0; BLOCK];
                block[..rest.len()].copy_from_slice(rest);
                put(blocks.len(), row % ROWS, &block);
            }
        }
    }
}

/// Rounded activations, a group after the other; as [`Form::of`] the weights wants them.
#[derive(Debug, Clone, Copy)]
pub enum Rounded<'a> {
    /// In 8 bits with a scale per 256.
    Bytes(&'a [Bytes]),
    /// In 8 bits with a scale per 32, as words.
    Words(&'a [Words]),
    /// In 8 bits with a scale per 32, as bytes.
    Unsigned(&'a [Unsigned]),
    /// In 8 bits with a scale per 32, for few rows.
    Signed(&'a [Signed]),
    /// In 8 bits with a scale per 256, for few rows.
    Few(&'a [Few]),
}

/// How activations are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// To 8 bits with a scale per 256.
    Bytes,
    /// To 8 bits with a scale per 32, as words.
    Words,
    /// To 8 bits with a scale per 32, as bytes.
    Unsigned,
    /// To 8 bits with a scale per 32, for few rows.
    Signed,
    /// To 8 bits with a scale per 256, for few rows.
    Few,
}

impl Form {
    /// Their number.
    pub const COUNT: usize = Self::Few as usize + 1;

    /// What is fastest for products of so many rows with such weights, as measured; `None` for llama.cpp's own.
    pub fn of(kind: Kind, rows: usize) -> Option<Self> {
        match (kind, rows) {
            (_, 0) => None,
            (Kind::Q8_0, 4..) if Level::best() != Level::Avx2 => Some(Self::Unsigned),
            (Kind::Q8_0, 2..16) if cfg!(target_arch = "x86_64") => Some(Self::Signed),
            (Kind::Q8_0, 4..) => Some(Self::Words),
            (Kind::Q8_0, _) => None,
            (_, 1..9) if cfg!(target_arch = "x86_64") => Some(Self::Few),
            (_, 4..) => Some(Self::Bytes),
            _ => None,
        }
    }
}

/// Blocks of a row of `width`.
pub const fn blocks(width: usize) -> usize {
    width.div_ceil(BLOCK)
}

/// Rounds a group of rows into blocks of some form.
macro_rules! round {
    ($public:ident, $inner:ident, $block:ident) => {
        /// Rounds a group of rows into the group's blocks.
        ///
        /// # Panics
        /// If the products are not [`available`], or rows are shorter than said.
        pub fn $public(x: &Activations, group: usize, to: &mut [$block]) {
            assert!(available(), "not made for this CPU");
            // SAFETY: the features are there.
            unsafe { $inner(x, group, to) }
        }

        #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma,f16c"))]
        #[cfg_attr(target_arch = "aarch64", target_feature(enable = "neon,dotprod"))]
        fn $inner(x: &Activations, group: usize, to: &mut [$block]) {
            if group * ROWS + ROWS > x.rows {
                to.fill($block::ZERO);
            }
            x.blocks(group, |block, row, x| to[block].set(row, x));
        }
    };
}

round!(round_to_bytes, bytes, Bytes);
round!(round_to_words, words, Words);
round!(round_to_unsigned, unsigned, Unsigned);
round!(round_to_signed, signed, Signed);
round!(round_to_few, few, Few);

#[cfg(test)]
mod tests {
    use super::super::rows::ZERO;
    use super::*;

    #[test]
    fn halves_are_rounded_to_even() {
        if !available() {
            return;
        }
        let number = |i: usize| if i.is_multiple_of(32) { 127.0 } else { i as f32 / 2.0 - 64.0 };
        let data: Vec<f32> = (0..BLOCK).map(number).collect();
        let x = Activations { data: &data, stride: BLOCK, width: BLOCK, rows: 1 };
        let (mut bytes, mut words) = ([Bytes::ZERO], [Words::ZERO]);
        let (mut unsigned, mut signed, mut few) = ([Unsigned::ZERO], [Signed::ZERO], [Few::ZERO]);
        round_to_bytes(&x, 0, &mut bytes);
        round_to_words(&x, 0, &mut words);
        round_to_unsigned(&x, 0, &mut unsigned);
        round_to_signed(&x, 0, &mut signed);
        round_to_few(&x, 0, &mut few);
        for (i, x) in data.iter().enumerate() {
            let expected = x.round_ties_even() as i8;
            let byte = |quads: &[[[u8; 4]; ROWS]]| quads[i / 4][0][i % 4].wrapping_sub(ZERO).cast_signed();
            assert_eq!(byte(&bytes[0].quads), expected, "{x}");
            assert_eq!(words[0].pairs[i / 2][0][i % 2], i16::from(expected), "{x}");
            assert_eq!(byte(&unsigned[0].quads), expected, "{x}");
            assert_eq!(signed[0].parts[i / 32].numbers[0][i % 32], expected, "{x}");
            assert_eq!(few[0].numbers[0][i], expected, "{x}");
        }
    }
}
