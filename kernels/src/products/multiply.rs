//! A product cut into pieces that threads can share.

use std::ops::Range;

use super::few;
use super::panel::{self, COLUMNS, Columns, Narrow, Wide};
use super::rows::{Bytes, ROWS, Signed, Words};
use super::tile;
use super::weights::{BLOCK, Decoded, Kind, Weights};
use crate::available;

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
    /// In 8 bits with a scale per 32, for few rows.
    Signed(&'a [Signed]),
}

/// How activations are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// To 8 bits with a scale per 256.
    Bytes,
    /// To 8 bits with a scale per 32, as words.
    Words,
    /// To 8 bits with a scale per 32, for few rows.
    Signed,
}

impl Form {
    /// What is fastest for products of so many rows with such weights, as measured; `None` for llama.cpp's own.
    pub const fn of(kind: Kind, rows: usize) -> Option<Self> {
        match (kind, rows) {
            (_, 0..2) => None,
            (Kind::Q8_0, 2..16) => Some(Self::Signed),
            (Kind::Q8_0, _) => Some(Self::Words),
            (_, 2..4) => None,
            (Kind::Q4K | Kind::Q5K | Kind::Q6K, _) => Some(Self::Bytes),
        }
    }
}

/// Blocks of a row of `width`.
pub const fn blocks(width: usize) -> usize {
    width.div_ceil(BLOCK)
}

/// Panels of so many columns.
pub const fn panels(columns: usize) -> usize {
    columns.div_ceil(COLUMNS)
}

/// Memory that one call after the other uses.
pub struct Scratch {
    columns: Box<Columns>,
    narrow: Vec<Narrow>,
    wide: Vec<Wide>,
}

impl Default for Scratch {
    fn default() -> Self {
        let columns = Box::new(std::array::from_fn(|_| Decoded::default()));
        Self { columns, narrow: Vec::new(), wide: Vec::new() }
    }
}

/// Rounds a group of rows into the group's blocks.
///
/// # Panics
/// If they are not [`available`], or rows are shorter than said.
pub fn round_to_bytes(x: &Activations, group: usize, to: &mut [Bytes]) {
    assert!(available(), "not made for this CPU");
    // SAFETY: the features are there.
    unsafe { bytes(x, group, to) }
}

/// Rounds a group of rows into the group's blocks.
///
/// # Panics
/// If they are not [`available`], or rows are shorter than said.
pub fn round_to_words(x: &Activations, group: usize, to: &mut [Words]) {
    assert!(available(), "not made for this CPU");
    // SAFETY: the features are there.
    unsafe { words(x, group, to) }
}

