//! Reductions over a row of logits, written so that the compiler vectorises them: a row of Gemma's has 262,144 entries,
//! and a comment needs four.

use crate::exponential::{exp_nonpositive, tanh};
use crate::level::by_level;

const LANES: usize = 16;

/// The largest logit. NaN entries are passed over.
#[inline(always)]
fn max(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = row.chunks_exact(LANES);
    let tail = chunks.remainder();
    for chunk in chunks {
        for (m, x) in lanes.iter_mut().zip(chunk) {
            *m = if *x > *m { *x } else { *m };
        }
    }
    lanes.iter().chain(tail).fold(f32::NEG_INFINITY, |m, x| if *x > m { *x } else { m })
}

/// Σ exp(logit − base) of a block in lanes, and what is left of it; no logit is above the base.
#[inline(always)]
fn exponentials(block: &[f32], base: f32) -> ([f32; LANES], &[f32]) {
    let mut lanes = [0.0_f32; LANES];
    let chunks = block.chunks_exact(LANES);
    let tail = chunks.remainder();
    for chunk in chunks {
        for (s, x) in lanes.iter_mut().zip(chunk) {
            *s += exp_nonpositive(*x - base);
        }
    }
    (lanes, tail)
}

/// ln Σ exp(logit), in nats; NaN if any logit is NaN, not finite if one is infinite.
pub fn log_sum_exp(row: &[f32]) -> f64 {
    let max = max(row);
    if !max.is_finite() {
        return f64::from(max);
    }
    let mut sum = 0.0_f64;
    // Blocks short enough that f32 sums lose nothing that matters.
    for block in row.chunks(LANES * 256) {
        let (lanes, tail) = exponentials(block, max);
        sum += lanes.iter().map(|s| f64::from(*s)).sum::<f64>();
        sum += tail.iter().map(|x| f64::from(exp_nonpositive(*x - max))).sum::<f64>();
    }
    f64::from(max) + sum.ln()
}

/// A piece of a row, reduced: its largest logit, and the sum of exp(logit − that).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Negative infinity where nothing is larger.
    pub max: f32,
    /// NaN if any logit is NaN or positive infinity.
    pub sum: f32,
}

/// What a model does to a head's products: after · tanh(before · x), as Gemma 2 does, or before · x.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cap {
    /// Before the tangent.
    pub before: f32,
    /// After it; `None` without a tangent.
    pub after: Option<f32>,
}

/// Products as they are.
pub const PLAIN: Cap = Cap { before: 1.0, after: None };

impl Cap {
    /// A logit from a product.
    #[inline(always)]
    pub fn of(self, x: f32) -> f32 {
        let x = self.before * x;
        self.after.map_or(x, |after| after * tanh(x))
    }
}

by_level! {
    /// Caps a head's products, and reduces them; a piece is short enough that a sum of 32-bit floats loses nothing
    /// that matters.
    pub fn reduce(logits: &mut [f32], cap: Cap, part: &mut Part) = reduced, reduced
}

#[inline(always)]
fn reduced(logits: &mut [f32], cap: Cap, part: &mut Part) {
    if cap != PLAIN {
        logits.iter_mut().for_each(|x| *x = cap.of(*x));
    }
    let max = max(logits);
    let base = if max.is_finite() { max } else { 0.0 };
    let (lanes, tail) = exponentials(logits, base);
    let rest: f32 = tail.iter().map(|x| exp_nonpositive(*x - base)).sum();
    *part = Part { max, sum: lanes.iter().sum::<f32>() + rest };
}

/// [`log_sum_exp`] of a row from its parts, in nats.
pub fn join(parts: impl Iterator<Item = Part> + Clone) -> f64 {
    let max = parts.clone().fold(f32::NEG_INFINITY, |max, part| if part.max > max { part.max } else { max });
    let base = if max.is_finite() { max } else { 0.0 };
    let share = |part: Part| f64::from(part.sum) * f64::from(exp_nonpositive(part.max - base));
    f64::from(base) + parts.map(share).sum::<f64>().ln()
}

/// The position of the largest logit; `None` if none is a number.
pub fn argmax(row: &[f32]) -> Option<usize> {
    let max = max(row);
    row.iter().position(|x| *x == max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::level::{Level, available};

    fn reference(row: &[f32]) -> f64 {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|x| f64::from(*x - max).exp()).sum();
        f64::from(max) + sum.ln()
    }

    proptest! {
        #[test]
        fn log_sum_exp_is_exact_enough(row in prop::collection::vec(-60.0_f32..60.0, 1..6000)) {
            prop_assert!((log_sum_exp(&row) - reference(&row)).abs() < 2e-6);
        }
    }

    proptest! {
        #[test]
        fn a_row_in_parts_is_the_whole_row(
            row in prop::collection::vec(-60.0_f32..60.0, 1..3000),
            width in 1_usize..300,
            after in prop::option::of(1.0_f32..50.0),
        ) {
            let cap = Cap { before: 0.125, after };
            let capped = row.iter().map(|x| after.map_or(x * 0.125, |after| after * (x * 0.125).tanh()));
            let expect = reference(&capped.collect::<Vec<_>>());
            for level in Level::ALL.into_iter().filter(|level| available() && level.is_here()) {
                let parts: Vec<Part> = row.chunks(width).map(|piece| part(level, piece, cap)).collect();
                prop_assert!((join(parts.iter().copied()) - expect).abs() < 4e-5);
            }
        }
    }

    fn part(level: Level, piece: &[f32], cap: Cap) -> Part {
        let mut part = Part { max: 0.0, sum: 0.0 };
        reduce(level, &mut piece.to_vec(), cap, &mut part);
        part
    }

    #[test]
    fn what_is_no_number_shows_in_a_part() {
        if !available() {
            return;
        }
        let check = |odd: f32, expect: fn(f64) -> bool| {
            let pieces = [[1.0; 20], [odd; 20], [f32::NEG_INFINITY; 20]];
            let sum = join(pieces.iter().map(|piece| part(Level::best(), piece, PLAIN)));
            assert!(expect(sum), "{odd}: {sum}");
        };
        check(1.0, |sum| (sum - 1.0 - 40.0_f64.ln()).abs() < 1e-6);
        check(f32::NEG_INFINITY, |sum| (sum - 1.0 - 20.0_f64.ln()).abs() < 1e-6);
        check(f32::NAN, f64::is_nan);
        check(f32::INFINITY, f64::is_nan);
    }

    #[test]
    fn a_flat_row_of_gemmas_size() {
        let row = vec![1.5_f32; 262_144];
        assert!((log_sum_exp(&row) - (1.5 + 262_144_f64.ln())).abs() < 1e-6);
    }

    #[test]
    fn what_is_no_number_shows() {
        let mut row = vec![0.0_f32; 100];
        row[37] = f32::NAN;
        assert!(log_sum_exp(&row).is_nan());
        row[37] = f32::INFINITY;
        assert!(!log_sum_exp(&row).is_finite());
        row[37] = f32::NEG_INFINITY;
        assert!(log_sum_exp(&row).is_finite());
        assert_eq!(argmax(&[f32::NAN; 20]), None);
    }
}
