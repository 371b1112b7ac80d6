//! Figures of a classifier: the confusion matrix and what follows from it, and how far its
//! probabilities can be trusted. Pure functions; definitions agree with scikit-learn's.

use serde::Serialize;

use super::threshold::separating;
use crate::sentiment::labels::Sentiment;
use crate::sentiment::score::top;

/// Answers counted by true and answered label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// `counts[true][answered]`.
    pub counts: [[u64; 3]; 3],
    /// Free answers that named no label, by true label. They count as wrong.
    pub unreadable: [u64; 3],
}

/// How well one class, or the average class, is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Scores {
    /// Of the answers with this label, the share that is right; 0 if there is none.
    pub precision: f64,
    /// Of the rows with this label, the share answered so; 0 if there is none.
    pub recall: f64,
    /// Harmonic mean of the two; 0 if both are.
    pub f1: f64,
    /// Rows.
    pub support: u64,
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

impl Confusion {
    /// Count pairs of true and answered label, `None` for an unreadable answer.
    pub fn of(pairs: impl IntoIterator<Item = (Sentiment, Option<Sentiment>)>) -> Self {
        let mut confusion = Self::default();
        for (truth, answer) in pairs {
            confusion.add(truth, answer);
        }
        confusion
    }

    /// Counts one more.
    pub fn add(&mut self, truth: Sentiment, answer: Option<Sentiment>) {
        match answer {
            Some(answer) => self.counts[truth.index()][answer.index()] += 1,
            None => self.unreadable[truth.index()] += 1,
        }
    }

    /// Rows with this true label.
    pub fn support(&self, class: Sentiment) -> u64 {
        let i = class.index();
        self.counts[i].iter().sum::<u64>() + self.unreadable[i]
    }

    /// All rows.
    pub fn total(&self) -> u64 {
        Sentiment::ALL.iter().map(|c| self.support(*c)).sum()
    }

    /// Share of rows answered rightly, in 0..=1.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..3).map(|i| self.counts[i][i]).sum();
        ratio(right as f64, self.total() as f64)
    }

    /// Precision, recall and F1 of one class.
    pub fn scores(&self, class: Sentiment) -> Scores {
        let i = class.index();
        let right = self.counts[i][i] as f64;
        let answered: u64 = self.counts.iter().map(|row| row[i]).sum();
        let support = self.support(class);
        Scores {
            precision: ratio(right, answered as f64),
            recall: ratio(right, support as f64),
            f1: ratio(2.0 * right, answered as f64 + support as f64),
            support,
        }
    }

    /// Whether the class occurs among the labels or the answers. The macro average leaves others out, as
    /// scikit-learn does.
    pub fn occurs(&self, class: Sentiment) -> bool {
        self.support(class) > 0 || self.counts.iter().any(|row| row[class.index()] > 0)
    }

    /// Mean over the classes that [occur](Self::occurs), each counting the same.
    pub fn macro_average(&self) -> Scores {
        self.average(|class| f64::from(self.occurs(class)))
    }

    /// Mean over the three classes, each counting as much as it has rows.
    pub fn weighted_average(&self) -> Scores {
        self.average(|class| self.support(class) as f64)
    }

    fn average(&self, weight: impl Fn(Sentiment) -> f64) -> Scores {
        let whole: f64 = Sentiment::ALL.iter().map(|c| weight(*c)).sum();
        let mean = |part: fn(Scores) -> f64| {
            let sum: f64 = Sentiment::ALL.iter().map(|c| weight(*c) * part(self.scores(*c))).sum();
            ratio(sum, whole)
        };
        Scores {
            precision: mean(|s| s.precision),
            recall: mean(|s| s.recall),
            f1: mean(|s| s.f1),
            support: self.total(),
        }
    }
}

/// A row's true label and the model's probabilities for the three.
pub type Scored = (Sentiment, [f64; 3]);

/// How far probabilities can be trusted; lower is better for each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Trust {
    /// Mean negative log of the true label's probability, in nats. Probabilities below
    /// 2.2e-16 count as that.
    pub log_loss: f64,
    /// Multi-class Brier score: mean squared distance from the one-hot truth, in 0..=2.
    pub brier: f64,
    /// Expected calibration error, in 0..=1: see [`reliability`].
    pub ece: f64,
}

impl Trust {
    /// The three figures; zeros without rows.
    pub fn of(rows: &[Scored]) -> Self {
        Self {
            log_loss: log_loss(rows),
            brier: brier(rows),
            ece: expected_calibration_error(&reliability(rows)),
        }
    }
}

fn log_loss(rows: &[Scored]) -> f64 {
    let sum: f64 =
        rows.iter().map(|(truth, p)| -p[truth.index()].clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()).sum();
    ratio(sum, rows.len() as f64)
}

fn brier(rows: &[Scored]) -> f64 {
    let distance = |(truth, p): &Scored| -> f64 {
        Sentiment::ALL.iter().map(|c| (p[c.index()] - f64::from(c == truth)).powi(2)).sum()
    };
    ratio(rows.iter().map(distance).sum(), rows.len() as f64)
}

/// Bins of the reliability diagram and of ECE, all of the same width.
pub const BINS: usize = 15;

/// The answers whose top probability lies in one bin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Bin {
    /// Answers.
    pub count: u64,
    /// Mean top probability.
    pub confidence: f64,
    /// Share of right answers.
    pub accuracy: f64,
}

