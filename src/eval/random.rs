//! Random numbers that depend on their seed alone.

/// The seed of all that is drawn in an evaluation: folds and bootstrap samples.
pub const SEED: u64 = 20_251_126;

/// Step of SplitMix64 (Steele, Lea, Flood 2014).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's hash of a number.
pub(super) fn mix(number: u64) -> u64 {
    let z = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    /// The numbers of [`SEED`].
    pub fn new() -> Self {
        Self { state: SEED }
    }

    /// The next number, uniform below `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.state = self.state.wrapping_add(STEP);
        // The high half of the product: no bias that 64 bits could show.
        ((u128::from(mix(self.state)) * end as u128) >> 64) as usize
    }
}
