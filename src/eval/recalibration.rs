//! What a fitted calibration changes, measured by cross-fitting.

use serde::Serialize;

use super::SEED;
use super::calibrate::{FitError, cross_fitted, fit, rare_labels};
use super::folds::FOLDS;
use super::metrics::{ANSWERED, Confusion, Scored, Selective, Trust, selective};
use super::predictions::{Prediction, log_probs, probabilities};
use crate::sentiment::labels::Sentiment;
use crate::sentiment::profile::Calibration;
use crate::sentiment::score::{self, top};

/// A fitted calibration, and what it changes on rows that its fit has not seen ([`cross_fitted`]).
#[derive(Debug, Clone)]
pub struct Recalibration {
    /// Weight of rare labels in the fit, in 0..=1: see [`calibrate`](super::calibrate).
    pub balance: f64,
    /// Fitted to all rows.
    pub fitted: Calibration,
    /// Under the model's present calibration.
    pub before: Summary,
    /// Under calibrations fitted to the other folds of the data.
    pub after: Summary,
    /// Labels with too few rows to fit a bias to, and how many they have.
    pub rare: Vec<(Sentiment, usize)>,
    /// What thresholds answer under the fitted calibration, on the rows that it was fitted to.
    pub selective: [Selective; ANSWERED.len()],
}

/// The figures to compare calibrations by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Share of right answers, in 0..=1.
    pub accuracy: f64,
    /// F1, each class among the labels or answers counting the same.
    pub macro_f1: f64,
    /// How far the probabilities can be trusted.
    #[serde(flatten)]
    pub trust: Trust,
}

impl Summary {
    /// The figures for rows of true label and probabilities.
    pub fn of(rows: &[Scored]) -> Self {
        let confusion = Confusion::of(rows.iter().map(|(truth, p)| (*truth, Some(top(p)))));
        Self {
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_average().f1,
            trust: Trust::of(rows),
        }
    }

    fn figures(&self) -> [Figure; 5] {
        [
            ("accuracy", self.accuracy),
            ("macro F1", self.macro_f1),
            ("log-loss", self.trust.log_loss),
            ("Brier", self.trust.brier),
            ("ECE", self.trust.ece),
        ]
    }
}

