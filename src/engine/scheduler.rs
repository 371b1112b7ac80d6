//! Continuous batching: which tokens of which jobs make the next step.
//!
//! A step takes, in this order and up to its budget: the next token of every running text and what is drafted to follow it,
//! then prompts in chunks, interactive jobs' before bulk jobs'. A prompt whose labels are to be scored
//! carries one sequence a label; when its last token fits a step, so do the label tokens
//! (each in its own sequence), and the whole joint score comes out of that one step.
//!
//! Invariants, which `scheduler_tests` drives at random:
//! - every cell and every sequence is either free or owned by one job or one node;
//! - a job admitted has all the cells it may ever need, so no step runs out of room;
//! - a failed step ends the jobs in it and no others.

mod ahead;
mod compose;
mod write;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backend::{Backend, Batch, BatchToken, Limits, Output, SeqId};
use super::counts::{Held, StepCounts};
use super::draft::Drafter;
use super::error::EngineError;
use super::job::{Event, Finish, Job, Stats};
use super::joint::{LogSums, joint_log_prob};
use super::pace::Pace;
use super::prefix::{NodeId, PrefixTree};
use super::queue::{Place, Queue};
use super::running::{Running, Stage};
use super::share::Class;
use crate::text::vocabulary::Token;

/// A shared segment shorter than this is computed with the job: a node of its own would cost more than it saves.
const SHORTEST_NODE: usize = 16;

/// Queued jobs that are looked through for one of a cached video.
const LOOK_AHEAD: usize = 64;

/// Maximum jobs with cached videos that may run ahead of a job that would evict one of those videos.
const OVERTAKES: usize = 16;

/// How long interactive jobs are expected to go on after the last one. Meanwhile steps of bulk jobs are short.
const INTERACTIVE_MEMORY: Duration = Duration::from_secs(10);

/// Prompts go on by at least this many tokens a step, however many texts are being written.
/// A prompt's last token and its label tokens must fit.
pub const MIN_READ: usize = 16;

/// Maximum tokens of a job's branches together, not counting each branch's last.
pub const MAX_BRANCH_CELLS: usize = MIN_READ - 1;

/// How the scheduler works.
#[derive(Debug, Clone, Copy)]
pub struct SchedulerConfig {
    /// Jobs that run at once.
    pub parallel: usize,
    /// Videos kept in the KV cache.
    pub videos: usize,
    /// Longest step while texts are being written.
    pub step_target: Duration,
    /// Tokens of a step, exactly and always, where results must not depend on measured time.
    pub fixed_step: Option<usize>,
    /// Tokens guessed for a text and step at most; 0 for no drafts at all.
    pub longest_draft: usize,
}

/// What a part of the batch is for.
enum Work {
    Node {
        id: NodeId,
        count: usize,
    },
    /// `last` is the row of the last prompt token, `branches` the rows of label tokens, if the prompt ends here.
    Read {
        slot: usize,
        count: usize,
        last: Option<usize>,
        branches: Vec<Vec<usize>>,
    },
    /// The rows of a text's last token and of the tokens drafted to follow it.
    Write {
        slot: usize,
        rows: Range<usize>,
    },
}

/// Where a job's shared tokens go.
enum Sharing {
    /// They are in this node.
    Cached(NodeId),
    /// They become a node.
    NewNode,
    /// They are computed with the job alone.
    WithTheJob,
}

/// Plans and runs steps on a backend.
pub struct Scheduler<B> {
    backend: B,
    config: SchedulerConfig,
    clock: Box<dyn Fn() -> Instant + Send>,
    pinned: (SeqId, usize),
    free_seqs: Vec<SeqId>,
    free_cells: usize,
    tree: PrefixTree,
    queue: Queue,
    /// When the last interactive job came.
    last_interactive: Option<Instant>,
    /// How many have overtaken the first in the queue.
    overtaken: usize,
    running: Vec<Running>,
    pace: Pace,
    drafter: Drafter,
    batch: Batch,
    work: Vec<Work>,
    counts: StepCounts,
    /// Videos evicted, tokens of text computed.
    evicted_decoded: (u64, u64),
}

