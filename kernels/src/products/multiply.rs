//! A product cut into pieces that threads can share.

use std::ops::Range;

use super::activations::{Rounded, blocks};
use super::rows::ROWS;
#[cfg(target_arch = "x86_64")]
use super::tile::Tile;
#[cfg(target_arch = "aarch64")]
use super::tile_neon::Tile;
use super::unpacked::{COLUMNS, Columns, Eights, Narrow, Wide};
use super::weights::{Decoded, Weights};
use crate::level::Level;
#[cfg(doc)]
use crate::level::available;

/// Panels of so many columns.
pub const fn panels(columns: usize) -> usize {
    columns.div_ceil(COLUMNS)
}

/// Memory that one call after the other uses.
pub struct Scratch {
    pub(super) columns: Box<Columns>,
    pub(super) narrow: Vec<Narrow>,
    #[cfg_attr(target_arch = "aarch64", allow(dead_code, reason = "ARM multiplies bytes alone"))]
    pub(super) wide: Vec<Wide>,
    pub(super) eights: Vec<Eights>,
}

impl Default for Scratch {
    fn default() -> Self {
        let columns = Box::new(std::array::from_fn(|_| Decoded::default()));
        Self { columns, narrow: Vec::new(), wide: Vec::new(), eights: Vec::new() }
    }
}

/// Multiplies some rows by the columns of one panel, and gives `put` some rows' results at a time, with the first
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
    Task { weights, panel, rows, level: Level::best() }.multiply(x, scratch, &mut put);
}

/// Takes the first row, the first column and the rows' results.
pub(super) type Put<'a> = &'a mut dyn FnMut(usize, usize, &[[f32; COLUMNS]]);

/// Some rows and one panel's columns. `rows` begins with a group.
pub(super) struct Task<'a> {
    pub(super) weights: &'a Weights<'a>,
    pub(super) panel: usize,
    pub(super) rows: Range<usize>,
    pub(super) level: Level,
}

