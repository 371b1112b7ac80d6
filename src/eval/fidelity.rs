//! How far one model's answers are from another's: a quantised model from an F16 one, a merged
//! adapter from an unmerged one.

use serde::Serialize;

use super::intervals::mcnemar;
use crate::sentiment::labels::Sentiment;
use crate::sentiment::score::top;

/// Differences between the model under test and a reference model on the same rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fidelity {
    /// Rows compared.
    pub rows: u64,
    /// Rows answered with another label.
    pub flips: u64,
    /// `changes[reference's answer][tested model's answer]`.
    pub changes: [[u64; 3]; 3],
    /// Mean Kullback-Leibler divergence of the tested model's three probabilities from the
    /// reference's, in nats: Σ r·ln(r/t).
    pub mean_kl: f64,
    /// The largest divergence of one row.
    pub max_kl: f64,
    /// The tested model's accuracy, in 0..=1.
    pub accuracy: f64,
    /// The reference's accuracy.
    pub reference_accuracy: f64,
    /// Rows that only the tested model answers rightly.
    pub only_right: u64,
    /// Rows that only the reference answers rightly.
    pub only_reference_right: u64,
    /// McNemar's exact test of these two ([`mcnemar`]): below 0.05, the accuracies differ by more than chance.
    pub mcnemar_p: f64,
}

/// One row's true label, the tested model's probabilities, and the reference's.
pub type Pair = (Sentiment, [f64; 3], [f64; 3]);

impl Fidelity {
    /// Compare row by row; zeros without rows.
    pub fn of(pairs: &[Pair]) -> Self {
        let rows = pairs.len().max(1) as f64;
        let mut changes = [[0; 3]; 3];
        for (_, tested, reference) in pairs {
            changes[top(reference).index()][top(tested).index()] += 1;
        }
        let kept: u64 = (0..3).map(|i| changes[i][i]).sum();
        let divergences = || pairs.iter().map(|(_, t, r)| divergence(r, t));
        let right = |answer: fn(&Pair) -> &[f64; 3]| {
            pairs.iter().filter(|pair| top(answer(pair)) == pair.0).count() as f64 / rows
        };
        let one_right = |wanted: (bool, bool)| {
            let right = |(truth, t, r): &Pair| (top(t) == *truth, top(r) == *truth);
            pairs.iter().filter(|pair| right(pair) == wanted).count() as u64
        };
        let (only_right, only_reference_right) = (one_right((true, false)), one_right((false, true)));
        Self {
            only_right,
            only_reference_right,
            mcnemar_p: mcnemar(only_right, only_reference_right),
            rows: pairs.len() as u64,
            flips: pairs.len() as u64 - kept,
            changes,
            mean_kl: divergences().sum::<f64>() / rows,
            max_kl: divergences().fold(0.0, f64::max),
            accuracy: right(|pair| &pair.1),
            reference_accuracy: right(|pair| &pair.2),
        }
    }

    /// Share of rows answered with another label, in 0..=1.
    pub fn flip_rate(&self) -> f64 {
        self.flips as f64 / self.rows.max(1) as f64
    }
}

/// KL(reference ‖ tested) in nats; a probability of 0 counts as the smallest positive number.
fn divergence(reference: &[f64; 3], tested: &[f64; 3]) -> f64 {
    reference
        .iter()
        .zip(tested)
        .filter(|(r, _)| **r > 0.0)
        .map(|(r, t)| r * (r / t.max(f64::MIN_POSITIVE)).ln())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Sentiment::{Negative, Positive};

    #[test]
    fn differences_are_counted() {
        let half = [0.5, 0.25, 0.25];
        let other = [0.25, 0.25, 0.5];
        let fidelity = Fidelity::of(&[
            (Positive, half, half),
            (Positive, other, half),
            (Negative, other, other),
            (Negative, half, other),
        ]);
        assert_eq!((fidelity.rows, fidelity.flips), (4, 2));
        assert_eq!(fidelity.flip_rate(), 0.5);
        assert_eq!(fidelity.changes, [[1, 0, 1], [0, 0, 0], [1, 0, 1]]);
        // 0.5 ln 2 − 0.25 ln 2 for either flip.
        assert!((fidelity.max_kl - 0.25 * 2f64.ln()).abs() < 1e-12);
        assert!((fidelity.mean_kl - 0.125 * 2f64.ln()).abs() < 1e-12);
        assert_eq!((fidelity.accuracy, fidelity.reference_accuracy), (0.5, 1.0));
        assert_eq!((fidelity.only_right, fidelity.only_reference_right, fidelity.mcnemar_p), (0, 2, 0.5));
    }

    #[test]
    fn certainty_is_finite() {
        let fidelity = Fidelity::of(&[(Positive, [0.0, 0.0, 1.0], [1.0, 0.0, 0.0])]);
        assert!(fidelity.max_kl.is_finite() && fidelity.max_kl > 100.0);
        assert_eq!(Fidelity::of(&[]).flip_rate(), 0.0);
    }
}