impl<B: Backend> Scheduler<B> {
    /// Computes the pinned prefix, which all jobs share.
    ///
    /// # Errors
    /// [`EngineError::Decode`], or [`EngineError::TooLong`] if the prefix leaves no room.
    pub fn new(
        mut backend: B,
        config: SchedulerConfig,
        pinned: &[Token],
        clock: Box<dyn Fn() -> Instant + Send>,
    ) -> Result<Self, EngineError> {
        let limits = backend.limits();
        if pinned.len() >= limits.cells {
            return Err(EngineError::TooLong { tokens: pinned.len(), limit: limits.cells });
        }
        let mut pace = Pace::new(config.step_target);
        let mut batch = Batch::default();
        for (chunk, tokens) in pinned.chunks(limits.batch).enumerate() {
            batch.clear();
            for (i, token) in tokens.iter().enumerate() {
                let pos = chunk * limits.batch + i;
                batch.push(BatchToken { token: *token, pos, seqs: vec![0], output: Output::None });
            }
            let start = clock();
            backend.decode(&batch).map_err(|e| EngineError::Decode(e.0))?;
            pace.record(tokens.len(), clock() - start);
        }
        let last = SeqId::try_from(limits.sequences).unwrap_or(SeqId::MAX);
        Ok(Self {
            backend,
            config,
            clock,
            pinned: (0, pinned.len()),
            free_seqs: (1..last).rev().collect(),
            free_cells: limits.cells - pinned.len(),
            tree: PrefixTree::default(),
            queue: Queue::default(),
            last_interactive: None,
            overtaken: 0,
            running: Vec::new(),
            pace,
            drafter: Drafter::new(config.longest_draft),
            batch,
            work: Vec::new(),
            counts: StepCounts::default(),
            evicted_decoded: (0, 0),
        })
    }

    /// Queues a job.
    pub fn push(&mut self, job: Job) {
        if !is_bulk(&job) {
            self.last_interactive = Some((self.clock)());
        }
        self.queue.push(job);
    }

    /// What the steps did so far.
    pub fn counts(&self) -> StepCounts {
        self.counts
    }

    /// What the KV cache holds.
    pub(super) fn held(&self) -> Held {
        let Limits { cells, batch, .. } = self.backend.limits();
        let (evicted, decoded) = self.evicted_decoded;
        let (used_cells, (_, evictable_cells)) = (cells - self.free_cells, self.tree.idle(None));
        Held { cells, used_cells, evictable_cells, batch, videos: self.tree.len(), evicted, decoded }
    }

    /// The measured speed.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Runs one step. `false` if there was nothing to compute.
    ///
    /// # Errors
    /// The step failed; the jobs in it have been told.
    pub fn step(&mut self) -> Result<bool, EngineError> {
        self.sweep();
        self.admit();
        self.compose();
        if self.batch.is_empty() {
            return Ok(false);
        }
        let start = (self.clock)();
        for work in &self.work {
            if let Work::Read { slot, .. } = work {
                self.running[*slot].start(start);
            }
        }
        let result = self.backend.decode(&self.batch);
        let elapsed = (self.clock)() - start;
        self.counts.steps += 1;
        self.counts.busy += elapsed;
        let result = match result {
            Ok(()) => {
                self.counts.tokens += self.batch.len() as u64;
                self.counts.outputs += self.batch.outputs as u64;
                // Rows of logits cost so much that texts alone tell nothing of the speed of prompts.
                if self.batch.outputs < self.batch.len() {
                    self.pace.record(self.batch.len(), elapsed);
                }
                self.collect();
                Ok(true)
            }
            Err(e) => {
                let error = EngineError::Decode(e.0);
                self.fail_step(&error);
                Err(error)
            }
        };
        self.remove_ended();
        result
    }

    /// Removes cancelled jobs and fails expired ones.
    fn sweep(&mut self) {
        let now = (self.clock)();
        self.queue.retain(|job| {
            if !job.cancelled() && job.expired(now) {
                job.fail(EngineError::DeadlineExceeded);
            }
            !job.cancelled() && !job.expired(now)
        });
        for r in &mut self.running {
            if r.job.cancelled() {
                r.ended = true;
            } else if r.job.expired(now) {
                r.fail(EngineError::DeadlineExceeded);
            }
        }
        self.remove_ended();
    }

    /// Moves jobs from the queue to the running ones while there is room.
    fn admit(&mut self) {
        while self.running.len() < self.config.parallel {
            let Some(place) = self.next_in_queue() else { break };
            let Some(job) = self.queue.take(place) else { break };
            let (share, work) = (job.spec.share, job.spec.work());
            if let Err(job) = self.start(job) {
                self.queue.put_back(place, *job);
                break;
            }
            self.queue.begin(share);
            self.queue.charge(share, work);
            self.overtaken = if place.index == 0 { 0 } else { self.overtaken + 1 };
        }
    }

    /// The place of the job to start next: the first of the caller whose turn it is, unless it would push out a
    /// video that others of theirs still need. Then these gather and go first, up to a bound.
    fn next_in_queue(&self) -> Option<Place> {
        let is_bulk_text = |r: &&Running| is_bulk(&r.job) && r.job.spec.generation.is_some();
        let bulk_texts = self.running.iter().filter(is_bulk_text).count();
        let first = self.queue.next(bulk_texts >= self.config.parallel - self.config.parallel / 4)?;
        let is_cached = |job: &Job| self.tree.find(&job.spec.shared).is_some();
        let pushes_out =
            |job: &Job| self.wants_node(job) && !is_cached(job) && self.tree.len() >= self.config.videos;
        if self.overtaken >= OVERTAKES || !self.queue.of_caller(first).next().is_some_and(pushes_out) {
            return Some(first);
        }
        let index = self.queue.of_caller(first).take(LOOK_AHEAD).position(is_cached).unwrap_or(0);
        Some(first.at(index))
    }

