//! Texts: the next token from a row of logits, and drafted tokens while they are the ones chosen.

use std::ops::Range;
use std::time::Instant;

use super::Scheduler;
use crate::engine::backend::Backend;
use crate::engine::error::EngineError;
use crate::engine::job::{Event, Finish, bound};
use crate::engine::running::Stage;
use crate::text::vocabulary::Token;

impl<B: Backend> Scheduler<B> {
    /// Chooses a text's next tokens: one from the row of its last token, and one more from that of each drafted token as
    /// long as the draft is what was chosen. The cells of the other drafted tokens are removed.
    pub(super) fn write_drafted(&mut self, slot: usize, rows: Range<usize>, now: Instant) {
        let drafted = rows.len() - 1;
        let (mut held, mut guessed) = (0, 0);
        for row in rows {
            self.running[slot].pos += 1;
            let is_bound = self.write(slot, row, now);
            let r = &self.running[slot];
            let next = match r.stage {
                Stage::Writing { next } if !r.ended && held < drafted => next,
                _ => break,
            };
            if self.batch.tokens[row + 1].token != next {
                break;
            }
            held += 1;
            guessed += usize::from(!is_bound);
        }
        if held < drafted {
            let r = &self.running[slot];
            self.backend.truncate(r.seqs[0], r.pos);
        }
        self.drafter.held(guessed);
        self.counts.drafted += drafted as u64;
        self.counts.accepted += held as u64;
        self.evicted_decoded.1 += 1 + held as u64;
    }

    /// Chooses a text's next token from a row, and says whether there was a choice of one only.
    pub(super) fn write(&mut self, slot: usize, row: usize, now: Instant) -> bool {
        let r = &mut self.running[slot];
        if r.job.spec.generation.is_none() {
            r.finish(Finish::Stop, now);
            return false;
        }
        let choices = r.choices();
        let is_bound = bound(choices.as_deref()).is_some();
        match self.choose(slot, row, choices) {
            Some(token) => self.chose(slot, token, now),
            None => self.running[slot].fail(EngineError::NotFinite),
        }
        is_bound
    }

    /// The next token, from what the backend gave of a row; `None` if that is not numbers.
    fn choose(&mut self, slot: usize, row: usize, choices: Option<Vec<Token>>) -> Option<Token> {
        let generation = self.running[slot].job.spec.generation.as_mut()?;
        let (guide, sampler) = (&generation.guide, &mut generation.sampler);
        if let Some(choices) = choices {
            let logit = |token: &Token| self.backend.logit(row, *token).unwrap_or(f32::NEG_INFINITY);
            return sampler.sample_among(&choices.iter().map(logit).collect::<Vec<_>>(), &choices);
        }
        sampler.sample_unless(self.backend.logits(row)?, |token| {
            guide.as_ref().is_some_and(|g| g.refuses(token))
        })
    }

    /// Tells of a token, and goes on or ends.
    fn chose(&mut self, slot: usize, token: Token, now: Instant) {
        let r = &mut self.running[slot];
        let Some(generation) = r.job.spec.generation.as_mut() else { return };
        self.drafter.chose(&mut r.text, token);
        if (generation.is_end)(token) {
            return r.finish(Finish::Stop, now);
        }
        if let Some(guide) = &mut generation.guide {
            guide.chose(token);
        }
        // A text that can only end needs no step to end.
        let choices = generation.guide.as_ref().and_then(|guide| guide.choices());
        let must_end = bound(choices.as_deref()).is_some_and(|only| (generation.is_end)(only));
        let max_tokens = generation.max_tokens;
        r.stats.generated_tokens += 1;
        if let Err(error) = r.job.send(Event::Token(token)) {
            return r.fail(error);
        }
        if r.stats.generated_tokens >= max_tokens {
            return r.finish(Finish::Length, now);
        }
        if must_end {
            return r.finish(Finish::Stop, now);
        }
        r.stage = Stage::Writing { next: token };
    }
}
