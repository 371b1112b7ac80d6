//! What a model that abstains withholds, and how good its answers are with and without that.

use serde::Serialize;

use super::metrics::Confusion;
use super::predictions::Prediction;

/// Accuracy and macro F1 of some answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Rows counted.
    pub rows: u64,
    /// Share of right answers, in 0..=1.
    pub accuracy: f64,
    /// F1, each class among the labels or answers counting the same.
    pub macro_f1: f64,
}

impl Figures {
    fn of(confusion: &Confusion) -> Self {
        Self {
            rows: confusion.total(),
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_average().f1,
        }
    }
}

/// Answers withheld, counted both ways. The report's other figures count them as answered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Withheld {
    /// Rows whose answer is withheld.
    pub withheld: u64,
    /// Of the rows that are answered.
    pub answered: Figures,
    /// Of all rows, the withheld ones counting as wrong.
    pub counted_as_wrong: Figures,
}

impl Withheld {
    /// `None` if nothing is withheld.
    pub fn of(predictions: &[Prediction]) -> Option<Self> {
        let withheld = predictions.iter().filter(|p| p.abstained).count() as u64;
        let answered = predictions.iter().filter(|p| !p.abstained).map(|p| (p.label, p.predicted));
        let all = predictions.iter().map(|p| (p.label, p.predicted.filter(|_| !p.abstained)));
        (withheld > 0).then(|| Self {
            withheld,
            answered: Figures::of(&Confusion::of(answered)),
            counted_as_wrong: Figures::of(&Confusion::of(all)),
        })
    }

    /// The figures in words.
    pub fn sentence(&self) -> String {
        let words = |f: &Figures| format!("accuracy {:.4}, macro F1 {:.4}", f.accuracy, f.macro_f1);
        format!(
            "withheld: {} of {} answers, which count as answered everywhere else; the {} answered ones alone: {}; \
             withheld ones counted as wrong: {}",
            self.withheld,
            self.counted_as_wrong.rows,
            self.answered.rows,
            words(&self.answered),
            words(&self.counted_as_wrong)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentiment::labels::Sentiment::{self, Negative, Neutral, Positive};

    fn answer(label: Sentiment, predicted: Sentiment, abstained: bool) -> Prediction {
        Prediction {
            row: 0,
            comment: String::new(),
            label,
            predicted: Some(predicted),
            abstained,
            log_probs: None,
            probabilities: None,
            text: None,
        }
    }

    #[test]
    fn withheld_answers_are_counted_both_ways() {
        let answers = [
            answer(Positive, Positive, false),
            answer(Negative, Negative, false),
            answer(Negative, Positive, true),
            answer(Neutral, Neutral, true),
        ];
        let found = Withheld::of(&answers).unwrap();
        assert_eq!(found.withheld, 2);
        // 중립 is neither label nor answer of those that are left.
        assert_eq!(found.answered, Figures { rows: 2, accuracy: 1.0, macro_f1: 1.0 });
        // F1 of 긍정 1, of 중립 0, of 부정 2/3.
        let wrong = found.counted_as_wrong;
        assert_eq!((wrong.rows, wrong.accuracy), (4, 0.5));
        assert!((wrong.macro_f1 - 5.0 / 9.0).abs() < 1e-12);
        assert_eq!(Withheld::of(&answers[..2]), None);
    }
}
