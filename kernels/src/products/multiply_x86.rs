//! How a [`Task`] is done on x86-64.

use std::ops::Range;

use super::activations::{Rounded, blocks};
use super::multiply::{Put, Scratch, Task};
use super::rows::{Bytes, Few, ROWS, Signed, Unsigned, Words};
use super::tile::{self, Tile};
use super::unpacked::{COLUMNS, Eights, Narrow, Wide};
use super::weights::Kind;
use super::{few, few_k, panel, tile_vnni};
use crate::level::{Level, available};

impl Task<'_> {
    /// Not generic, and so compiled in this crate.
    pub(super) fn multiply(&self, x: Rounded, scratch: &mut Scratch, put: Put) {
        assert!(available(), "not made for this CPU");
        // SAFETY: the features are there, and those of the level.
        unsafe {
            match (self.weights.kind, x) {
                (Kind::Q6K, Rounded::Bytes(x)) => {
                    self.unpack_narrow::<4>(scratch);
                    self.six_bits(x, &scratch.narrow, put);
                }
                (Kind::Q4K | Kind::Q5K, Rounded::Bytes(x)) => {
                    self.unpack_narrow::<8>(scratch);
                    self.with_minima(x, &scratch.narrow, put);
                }
                (Kind::Q8_0, Rounded::Words(x)) => self.eight_bits_as_words(x, scratch, put),
                (Kind::Q8_0, Rounded::Unsigned(x)) => self.eight_bits(x, scratch, put),
                (Kind::Q8_0, Rounded::Signed(x)) => self.few_rows(x, put),
                (Kind::Q4K | Kind::Q5K | Kind::Q6K, Rounded::Few(x)) => self.few_rows_k(x, put),
                _ => unreachable!("activations rounded for other weights"),
            }
        }
    }

    /// # Safety
    /// The level's instructions are there.
    unsafe fn six_bits(&self, x: &[Bytes], panel: &[Narrow], put: Put) {
        // SAFETY: the caller's.
        unsafe {
            match self.level {
                Level::Avx2 => self.tiles(x, |x| x.map(|x| tile::six_bits(x, panel)), put),
                Level::AvxVnni => self.tiles(x, |x| tile_vnni::six_bits_256(x, panel), put),
                Level::Avx512 => self.pairs(
                    x,
                    |x| tile_vnni::six_bits_512(x, panel),
                    |x| tile_vnni::six_bits_512(x, panel),
                    put,
                ),
                Level::Neon => unreachable!("ARM's"),
            }
        }
    }

    /// # Safety
    /// The level's instructions are there.
    unsafe fn with_minima(&self, x: &[Bytes], panel: &[Narrow], put: Put) {
        // SAFETY: the caller's.
        unsafe {
            match (self.level, self.weights.kind) {
                (Level::Avx2, Kind::Q4K) => {
                    self.tiles(x, |x| x.map(|x| tile::with_minima::<8>(x, panel)), put);
                }
                (Level::Avx2, _) => self.tiles(x, |x| x.map(|x| tile::with_minima::<4>(x, panel)), put),
                (Level::AvxVnni, _) => self.tiles(x, |x| tile_vnni::with_minima_256(x, panel), put),
                (Level::Avx512, _) => self.pairs(
                    x,
                    |x| tile_vnni::with_minima_512(x, panel),
                    |x| tile_vnni::with_minima_512(x, panel),
                    put,
                ),
                (Level::Neon, _) => unreachable!("ARM's"),
            }
        }
    }

    /// # Safety
    /// The level's instructions are there, and are not AVX2's alone.
    unsafe fn eight_bits(&self, x: &[Unsigned], scratch: &mut Scratch, put: Put) {
        let (first, width) = (self.panel * COLUMNS, self.weights.width);
        scratch.eights.resize(blocks(width), Eights::ZERO);
        for (block, to) in scratch.eights.iter_mut().enumerate() {
            // SAFETY: any level has the first one's instructions, and the caller's.
            unsafe {
                panel::eights(self.weights, (first, block), &mut scratch.columns, to);
                match self.level {
                    Level::Avx512 => tile_vnni::eights_offsets_512(to),
                    _ => tile_vnni::eights_offsets_256(to),
                }
            }
        }
        let panel = &scratch.eights;
        // SAFETY: the caller's.
        unsafe {
            match self.level {
                Level::Avx2 | Level::Neon => unreachable!("activations rounded for VNNI"),
                Level::AvxVnni => self.tiles(x, |x| tile_vnni::eight_bits_256(x, panel, width), put),
                Level::Avx512 => self.pairs(
                    x,
                    |x| tile_vnni::eight_bits_512(x, panel, width),
                    |x| tile_vnni::eight_bits_512(x, panel, width),
                    put,
                ),
            }
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    fn eight_bits_as_words(&self, x: &[Words], scratch: &mut Scratch, put: Put) {
        let first = self.panel * COLUMNS;
        scratch.wide.resize(blocks(self.weights.width), Wide::ZERO);
        for (block, to) in scratch.wide.iter_mut().enumerate() {
            panel::wide(self.weights, (first, block), &mut scratch.columns, to);
        }
        self.tiles(x, |x| [tile::eight_bits(x[0], &scratch.wide, self.weights.width)], put);
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    fn few_rows(&self, x: &[Signed], put: Put) {
        let first = self.panel * COLUMNS;
        let (two, one) = (
            |x: [&[Signed]; 2]| few::eight_bits(x, self.weights, first),
            |x: [&[Signed]; 1]| few::eight_bits(x, self.weights, first),
        );
        self.pairs(x, two, one, put);
    }

    /// Few rows of K-quants: with AVX-512 eight at a time, else four, as registers suffice.
    ///
    /// # Safety
    /// The level's instructions are there.
    unsafe fn few_rows_k(&self, x: &[Few], put: Put) {
        let blocks = blocks(self.weights.width);
        let mut row = self.rows.start;
        while row < self.rows.end {
            let groups = &x[row / ROWS * blocks..];
            // SAFETY: the caller's.
            row += unsafe {
                match self.rows.end - row {
                    1 => self.few_k::<1>(groups, row, put),
                    2 => self.few_k::<2>(groups, row, put),
                    5.. if self.level == Level::Avx512 => self.few_k::<8>(groups, row, put),
                    _ => self.few_k::<4>(groups, row, put),
                }
            };
        }
    }

    /// `R` rows from `row` on, of which `groups` are the blocks. Gives their number.
    ///
    /// # Safety
    /// The level's instructions are there.
    unsafe fn few_k<const R: usize>(&self, groups: &[Few], row: usize, put: Put) -> usize {
        let first = self.panel * COLUMNS;
        // SAFETY: the caller's.
        let results = unsafe { few_k::products::<R>(self.level, groups, self.weights, first) };
        put(row, first, &results[..R.min(self.rows.end - row)]);
        R
    }

    /// Unpacks a K-quant's columns.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn unpack_narrow<const QUADS: usize>(&self, scratch: &mut Scratch) {
        let first = self.panel * COLUMNS;
        scratch.narrow.resize(blocks(self.weights.width), Narrow::ZERO);
        for (block, to) in scratch.narrow.iter_mut().enumerate() {
            panel::narrow::<QUADS>(self.weights, (first, block), &mut scratch.columns, to);
            match self.level {
                // SAFETY: the level's instructions are there.
                Level::Avx512 => unsafe { tile_vnni::offsets::<QUADS>(to) },
                _ => panel::offsets::<QUADS>(to),
            }
        }
    }

    /// Computes two tiles at a time.
    #[inline(always)]
    fn pairs<X>(
        &self,
        x: &[X],
        two: impl Fn([&[X]; 2]) -> [Tile; 2],
        one: impl Fn([&[X]; 1]) -> [Tile; 1],
        put: Put,
    ) {
        let Range { start, end } = self.rows;
        let even = start + (end - start) / (2 * ROWS) * (2 * ROWS);
        let paired = if end - even > ROWS { end } else { even };
        self.part(start..paired, x, two, put);
        self.part(paired..end, x, one, put);
    }
}
