//! The engine's numbers for those who watch it, and a job's own course through them.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counts::{Held, StepCounts};
use super::error::EngineError;
use super::share::Class;
use super::timeline::Timeline;
use crate::meter::{Counter, Gauge, Histogram};

/// Seconds that a job may wait for its first step: from none to `--max-queued-tokens` on a slow machine.
const WAITS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
/// Seconds of a step: a single token on a GPU to a full batch of a large model on a CPU.
const STEPS: [f64; 12] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 10.0];
/// Shares of a full batch.
const FILLS: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0];
/// Seconds between two tokens of a text; the target of a step is in their midst.
const GAPS: [f64; 11] = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 3.0];

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All was answered.
    Done,
    /// The client went away.
    Cancelled,
    /// The deadline passed.
    DeadlineExceeded,
    /// Its step, its scores or its stream failed.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Done, Self::Cancelled, Self::DeadlineExceeded, Self::Failed];

    /// Name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Failed => "failed",
        }
    }
}

/// What the engine does, counted since its start. Written by its thread and by callers, read by whoever watches.
#[derive(Debug)]
pub struct Meters {
    /// Jobs let in.
    pub admitted: Counter,
    /// Jobs between their first step and their end.
    pub running: Gauge,
    /// Seconds of a step.
    pub step: Histogram,
    /// Tokens of a step as a share of the largest batch.
    pub fill: Histogram,
    /// Steps that could not be computed.
    pub failed_steps: Counter,
    /// Tokens of prompts and labels computed.
    pub prefilled: Counter,
    /// Tokens of generated text computed.
    pub decoded: Counter,
    /// Tokens of generated text drafted.
    pub drafted: Counter,
    /// Of these, tokens that were right.
    pub accepted: Counter,
    /// Prompt tokens taken from the KV cache.
    pub reused: Counter,
    /// KV cells.
    pub cells: Gauge,
    /// KV cells in use or reserved.
    pub used_cells: Gauge,
    /// Of these, cells of videos that no running job uses.
    pub evictable_cells: Gauge,
    /// Videos cached.
    pub videos: Gauge,
    /// Videos evicted.
    pub evicted: Counter,
    /// Seconds from submission to a text's first token.
    pub first_token: Histogram,
    /// Seconds between two tokens of a text.
    pub token_gap: Histogram,
    ended: [Counter; Outcome::ALL.len()],
    queues: [QueueMeters; Class::ALL.len()],
}

/// The jobs of one class that wait.
#[derive(Debug)]
pub struct QueueMeters {
    /// Jobs that wait for their first step.
    pub waiting: Gauge,
    /// Seconds from submission to the first step.
    pub wait: Histogram,
    /// What was expected of these seconds.
    pub estimate: Histogram,
}

impl Default for QueueMeters {
    fn default() -> Self {
        let (wait, estimate) = (Histogram::new(&WAITS), Histogram::new(&WAITS));
        Self { waiting: Gauge::default(), wait, estimate }
    }
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            admitted: Counter::default(),
            running: Gauge::default(),
            step: Histogram::new(&STEPS),
            fill: Histogram::new(&FILLS),
            failed_steps: Counter::default(),
            prefilled: Counter::default(),
            decoded: Counter::default(),
            drafted: Counter::default(),
            accepted: Counter::default(),
            reused: Counter::default(),
            cells: Gauge::default(),
            used_cells: Gauge::default(),
            evictable_cells: Gauge::default(),
            videos: Gauge::default(),
            evicted: Counter::default(),
            first_token: Histogram::new(&WAITS),
            token_gap: Histogram::new(&GAPS),
            ended: Default::default(),
            queues: Default::default(),
        }
    }
}

/// What a scheduler had counted before a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    pub counts: StepCounts,
    pub held: Held,
}

impl Meters {
    /// Jobs that ended this way.
    pub fn ended(&self, outcome: Outcome) -> &Counter {
        &self.ended[outcome as usize]
    }

    /// The queue of a class.
    pub fn queue(&self, class: Class) -> &QueueMeters {
        &self.queues[class as usize]
    }

    /// Notes a step from a scheduler's counts before and after it.
    pub(super) fn stepped(&self, before: Before, counts: StepCounts, held: Held) {
        self.reused.add(counts.cached - before.counts.cached);
        self.evicted.add(held.evicted - before.held.evicted);
        if counts.steps == before.counts.steps {
            return;
        }
        self.step.time(counts.busy.saturating_sub(before.counts.busy));
        let tokens = counts.tokens - before.counts.tokens;
        let decoded = held.decoded - before.held.decoded;
        let drafted = counts.drafted - before.counts.drafted;
        let accepted = counts.accepted - before.counts.accepted;
        self.decoded.add(decoded);
        self.drafted.add(drafted);
        self.accepted.add(accepted);
        self.prefilled.add(tokens.saturating_sub(decoded + drafted - accepted));
        if tokens > 0 {
            self.fill.note(tokens as f64 / held.batch.max(1) as f64);
        }
    }

