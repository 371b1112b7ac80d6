//! The one loop that asks.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use super::answer::{Answer, Answerer, NoAnswer, Question};

/// Shortest and longest wait before a question is asked again.
const WAITS: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(30)];
/// Later questions come back a little later, so that they do not all come at once.
const STAGGER: Duration = Duration::from_millis(5);

/// Hands out questions and takes their answers.
pub trait Desk {
    /// Why it cannot go on.
    type Error;

    /// The next question and its number; `None` if there is none now. It is asked again after each answer.
    ///
    /// # Errors
    /// The questions cannot be read.
    fn next(&mut self) -> Result<Option<(u64, Question)>, Self::Error>;

    /// Takes in the answer to a question, or why it is refused. Answers come in any order.
    ///
    /// # Errors
    /// The answer cannot be kept.
    fn answered(&mut self, number: u64, answer: Result<Answer, String>) -> Result<(), Self::Error>;
}

/// Why the asking stopped.
#[derive(Debug)]
pub enum AskError<A, D> {
    /// The answerer, at the question of this number.
    Answerer(u64, A),
    /// The desk.
    Desk(D),
    /// The task that asked for an answer ended without one.
    Task(JoinError),
}

/// Asks all questions of `desk`, `in_flight` at a time. The first error ends it.
///
/// # Errors
/// See [`AskError`].
pub async fn ask_all<A: Answerer, D: Desk>(
    answerer: Arc<A>,
    desk: &mut D,
    in_flight: usize,
) -> Result<(), AskError<A::Error, D::Error>> {
    let mut tasks = JoinSet::new();
    loop {
        while tasks.len() < in_flight.max(1) {
            let Some((number, question)) = desk.next().map_err(AskError::Desk)? else { break };
            let answerer = answerer.clone();
            tasks.spawn(async move { (number, patiently(&*answerer, &question, number).await) });
        }
        let Some(finished) = tasks.join_next().await else {
            return Ok(());
        };
        let (number, answer) = finished.map_err(AskError::Task)?;
        let answer = match answer {
            Ok(answer) => Ok(answer),
            Err(NoAnswer::Refused(reason)) => Err(reason),
            Err(NoAnswer::Later { error, .. } | NoAnswer::Failed(error)) => {
                return Err(AskError::Answerer(number, error));
            }
        };
        desk.answered(number, answer).map_err(AskError::Desk)?;
    }
}

/// Asks until there is an answer or the patience is at its end.
async fn patiently<A: Answerer>(
    answerer: &A,
    question: &Question,
    number: u64,
) -> Result<Answer, NoAnswer<A::Error>> {
    let mut waited = Duration::ZERO;
    loop {
        match answerer.answer(question).await {
            Err(NoAnswer::Later { after, patience, .. }) if waited < patience => {
                let wait = after.clamp(WAITS[0], WAITS[1]) + STAGGER * (number % 32) as u32;
                sleep(wait).await;
                waited += wait;
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::sentiment::labels::Sentiment;

    /// Answers with the comment itself, as late as it is long.
    #[derive(Default)]
    struct Fake {
        now: AtomicUsize,
        most: AtomicUsize,
        asked: AtomicUsize,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Wrong(&'static str);

    impl Answerer for Fake {
        type Error = Wrong;

        async fn answer(&self, question: &Question) -> Result<Answer, NoAnswer<Wrong>> {
            let now = self.now.fetch_add(1, SeqCst) + 1;
            self.most.fetch_max(now, SeqCst);
            let asked = self.asked.fetch_add(1, SeqCst);
            sleep(Duration::from_millis(question.comment.len() as u64)).await;
            self.now.fetch_sub(1, SeqCst);
            let later =
                |patience| NoAnswer::Later { after: Duration::ZERO, patience, error: Wrong("still full") };
            match question.comment.as_str() {
                "long" => Err(NoAnswer::Refused("too long".into())),
                "broken" => Err(NoAnswer::Failed(Wrong("out of order"))),
                "busy" if asked < 40 => Err(later(Duration::from_secs(60))),
                "full" => Err(later(Duration::from_millis(30))),
                text => Ok(Answer {
                    predicted: Some(Sentiment::Neutral),
                    abstained: false,
                    log_probs: None,
                    probabilities: None,
                    text: Some(text.to_owned()),
                    done: None,
                }),
            }
        }
    }

    struct List {
        comments: Vec<String>,
        next: usize,
        answers: Vec<(u64, Result<String, String>)>,
    }

    impl Desk for List {
        type Error = Infallible;

        fn next(&mut self) -> Result<Option<(u64, Question)>, Infallible> {
            self.next += 1;
            let comment = self.comments.get(self.next - 1).cloned();
            let question = |comment| Question { comment, video_title: None, video_summary: None };
            Ok(comment.map(|comment| (self.next as u64 - 1, question(comment))))
        }

        fn answered(&mut self, number: u64, answer: Result<Answer, String>) -> Result<(), Infallible> {
            self.answers.push((number, answer.map(|answer| answer.text.unwrap_or_default())));
            Ok(())
        }
    }

    async fn check(comments: &[&str], expect: Result<&[Result<&str, &str>], (u64, &str)>) {
        let comments = comments.iter().map(|text| (*text).to_owned()).collect();
        let mut list = List { comments, next: 0, answers: Vec::new() };
        let asked = ask_all(Arc::new(Fake::default()), &mut list, 4).await;
        list.answers.sort_by_key(|(number, _)| *number);
        match (asked, expect) {
            (Ok(()), Ok(expect)) => {
                let found = list.answers.iter().map(|(_, answer)| answer.as_deref().map_err(|e| e.as_str()));
                assert_eq!(found.collect::<Vec<_>>(), expect);
            }
            (Err(AskError::Answerer(number, error)), Err(expect)) => {
                assert_eq!((number, error.0), expect);
            }
            (found, expect) => panic!("{found:?} is not {expect:?}"),
        }
    }

    #[tokio::test]
    async fn refusals_are_answers_and_failures_are_not() {
        check(&[], Ok(&[])).await;
        check(&["aaaa", "long", "b"], Ok(&[Ok("aaaa"), Err("too long"), Ok("b")])).await;
        check(&["a", "broken", "b"], Err((1, "out of order"))).await;
        check(&["a", "busy", "b"], Ok(&[Ok("a"), Ok("busy"), Ok("b")])).await;
        check(&["a", "b", "full"], Err((2, "still full"))).await;
    }

    #[tokio::test]
    async fn no_more_are_under_way_than_asked_for() {
        let comments = (1..=20).rev().map(|n| "x".repeat(n)).collect();
        let mut list = List { comments, next: 0, answers: Vec::new() };
        let fake = Arc::new(Fake::default());
        ask_all(fake.clone(), &mut list, 4).await.unwrap();
        assert_eq!(fake.most.load(SeqCst), 4);
        assert_eq!(list.answers.len(), 20);
    }
}