    /// Whether a job's shared tokens are worth a node.
    fn wants_node(&self, job: &Job) -> bool {
        job.spec.shared.len() >= SHORTEST_NODE && self.config.videos > 0
    }

    /// Gives a job its cells and sequences, evicting unused videos for them, or gives the job back.
    fn start(&mut self, mut job: Job) -> Result<(), Box<Job>> {
        let Some(sharing) = self.make_room(&job) else { return Err(Box::new(job)) };
        let shared = job.spec.shared.clone();
        let pinned = self.pinned.1;
        let mut stats = Stats { cached_tokens: pinned, ..Stats::default() };
        stats.prompt_tokens = pinned + shared.len() + job.spec.tokens.len();
        let mut cells = job.spec.own_cells();
        let node = match sharing {
            Sharing::Cached(id) => {
                stats.cached_tokens += shared.len();
                Some(id)
            }
            Sharing::NewNode => {
                let Some(id) = self.new_node(shared) else { return Err(Box::new(job)) };
                Some(id)
            }
            Sharing::WithTheJob => {
                cells += shared.len();
                job.spec.tokens.splice(0..0, shared.iter().copied());
                None
            }
        };
        if let Some(id) = node {
            self.tree.acquire(id);
        }
        self.free_cells -= cells;
        self.counts.cached += stats.cached_tokens as u64;
        let written = job.spec.generation.as_ref().map(|_| self.drafter.begin(&job.spec.tokens));
        let seqs = self.free_seqs.split_off(self.free_seqs.len() - job.spec.sequences());
        self.running.push(Running {
            job,
            seqs,
            cells,
            node,
            pos: pinned,
            stage: Stage::Waiting,
            scored: false,
            started: None,
            text: written.unwrap_or_default(),
            stats,
            ended: false,
        });
        self.fork(self.running.len() - 1);
        Ok(())
    }

    /// Evicts unused videos until a job fits. Returns where its shared tokens go, or `None` if the job does not fit
    /// even then.
    fn make_room(&mut self, job: &Job) -> Option<Sharing> {
        let seqs = job.spec.sequences();
        let found = self.tree.find(&job.spec.shared);
        let wants_node = self.wants_node(job);
        let (mut new_seqs, mut new_cells) = (seqs, job.spec.own_cells());
        if found.is_none() {
            // As a node or with the job, the shared tokens need their cells.
            new_cells += job.spec.shared.len();
            new_seqs += usize::from(wants_node);
        }
        let (idle_seqs, idle_cells) = self.tree.idle(found);
        if self.free_seqs.len() + idle_seqs < seqs || self.free_cells + idle_cells < new_cells {
            // Evicting would not be enough.
            return None;
        }
        while self.free_seqs.len() < new_seqs
            || self.free_cells < new_cells
            || (wants_node && found.is_none() && self.tree.len() >= self.config.videos)
        {
            let Some(node) = self.tree.evict(found) else { break };
            self.evicted_decoded.0 += 1;
            self.forget(node.seq, node.tokens.len());
        }
        if self.free_cells < new_cells || self.free_seqs.len() < seqs {
            return None;
        }
        let has_place = self.tree.len() < self.config.videos && self.free_seqs.len() >= new_seqs;
        Some(match found {
            Some(id) if wants_node => Sharing::Cached(id),
            None if wants_node && has_place => Sharing::NewNode,
            _ => Sharing::WithTheJob,
        })
    }

    /// A node for shared tokens that follow the pinned prefix. `None` without a free sequence.
    fn new_node(&mut self, shared: Arc<[Token]>) -> Option<NodeId> {
        let (pinned_seq, pinned_len) = self.pinned;
        let seq = self.free_seqs.pop()?;
        self.free_cells -= shared.len();
        self.backend.share(pinned_seq, seq, pinned_len);
        Some(self.tree.insert(shared, seq))
    }

    /// Lets a waiting job begin to read, if its shared segment is there.
    fn fork(&mut self, slot: usize) {
        let r = &mut self.running[slot];
        let (from, end) = match r.node.map(|id| self.tree.get(id)) {
            Some(Some(node)) if node.ready() => (node.seq, self.pinned.1 + node.tokens.len()),
            Some(_) => return,
            None => self.pinned,
        };
        for seq in &r.seqs {
            self.backend.share(from, *seq, end);
        }
        r.pos = end;
        r.stage = Stage::Reading { tokens: std::mem::take(&mut r.job.spec.tokens), done: 0 };
    }

