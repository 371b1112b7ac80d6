//! Rows to be answered, read a window ahead, and answers to the journal.

use std::collections::BTreeSet;

use super::error::AnnotateError;
use super::journal::WINDOW;
use super::journal::{Answers, Journal};
use super::queue::Queue;
use super::reply::Reply;
use super::rows::{Reading, Row, Rows};
use crate::ask::{Answer, Desk, Question};

/// Bytes of texts that wait to be asked.
const MAX_BYTES: usize = 8 << 20;

/// Asks for the rows that have no answer yet, those of a video together, and keeps the answers.
pub struct FileDesk<'a, P> {
    rows: Rows<'a>,
    known: Answers,
    journal: &'a mut Journal,
    queue: Queue,
    /// Rows that were read and have no answer.
    open: BTreeSet<u64>,
    ended: bool,
    on_answer: P,
}

impl<'a, P: FnMut(bool)> FileDesk<'a, P> {
    /// Asks for the rows of `reading` that `journal` has no answer to. `on_answer` hears of each row's answer, and
    /// whether it is new.
    ///
    /// # Errors
    /// [`AnnotateError::Journal`].
    pub fn new(reading: Reading<'a>, journal: &'a mut Journal, on_answer: P) -> Result<Self, AnnotateError> {
        let known = journal.answers()?;
        let (rows, queue, open) = (Rows::new(reading), Queue::default(), BTreeSet::new());
        Ok(Self { rows, known, journal, queue, open, ended: false, on_answer })
    }

    fn read_ahead(&mut self) -> Result<(), AnnotateError> {
        while !self.ended && self.queue.bytes() < MAX_BYTES {
            let first = self.open.first().copied();
            if first.is_some_and(|first| self.rows.number() >= first + WINDOW) {
                return Ok(());
            }
            match self.rows.next().transpose()? {
                None => self.ended = true,
                Some(Row::Skipped) => {}
                Some(Row::Taken(number, _, content)) => {
                    let Ok(comment) = *content else { continue };
                    if self.known.get(number)?.is_some() {
                        (self.on_answer)(false);
                        continue;
                    }
                    self.open.insert(number);
                    let (video_title, video_summary) = (comment.video_title, comment.video_summary);
                    self.queue.push(number, Question { comment: comment.text, video_title, video_summary });
                }
            }
        }
        Ok(())
    }
}

impl<P: FnMut(bool)> Desk for FileDesk<'_, P> {
    type Error = AnnotateError;

    fn next(&mut self) -> Result<Option<(u64, Question)>, AnnotateError> {
        self.read_ahead()?;
        Ok(self.queue.pop())
    }

    fn answered(&mut self, number: u64, answer: Result<Answer, String>) -> Result<(), AnnotateError> {
        self.journal.append(number, Reply::of(answer))?;
        self.open.remove(&number);
        (self.on_answer)(true);
        Ok(())
    }
}
