//! The products of [`tile`](super::tile) with VNNI: up to eight rows with a panel's columns, and the same results to the bit.
//!
//! `vpdpbusd` multiplies unsigned bytes (activations) by signed ones (weights) and adds four products to a sum of 32
//! bits, where nothing overflows. Loads bound the speed, one a row for each instruction; with AVX-512 eight rows share
//! each weight that is loaded.
//!
//! Everything is written once, for [`Sixteen`] columns, which are one register of AVX-512 or two of AVX.

use super::rows::{Bytes, ROWS, Unsigned};
use super::sixteen::{Avx512, AvxVnni, Sixteen};
use super::tile::Tile;
use super::unpacked::{COLUMNS, Eights, Narrow};
use super::weights::BLOCK;

/// A number for each result of `G` tiles.
type Each<T, const G: usize> = [[T; ROWS]; G];

/// Defines what the products do with AVX-512 and with AVX, for any number of groups of rows.
macro_rules! for_both {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $result:ty = $wide:ident, $narrow:ident;)*) => {$(
        #[inline]
        #[target_feature(enable = "avx512f,avx512vnni")]
        pub(super) fn $wide<const G: usize>($($arg: $kind),*) -> $result {
            // SAFETY: the instructions are there.
            unsafe { $name::<Avx512, G>($($arg),*) }
        }

        #[inline]
        #[target_feature(enable = "avx2,fma,avxvnni")]
        pub(super) fn $narrow<const G: usize>($($arg: $kind),*) -> $result {
            // SAFETY: the instructions are there.
            unsafe { $name::<AvxVnni, G>($($arg),*) }
        }
    )*};
}

for_both! {
    six_bits(rows: [&[Bytes]; G], panel: &[Narrow]) -> [Tile; G] = six_bits_512, six_bits_256;
    with_minima(rows: [&[Bytes]; G], panel: &[Narrow]) -> [Tile; G] = with_minima_512, with_minima_256;
    eight_bits(rows: [&[Unsigned]; G], panel: &[Eights], width: usize) -> [Tile; G] = eight_bits_512, eight_bits_256;
}

/// What [`panel::offsets`](super::panel::offsets) gives.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn offsets<const QUADS: usize>(to: &mut Narrow) {
    // SAFETY: the instructions are there, and every field of a panel's block begins at a multiple of 64.
    unsafe {
        let mut sum = Avx512::zeros();
        for (quads, scales) in to.quads.as_chunks::<QUADS>().0.iter().zip(&to.scales) {
            let mut products = Avx512::zeros();
            for quad in quads {
                products = Avx512::add_products(products, [128; 4], Avx512::load(quad));
            }
            let scales = Avx512::upper_halves(Avx512::load(scales));
            sum = Avx512::subtract(sum, Avx512::multiply(products, scales));
        }
        Avx512::store(sum, &mut to.offsets);
    }
}

/// The offsets of Q8_0's columns.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn eights_offsets_512(to: &mut Eights) {
    // SAFETY: the instructions are there.
    unsafe { eights_offsets::<Avx512>(to) }
}

/// The offsets of Q8_0's columns.
#[inline]
#[target_feature(enable = "avx2,fma,avxvnni")]
pub(super) fn eights_offsets_256(to: &mut Eights) {
    // SAFETY: the instructions are there.
    unsafe { eights_offsets::<AvxVnni>(to) }
}

#[inline(always)]
unsafe fn eights_offsets<S: Sixteen>(to: &mut Eights) {
    for (quads, offsets) in to.quads.as_chunks::<8>().0.iter().zip(&mut to.offsets) {
        // SAFETY: the caller's, and every field of a panel's block begins at a multiple of 64.
        unsafe {
            let mut sum = S::zeros();
            for quad in quads {
                sum = S::add_products(sum, [128; 4], S::load(quad));
            }
            S::store(S::subtract(S::zeros(), sum), offsets);
        }
    }
}

/// 6-bit weights.
#[inline(always)]
unsafe fn six_bits<S: Sixteen, const G: usize>(rows: [&[Bytes]; G], panel: &[Narrow]) -> [Tile; G] {
    // SAFETY: the caller's.
    unsafe {
        let mut result = [[S::no_floats(); ROWS]; G];
        for (block, w) in panel.iter().enumerate() {
            let rows = rows.map(|rows| &rows[block]);
            let sums = sums::<S, 4, G>(rows, w);
            add_scaled::<S, G>(&sums, &w.d, rows.map(|x| &x.scales), &mut result);
        }
        stored::<S, G>(&result)
    }
}

