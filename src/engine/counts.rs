//! What a scheduler says of its work.

use std::time::Duration;

/// What the steps did, summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepCounts {
    /// Steps.
    pub steps: u64,
    /// Tokens computed.
    pub tokens: u64,
    /// Rows of logits computed.
    pub outputs: u64,
    /// Prompt tokens that were not computed again.
    pub cached: u64,
    /// Tokens drafted for texts, all of them computed.
    pub drafted: u64,
    /// Drafted tokens that were right.
    pub accepted: u64,
    /// Time in the backend.
    pub busy: Duration,
}

/// What the KV cache holds, and what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// KV cells, free or not.
    pub cells: usize,
    /// KV cells in use or reserved, with those of cached videos.
    pub used_cells: usize,
    /// Of these, cells of videos that no running job uses.
    pub evictable_cells: usize,
    /// Maximum tokens of a step.
    pub batch: usize,
    /// Videos cached.
    pub videos: usize,
    /// Videos evicted so far.
    pub evicted: u64,
    /// Tokens of generated text computed so far, without drafted ones that were wrong.
    pub decoded: u64,
}