/// The bin of a probability, from 0.
pub fn bin_of(confidence: f64) -> usize {
    let index = (confidence * BINS as f64).ceil() as usize;
    index.clamp(1, BINS) - 1
}

/// Answers grouped by the probability of the answered label into [`BINS`] equal bins
/// (k/15, (k+1)/15], as in Guo et al. 2017 (arXiv 1706.04599).
pub fn reliability(rows: &[Scored]) -> [Bin; BINS] {
    let mut bins = [Bin::default(); BINS];
    for (truth, p) in rows {
        let answer = top(p);
        let confidence = p[answer.index()];
        let bin = &mut bins[bin_of(confidence)];
        bin.count += 1;
        bin.confidence += confidence;
        bin.accuracy += f64::from(answer == *truth);
    }
    for bin in &mut bins {
        bin.confidence = ratio(bin.confidence, bin.count as f64);
        bin.accuracy = ratio(bin.accuracy, bin.count as f64);
    }
    bins
}

/// Mean distance between confidence and accuracy over the bins, weighted by their answers.
pub fn expected_calibration_error(bins: &[Bin]) -> f64 {
    let total: u64 = bins.iter().map(|bin| bin.count).sum();
    let gaps = bins.iter().map(|bin| bin.count as f64 * (bin.confidence - bin.accuracy).abs());
    ratio(gaps.sum(), total as f64)
}

/// Shares of the rows for which an abstain threshold is shown.
pub const ANSWERED: [f64; 6] = [1.0, 0.95, 0.9, 0.8, 0.7, 0.5];

/// What an abstain threshold costs and gains.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Selective {
    /// Answers whose top probability is below this are withheld; with as few digits as give this share.
    pub abstain_below: f64,
    /// Share of rows still answered, in 0..=1.
    pub answered: f64,
    /// Share of right answers among those.
    pub accuracy: f64,
}

/// The thresholds that leave the surest `shares` of the rows answered. Answers of equal
/// probability are kept or withheld together.
pub fn selective<const N: usize>(rows: &[Scored], shares: [f64; N]) -> [Selective; N] {
    let mut sure: Vec<(f64, bool)> =
        rows.iter().map(|(truth, p)| (p[top(p).index()], top(p) == *truth)).collect();
    sure.sort_by(|a, b| b.0.total_cmp(&a.0));
    shares.map(|share| {
        let wanted = (share * sure.len() as f64).ceil() as usize;
        let least = wanted.checked_sub(1).map_or(1.0, |last| sure[last].0);
        let kept = sure.partition_point(|(confidence, _)| *confidence >= least);
        let abstain_below = separating(least, sure.get(kept).map(|(confidence, _)| *confidence));
        let right = sure[..kept].iter().filter(|(_, right)| *right).count();
        Selective {
            abstain_below,
            answered: ratio(kept as f64, sure.len() as f64),
            accuracy: ratio(right as f64, kept as f64),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Sentiment::{Negative, Neutral, Positive};

    #[test]
    fn a_class_that_never_occurs_is_left_out_of_the_macro_average() {
        let check = |pairs: &[(Sentiment, Option<Sentiment>)], f1: f64| {
            let found = Confusion::of(pairs.iter().copied()).macro_average().f1;
            assert!((found - f1).abs() < 1e-12, "{pairs:?}: {found}");
        };
        check(&[(Positive, Some(Positive)), (Negative, Some(Negative))], 1.0);
        check(&[(Positive, Some(Positive))], 1.0);
        // An answer without a label counts as a class.
        check(&[(Positive, Some(Positive)), (Positive, Some(Neutral))], 1.0 / 3.0);
        // No answer at all is no class.
        check(&[(Positive, Some(Positive)), (Positive, None)], 2.0 / 3.0);
    }

    #[test]
    fn nothing_is_zero() {
        let none = Confusion::of([]);
        assert_eq!((none.total(), none.accuracy()), (0, 0.0));
        assert_eq!(none.weighted_average(), Scores::default());
        let trust = Trust::of(&[]);
        assert_eq!((trust.log_loss, trust.brier, trust.ece), (0.0, 0.0, 0.0));
    }

    #[test]
    fn bins_are_open_below_and_closed_above() {
        let bin_of = |confidence: f64| {
            let rest = (1.0 - confidence) / 2.0;
            let bins = reliability(&[(Positive, [confidence, rest, rest])]);
            bins.iter().position(|bin| bin.count == 1)
        };
        assert_eq!(bin_of(1.0), Some(14));
        assert_eq!(bin_of(0.6), Some(8));
        assert_eq!(bin_of(0.600001), Some(9));
    }

    #[test]
    fn a_threshold_keeps_the_surest() {
        let row = |truth, p| (truth, [p, 1.0 - p, 0.0]);
        let rows = [row(Neutral, 0.6), row(Positive, 0.9), row(Negative, 0.7), row(Positive, 0.7)];
        let check = |share, expect| {
            let [s] = selective(&rows, [share]);
            assert_eq!((s.abstain_below, s.answered, s.accuracy), expect);
        };
        check(1.0, (0.6, 1.0, 0.5));
        check(0.25, (0.9, 0.25, 1.0));
        // The two at 0.7 stay together.
        check(0.5, (0.7, 0.75, 2.0 / 3.0));
        assert_eq!(selective(&[], [0.5])[0].answered, 0.0);
    }
}
