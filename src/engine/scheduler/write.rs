//! Texts: the next token from a row of logits, and drafted tokens while they are the ones chosen.

use std::ops::Range;
use std::time::Instant;

use super::Scheduler;
use crate::engine::backend::Backend;
use crate::engine::error::EngineError;
use crate::engine::job::{Event, Finish};
use crate::engine::running::Stage;

impl<B: Backend> Scheduler<B> {
    /// Chooses a text's next tokens: one from the row of its last token, and one more from that of each drafted token as
    /// long as the draft is what was chosen. The cells of the other drafted tokens are removed.
    pub(super) fn write_drafted(&mut self, slot: usize, rows: Range<usize>, now: Instant) {
        let drafted = rows.len() - 1;
        let mut held = 0;
        for row in rows {
            self.running[slot].pos += 1;
            self.write(slot, row, now);
            let r = &self.running[slot];
            let next = match r.stage {
                Stage::Writing { next } if !r.ended && held < drafted => next,
                _ => break,
            };
            if self.batch.tokens[row + 1].token != next {
                break;
            }
            held += 1;
        }
        if held < drafted {
            let r = &self.running[slot];
            self.backend.truncate(r.seqs[0], r.pos);
        }
        self.drafter.held(held);
        self.counts.drafted += drafted as u64;
        self.counts.accepted += held as u64;
        self.evicted_decoded.1 += 1 + held as u64;
    }

    /// Chooses a text's next token from a row.
    pub(super) fn write(&mut self, slot: usize, row: usize, now: Instant) {
        let r = &mut self.running[slot];
        let Some(generation) = r.job.spec.generation.as_mut() else { return r.finish(Finish::Stop, now) };
        let (guide, sampler) = (&generation.guide, &mut generation.sampler);
        let choices = guide.as_ref().and_then(|guide| guide.choices());
        let chosen = self.backend.logits(row).and_then(|row| match choices {
            Some(choices) => sampler.sample_among(row, &choices),
            None => sampler.sample_unless(row, |token| guide.as_ref().is_some_and(|g| g.refuses(token))),
        });
        let Some(token) = chosen else { return r.fail(EngineError::NotFinite) };
        self.drafter.chose(&mut r.text, token);
        if (generation.is_end)(token) {
            return r.finish(Finish::Stop, now);
        }
        if let Some(guide) = &mut generation.guide {
            guide.chose(token);
        }
        let max_tokens = generation.max_tokens;
        r.stats.generated_tokens += 1;
        if let Err(error) = r.job.send(Event::Token(token)) {
            return r.fail(error);
        }
        if r.stats.generated_tokens >= max_tokens {
            return r.finish(Finish::Length, now);
        }
        r.stage = Stage::Writing { next: token };
    }
}
