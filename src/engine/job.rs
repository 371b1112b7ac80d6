//! A job: tokens to read, labels to score, text to write; and the events it answers with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::admission::Permit;
use super::error::EngineError;
use super::logits::Sampler;
use super::meters::Course;
use super::share::Share;
use super::timeline::Timeline;
use crate::text::vocabulary::Token;

/// What a caller asks of the engine.
pub struct JobSpec {
    /// Tokens after the pinned prefix that other jobs may share (a video); may be empty.
    pub shared: Arc<[Token]>,
    /// Tokens of this job alone; not empty.
    pub tokens: Vec<Token>,
    /// Token sequences to score, each as what follows the prompt; none for text only. None is empty.
    pub branches: Arc<[Vec<Token>]>,
    /// Text to write after the scores.
    pub generation: Option<Generation>,
    /// When the answer is of no more use.
    pub deadline: Option<Instant>,
    /// Compute apart from all other jobs.
    pub reproducible: bool,
    /// Whose job it is, and how urgent.
    pub share: Share,
}

/// From the scores to the tokens that a text begins with.
pub type Begin = Box<dyn FnOnce(&[f64]) -> Vec<Token> + Send>;

/// Narrows which token may come next in a text. Runs on the engine's thread: must be quick.
pub trait Guide: Send {
    /// The tokens to choose the next one from, at least one; `None` for the whole vocabulary.
    fn choices(&self) -> Option<Vec<Token>>;

    /// Whether this token must not come next. It is asked of tokens chosen from the whole vocabulary; another one is
    /// chosen then.
    fn refuses(&self, _token: Token) -> bool {
        false
    }

    /// This token was chosen.
    fn chose(&mut self, token: Token);

    /// A guide that stands where this one does, to look ahead with: what it is told, this one is not.
    fn fork(&self) -> Box<dyn Guide>;
}

/// The token that must come next, where a guide leaves one choice.
pub(super) fn bound(choices: Option<&[Token]>) -> Option<Token> {
    match choices {
        Some([only]) => Some(*only),
        _ => None,
    }
}

/// Text to write.
pub struct Generation {
    /// From the scores (empty without branches), the tokens that the text begins with. They are
    /// read, not written: no event tells of them. Runs on the engine's thread: must be quick.
    pub begin: Begin,
    /// Tokens to write at most; at least 1.
    pub max_tokens: usize,
    /// Room that `begin`'s tokens take at most.
    pub begin_tokens: usize,
    /// How tokens are chosen.
    pub sampler: Sampler,
    /// What they are chosen from, if not always from the whole vocabulary.
    pub guide: Option<Box<dyn Guide>>,
    /// Whether a token ends the text.
    pub is_end: Arc<dyn Fn(Token) -> bool + Send + Sync>,
}

impl JobSpec {
    /// Cells of the KV cache that the job may need beyond the pinned prefix and the shared tokens.
    pub fn own_cells(&self) -> usize {
        let generated = self.generation.as_ref().map_or(0, |g| g.begin_tokens + g.max_tokens);
        self.tokens.len() + self.branch_cells().max(generated)
    }

    /// Tokens that are computed for the job before it can write, if none is cached.
    pub fn work(&self) -> usize {
        self.shared.len() + self.tokens.len() + self.branch_cells()
    }

    /// Sequences that the job needs: one per branch if any branch has tokens to compute, otherwise one.
    pub fn sequences(&self) -> usize {
        if self.branch_cells() > 0 { self.branches.len() } else { 1 }
    }

    /// Tokens to compute to score the branches once the prompt is there: all but each one's last.
    pub fn branch_cells(&self) -> usize {
        self.branches.iter().map(|b| b.len().saturating_sub(1)).sum()
    }
}

/// What an engine says of a job. The order is: `Scored` (if there are branches), `Token`s,
/// then `Done` or `Failed`, which are last.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Natural logarithm of each branch's probability after the prompt.
    Scored(Vec<f64>, Stats),
    /// The next token of the text.
    Token(Token),
    /// All is said.
    Done(Finish, Stats),
    /// The job failed.
    Failed(EngineError),
}

/// Why a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// Scores only, or the text ended by itself.
    Stop,
    /// The text reached its maximum.
    Length,
}

/// What a job cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Tokens of the prompt, with the shared ones.
    pub prompt_tokens: usize,
    /// Of these, tokens computed before this job, or for another.
    pub cached_tokens: usize,
    /// Tokens written.
    pub generated_tokens: usize,
    /// From submission to the first step.
    pub queue: Duration,
    /// From the first step to now.
    pub compute: Duration,
}

/// The caller's end of a job. Dropping it cancels the job.
#[derive(Debug)]
pub struct JobHandle {
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) timeline: Arc<Timeline>,
    pub(super) _permit: Arc<Permit>,
}

impl JobHandle {
    /// The job's moments and tokens.
    pub fn timeline(&self) -> Arc<Timeline> {
        self.timeline.clone()
    }

    /// The next event. After `Done` or `Failed` there is none. If the engine dies, it is
    /// `Failed(Stopped)`.
    pub async fn next(&mut self) -> Event {
        self.events.recv().await.unwrap_or(Event::Failed(EngineError::Stopped))
    }
}

/// A job inside the engine.
pub(super) struct Job {
    pub spec: JobSpec,
    pub submitted: Instant,
    pub events: mpsc::Sender<Event>,
    pub course: Course,
    pub _permit: Arc<Permit>,
}

impl Job {
    /// Nobody waits any more.
    pub fn cancelled(&self) -> bool {
        self.events.is_closed()
    }

    /// The deadline has passed.
    pub fn expired(&self, now: Instant) -> bool {
        self.spec.deadline.is_some_and(|d| d <= now)
    }

    /// Tells the caller that the job failed. One place in the channel is kept free for this.
    pub fn fail(&self, error: EngineError) {
        self.course.failed(&error);
        // A closed channel means that nobody wants to know.
        let _ = self.events.try_send(Event::Failed(error));
    }

    /// Sends an event without ever waiting, keeping a place for the last one.
    ///
    /// # Errors
    /// [`EngineError::SlowReader`] if only that place is left.
    pub fn send(&self, event: Event) -> Result<(), EngineError> {
        if self.events.capacity() <= 1 && !self.events.is_closed() {
            return Err(EngineError::SlowReader);
        }
        match event {
            Event::Scored(..) => self.course.prefilled(),
            Event::Token(_) => self.course.token(),
            Event::Done(..) | Event::Failed(_) => {}
        }
        let _ = self.events.try_send(event);
        Ok(())
    }

    /// Sends the last event.
    pub fn finish(&self, event: Event) {
        self.course.done();
        let _ = self.events.try_send(event);
    }
}