    /// Sets what the KV cache holds.
    pub(super) fn hold(&self, held: Held) {
        self.cells.set(held.cells);
        self.used_cells.set(held.used_cells);
        self.evictable_cells.set(held.evictable_cells);
        self.videos.set(held.videos);
    }
}

/// A job's course: waiting, running, ended. Dropped without an end, its client went away.
#[derive(Debug)]
pub(super) struct Course {
    meters: Arc<Meters>,
    class: Class,
    /// How long it was expected to wait.
    estimate: Duration,
    timeline: Arc<Timeline>,
    started: Cell<bool>,
    last_token: Cell<Option<Instant>>,
    outcome: Cell<Option<Outcome>>,
}

impl Course {
    /// A job is let in and waits.
    pub fn begin(meters: Arc<Meters>, class: Class, estimate: Duration) -> Self {
        meters.admitted.one();
        meters.queue(class).waiting.add(1);
        Self {
            meters,
            class,
            estimate,
            timeline: Arc::new(Timeline::new(class)),
            started: Cell::new(false),
            last_token: Cell::new(None),
            outcome: Cell::new(None),
        }
    }

    /// Its moments, for a caller.
    pub fn timeline(&self) -> Arc<Timeline> {
        self.timeline.clone()
    }

    /// Its first step begins, after it waited this long.
    pub fn start(&self, waited: Duration) {
        if !self.started.replace(true) {
            self.timeline.start(waited);
            let queue = self.meters.queue(self.class);
            queue.waiting.add(-1);
            self.meters.running.add(1);
            queue.wait.time(waited);
            queue.estimate.time(self.estimate);
        }
    }

    /// Tokens of its prompt, and how many of them need not be computed.
    pub fn read(&self, prompt_tokens: usize, cached_tokens: usize) {
        self.timeline.read(prompt_tokens, cached_tokens);
    }

    /// Its prompt is computed, with its labels.
    pub fn prefilled(&self) {
        self.timeline.prefill(Instant::now());
    }

    /// A token of its text is there.
    pub fn token(&self) {
        let now = Instant::now();
        self.timeline.prefill(now);
        self.timeline.generate();
        match self.last_token.replace(Some(now)) {
            None => self.meters.first_token.time(now - self.timeline.begun()),
            Some(last) => self.meters.token_gap.time(now - last),
        }
    }

    /// It is answered.
    pub fn done(&self) {
        self.timeline.end();
        self.outcome.set(Some(Outcome::Done));
    }

    /// It failed.
    pub fn failed(&self, error: &EngineError) {
        self.timeline.end();
        self.outcome.set(Some(match error {
            EngineError::DeadlineExceeded => Outcome::DeadlineExceeded,
            _ => Outcome::Failed,
        }));
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        self.timeline.end();
        let waiting = &self.meters.queue(self.class).waiting;
        let held = if self.started.get() { &self.meters.running } else { waiting };
        held.add(-1);
        self.meters.ended(self.outcome.get().unwrap_or(Outcome::Cancelled)).one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_in_one_place_at_a_time_and_ends_once() {
        let meters = Arc::new(Meters::default());
        let now = |meters: &Meters| (meters.queue(Class::Bulk).waiting.get(), meters.running.get());
        let begin = || Course::begin(meters.clone(), Class::Bulk, Duration::from_millis(5));
        let (first, second) = (begin(), begin());
        assert_eq!(now(&meters), (2, 0));
        first.start(Duration::from_millis(7));
        first.start(Duration::from_millis(9));
        assert_eq!(now(&meters), (1, 1));
        first.token();
        first.token();
        first.done();
        drop((first, second));
        assert_eq!(now(&meters), (0, 0));
        let ended = Outcome::ALL.map(|outcome| meters.ended(outcome).get());
        assert_eq!(ended, [1, 1, 0, 0], "the second had nobody to wait for it");
        let count = |histogram: &Histogram| histogram.cumulative().last().map(|(_, count)| *count);
        let queue = meters.queue(Class::Bulk);
        assert_eq!((count(&queue.wait), count(&queue.estimate)), (Some(1), Some(1)));
        assert_eq!(count(&meters.queue(Class::Interactive).wait), Some(0));
        assert_eq!((count(&meters.first_token), count(&meters.token_gap)), (Some(1), Some(1)));
    }
}
