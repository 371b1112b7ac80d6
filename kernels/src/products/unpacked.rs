//! Sixteen columns of weights, unpacked in the order in which the tiles read them.

use super::weights::{BLOCK, Decoded, Weights};

/// Columns of a panel.
pub const COLUMNS: usize = 16;

/// [`BLOCK`] weights of each column of a K-quant.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Narrow {
    /// Four neighbours of each column.
    pub quads: [[[i8; 4]; COLUMNS]; BLOCK / 4],
    /// Each column's scale, twice.
    pub scales: [[[i16; 2]; COLUMNS]; 16],
    /// What activations stored as 128 + number add too much, negated; 0 on ARM.
    pub offsets: [i32; COLUMNS],
    /// Factors of the block.
    pub d: [f32; COLUMNS],
    /// What is added to every 32 weights, after the factor.
    pub minima: [[f32; COLUMNS]; BLOCK / 32],
}

/// [`BLOCK`] weights of each column of Q8_0.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Wide {
    /// Two neighbours of each column.
    pub pairs: [[[i16; 2]; COLUMNS]; BLOCK / 2],
    /// A factor for every 32 weights.
    pub scales: [[f32; COLUMNS]; BLOCK / 32],
}

/// [`BLOCK`] weights of each column of Q8_0 as bytes.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Eights {
    /// Four neighbours of each column.
    pub quads: [[[i8; 4]; COLUMNS]; BLOCK / 4],
    /// As in [`Narrow`], for every 32 weights.
    pub offsets: [[i32; COLUMNS]; BLOCK / 32],
    /// A factor for every 32 weights.
    pub scales: [[f32; COLUMNS]; BLOCK / 32],
}

impl Narrow {
    /// A block of zeros.
    pub const ZERO: Self = Self {
        quads: [[[0; 4]; COLUMNS]; BLOCK / 4],
        scales: [[[0; 2]; COLUMNS]; 16],
        offsets: [0; COLUMNS],
        d: [0.0; COLUMNS],
        minima: [[0.0; COLUMNS]; BLOCK / 32],
    };
}

impl Wide {
    /// A block of zeros.
    pub const ZERO: Self =
        Self { pairs: [[[0; 2]; COLUMNS]; BLOCK / 2], scales: [[0.0; COLUMNS]; BLOCK / 32] };
}

impl Eights {
    /// A block of zeros.
    pub const ZERO: Self = Self {
        quads: [[[0; 4]; COLUMNS]; BLOCK / 4],
        offsets: [[0; COLUMNS]; BLOCK / 32],
        scales: [[0.0; COLUMNS]; BLOCK / 32],
    };
}

/// The decoded columns of one block.
pub type Columns = [Decoded; COLUMNS];

/// Decodes block `block` of the columns from `first` on, and asks for the memory of the columns after these.
#[inline(always)]
pub(super) fn decode_columns(weights: &Weights, first: usize, block: usize, columns: &mut Columns) {
    for (c, column) in columns.iter_mut().enumerate() {
        weights.prefetch(first + COLUMNS + c, block);
        weights.decode(first + c, block, column);
    }
}
