//! Tokens and the text that they stand for; text from outside made fit to be shown.

pub mod escape;
pub mod shown;
pub mod utf8;
pub mod vocabulary;
