//! Putting a data set's rows to a model, many at a time.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::{Id, JoinError, JoinSet};

use super::predictions::{Prediction, PredictionsError};
use crate::dataset::Row;
use crate::sentiment::labels::Sentiment;

/// What answers rows: a model in this process, or a server.
pub trait Predictor: Send + Sync + 'static {
    /// Why a row has no answer.
    type Error: std::error::Error + Send + 'static;

    /// Answer one row.
    fn answer(&self, row: &Row) -> impl Future<Output = Result<Answer, Self::Error>> + Send;
}

/// One answer; the fields are those of [`Prediction`].
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Answer {
    pub predicted: Option<Sentiment>,
    pub abstained: bool,
    pub log_probs: Option<[f64; 3]>,
    pub probabilities: Option<[f64; 3]>,
    pub text: Option<String>,
}

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

/// Ask for the answers to the rows of the indices `todo`, `in_flight` at a time, and hand each to
/// `keep` as it comes, in any order. The first error ends the run; what was kept stays kept.
///
/// # Errors
/// See [`RunError`].
pub async fn answer_all<P: Predictor>(
    predictor: Arc<P>,
    rows: Arc<[Row]>,
    todo: &[usize],
    in_flight: usize,
    mut keep: impl FnMut(Prediction) -> Result<(), PredictionsError>,
) -> Result<(), RunError<P::Error>> {
    let mut tasks = JoinSet::new();
    let mut asked: HashMap<Id, usize> = HashMap::new();
    let mut waiting = todo.iter().copied();
    loop {
        let free = in_flight.max(1) - tasks.len();
        for index in waiting.by_ref().take(free) {
            let (predictor, rows) = (predictor.clone(), rows.clone());
            let task = tasks.spawn(async move { predictor.answer(&rows[index]).await });
            asked.insert(task.id(), index);
        }
        let Some(finished) = tasks.join_next_with_id().await else {
            return Ok(());
        };
        let (id, answer) = finished?;
        let index = asked.remove(&id).unwrap_or_default();
        let answer = answer.map_err(|source| RunError::Row { row: index + 1, source })?;
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
        })?;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Fake {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("too long")]
    struct TooLong;

    impl Predictor for Fake {
        type Error = TooLong;

        async fn answer(&self, row: &Row) -> Result<Answer, TooLong> {
            let now = self.now.fetch_add(1, SeqCst) + 1;
            self.most.fetch_max(now, SeqCst);
            tokio::time::sleep(Duration::from_millis(row.comment.len() as u64)).await;
            self.now.fetch_sub(1, SeqCst);
            if row.comment.len() > 20 {
                return Err(TooLong);
            }
            Ok(Answer {
                predicted: Some(row.label),
                abstained: false,
                log_probs: None,
                probabilities: None,
                text: Some(row.comment.clone()),
            })
        }
    }

    fn rows(lengths: impl IntoIterator<Item = usize>) -> Arc<[Row]> {
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
        let fake = Arc::new(Fake::default());
        let rows = rows((1..=20).rev());
        let todo: Vec<usize> = (0..20).filter(|i| *i != 7).collect();
        let mut kept = Vec::new();
        let keep = |prediction| {
            kept.push(prediction);
            Ok(())
        };
        answer_all(fake.clone(), rows.clone(), &todo, 4, keep).await.unwrap();
        assert_eq!(fake.most.load(SeqCst), 4);
        kept.sort_by_key(|p| p.row);
        assert_eq!(kept.iter().map(|p| p.row).collect::<Vec<_>>(), todo);
        for p in &kept {
            assert_eq!(p.text.as_ref(), Some(&rows[p.row].comment));
            assert_eq!(p.predicted, Some(rows[p.row].label));
        }
    }

    #[tokio::test]
    async fn an_error_names_its_row() {
        let rows = rows([1, 2, 21, 3]);
        let run = answer_all(Arc::new(Fake::default()), rows, &[0, 1, 2, 3], 2, |_| Ok(()));
        assert_eq!(run.await.unwrap_err().to_string(), "row 3 of the data set: too long");
    }
}