/// Rounds a group of rows into the group's blocks.
///
/// # Panics
/// If they are not [`available`], or rows are shorter than said.
pub fn round_to_signed(x: &Activations, group: usize, to: &mut [Signed]) {
    assert!(available(), "not made for this CPU");
    // SAFETY: the features are there.
    unsafe { signed(x, group, to) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn bytes(x: &Activations, group: usize, to: &mut [Bytes]) {
    if group * ROWS + ROWS > x.rows {
        to.fill(Bytes::ZERO);
    }
    x.blocks(group, |block, row, x| to[block].set(row, x));
}

#[target_feature(enable = "avx2,fma,f16c")]
fn words(x: &Activations, group: usize, to: &mut [Words]) {
    if group * ROWS + ROWS > x.rows {
        to.fill(Words::ZERO);
    }
    x.blocks(group, |block, row, x| to[block].set(row, x));
}

#[target_feature(enable = "avx2,fma,f16c")]
fn signed(x: &Activations, group: usize, to: &mut [Signed]) {
    if group * ROWS + ROWS > x.rows {
        to.fill(Signed::ZERO);
    }
    x.blocks(group, |block, row, x| to[block].set(row, x));
}

/// Multiplies some rows by the columns of one panel, and gives `put` up to [`ROWS`] rows' results at a time, with the first
/// row and the first column. Past the weights' columns, results mean nothing.
///
/// # Panics
/// If the products are not [`available`], the rows are not rounded as the weights want it, or anything is shorter
/// than said.
pub fn multiply(
    weights: &Weights,
    x: Rounded,
    (panel, rows): (usize, Range<usize>),
    scratch: &mut Scratch,
    mut put: impl FnMut(usize, usize, &[[f32; COLUMNS]]),
) {
    Task { weights, panel, rows }.multiply(x, scratch, &mut put);
}

/// Takes the first row, the first column and the rows' results.
type Put<'a> = &'a mut dyn FnMut(usize, usize, &[[f32; COLUMNS]]);

/// Some rows and one panel's columns. `rows` begins with a group.
struct Task<'a> {
    weights: &'a Weights<'a>,
    panel: usize,
    rows: Range<usize>,
}

impl Task<'_> {
    /// Not generic, and so compiled in this crate.
    fn multiply(&self, x: Rounded, scratch: &mut Scratch, put: Put) {
        assert!(available(), "not made for this CPU");
        // SAFETY: the features are there.
        unsafe {
            match (self.weights.kind, x) {
                (Kind::Q6K, Rounded::Bytes(x)) => self.six_bits(x, scratch, put),
                (Kind::Q5K, Rounded::Bytes(x)) => self.with_minima::<4>(x, scratch, put),
                (Kind::Q4K, Rounded::Bytes(x)) => self.with_minima::<8>(x, scratch, put),
                (Kind::Q8_0, Rounded::Words(x)) => self.eight_bits(x, scratch, put),
                (Kind::Q8_0, Rounded::Signed(x)) => self.few_rows(x, put),
                _ => unreachable!("activations rounded for other weights"),
            }
        }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    fn six_bits(&self, x: &[Bytes], scratch: &mut Scratch, put: Put) {
        self.unpack_narrow::<4>(scratch);
        self.tiles(x, |x| tile::six_bits(x, &scratch.narrow), put);
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    fn with_minima<const CHAIN: usize>(&self, x: &[Bytes], scratch: &mut Scratch, put: Put) {
        self.unpack_narrow::<8>(scratch);
        self.tiles(x, |x| tile::with_minima::<CHAIN>(x, &scratch.narrow), put);
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    fn eight_bits(&self, x: &[Words], scratch: &mut Scratch, put: Put) {
        let first = self.panel * COLUMNS;
        scratch.wide.resize(blocks(self.weights.width), Wide::ZERO);
        for (block, to) in scratch.wide.iter_mut().enumerate() {
            panel::wide(self.weights, (first, block), &mut scratch.columns, to);
        }
        self.tiles(x, |x| tile::eight_bits(x, &scratch.wide, self.weights.width), put);
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    fn few_rows(&self, x: &[Signed], put: Put) {
        let first = self.panel * COLUMNS;
        let blocks = blocks(self.weights.width);
        let group = |row: usize| &x[row / ROWS * blocks..][..blocks];
        for row in self.rows.clone().step_by(2 * ROWS) {
            let next = row + ROWS;
            if next < self.rows.end {
                let [a, b] = few::eight_bits([group(row), group(next)], self.weights, first);
                put(row, first, &a);
                put(next, first, &b[..ROWS.min(self.rows.end - next)]);
            } else {
                let [a] = few::eight_bits([group(row)], self.weights, first);
                put(row, first, &a[..ROWS.min(self.rows.end - row)]);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn unpack_narrow<const QUADS: usize>(&self, scratch: &mut Scratch) {
        let first = self.panel * COLUMNS;
        scratch.narrow.resize(blocks(self.weights.width), Narrow::ZERO);
        for (block, to) in scratch.narrow.iter_mut().enumerate() {
            panel::narrow::<QUADS>(self.weights, (first, block), &mut scratch.columns, to);
        }
    }

    /// Computes a tile after the other.
    #[inline(always)]
    fn tiles<X>(&self, x: &[X], tile: impl Fn(&[X]) -> tile::Tile, put: Put) {
        let blocks = blocks(self.weights.width);
        for row in self.rows.clone().step_by(ROWS) {
            let results = tile(&x[row / ROWS * blocks..][..blocks]);
            put(row, self.panel * COLUMNS, &results[..ROWS.min(self.rows.end - row)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    /// Kinds of weights with the forms that they take.
    const FORMS: [(Kind, Form); 5] = [
        (Kind::Q4K, Form::Bytes),
        (Kind::Q5K, Form::Bytes),
        (Kind::Q6K, Form::Bytes),
        (Kind::Q8_0, Form::Words),
        (Kind::Q8_0, Form::Signed),
    ];

    /// Weights and activations of some shape.
    struct Case {
        kind: Kind,
        form: Form,
        data: Vec<u8>,
        x: Vec<f32>,
        shape: Shape,
    }

    #[derive(Debug, Clone, Copy)]
    struct Shape {
        rows: usize,
        columns: usize,
        width: usize,
    }

    /// Rounded activations, and their values.
    struct Held {
        bytes: Vec<Bytes>,
        words: Vec<Words>,
        signed: Vec<Signed>,
    }

    fn random_shape(kind: Kind, random: &mut SplitMix64) -> Shape {
        let mut to = |n: usize| 1 + (random.uniform() * n as f64) as usize;
        Shape {
            rows: to(40),
            columns: to(50),
            width: kind.block().0 * to(if kind == Kind::Q8_0 { 24 } else { 3 }),
        }
    }

    impl Case {
        /// Random bytes are weights of every kind; their factors are small numbers.
        fn new((kind, form): (Kind, Form), shape: Shape, random: &mut SplitMix64) -> Self {
            let (weights, bytes) = kind.block();
            let mut byte = || (random.uniform() * 256.0) as u8;
            let mut data: Vec<u8> =
                (0..shape.columns * shape.width / weights * bytes).map(|_| byte()).collect();
            kind.tame(&mut data);
            let x = (0..shape.rows * shape.width).map(|_| (random.uniform() * 8.0 - 4.0) as f32).collect();
            Self { kind, form, data, x, shape }
        }

        /// Blocks that are all of one byte, and their scales of another.
        fn uniform((kind, form): (Kind, Form), weight: u8, scale: u8, x: impl Fn(usize) -> f32) -> Self {
            let shape = Shape { rows: 5, columns: 2, width: 512 };
            let mut case = Self::new((kind, form), shape, &mut SplitMix64::new(1));
            let scales = match kind {
                Kind::Q4K | Kind::Q5K => 4..16,
                Kind::Q6K => 192..208,
                Kind::Q8_0 => 0..0,
            };
            for block in case.data.chunks_mut(kind.block().1) {
                block.fill(weight);
                block[scales.clone()].fill(scale);
            }
            kind.tame(&mut case.data);
            case.x = (0..shape.rows * shape.width).map(x).collect();
            case
        }

        fn weights(&self) -> Weights<'_> {
            let (weights, bytes) = self.kind.block();
            let Shape { columns, width, .. } = self.shape;
            Weights { kind: self.kind, data: &self.data, stride: width / weights * bytes, width, columns }
        }

        fn activations(&self) -> Activations<'_> {
            let Shape { rows, width, .. } = self.shape;
            Activations { data: &self.x, stride: width, width, rows }
        }

        fn round(&self) -> Held {
            let (x, blocks) = (self.activations(), blocks(self.shape.width));
            let mut held = Held {
                bytes: vec![Bytes::ZERO; x.groups() * blocks],
                words: vec![Words::ZERO; x.groups() * blocks],
                signed: vec![Signed::ZERO; x.groups() * blocks],
            };
            for group in 0..x.groups() {
                let blocks = group * blocks..(group + 1) * blocks;
                round_to_bytes(&x, group, &mut held.bytes[blocks.clone()]);
                round_to_words(&x, group, &mut held.words[blocks.clone()]);
                round_to_signed(&x, group, &mut held.signed[blocks]);
            }
            held
        }

        /// Results by row and column; `part` rows at a time.
        fn multiply(&self, part: usize) -> Vec<f32> {
            let Shape { rows, columns, .. } = self.shape;
            let held = self.round();
            let x = match self.form {
                Form::Bytes => Rounded::Bytes(&held.bytes),
                Form::Words => Rounded::Words(&held.words),
                Form::Signed => Rounded::Signed(&held.signed),
            };
            let mut results = vec![f32::NAN; rows * columns];
            let mut scratch = Scratch::default();
            for panel in 0..panels(columns) {
                for first in (0..rows).step_by(part) {
                    let task = (panel, first..rows.min(first + part));
                    multiply(&self.weights(), x, task, &mut scratch, |row, column, parts| {
                        let count = COLUMNS.min(columns - column);
                        for (i, part) in parts.iter().enumerate() {
                            results[(row + i) * columns + column..][..count].copy_from_slice(&part[..count]);
                        }
                    });
                }
            }
            results
        }

        /// A row's rounded numbers.
        fn rounded(&self, held: &Held, row: usize) -> Vec<f64> {
            let blocks = blocks(self.shape.width);
            let (place, row) = (row / ROWS * blocks, row % ROWS);
            let number = |i: usize| {
                let (block, i) = (place + i / BLOCK, i % BLOCK);
                match self.form {
                    Form::Bytes => {
                        let block = &held.bytes[block];
                        (f64::from(block.quads[i / 4][row][i % 4]) - 128.0) * f64::from(block.scales[row])
                    }
                    Form::Words => {
                        let block = &held.words[block];
                        f64::from(block.pairs[i / 2][row][i % 2]) * f64::from(block.scales[i / 32][row])
                    }
                    Form::Signed => {
                        let part = &held.signed[block].parts[i / 32];
                        f64::from(part.numbers[row][i % 32]) * f64::from(part.scales[row])
                    }
                }
            };
            (0..self.shape.width).map(number).collect()
        }

        /// Compares with the definition, in 64 bits, on the numbers as they were rounded.
        fn check(&self) {
            let Shape { rows, columns, width } = self.shape;
            let (held, results) = (self.round(), self.multiply(rows.next_multiple_of(ROWS)));
            let weights: Vec<_> = (0..columns).map(|c| self.weights().numbers(c)).collect();
            for row in 0..rows {
                let rounded = self.rounded(&held, row);
                for (exact, rounded) in self.x[row * width..].iter().zip(&rounded) {
                    assert!((f64::from(*exact) - rounded).abs() < 0.018, "{exact} became {rounded}");
                }
                for (column, weights) in weights.iter().enumerate() {
                    let terms = weights.iter().zip(&rounded).map(|(w, x)| f64::from(*w) * x);
                    let (sum, size) =
                        terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                    let got = f64::from(results[row * columns + column]);
                    let (kind, form, shape) = (self.kind, self.form, self.shape);
                    assert!(
                        (got - sum).abs() <= 2e-6 * size,
                        "{kind:?} {form:?} {shape:?} {row} {column}: {got}, {sum}"
                    );
                }
            }
        }
    }

    #[test]
    fn products_of_many_shapes_agree_with_the_definition() {
        if !available() {
            return;
        }
        let mut random = SplitMix64::new(1);
        for form in FORMS {
            for _ in 0..12 {
                let shape = random_shape(form.0, &mut random);
                Case::new(form, shape, &mut random).check();
            }
            Case::new(form, Shape { rows: 600, columns: 3, width: 256 }, &mut random).check();
        }
    }

    #[test]
    fn sums_of_the_largest_numbers_fit() {
        if !available() {
            return;
        }
        for form in FORMS {
            for weight in [0x00, 0x0F, 0x7F, 0x80, 0x88, 0xFF] {
                for scale in [0x00, 0x3F, 0x7F, 0x80, 0xFF] {
                    Case::uniform(form, weight, scale, |_| 4.0).check();
                    Case::uniform(form, weight, scale, |_| -4.0).check();
                    Case::uniform(form, weight, scale, |i| if i % 3 == 0 { 4.0 } else { -4.0 }).check();
                }
            }
        }
    }

    #[test]
    fn zeros_and_numbers_too_small_give_zeros() {
        if !available() {
            return;
        }
        for form in FORMS {
            for x in [0.0, -0.0, 1e-40, 1e-31] {
                let results = Case::uniform(form, 0xFF, 0x7F, |_| x).multiply(ROWS);
                assert!(results.iter().all(|y| *y == 0.0), "{form:?} {x}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_so_in_its_row() {
        if !available() {
            return;
        }
        for form in FORMS {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let case =
                    |x: f32| Case::uniform(form, 0x5A, 0x11, |i| if i == 2 * 512 + 300 { x } else { 0.5 });
                let (results, expected) = (case(bad).multiply(8), case(0.5).multiply(8));
                for (row, (got, expected)) in results.chunks(2).zip(expected.chunks(2)).enumerate() {
                    match row {
                        2 => assert!(got.iter().all(|y| !y.is_finite()), "{form:?} {bad}: {got:?}"),
                        _ => assert_eq!(got, expected, "{form:?} {bad}, row {row}"),
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_others() {
        if !available() {
            return;
        }
        let mut random = SplitMix64::new(3);
        for form in FORMS {
            let mut case = Case::new(form, Shape { rows: 22, columns: 20, width: 512 }, &mut random);
            let all = case.multiply(24);
            assert_eq!(all, case.multiply(ROWS), "{form:?}: in parts");
            let last = case.x.split_off(21 * 512);
            (case.x, case.shape.rows) = (last, 1);
            assert_eq!(all[21 * 20..], case.multiply(ROWS), "{form:?}: the last row alone");
        }
    }
}
