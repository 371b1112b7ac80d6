//! A job that has its place in the KV cache.

use std::time::{Duration, Instant};

use super::backend::SeqId;
use super::draft::Text;
use super::error::EngineError;
use super::job::{Event, Finish, Job, Stats};
use super::prefix::NodeId;
use crate::text::vocabulary::Token;

/// What a running job does next.
pub(super) enum Stage {
    /// Its shared segment is being computed.
    Waiting,
    /// Its tokens are being read.
    Reading { tokens: Vec<Token>, done: usize },
    /// It writes: this token comes next.
    Writing { next: Token },
}

pub(super) struct Running {
    pub job: Job,
    /// The first holds prompt and text; the others hold labels.
    pub seqs: Vec<SeqId>,
    pub cells: usize,
    pub node: Option<NodeId>,
    /// Cells of `seqs[0]` so far.
    pub pos: usize,
    pub stage: Stage,
    pub scored: bool,
    pub started: Option<Instant>,
    /// What drafts are made from.
    pub text: Text,
    pub stats: Stats,
    pub ended: bool,
}

impl Running {
    /// The job's first step begins.
    pub fn start(&mut self, now: Instant) {
        if self.started.is_none() {
            self.started = Some(now);
            self.stats.queue = now.saturating_duration_since(self.job.submitted);
            self.job.course.start(self.stats.queue);
            self.job.course.read(self.stats.prompt_tokens, self.stats.cached_tokens);
        }
    }

    /// What a text's next token is chosen from; `None` for the whole vocabulary.
    pub fn choices(&self) -> Option<Vec<Token>> {
        self.job.spec.generation.as_ref()?.guide.as_ref()?.choices()
    }

    pub fn compute(&self, now: Instant) -> Duration {
        self.started.map_or(Duration::ZERO, |start| now.saturating_duration_since(start))
    }

    pub fn fail(&mut self, error: EngineError) {
        if !self.ended {
            self.job.fail(error);
            self.ended = true;
        }
    }

    pub fn finish(&mut self, finish: Finish, now: Instant) {
        self.stats.compute = self.compute(now);
        self.job.finish(Event::Done(finish, self.stats));
        self.ended = true;
    }
}
