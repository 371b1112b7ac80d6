//! What the scheduler needs from an inference backend: batches in, logits out, and
//! the metadata operations of a unified KV cache. llama.cpp is the real one, [`super::fake`] the tests'.

use std::collections::BTreeSet;

use crate::text::vocabulary::Token;

/// A sequence's id in the KV cache.
pub type SeqId = i32;

/// What is wanted of the logits after a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// Nothing.
    #[default]
    None,
    /// All: [`Backend::logits`].
    Row,
    /// Their log-sum-exp, and those of [`Batch::columns`]: [`Backend::log_sums`] and [`Backend::logit`].
    Scores,
    /// Those of [`Batch::columns`] alone: [`Backend::logit`].
    Columns,
}

/// One token to compute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchToken {
    /// The token.
    pub token: Token,
    /// Its position in its sequences.
    pub pos: usize,
    /// The sequences that it belongs to; at least one.
    pub seqs: Vec<SeqId>,
    /// What is wanted after it.
    pub output: Output,
}

/// Tokens of many sequences, computed in one step. A token sees the cached and the
/// earlier tokens of its own sequences.
#[derive(Debug, Default)]
pub struct Batch {
    /// The tokens.
    pub tokens: Vec<BatchToken>,
    /// How many of them want logits.
    pub outputs: usize,
    /// Tokens whose logits are wanted of the rows that give [`Output::Scores`] or [`Output::Columns`].
    pub columns: BTreeSet<Token>,
}

impl Batch {
    /// Adds a token and returns its row.
    pub fn push(&mut self, token: BatchToken) -> usize {
        self.outputs += usize::from(token.output != Output::None);
        self.tokens.push(token);
        self.tokens.len() - 1
    }

    /// What is wanted of a row from which one of these tokens is chosen, or any.
    pub fn choice(&mut self, choices: Option<Vec<Token>>) -> Output {
        let Some(choices) = choices else { return Output::Row };
        self.columns.extend(choices);
        Output::Columns
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// No tokens.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.outputs = 0;
        self.columns.clear();
    }
}

/// What a backend can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Cells of the KV cache, shared by all sequences.
    pub cells: usize,
    /// Tokens in a batch.
    pub batch: usize,
    /// Tokens with logits in a batch.
    pub outputs: usize,
    /// Sequences at once; ids are `0..sequences`.
    pub sequences: usize,
}

/// A step that could not be computed: `llama_decode`'s code. The cache is as it was for 1 (no room);
/// for other codes the touched sequences must be cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError(pub i32);

/// An inference backend with a unified KV cache.
pub trait Backend {
    /// What it can take.
    fn limits(&self) -> Limits;

    /// Computes a batch.
    ///
    /// # Errors
    /// [`DecodeError`]; no logits can be read then.
    fn decode(&mut self, batch: &Batch) -> Result<(), DecodeError>;

    /// Logits of a row of the last batch that was computed, one for each token of the vocabulary.
    /// `None` if they are not there: not all were asked for.
    fn logits(&self, row: usize) -> Option<&[f32]>;

    /// ln Σ exp(logit) of each of these rows of the last batch, in nats; not finite for one that did not ask for it, or
    /// that holds NaN or positive infinity.
    fn log_sums(&self, rows: &[usize]) -> Vec<f64>;

    /// One logit of a row of the last batch; `None` if it was not asked for.
    fn logit(&self, row: usize, token: Token) -> Option<f32>;

    /// Lets `to` share all cells of `from` below position `end`. Metadata only.
    fn share(&mut self, from: SeqId, to: SeqId, end: usize);

    /// Removes a sequence's cells at and after position `start`.
    fn truncate(&mut self, seq: SeqId, start: usize);
}
