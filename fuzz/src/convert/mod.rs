//! The converter's parsers.

pub mod input;
pub mod merge;
pub mod quantise;
pub mod tokenizer;
