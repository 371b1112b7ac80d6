//! Reductions over a row of logits, written so that the compiler vectorises them: a row of Gemma's has 262,144 entries,
//! and a comment needs four.

use crate::exponential::exp_nonpositive;

const LANES: usize = 16;

/// The largest logit. NaN entries are passed over.
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

/// ln Σ exp(logit), in nats; NaN if any logit is NaN, not finite if one is infinite.
pub fn log_sum_exp(row: &[f32]) -> f64 {
    let max = max(row);
    if !max.is_finite() {
        return f64::from(max);
    }
    let mut sum = 0.0_f64;
    // Blocks short enough that f32 sums lose nothing that matters.
    for block in row.chunks(LANES * 256) {
        let mut lanes = [0.0_f32; LANES];
        let chunks = block.chunks_exact(LANES);
        let tail = chunks.remainder();
        for chunk in chunks {
            for (s, x) in lanes.iter_mut().zip(chunk) {
                *s += exp_nonpositive(*x - max);
            }
        }
        sum += lanes.iter().map(|s| f64::from(*s)).sum::<f64>();
        sum += tail.iter().map(|x| f64::from(exp_nonpositive(*x - max))).sum::<f64>();
    }
    f64::from(max) + sum.ln()
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
