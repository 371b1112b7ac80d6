//! What goes into the next step.

use super::ahead::ahead;
use super::{INTERACTIVE_MEMORY, MIN_READ, Scheduler, Work, is_bulk};
use crate::engine::backend::{Backend, BatchToken, Output, SeqId};
use crate::engine::prefix::NodeId;
use crate::engine::running::{Running, Stage};
use crate::text::vocabulary::Token;
use std::time::Instant;

impl<B: Backend> Scheduler<B> {
    /// Fills the batch.
    pub(super) fn compose(&mut self) {
        self.batch.clear();
        self.work.clear();
        let limits = self.backend.limits();
        self.plan_texts();
        let budget = match self.config.fixed_step {
            Some(tokens) => tokens.min(limits.batch),
            None if self.batch.is_empty() => limits.batch,
            None => self.pace.step_tokens().max(self.batch.len() + MIN_READ).min(limits.batch),
        };
        let (bulk, interactive): (Vec<usize>, Vec<usize>) =
            (0..self.running.len()).partition(|slot| is_bulk(&self.running[*slot].job));
        let mut planned_nodes: Vec<NodeId> = Vec::new();
        self.plan_reads(&interactive, budget, &mut planned_nodes);
        // However much there is to read for others, bulk jobs go on.
        let budget = self.bulk_budget(budget).max(self.batch.len() + MIN_READ).min(limits.batch);
        self.plan_reads(&bulk, budget, &mut planned_nodes);
    }

    /// The next token of every text, and what is drafted to follow it.
    fn plan_texts(&mut self) {
        let limits = self.backend.limits();
        let is_text = |r: &&Running| matches!(r.stage, Stage::Writing { .. });
        let mut texts = self.running.iter().filter(is_text).count();
        // Whatever is drafted, prompts go on.
        let for_prompts = if texts < self.running.len() { MIN_READ } else { 0 };
        let mut room = limits.outputs.min(limits.batch).saturating_sub(texts + for_prompts);
        for (slot, r) in self.running.iter_mut().enumerate() {
            let Stage::Writing { next } = r.stage else { continue };
            let ahead = ahead(&mut self.drafter, r, next, room.div_ceil(texts));
            (texts, room) = (texts - 1, room - (ahead.len() - 1));
            let first = self.batch.len();
            for (i, (token, choices)) in ahead.into_iter().enumerate() {
                let (pos, seqs) = (r.pos + i, vec![r.seqs[0]]);
                let output = self.batch.choice(choices);
                self.batch.push(BatchToken { token, pos, seqs, output });
            }
            self.work.push(Work::Write { slot, rows: first..self.batch.len() });
        }
    }

    /// Reads jobs' prompts and videos, up to a step's budget.
    fn plan_reads(&mut self, slots: &[usize], budget: usize, planned_nodes: &mut Vec<NodeId>) {
        let limits = self.backend.limits();
        for &slot in slots {
            let room = budget.saturating_sub(self.batch.len());
            if room == 0 {
                break;
            }
            match &self.running[slot].stage {
                Stage::Waiting => {
                    if let Some(id) = self.running[slot].node.filter(|id| !planned_nodes.contains(id)) {
                        planned_nodes.push(id);
                        self.plan_node(id, room);
                    }
                }
                Stage::Reading { .. } => self.plan_read(slot, room, limits.outputs),
                Stage::Writing { .. } => {}
            }
        }
    }

    /// Tokens of a step up to which bulk jobs are read. While interactive jobs come, a step that they would have to
    /// wait for is short.
    fn bulk_budget(&self, budget: usize) -> usize {
        let now = (self.clock)();
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) <= INTERACTIVE_MEMORY;
        match self.last_interactive.filter(is_recent) {
            Some(_) if self.config.fixed_step.is_none() => budget.min(self.pace.step_tokens()),
            _ => budget,
        }
    }

    fn plan_node(&mut self, id: NodeId, room: usize) {
        let Some(node) = self.tree.get(id) else { return };
        let start = self.pinned.1 + node.done;
        let rest = &node.tokens[node.done..];
        let count = rest.len().min(room);
        for (i, token) in rest[..count].iter().enumerate() {
            self.batch.push(BatchToken {
                token: *token,
                pos: start + i,
                seqs: vec![node.seq],
                output: Output::None,
            });
        }
        self.work.push(Work::Node { id, count });
    }

    fn plan_read(&mut self, slot: usize, room: usize, max_outputs: usize) {
        let r = &self.running[slot];
        let Stage::Reading { tokens, done } = &r.stage else { return };
        let branches: &[Vec<Token>] = if r.scored { &[] } else { &r.job.spec.branches };
        let branch_cells: usize = branches.iter().map(|b| b.len().saturating_sub(1)).sum();
        let rest = &tokens[*done..];
        let finishes =
            room >= rest.len() + branch_cells && max_outputs >= self.batch.outputs + 1 + branch_cells;
        // The last token and the labels go together; until they fit, the last token waits.
        let count = if finishes { rest.len() } else { room.min(rest.len() - 1) };
        if count == 0 {
            return;
        }
        let wanted = match branches {
            _ if !finishes => Output::None,
            [] => self.batch.choice(r.choices()),
            _ => {
                self.batch.columns.extend(branches.iter().flatten());
                Output::Scores
            }
        };
        let seqs: &[SeqId] = if branch_cells > 0 { &r.seqs } else { &r.seqs[..1] };
        let mut last = None;
        for (i, token) in rest[..count].iter().enumerate() {
            let is_last = finishes && i + 1 == count;
            let output = if is_last { wanted } else { Output::None };
            let row =
                self.batch.push(BatchToken { token: *token, pos: r.pos + i, seqs: seqs.to_vec(), output });
            last = is_last.then_some(row);
        }
        let mut rows = Vec::new();
        if finishes {
            // Without label tokens to compute there is one sequence for all branches, which have no rows then.
            let own_seqs = r.seqs.iter().cycle();
            for (branch, seq) in branches.iter().zip(own_seqs) {
                let known = &branch[..branch.len().saturating_sub(1)];
                let row = known.iter().enumerate().map(|(i, token)| {
                    let pos = r.pos + count + i;
                    self.batch.push(BatchToken { token: *token, pos, seqs: vec![*seq], output: wanted })
                });
                rows.push(row.collect());
            }
        }
        self.work.push(Work::Read { slot, count, last, branches: rows });
    }
}
