//! A deterministic backend without a model, for tests and load experiments.
//!
//! It keeps what a KV cache would: which token stands at which position of which sequence.
//! A row's logits are a hash of everything that its token can see, so a wrong fork, a stale
//! cell or a lost token changes every number after it.

use std::collections::{BTreeMap, BTreeSet};

use super::backend::{Backend, Batch, DecodeError, Limits, Output, SeqId};
use super::logits::log_sum_exp;
use crate::text::vocabulary::Token;

/// See the module.
pub struct FakeBackend {
    limits: Limits,
    vocabulary: usize,
    /// Told of each step's number of tokens: a test lets time pass here.
    pub on_step: Box<dyn FnMut(usize) + Send>,
    /// Steps that fail, by their number from 0.
    pub failing_steps: Vec<u64>,
    /// Steps so far.
    pub steps: u64,
    sequences: Vec<BTreeMap<usize, Token>>,
    rows: BTreeMap<usize, (Output, Vec<f32>)>,
    columns: BTreeSet<Token>,
}

impl FakeBackend {
    /// An empty cache.
    pub fn new(limits: Limits, vocabulary: usize) -> Self {
        Self {
            limits,
            vocabulary,
            on_step: Box::new(|_| ()),
            failing_steps: Vec::new(),
            steps: 0,
            sequences: vec![BTreeMap::new(); limits.sequences],
            rows: BTreeMap::new(),
            columns: BTreeSet::new(),
        }
    }

    /// The logits after `history`, from position 0.
    pub fn logits_after<'a>(history: impl IntoIterator<Item = &'a Token>, vocabulary: usize) -> Vec<f32> {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for token in history {
            hash = (hash ^ u64::from(token.unsigned_abs())).wrapping_mul(0x100_0000_01b3).rotate_left(29);
        }
        let entry = |i: u64| {
            let mixed = (hash ^ i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed >> 40) as f32 / (1 << 22) as f32
        };
        (0..vocabulary as u64).map(entry).collect()
    }

    /// Tokens that the cache holds for a sequence.
    pub fn held(&self, seq: SeqId) -> usize {
        usize::try_from(seq).ok().and_then(|seq| self.sequences.get(seq)).map_or(0, BTreeMap::len)
    }

    fn sequence(&mut self, seq: SeqId) -> Option<&mut BTreeMap<usize, Token>> {
        usize::try_from(seq).ok().and_then(|seq| self.sequences.get_mut(seq))
    }
}

impl Backend for FakeBackend {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn decode(&mut self, batch: &Batch) -> Result<(), DecodeError> {
        let step = self.steps;
        self.steps += 1;
        self.rows.clear();
        self.columns.clone_from(&batch.columns);
        (self.on_step)(batch.len());
        if self.failing_steps.contains(&step) {
            return Err(DecodeError(-3));
        }
        if batch.len() > self.limits.batch || batch.outputs > self.limits.outputs {
            return Err(DecodeError(-1));
        }
        let vocabulary = self.vocabulary;
        for (row, token) in batch.tokens.iter().enumerate() {
            for seq in &token.seqs {
                let Some(cells) = self.sequence(*seq) else { return Err(DecodeError(-1)) };
                // Like llama.cpp, take a sequence's tokens in order and without a gap.
                if cells.len() != token.pos || cells.insert(token.pos, token.token).is_some() {
                    return Err(DecodeError(-1));
                }
            }
            if token.output != Output::None {
                let Some(cells) = self.sequence(token.seqs[0]) else { return Err(DecodeError(-1)) };
                let logits = Self::logits_after(cells.values(), vocabulary);
                self.rows.insert(row, (token.output, logits));
            }
        }
        Ok(())
    }

    fn logits(&self, row: usize) -> Option<&[f32]> {
        let (output, row) = self.rows.get(&row)?;
        (*output == Output::Row).then_some(row)
    }

    fn log_sums(&self, rows: &[usize]) -> Vec<f64> {
        let sum = |row| match self.rows.get(row) {
            Some((Output::Scores | Output::Row, row)) => log_sum_exp(row),
            _ => f64::NAN,
        };
        rows.iter().map(sum).collect()
    }

    fn logit(&self, row: usize, token: Token) -> Option<f32> {
        let (output, logits) = self.rows.get(&row)?;
        let wanted = *output == Output::Row || self.columns.contains(&token);
        logits.get(usize::try_from(token).ok()?).copied().filter(|_| wanted)
    }

    fn share(&mut self, from: SeqId, to: SeqId, end: usize) {
        let Some(source) = self.sequence(from).cloned() else { return };
        if let Some(target) = self.sequence(to) {
            target.extend(source.range(..end));
        }
    }

    fn truncate(&mut self, seq: SeqId, start: usize) {
        if let Some(cells) = self.sequence(seq) {
            cells.retain(|pos, _| *pos < start);
        }
    }
}