/// 4-bit and 5-bit weights, which have minima.
#[inline(always)]
unsafe fn with_minima<S: Sixteen, const G: usize>(rows: [&[Bytes]; G], panel: &[Narrow]) -> [Tile; G] {
    // SAFETY: the caller's.
    unsafe {
        let mut result = [[S::no_floats(); ROWS]; G];
        for (block, w) in panel.iter().enumerate() {
            let rows = rows.map(|rows| &rows[block]);
            let sums = sums::<S, 8, G>(rows, w);
            add_scaled::<S, G>(&sums, &w.d, rows.map(|x| &x.scales), &mut result);
            for (i, minima) in w.minima.iter().enumerate() {
                let minima = S::load_floats(minima);
                for (result, x) in result.iter_mut().zip(rows) {
                    for (result, sum) in result.iter_mut().zip(x.sums[i]) {
                        *result = S::add_scaled(*result, minima, sum);
                    }
                }
            }
        }
        stored::<S, G>(&result)
    }
}

/// 8-bit weights. Only the first `width` of each row count.
#[inline(always)]
unsafe fn eight_bits<S: Sixteen, const G: usize>(
    rows: [&[Unsigned]; G],
    panel: &[Eights],
    width: usize,
) -> [Tile; G] {
    // SAFETY: the caller's.
    unsafe {
        let mut result = [[S::no_floats(); ROWS]; G];
        for (block, w) in panel.iter().enumerate() {
            let count = (width - block * BLOCK).min(BLOCK).div_ceil(32);
            let rows = rows.map(|rows| &rows[block]);
            for i in 0..count {
                let mut sums = [[S::load(&w.offsets[i]); ROWS]; G];
                add_products::<S, 8, G>(rows.map(|x| &x.quads), &w.quads, i, &mut sums);
                add_scaled::<S, G>(&sums, &w.scales[i], rows.map(|x| &x.scales[i]), &mut result);
            }
        }
        stored::<S, G>(&result)
    }
}

/// A block's sums, with a scale for every `4 * QUADS` weights.
#[inline(always)]
unsafe fn sums<S: Sixteen, const QUADS: usize, const G: usize>(
    rows: [&Bytes; G],
    w: &Narrow,
) -> Each<S::Ints, G> {
    // SAFETY: the caller's, and every field of a panel's block begins at a multiple of 64.
    unsafe {
        let mut sums = [[S::load(&w.offsets); ROWS]; G];
        for part in 0..BLOCK / 4 / QUADS {
            let mut products = [[S::zeros(); ROWS]; G];
            add_products::<S, QUADS, G>(rows.map(|x| &x.quads), &w.quads, part, &mut products);
            // A scale stands twice in 32 bits.
            let scales = S::upper_halves(S::load(&w.scales[part]));
            for (sums, products) in sums.iter_mut().zip(products) {
                for (sum, product) in sums.iter_mut().zip(products) {
                    *sum = S::add(*sum, S::multiply(product, scales));
                }
            }
        }
        sums
    }
}

/// Adds the products of the `part`th `QUADS` quads.
#[inline(always)]
unsafe fn add_products<S: Sixteen, const QUADS: usize, const G: usize>(
    rows: [&[[[u8; 4]; ROWS]; BLOCK / 4]; G],
    weights: &[[[i8; 4]; COLUMNS]; BLOCK / 4],
    part: usize,
    sums: &mut Each<S::Ints, G>,
) {
    for i in part * QUADS..part * QUADS + QUADS {
        // SAFETY: the caller's, and every field of a panel's block begins at a multiple of 64.
        let weights = unsafe { S::load(&weights[i]) };
        for (sums, x) in sums.iter_mut().zip(rows) {
            for (sum, quad) in sums.iter_mut().zip(x[i]) {
                // SAFETY: the caller's.
                *sum = unsafe { S::add_products(*sum, quad, weights) };
            }
        }
    }
}

/// Adds a block's sums, times both scales.
#[inline(always)]
unsafe fn add_scaled<S: Sixteen, const G: usize>(
    sums: &Each<S::Ints, G>,
    d: &[f32; COLUMNS],
    scales: [&[f32; ROWS]; G],
    result: &mut Each<S::Floats, G>,
) {
    // SAFETY: the caller's, and every field of a panel's block begins at a multiple of 64.
    unsafe {
        let d = S::load_floats(d);
        for ((result, sums), scales) in result.iter_mut().zip(sums).zip(scales) {
            for ((result, sum), scale) in result.iter_mut().zip(sums).zip(scales) {
                *result = S::add_both_scaled(*result, *sum, d, *scale);
            }
        }
    }
}

#[inline(always)]
unsafe fn stored<S: Sixteen, const G: usize>(result: &Each<S::Floats, G>) -> [Tile; G] {
    let mut tiles = [[[0.0; COLUMNS]; ROWS]; G];
    for (to, from) in tiles.as_flattened_mut().iter_mut().zip(result.as_flattened()) {
        // SAFETY: the caller's.
        unsafe { S::store_floats(*from, to) };
    }
    tiles
}
