//! Putting a data set's rows to a model, many at a time.

use std::sync::Arc;

use tokio::task::JoinError;

use super::predictions::{Prediction, PredictionsError};
use crate::ask::{Answer, Answerer, AskError, Desk, Question, ask_all};
use crate::dataset::Row;

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError<E: std::error::Error> {
    /// A row that the model did not answer.
    #[error("row {row} of the data set: {source}")]
    Row {
        /// From 1.
        row: usize,
        /// Why.
        source: E,
    },
    /// The task that asked for a row's answer ended without one.
    #[error("the evaluation was interrupted: {0}")]
    Task(#[from] JoinError),
    /// The answer could not be kept.
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
}

/// A row that the model refuses, by its index, and why.
pub type Refusal = (usize, String);

struct RowDesk<'a, K> {
    rows: &'a [Row],
    todo: std::slice::Iter<'a, usize>,
    keep: K,
    refused: Vec<Refusal>,
}

impl<K: FnMut(usize, Answer) -> Result<(), PredictionsError>> Desk for RowDesk<'_, K> {
    type Error = PredictionsError;

    fn next(&mut self) -> Result<Option<(u64, Question)>, PredictionsError> {
        Ok(self.todo.next().map(|index| {
            let Row { comment, video_title, video_summary, .. } = self.rows[*index].clone();
            (*index as u64, Question { comment, video_title, video_summary })
        }))
    }

    fn answered(&mut self, number: u64, answer: Result<Answer, String>) -> Result<(), PredictionsError> {
        let index = number as usize;
        match answer {
            Ok(answer) => (self.keep)(index, answer),
            Err(reason) => {
                self.refused.push((index, reason));
                Ok(())
            }
        }
    }
}

/// As [`ask_rows`], and hands `keep` the answers as predictions.
///
/// # Errors
/// See [`RunError`].
pub async fn answer_all<A: Answerer>(
    answerer: Arc<A>,
    rows: &[Row],
    todo: &[usize],
    in_flight: usize,
    mut keep: impl FnMut(Prediction) -> Result<(), PredictionsError>,
) -> Result<Vec<Refusal>, RunError<A::Error>> {
    let predicted = |index: usize, answer: Answer| {
        let row = &rows[index];
        keep(Prediction {
            row: index,
            comment: row.comment.clone(),
            label: row.label,
            predicted: answer.predicted,
            abstained: answer.abstained,
            log_probs: answer.log_probs,
            probabilities: answer.probabilities,
            text: answer.text,
        })
    };
    ask_rows(answerer, rows, todo, in_flight, predicted).await
}

/// Ask for the answers to the rows of the indices `todo`, `in_flight` at a time, and hand each to
/// `keep` as it comes, in any order, with its row's index. The first error ends the run; what was kept stays kept. A
/// row that the model refuses is no error: it is returned, in the rows' order.
///
/// # Errors
/// See [`RunError`].
pub async fn ask_rows<A: Answerer>(
    answerer: Arc<A>,
    rows: &[Row],
    todo: &[usize],
    in_flight: usize,
    keep: impl FnMut(usize, Answer) -> Result<(), PredictionsError>,
) -> Result<Vec<Refusal>, RunError<A::Error>> {
    let mut desk = RowDesk { rows, todo: todo.iter(), keep, refused: Vec::new() };
    let asked = ask_all(answerer, &mut desk, in_flight).await;
    asked.map_err(|error| match error {
        AskError::Answerer(number, source) => RunError::Row { row: number as usize + 1, source },
        AskError::Desk(error) => RunError::Predictions(error),
        AskError::Task(error) => RunError::Task(error),
    })?;
    let mut refused = desk.refused;
    refused.sort_unstable_by_key(|(index, _)| *index);
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ask::NoAnswer;
    use crate::sentiment::labels::Sentiment;

    struct Fake;

    #[derive(Debug, thiserror::Error)]
    #[error("broken")]
    struct Broken;

    impl Answerer for Fake {
        type Error = Broken;

        async fn answer(&self, question: &Question) -> Result<Answer, NoAnswer<Broken>> {
            let length = question.comment.len();
            tokio::time::sleep(Duration::from_millis(length as u64)).await;
            match length {
                21 => Err(NoAnswer::Refused("too long".into())),
                22.. => Err(NoAnswer::Failed(Broken)),
                _ => Ok(Answer {
                    predicted: Some(Sentiment::ALL[length % 3]),
                    abstained: false,
                    log_probs: None,
                    probabilities: None,
                    text: Some(question.comment.clone()),
                    done: None,
                }),
            }
        }
    }

    fn rows(lengths: impl IntoIterator<Item = usize>) -> Vec<Row> {
        lengths
            .into_iter()
            .map(|n| Row {
                comment: "x".repeat(n),
                video_title: None,
                video_summary: None,
                label: Sentiment::ALL[n % 3],
            })
            .collect()
    }

    #[tokio::test]
    async fn every_row_gets_its_own_answer() {
        let rows = rows((1..=21).rev());
        let todo: Vec<usize> = (0..21).filter(|i| *i != 7).collect();
        let mut kept = Vec::new();
        let keep = |prediction| {
            kept.push(prediction);
            Ok(())
        };
        let refused = answer_all(Arc::new(Fake), &rows, &todo, 4, keep).await.unwrap();
        assert_eq!(refused, [(0, "too long".to_owned())]);
        kept.sort_by_key(|p: &Prediction| p.row);
        assert_eq!(kept.iter().map(|p| p.row).collect::<Vec<_>>(), todo[1..]);
        for p in &kept {
            assert_eq!(p.text.as_ref(), Some(&rows[p.row].comment));
            assert_eq!(p.predicted, Some(rows[p.row].label));
        }
    }

    #[tokio::test]
    async fn an_error_names_its_row() {
        let rows = rows([1, 2, 22, 3]);
        let run = answer_all(Arc::new(Fake), &rows, &[0, 1, 2, 3], 2, |_| Ok(()));
        assert_eq!(run.await.unwrap_err().to_string(), "row 3 of the data set: broken");
    }
}
