//! Why a vocabulary can't be converted.

use std::path::PathBuf;

use crate::convert::input::error::SourceError;
use crate::text::shown::{shown, shown_path};

/// Why the vocabulary can't be converted.
#[derive(Debug, thiserror::Error)]
pub enum VocabError {
    /// A file can't be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Neither `tokenizer.model` nor `tokenizer.json`.
    #[error("{}: no tokenizer.model and no tokenizer.json; copy them from the base model", shown_path(.0))]
    Missing(PathBuf),
    /// `tokenizer.model` is not a SentencePiece model.
    #[error("{}: not a SentencePiece model: {}", shown_path(.path), shown(.reason))]
    SentencePiece {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// `tokenizer.json` is not a BPE with byte fallback.
    #[error(
        "{}: {}: only a SentencePiece-like BPE is supported; add the base model's tokenizer.model",
        shown_path(.path), shown(.reason)
    )]
    TokenizerJson {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// `tokenizer.model` and `tokenizer.json` are of two models.
    #[error(
        "{}: tokenizer.model and tokenizer.json differ in {n} tokens, the first one with id {id}: they are of two models; remove the one that the model was not trained with",
        shown_path(.dir)
    )]
    TwoVocabularies {
        /// The folder.
        dir: PathBuf,
        /// Number of tokens that differ.
        n: usize,
        /// The first of them.
        id: usize,
    },
    /// A byte has no token: a character that the vocabulary lacks could not be read.
    #[error("the vocabulary has no token for the byte <0x{0:02X}>; take the tokenizer of the base model")]
    MissingByte(u8),
    /// Two tokens have one text, which llama.cpp does not load.
    #[error(
        "the vocabulary has {} twice, as tokens {first} and {second}; take the tokenizer of the base model",
        shown(.text)
    )]
    DuplicateToken {
        /// The text.
        text: String,
        /// The first id.
        first: usize,
        /// The second id.
        second: usize,
    },
    /// The embedding and the vocabulary disagree.
    #[error("the embedding has {rows} rows, but config.json says vocab_size {vocab_size}")]
    Size {
        /// Rows of the embedding.
        rows: u64,
        /// `vocab_size`.
        vocab_size: u64,
    },
    /// A special token's id is negative or past the vocabulary.
    #[error(
        "special token {kind}: id {id} is not in the vocabulary of {n_tokens} tokens",
        kind = shown(kind)
    )]
    SpecialToken {
        /// Which one, as in `bos`.
        kind: String,
        /// Its id.
        id: i64,
        /// The vocabulary's size.
        n_tokens: usize,
    },
}