    /// Takes the step's results to the jobs.
    fn collect(&mut self) {
        let sums = self.log_sums();
        let now = (self.clock)();
        let mut ready = false;
        for work in std::mem::take(&mut self.work) {
            match work {
                Work::Node { id, count } => {
                    self.tree.advance(id, count);
                    ready = true;
                }
                Work::Read { slot, count, last, branches } => {
                    let r = &mut self.running[slot];
                    r.pos += count;
                    if let Stage::Reading { done, .. } = &mut r.stage {
                        *done += count;
                    }
                    let Some(last) = last else { continue };
                    if r.scored || r.job.spec.branches.is_empty() {
                        self.write(slot, last, now);
                    } else {
                        self.score(slot, last, &branches, &sums, now);
                    }
                }
                Work::Write { slot, rows } => self.write_drafted(slot, rows, now),
            }
        }
        if ready {
            for slot in 0..self.running.len() {
                if matches!(self.running[slot].stage, Stage::Waiting) {
                    self.fork(slot);
                }
            }
        }
    }

    /// Log-sum-exp of each row that scores need.
    fn log_sums(&self) -> LogSums {
        let mut needed = Vec::new();
        for work in &self.work {
            if let Work::Read { last: Some(last), branches, .. } = work
                && !branches.is_empty()
            {
                needed.push(*last);
                needed.extend(branches.iter().flatten());
            }
        }
        // A row that is not there sums to nothing finite, which ends its job alone.
        let sums = self.backend.log_sums(&needed);
        needed.into_iter().zip(sums).collect()
    }

    /// A prompt and its label tokens are computed: scores the labels, and goes on to the text.
    fn score(&mut self, slot: usize, last: usize, rows: &[Vec<usize>], sums: &LogSums, now: Instant) {
        let branches: Arc<[Vec<Token>]> = self.running[slot].job.spec.branches.clone();
        let score = |(branch, rows): (&Vec<Token>, &Vec<usize>)| {
            let rows = std::iter::once(&last).chain(rows);
            joint_log_prob(&self.backend, sums, branch.iter().zip(rows))
        };
        let scores: Option<Vec<f64>> = branches.iter().zip(rows).map(score).collect();
        let r = &mut self.running[slot];
        let Some(scores) = scores else { return r.fail(EngineError::NotFinite) };
        r.scored = true;
        r.stats.compute = r.compute(now);
        let begin = r.job.spec.generation.as_mut().map(|g| {
            let begin = std::mem::replace(&mut g.begin, Box::new(|_| Vec::new()));
            begin(&scores)
        });
        if let Err(error) = r.job.send(Event::Scored(scores, r.stats)) {
            return r.fail(error);
        }
        match begin {
            None => r.finish(Finish::Stop, now),
            // Without a beginning there is no row to write from.
            Some(tokens) if tokens.is_empty() => r.finish(Finish::Stop, now),
            Some(tokens) => {
                for seq in r.seqs.drain(1..) {
                    self.backend.truncate(seq, 0);
                    self.free_seqs.push(seq);
                }
                self.backend.truncate(r.seqs[0], r.pos);
                self.drafter.extend(&mut r.text, &tokens);
                r.stage = Stage::Reading { tokens, done: 0 };
            }
        }
    }

    /// The step was not computed: ends the jobs in it, and those that wait for a segment in it.
    fn fail_step(&mut self, error: &EngineError) {
        for work in std::mem::take(&mut self.work) {
            match work {
                Work::Node { id, .. } => {
                    for r in self.running.iter_mut().filter(|r| r.node == Some(id)) {
                        r.fail(error.clone());
                        r.node = None;
                    }
                    if let Some(node) = self.tree.remove(id) {
                        self.forget(node.seq, node.tokens.len());
                    }
                }
                Work::Read { slot, .. } | Work::Write { slot, .. } => self.running[slot].fail(error.clone()),
            }
        }
    }

    fn forget(&mut self, seq: SeqId, cells: usize) {
        self.backend.truncate(seq, 0);
        self.free_seqs.push(seq);
        self.free_cells += cells;
    }

    fn remove_ended(&mut self) {
        for r in self.running.extract_if(.., |r| r.ended) {
            self.queue.charge(r.job.spec.share, r.stats.generated_tokens);
            for seq in r.seqs {
                self.backend.truncate(seq, 0);
                self.free_seqs.push(seq);
            }
            self.free_cells += r.cells;
            if let Some(id) = r.node {
                self.tree.release(id);
            }
        }
    }
}

fn is_bulk(job: &Job) -> bool {
    job.spec.share.class == Class::Bulk
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
