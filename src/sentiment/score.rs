//! Joint label log-probabilities to a verdict.

use super::labels::Sentiment;
use super::profile::{Calibration, Scaling};

/// A verdict and what it rests on. Arrays are in the order of [`Sentiment::ALL`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The most probable sentiment after calibration.
    pub sentiment: Sentiment,
    /// Calibrated; they sum to 1.
    pub probabilities: [f64; 3],
    /// ln P(label | prompt), in nats, as the model gave them.
    pub log_probs: [f64; 3],
    /// The highest probability is below the profile's threshold.
    pub abstained: bool,
}

impl Verdict {
    /// The verdict from ln P(label | prompt), one per label. `None` if one is missing, or if it or a
    /// probability made of it is not finite.
    pub fn from_scores(log_probs: &[f64], calibration: &Calibration, shows_video: bool) -> Option<Self> {
        let three = <[f64; 3]>::try_from(log_probs).ok()?;
        let verdict = Self::new(three, calibration, shows_video);
        three.iter().chain(&verdict.probabilities).all(|p| p.is_finite()).then_some(verdict)
    }

    /// The verdict from ln P(label | prompt), all finite, of a comment that shows its video or doesn't.
    pub fn new(log_probs: [f64; 3], calibration: &Calibration, shows_video: bool) -> Self {
        let probabilities = probabilities(log_probs, &calibration.scaling(shows_video));
        let best = top(&probabilities);
        let verdict = Self { sentiment: best, probabilities, log_probs, abstained: false };
        Self { abstained: verdict.probability() < calibration.abstain_below, ..verdict }
    }

    /// Of the verdict's own sentiment, calibrated.
    pub fn probability(&self) -> f64 {
        self.probabilities[self.sentiment.index()]
    }
}

/// The label with the highest probability. If several are equal, the first of them in the order of
/// [`Sentiment::ALL`]: 긍정 before 중립 before 부정. Verdicts and all figures go by this rule.
pub fn top(probabilities: &[f64; 3]) -> Sentiment {
    Sentiment::ALL
        .into_iter()
        .rev()
        .max_by(|a, b| probabilities[a.index()].total_cmp(&probabilities[b.index()]))
        .unwrap_or(Sentiment::Positive)
}

/// softmax(log_probs / temperature + bias): temperature scaling (Guo et al. 2017,
/// arXiv 1706.04599) with a bias a class.
pub fn probabilities(log_probs: [f64; 3], scaling: &Scaling) -> [f64; 3] {
    let scores = Sentiment::ALL.map(|s| log_probs[s.index()] / scaling.temperature + scaling.bias.get(s));
    let max = scores.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let weights = scores.map(|s| (s - max).exp());
    let total: f64 = weights.iter().sum();
    weights.map(|w| w / total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentiment::profile::Labels;

    #[test]
    fn calibration_moves_the_verdict() {
        let log_probs = [0.5_f64.ln(), 0.3_f64.ln(), 0.1_f64.ln()];
        let check = |temperature, neutral, abstain_below, expect: (Sentiment, [f64; 3], bool)| {
            let bias = Labels { positive: 0.0, neutral, negative: 0.0 };
            let own = Calibration { temperature, bias, abstain_below, with_video: None };
            let v = Verdict::new(log_probs, &own, false);
            assert_eq!((v.sentiment, v.abstained), (expect.0, expect.2));
            for (p, e) in v.probabilities.iter().zip(expect.1) {
                assert!((p - e).abs() < 1e-12, "{v:?}");
            }
            assert!((v.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let of_videos =
                Calibration { abstain_below, with_video: Some(own.scaling(false)), ..Calibration::default() };
            assert_eq!(Verdict::new(log_probs, &of_videos, true), v);
            let without = Verdict::new(log_probs, &of_videos, false).probabilities;
            assert_eq!(without, probabilities(log_probs, &Scaling::NONE));
        };
        let plain = [5.0 / 9.0, 3.0 / 9.0, 1.0 / 9.0];
        check(1.0, 0.0, 0.0, (Sentiment::Positive, plain, false));
        check(1.0, 0.0, 0.6, (Sentiment::Positive, plain, true));
        // ln 2 more for 중립: weights 5 : 6 : 1.
        check(1.0, 2.0_f64.ln(), 0.0, (Sentiment::Neutral, [5.0 / 12.0, 0.5, 1.0 / 12.0], false));
        // Half the temperature squares the weights: 25 : 9 : 1.
        check(0.5, 0.0, 0.0, (Sentiment::Positive, [25.0 / 35.0, 9.0 / 35.0, 1.0 / 35.0], false));
    }

    #[test]
    fn the_first_of_equals_is_top() {
        let check = |p: [f64; 3], expect| assert_eq!(top(&p), expect, "{p:?}");
        check([0.4, 0.4, 0.2], Sentiment::Positive);
        check([0.2, 0.4, 0.4], Sentiment::Neutral);
        check([0.1, 0.2, 0.7], Sentiment::Negative);
        let level = Calibration { temperature: 1e300, ..Calibration::default() };
        let verdict = Verdict::new([-3.0, -2.0, -1.0], &level, false);
        assert_eq!((verdict.sentiment, verdict.probabilities), (Sentiment::Positive, [1.0 / 3.0; 3]));
    }

    #[test]
    fn no_verdict_without_three_finite_scores() {
        let scores: [&[f64]; 4] = [&[], &[-1.0], &[-1.0, f64::NEG_INFINITY, -2.0], &[-1.0, -2.0, f64::NAN]];
        let plain = Calibration::default();
        for scores in scores {
            assert_eq!(Verdict::from_scores(scores, &plain, false), None, "{scores:?}");
        }
        assert!(Verdict::from_scores(&[-1.0, -2.0, -3.0], &plain, false).is_some());
        // A temperature that no score survives.
        let frozen = Calibration { temperature: 1e-320, ..plain };
        assert_eq!(Verdict::from_scores(&[-1.0, -2.0, -3.0], &frozen, false), None);
    }
}