/// A figure's name and value.
pub(super) type Figure = (&'static str, f64);

impl Recalibration {
    /// Fits to answers with log-probabilities, and measures by cross-fitting.
    ///
    /// # Errors
    /// See [`FitError`].
    pub fn of(predictions: &[Prediction], balance: f64) -> Result<Self, FitError> {
        let rows = log_probs(predictions);
        let fitted = fit(&rows, balance)?;
        let truths = rows.iter().map(|(truth, _)| *truth);
        let after: Vec<Scored> = truths.zip(cross_fitted(&rows, balance)?).collect();
        let under_fitted: Vec<Scored> =
            rows.iter().map(|(truth, l)| (*truth, score::probabilities(*l, &fitted))).collect();
        Ok(Self {
            balance,
            before: Summary::of(&probabilities(predictions)),
            after: Summary::of(&after),
            rare: rare_labels(&rows),
            selective: selective(&under_fitted, ANSWERED),
            fitted,
        })
    }

    /// Why the model is better off without the fitted calibration, if it is: log-loss, which the fit lowers, is
    /// higher on rows that the fit has not seen; with a balance, macro F1 is lower.
    pub fn worse(&self) -> Option<String> {
        let (name, before, after) = if self.balance > 0.0 {
            ("macro F1", self.before.macro_f1, self.after.macro_f1)
        } else {
            ("log-loss", self.before.trust.log_loss, self.after.trust.log_loss)
        };
        let worse = if self.balance > 0.0 { after < before } else { after > before };
        worse.then(|| format!("{name} goes from {before:.4} to {after:.4} on rows that the fit has not seen"))
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n{:>12}{:>10}{:>10}\n", self.heading(), "", "before", "after");
        for ((name, before), (_, after)) in self.figures() {
            out += &format!("{name:>12}{before:>10.4}{after:>10.4}\n");
        }
        out += &format!("fitted to all rows: {}\n", words(&self.fitted));
        for sentence in self.warnings() {
            out += &format!("{sentence}\n");
        }
        out
    }

    /// What the fit rests on too little data for, a sentence a label.
    pub fn warnings(&self) -> Vec<String> {
        let sentence = |(label, n): &(Sentiment, usize)| {
            let rows = if *n == 1 { "row is" } else { "rows are" };
            format!(
                "only {n} {rows} labelled {label}: its bias and its part in \"after\" rest on chance; label at least {}",
                super::calibrate::FEW_ROWS
            )
        };
        self.rare.iter().map(sentence).collect()
    }

    pub(super) fn heading(&self) -> String {
        format!(
            "calibration with balance {}; {FOLDS} folds, shuffled with seed {SEED} and stratified by label, each \
             calibrated by the fit to the others",
            self.balance
        )
    }

    pub(super) fn figures(&self) -> impl Iterator<Item = (Figure, Figure)> {
        self.before.figures().into_iter().zip(self.after.figures())
    }
}

/// A calibration in words, with three digits.
pub(super) fn words(calibration: &Calibration) -> String {
    let bias = Sentiment::ALL.map(|class| format!("{class} {:+.3}", calibration.bias.get(class)));
    format!("temperature {:.3}, bias {}", calibration.temperature, bias.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as a model gives them whose log-probabilities are `sharp` times too far apart.
    fn answers(sharp: f64) -> Vec<Prediction> {
        let row = |row: usize| {
            let label = Sentiment::ALL[row % 3];
            // Three of four are right.
            let top = if row.is_multiple_of(4) { (row + 1) % 3 } else { row % 3 };
            let log_probs = std::array::from_fn(|c| {
                let wobble = ((row * 13 + c * 5) % 11) as f64 / 20.0;
                sharp * (if c == top { -0.2 } else { -2.4 } + wobble - 0.25)
            });
            let probabilities = score::probabilities(log_probs, &Calibration::default());
            Prediction {
                row,
                comment: String::new(),
                label,
                predicted: Some(super::top(&probabilities)),
                abstained: false,
                log_probs: Some(log_probs),
                probabilities: Some(probabilities),
                text: None,
            }
        };
        (0..120).map(row).collect()
    }

    #[test]
    fn worse_goes_by_what_was_asked_for() {
        assert_eq!(Recalibration::of(&answers(5.0), 0.0).unwrap().worse(), None);
        let mut change = Recalibration::of(&answers(1.0), 0.0).unwrap();
        (change.before.trust.log_loss, change.after.trust.log_loss) = (0.5, 0.6);
        assert!(change.worse().unwrap().contains("log-loss goes from 0.5000 to 0.6000"));
        (change.balance, change.before.macro_f1, change.after.macro_f1) = (0.5, 0.4, 0.5);
        assert_eq!(change.worse(), None);
        change.before.macro_f1 = 0.6;
        assert!(change.worse().unwrap().contains("macro F1"));
    }

    #[test]
    fn thresholds_are_those_of_the_fitted_calibration() {
        let answers = answers(5.0);
        let change = Recalibration::of(&answers, 0.0).unwrap();
        for s in change.selective {
            let threshold: f64 = s.abstain_below.to_string().parse().unwrap();
            let calibration = Calibration { abstain_below: threshold, ..change.fitted.clone() };
            let kept = answers
                .iter()
                .filter(|p| !score::Verdict::new(p.log_probs.unwrap(), &calibration).abstained)
                .count();
            assert_eq!(kept as f64 / answers.len() as f64, s.answered, "{s:?}");
        }
    }

    #[test]
    fn too_few_rows_of_a_label_are_told() {
        let mut answers = answers(2.0);
        answers.retain(|p| p.label != Sentiment::Neutral || p.row < 10);
        let text = Recalibration::of(&answers, 0.0).unwrap().text();
        assert!(text.contains("only 3 rows are labelled 중립"), "{text}");
        assert!(text.contains("5 folds") && text.contains(&SEED.to_string()), "{text}");
    }
}
