//! 95 % intervals of the figures, and whether two models' accuracies differ by more than chance.

use serde::Serialize;

use super::SEED;
use super::metrics::{BINS, Confusion, bin_of};
use super::predictions::Prediction;
use crate::random::SplitMix64;
use crate::sentiment::labels::Sentiment;
use crate::sentiment::score::top;

/// Bootstrap samples.
pub const SAMPLES: usize = 1000;

/// From the 2.5th to the 97.5th percentile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub from: f64,
    /// Upper end.
    pub to: f64,
}

/// Percentile bootstrap intervals: the rows are drawn with replacement [`SAMPLES`] times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Intervals {
    /// Of the accuracy.
    pub accuracy: Interval,
    /// Of the macro F1.
    pub macro_f1: Interval,
    /// Of the expected calibration error; `None` without probabilities.
    pub ece: Option<Interval>,
    /// Samples drawn.
    pub samples: usize,
    /// Seed of the drawing.
    pub seed: u64,
}

/// What is counted of a row.
struct Counted {
    truth: Sentiment,
    answer: Option<Sentiment>,
    /// Bin and probability of the most probable label, and whether it is right.
    sure: Option<(usize, f64, bool)>,
}

impl Counted {
    fn of(p: &Prediction) -> Self {
        let sure = p.probabilities.map(|scores| {
            let best = top(&scores);
            let confidence = scores[best.index()];
            (bin_of(confidence), confidence, best == p.label)
        });
        Self { truth: p.label, answer: p.predicted, sure }
    }
}

impl Intervals {
    /// `None` without rows.
    pub fn of<'a>(predictions: impl IntoIterator<Item = &'a Prediction>) -> Option<Self> {
        let rows: Vec<Counted> = predictions.into_iter().map(Counted::of).collect();
        if rows.is_empty() {
            return None;
        }
        let mut random = SplitMix64::new(SEED);
        let figures: Vec<[f64; 3]> = (0..SAMPLES).map(|_| sample(&rows, &mut random)).collect();
        let interval = |figure: usize| percentiles(figures.iter().map(|f| f[figure]).collect());
        let scored = rows.iter().all(|row| row.sure.is_some());
        Some(Self {
            accuracy: interval(0),
            macro_f1: interval(1),
            ece: scored.then(|| interval(2)),
            samples: SAMPLES,
            seed: SEED,
        })
    }

    /// The intervals in words.
    pub fn sentence(&self) -> String {
        let words = |name: &str, i: Interval| format!("{name} {:.4} to {:.4}", i.from, i.to);
        let ece = self.ece.map(|i| words("ECE", i));
        let all = [words("accuracy", self.accuracy), words("macro F1", self.macro_f1)].into_iter().chain(ece);
        format!(
            "95 % intervals: {} (bootstrap, {} samples, seed {})",
            all.collect::<Vec<_>>().join(", "),
            self.samples,
            self.seed
        )
    }
}

/// Accuracy, macro F1 and ECE of as many rows as there are, drawn with replacement.
fn sample(rows: &[Counted], random: &mut SplitMix64) -> [f64; 3] {
    let mut confusion = Confusion::default();
    // Of each bin, the sum of confidence less right answers.
    let mut gaps = [0.0; BINS];
    for _ in 0..rows.len() {
        let row = &rows[random.below(rows.len())];
        confusion.add(row.truth, row.answer);
        if let Some((bin, confidence, right)) = row.sure {
            gaps[bin] += confidence - f64::from(right);
        }
    }
    let ece = gaps.iter().map(|gap| gap.abs()).sum::<f64>() / rows.len() as f64;
    [confusion.accuracy(), confusion.macro_average().f1, ece]
}

fn percentiles(mut values: Vec<f64>) -> Interval {
    values.sort_by(f64::total_cmp);
    // Between two values in proportion, as NumPy does.
    let at = |share: f64| {
        let place = share * (values.len() - 1) as f64;
        let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
        low + (high - low) * place.fract()
    };
    Interval { from: at(0.025), to: at(0.975) }
}

/// McNemar's exact test, two-sided: the probability that of `a + b` rows which only one of two models answers
/// rightly, the split is at least as uneven as `a` to `b` if both are equally good. 1 without such rows.
///
/// The test is McNemar's (Psychometrika 12, 1947, pp. 153-157), with the binomial distribution in place of his
/// chi-squared one, so that it holds for few such rows as well: "exact conditional test" in Fagerland, Lydersen and
/// Laake (BMC Medical Research Methodology 13, 2013, article 91).
pub fn mcnemar(a: u64, b: u64) -> f64 {
    let (fewer, all) = (a.min(b), a + b);
    // ln of the binomial coefficients, one after the other, relative to the largest: 2^-all may be 0.
    let mut log = -(all as f64) * std::f64::consts::LN_2;
    let mut logs = Vec::new();
    for k in 0..=fewer {
        logs.push(log);
        log += ((all - k) as f64 / (k + 1) as f64).ln();
    }
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logs.iter().map(|l| (l - most).exp()).sum();
    (2.0 * (most + sum.ln()).exp()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcnemar_is_the_binomial_test() {
        // scipy.stats.binomtest(min, n).pvalue
        let check = |a, b, expect: f64| {
            assert!((mcnemar(a, b) / expect - 1.0).abs() < 1e-9, "{a} {b}: {}", mcnemar(a, b));
            assert_eq!(mcnemar(a, b).to_bits(), mcnemar(b, a).to_bits());
        };
        check(0, 0, 1.0);
        check(3, 3, 1.0);
        check(5, 4, 1.0);
        check(1, 9, 0.021484375);
        // Fagerland and others 2013, from Bentur and others: 0.0703.
        check(1, 7, 0.0703125);
        check(0, 6, 0.03125);
        check(900, 1100, 8.457_089_535_503_81e-6);
    }

    fn predictions(n: usize) -> Vec<Prediction> {
        let row = |row: usize| {
            let label = Sentiment::ALL[row % 3];
            // Four of five are right, at 0.8.
            let answer = if row.is_multiple_of(5) { (label.index() + 1) % 3 } else { label.index() };
            let mut probabilities = [0.1; 3];
            probabilities[answer] = 0.8;
            Prediction {
                row,
                comment: String::new(),
                label,
                predicted: Some(Sentiment::ALL[answer]),
                abstained: false,
                log_probs: None,
                probabilities: Some(probabilities),
                text: None,
            }
        };
        (0..n).map(row).collect()
    }

    #[test]
    fn intervals_are_as_wide_as_the_rows_allow() {
        let check = |n: usize| {
            let found = Intervals::of(&predictions(n)).unwrap();
            // Normal approximation of a share of 0.8.
            let half = 1.96 * (0.8 * 0.2 / n as f64).sqrt();
            for (end, expect) in [(found.accuracy.from, 0.8 - half), (found.accuracy.to, 0.8 + half)] {
                assert!((end - expect).abs() < 0.2 * half, "{n}: {found:?}");
            }
            assert!(found.macro_f1.from < 0.8 && found.macro_f1.to > 0.8 && found.ece.unwrap().from >= 0.0);
            assert_eq!(Intervals::of(&predictions(n)).unwrap(), found);
        };
        check(100);
        check(1500);
        assert_eq!(Intervals::of(&[]), None);
        let mut free = predictions(10);
        free[3].probabilities = None;
        assert_eq!(Intervals::of(&free).unwrap().ece, None);
    }
}
