//! Files: hashes, and outputs that have their name only when they are whole.

pub mod hash;
pub mod output;
pub mod split;