/// What a task does is in `multiply_x86.rs` and `multiply_neon.rs`.
impl Task<'_> {
    /// Computes a tile after the other.
    #[inline(always)]
    pub(super) fn tiles<X>(&self, x: &[X], tile: impl Fn([&[X]; 1]) -> [Tile; 1], put: Put) {
        self.part(self.rows.clone(), x, tile, put);
    }

    /// Computes `G` tiles of some rows at a time; the last may be a part of one.
    #[inline(always)]
    pub(super) fn part<X, const G: usize>(
        &self,
        rows: Range<usize>,
        x: &[X],
        tiles: impl Fn([&[X]; G]) -> [Tile; G],
        put: Put,
    ) {
        let blocks = blocks(self.weights.width);
        for row in rows.clone().step_by(G * ROWS) {
            let group = |g: usize| &x[(row / ROWS + g) * blocks..][..blocks];
            let results = tiles(std::array::from_fn(group));
            let count = results.as_flattened().len().min(rows.end - row);
            put(row, self.panel * COLUMNS, &results.as_flattened()[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::activations::{
        Activations, Form, round_to_bytes, round_to_few, round_to_signed, round_to_unsigned, round_to_words,
    };
    use super::super::rows::{self, Bytes, Few, Signed, Unsigned, Words};
    use super::super::weights::{BLOCK, Kind};
    use super::*;
    use crate::level::available;
    use crate::random::SplitMix64;

    /// Kinds of weights with the forms that they take.
    const FORMS: [(Kind, Form); 9] = [
        (Kind::Q4K, Form::Bytes),
        (Kind::Q5K, Form::Bytes),
        (Kind::Q6K, Form::Bytes),
        (Kind::Q8_0, Form::Words),
        (Kind::Q8_0, Form::Unsigned),
        (Kind::Q8_0, Form::Signed),
        (Kind::Q4K, Form::Few),
        (Kind::Q5K, Form::Few),
        (Kind::Q6K, Form::Few),
    ];

    /// Those that this CPU has the instructions for.
    fn forms() -> impl Iterator<Item = (Kind, Form)> {
        FORMS.into_iter().filter(|(_, form)| match form {
            Form::Bytes => true,
            Form::Unsigned => Level::best() != Level::Avx2,
            Form::Words | Form::Signed | Form::Few => cfg!(target_arch = "x86_64"),
        })
    }

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
        unsigned: Vec<Unsigned>,
        signed: Vec<Signed>,
        few: Vec<Few>,
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
                unsigned: vec![Unsigned::ZERO; x.groups() * blocks],
                signed: vec![Signed::ZERO; x.groups() * blocks],
                few: vec![Few::ZERO; x.groups() * blocks],
            };
            for group in 0..x.groups() {
                let blocks = group * blocks..(group + 1) * blocks;
                round_to_bytes(&x, group, &mut held.bytes[blocks.clone()]);
                round_to_words(&x, group, &mut held.words[blocks.clone()]);
                round_to_unsigned(&x, group, &mut held.unsigned[blocks.clone()]);
                round_to_signed(&x, group, &mut held.signed[blocks.clone()]);
                round_to_few(&x, group, &mut held.few[blocks]);
            }
            held
        }

        /// Results by row and column; `part` rows at a time.
        fn multiply(&self, part: usize) -> Vec<f32> {
            self.multiply_at(Level::best(), self.form, part)
        }

        fn multiply_at(&self, level: Level, form: Form, part: usize) -> Vec<f32> {
            let Shape { rows, columns, .. } = self.shape;
            let held = self.round();
            let x = match form {
                Form::Bytes => Rounded::Bytes(&held.bytes),
                Form::Words => Rounded::Words(&held.words),
                Form::Unsigned => Rounded::Unsigned(&held.unsigned),
                Form::Signed => Rounded::Signed(&held.signed),
                Form::Few => Rounded::Few(&held.few),
            };
            let mut results = vec![f32::NAN; rows * columns];
            let mut scratch = Scratch::default();
            for panel in 0..panels(columns) {
                for first in (0..rows).step_by(part) {
                    let weights = &self.weights();
                    let task = Task { weights, panel, rows: first..rows.min(first + part), level };
                    task.multiply(x, &mut scratch, &mut |row, column, parts| {
                        let count = COLUMNS.min(columns - column);
                        for (i, part) in parts.iter().enumerate() {
                            results[(row + i) * columns + column..][..count].copy_from_slice(&part[..count]);
                        }
                    });
                }
            }
            results
        }

        /// A row's rounded numbers, each with its scale.
        fn rounded(&self, held: &Held, row: usize) -> Vec<(i32, f32)> {
            let blocks = blocks(self.shape.width);
            let (place, row) = (row / ROWS * blocks, row % ROWS);
            let byte = |byte: u8| i32::from(byte.wrapping_sub(rows::ZERO).cast_signed());
            let number = |i: usize| {
                let (block, i) = (place + i / BLOCK, i % BLOCK);
                match self.form {
                    Form::Bytes => {
                        let block = &held.bytes[block];
                        (byte(block.quads[i / 4][row][i % 4]), block.scales[row])
                    }
                    Form::Words => {
                        let block = &held.words[block];
                        (i32::from(block.pairs[i / 2][row][i % 2]), block.scales[i / 32][row])
                    }
                    Form::Unsigned => {
                        let block = &held.unsigned[block];
                        (byte(block.quads[i / 4][row][i % 4]), block.scales[i / 32][row])
                    }
                    Form::Signed => {
                        let part = &held.signed[block].parts[i / 32];
                        (i32::from(part.numbers[row][i % 32]), part.scales[row])
                    }
                    Form::Few => {
                        let block = &held.few[block];
                        (i32::from(block.numbers[row][i]), block.scales[row])
                    }
                }
            };
            (0..self.shape.width).map(number).collect()
        }

        /// A column's product with a row's rounded numbers, in the kernels' order.
        fn product(&self, column: usize, numbers: &[(i32, f32)]) -> f32 {
            let (mut decoded, mut result) = (Decoded::default(), 0.0f32);
            let is_small = self.kind == Kind::Q8_0;
            for (block, numbers) in numbers.chunks(BLOCK).enumerate() {
                self.weights().decode(column, block, &mut decoded);
                let d = &decoded;
                let per_scale = if self.kind == Kind::Q6K { 16 } else { 32 };
                let term = |i: usize| {
                    let scale = if is_small { 1 } else { i32::from(d.scales[i / per_scale]) };
                    numbers[i].0 * i32::from(d.weights[i]) * scale
                };
                if !is_small {
                    let sum = (0..BLOCK).map(term).sum::<i32>();
                    result = (sum as f32).mul_add(d.d * numbers[0].1, result);
                }
                for (i, part) in numbers.chunks(32).enumerate().filter(|_| self.kind != Kind::Q6K) {
                    if is_small {
                        let sum = (i * 32..i * 32 + 32).map(term).sum::<i32>();
                        result = (sum as f32).mul_add(d.per_32[i] * part[0].1, result);
                    } else {
                        let sum = part.iter().map(|number| number.0).sum::<i32>();
                        result = d.per_32[i].mul_add(sum as f32 * part[0].1, result);
                    }
                }
            }
            result
        }

        /// Compares with the definition, in 64 bits, on the numbers as they were rounded.
        fn check(&self) {
            let Shape { rows, columns, width } = self.shape;
            let (held, results) = (self.round(), self.multiply(rows.next_multiple_of(ROWS)));
            let weights: Vec<_> = (0..columns).map(|c| self.weights().numbers(c)).collect();
            for row in 0..rows {
                let rounded = self.rounded(&held, row).into_iter();
                let rounded: Vec<_> = rounded.map(|(x, scale)| f64::from(x) * f64::from(scale)).collect();
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
        for form in forms() {
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
        for form in forms() {
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
        for form in forms() {
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
        for form in forms() {
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
        for form in forms() {
            let mut case = Case::new(form, Shape { rows: 22, columns: 20, width: 512 }, &mut random);
            let all = case.multiply(24);
            assert_eq!(all, case.multiply(ROWS), "{form:?}: in parts");
            let last = case.x.split_off(21 * 512);
            (case.x, case.shape.rows) = (last, 1);
            assert_eq!(all[21 * 20..], case.multiply(ROWS), "{form:?}: the last row alone");
        }
    }

    #[test]
    fn every_cpus_instructions_give_the_same_bits() {
        if !available() {
            return;
        }
        let mut random = SplitMix64::new(6);
        // `few.rs` and `few_k.rs` add in an order of their own.
        for (kind, form) in forms().filter(|(_, form)| !matches!(form, Form::Signed | Form::Few)) {
            for _ in 0..6 {
                let shape = random_shape(kind, &mut random);
                let case = Case::new((kind, form), shape, &mut random);
                let (held, results) = (case.round(), case.multiply(8));
                for (row, results) in results.chunks(shape.columns).enumerate() {
                    let numbers = case.rounded(&held, row);
                    for (column, result) in results.iter().enumerate() {
                        let expected = case.product(column, &numbers);
                        assert_eq!(result.to_bits(), expected.to_bits(), "{kind:?} {form:?} {shape:?}");
                    }
                }
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn wider_instructions_give_the_same_bits() {
        if !available() {
            return;
        }
        let mut random = SplitMix64::new(4);
        for (kind, form) in forms() {
            let narrow = if form == Form::Unsigned { Form::Words } else { form };
            for _ in 0..12 {
                let shape = random_shape(kind, &mut random);
                let case = Case::new((kind, form), shape, &mut random);
                let expected = case.multiply_at(Level::Avx2, narrow, 12);
                for level in [Level::AvxVnni, Level::Avx512].into_iter().filter(|level| level.is_here()) {
                    assert_eq!(case.multiply_at(level, form, 20), expected, "{level:?} {kind:?} {shape:?}");
                }
            }
        }
    }
}
