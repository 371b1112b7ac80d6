//! Tokens and the text that they stand for.

pub mod shown;
pub mod utf8;
pub mod vocabulary;
