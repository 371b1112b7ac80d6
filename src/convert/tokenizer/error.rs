//! Why a vocabulary can't be converted.

use std::path::PathBuf;

use crate::convert::input::error::SourceError;

/// Why the vocabulary can't be converted.
#[derive(Debug, thiserror::Error)]
pub enum VocabError {
    /// A file can't be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Neither `tokenizer.model` nor `tokenizer.json`.
    #[error("{0}: no tokenizer.model and no tokenizer.json: copy them from the base model")]
    Missing(PathBuf),
    /// `tokenizer.model` is not a SentencePiece model.
    #[error("{path}: not a SentencePiece model: {reason}")]
    SentencePiece {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// `tokenizer.json` is not a BPE with byte fallback.
    #[error(
        "{path}: {reason}: only a SentencePiece-like BPE is supported; add the base model's tokenizer.model"
    )]
    TokenizerJson {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
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
    #[error("special token {kind}: id {id} is not in the vocabulary of {n_tokens} tokens")]
    SpecialToken {
        /// Which one, as in `bos`.
        kind: String,
        /// Its id.
        id: i64,
        /// The vocabulary's size.
        n_tokens: usize,
    },
}
