//! The figures of parts of the rows: those with one value in a column, such as a video's title.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::intervals::{Interval, Intervals};
use super::metrics::Confusion;
use super::predictions::Prediction;

/// Values that have figures of their own, at most: those with the most rows.
pub const MOST: usize = 20;

/// A column by which the rows are told apart.
#[derive(Debug, Clone)]
pub struct SliceColumn {
    /// Its name.
    pub name: String,
    /// Its value in each row of the data set; empty where nothing stands.
    pub values: Vec<Arc<str>>,
}

/// The answers by a column's values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slices {
    /// The column.
    pub column: String,
    /// The [`MOST`] values with the most answers, the most frequent first.
    pub values: Vec<Slice>,
    /// The answers with other values, all together; `None` if there are none.
    pub others: Option<Others>,
}

/// The answers with one value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slice {
    /// The value; empty where nothing stands.
    pub value: String,
    /// Their figures.
    #[serde(flatten)]
    pub figures: SliceFigures,
}

/// The answers with values that have no figures of their own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Others {
    /// How many values.
    pub values: usize,
    /// Their figures.
    #[serde(flatten)]
    pub figures: SliceFigures,
}

/// How good some of the answers are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SliceFigures {
    /// Answers.
    pub rows: u64,
    /// Share of right ones, in 0..=1.
    pub accuracy: f64,
    /// F1, each class among the labels or answers of the slice counting the same.
    pub macro_f1: f64,
    /// From the 2.5th to the 97.5th percentile of the bootstrap over the slice's rows.
    pub intervals_95: SliceIntervals,
}

/// The intervals of a slice's figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SliceIntervals {
    /// Of the accuracy.
    pub accuracy: Interval,
    /// Of the macro F1.
    pub macro_f1: Interval,
}

impl Slices {
    /// The answers by the values of `column`.
    pub fn of(column: &SliceColumn, predictions: &[Prediction]) -> Self {
        let mut by_value: BTreeMap<Arc<str>, Vec<&Prediction>> = BTreeMap::new();
        for prediction in predictions {
            if let Some(value) = column.values.get(prediction.row) {
                by_value.entry(value.clone()).or_default().push(prediction);
            }
        }
        let mut all: Vec<_> = by_value.into_iter().collect();
        // Stable: of equally frequent values, the first in their order.
        all.sort_by_key(|(_, answers)| std::cmp::Reverse(answers.len()));
        let rest = all.split_off(MOST.min(all.len()));
        let slice = |(value, answers): (Arc<str>, Vec<&Prediction>)| {
            Some(Slice { value: value.to_string(), figures: SliceFigures::of(&answers)? })
        };
        let (others, count): (Vec<&Prediction>, usize) =
            (rest.iter().flat_map(|(_, answers)| answers.iter().copied()).collect(), rest.len());
        Self {
            column: column.name.clone(),
            values: all.into_iter().filter_map(slice).collect(),
            others: SliceFigures::of(&others).map(|figures| Others { values: count, figures }),
        }
    }
}

impl SliceFigures {
    /// `None` without answers.
    fn of(answers: &[&Prediction]) -> Option<Self> {
        let Intervals { accuracy, macro_f1, .. } = Intervals::of(answers.iter().copied())?;
        let confusion = Confusion::of(answers.iter().map(|p| (p.label, p.predicted)));
        Some(Self {
            rows: confusion.total(),
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_average().f1,
            intervals_95: SliceIntervals { accuracy, macro_f1 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentiment::labels::Sentiment;

    fn answers(right: impl IntoIterator<Item = bool>) -> Vec<Prediction> {
        let answer = |(row, right): (usize, bool)| Prediction {
            row,
            comment: String::new(),
            label: Sentiment::Positive,
            predicted: Some(if right { Sentiment::Positive } else { Sentiment::Negative }),
            abstained: false,
            log_probs: None,
            probabilities: None,
            text: None,
        };
        right.into_iter().enumerate().map(answer).collect()
    }

    fn column(values: &[&str]) -> SliceColumn {
        SliceColumn { name: "video".into(), values: values.iter().map(|value| Arc::from(*value)).collect() }
    }

    #[test]
    fn each_value_has_its_own_figures() {
        let column = column(&["b", "a", "b", "", "b", "a", "b"]);
        // The answer to the row of "" is missing: the model refused it.
        let mut answers = answers([true, true, false, true, true, true, true]);
        answers.remove(3);
        let found = Slices::of(&column, &answers);
        let shown: Vec<_> =
            found.values.iter().map(|s| (s.value.as_str(), s.figures.rows, s.figures.accuracy)).collect();
        assert_eq!(shown, [("b", 4, 0.75), ("a", 2, 1.0)]);
        assert_eq!(found.others, None);
        // As the whole's, with the slice's rows alone.
        let alone: Vec<Prediction> = answers.into_iter().filter(|p| &*column.values[p.row] == "b").collect();
        let whole = Intervals::of(&alone).unwrap();
        assert_eq!(found.values[0].figures.intervals_95.accuracy, whole.accuracy);
        assert_eq!(found.values[0].figures.intervals_95.macro_f1, whole.macro_f1);
    }

    #[test]
    fn rare_values_are_summed() {
        // Two rows of each of 22 values, of which the last two are wrong, and one more of the last.
        let values: Vec<String> = (0..44).map(|i| format!("{:02}", i / 2)).chain(["21".to_owned()]).collect();
        let column = column(&values.iter().map(String::as_str).collect::<Vec<_>>());
        let found = Slices::of(&column, &answers(values.iter().map(|value| value.as_str() < "20")));
        assert_eq!(found.values.len(), MOST);
        assert_eq!((found.values[0].value.as_str(), found.values[0].figures.rows), ("21", 3));
        assert_eq!(found.values[19].value, "18");
        let others = found.others.unwrap();
        assert_eq!((others.values, others.figures.rows, others.figures.accuracy), (2, 4, 0.5));
    }
}
