//! How a [`Task`] is done on ARM.

use super::activations::{Rounded, blocks};
use super::multiply::{Put, Scratch, Task};
use super::rows::{Bytes, Unsigned};
use super::unpacked::{COLUMNS, Eights, Narrow};
use super::weights::Kind;
use super::{panel_neon, tile_neon};
use crate::level::{Level, available};

impl Task<'_> {
    /// Not generic, and so compiled in this crate.
    pub(super) fn multiply(&self, x: Rounded, scratch: &mut Scratch, put: Put) {
        assert!(available(), "not made for this CPU");
        // SAFETY: the features are there.
        unsafe {
            match (self.weights.kind, x, self.level) {
                (Kind::Q6K, Rounded::Bytes(x), Level::Neon) => self.six_bits(x, scratch, put),
                (Kind::Q4K | Kind::Q5K, Rounded::Bytes(x), Level::Neon) => self.with_minima(x, scratch, put),
                (Kind::Q8_0, Rounded::Unsigned(x), Level::Neon) => self.eight_bits(x, scratch, put),
                _ => unreachable!("activations rounded for other weights"),
            }
        }
    }

    #[target_feature(enable = "neon,dotprod")]
    fn six_bits(&self, x: &[Bytes], scratch: &mut Scratch, put: Put) {
        self.unpack_narrow::<4>(scratch);
        self.tiles(x, |x| [tile_neon::six_bits(x[0], &scratch.narrow)], put);
    }

    #[target_feature(enable = "neon,dotprod")]
    fn with_minima(&self, x: &[Bytes], scratch: &mut Scratch, put: Put) {
        self.unpack_narrow::<8>(scratch);
        self.tiles(x, |x| [tile_neon::with_minima(x[0], &scratch.narrow)], put);
    }

    #[target_feature(enable = "neon,dotprod")]
    fn eight_bits(&self, x: &[Unsigned], scratch: &mut Scratch, put: Put) {
        let (first, width) = (self.panel * COLUMNS, self.weights.width);
        scratch.eights.resize(blocks(width), Eights::ZERO);
        for (block, to) in scratch.eights.iter_mut().enumerate() {
            panel_neon::eights(self.weights, (first, block), &mut scratch.columns, to);
        }
        self.tiles(x, |x| [tile_neon::eight_bits(x[0], &scratch.eights, width)], put);
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    fn unpack_narrow<const QUADS: usize>(&self, scratch: &mut Scratch) {
        let first = self.panel * COLUMNS;
        scratch.narrow.resize(blocks(self.weights.width), Narrow::ZERO);
        for (block, to) in scratch.narrow.iter_mut().enumerate() {
            panel_neon::narrow::<QUADS>(self.weights, (first, block), &mut scratch.columns, to);
        }
    }
}
