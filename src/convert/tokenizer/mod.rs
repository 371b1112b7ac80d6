//! A tokenizer's metadata: its pieces and its special tokens.

pub mod error;
pub mod special;
pub mod vocab;
