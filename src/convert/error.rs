//! Why a conversion failed.

use std::io;

use super::arch::ArchError;
use super::finish::verify::VerifyError;
use super::input::error::SourceError;
use super::input::hub::HubError;
use super::merge::adapter::AdapterError;
use super::parts::MAX_PARTS;
use super::quantise::imatrix::ImatrixError;
use super::quantise::quant::QuantError;
use super::quantise::read::ReadError;
use super::quantise::type_override::OverrideError;
use super::tokenizer::error::VocabError;
use crate::files::output::OutputError;
use crate::gguf::GgufError;
use crate::gguf::check::CheckError;
use crate::sentiment::profile::ProfileError;
use crate::text::shown::shown;

/// Why a tensor can't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The base or the adapter can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The result can't be written.
    #[error("cannot write the result: {0}")]
    Io(#[from] io::Error),
    /// NaN or an infinity before quantising.
    #[error("tensor {name} holds {value} in row {row}{}: {} is damaged; download it again",
        if *.merged { " after merging" } else { "" },
        match (*.replaced, *.merged) {
            (true, false) => "the adapter",
            (_, true) => "the base or the adapter",
            _ => "the base",
        }, name = shown(name))]
    NotFinite {
        /// The tensor.
        name: String,
        /// NaN, inf or -inf.
        value: f32,
        /// The first such row.
        row: u64,
        /// Whether an adapter's update was added to it.
        merged: bool,
        /// Whether it is the adapter's own tensor.
        replaced: bool,
    },
    /// Blocks that ggml itself calls invalid.
    #[error("tensor {name}: {source}", name = shown(name))]
    Quant {
        /// The tensor.
        name: String,
        /// What ggml says.
        source: QuantError,
    },
}

/// Why a conversion failed. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The base can't be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A model can't be downloaded.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The base's configuration can't be converted.
    #[error(transparent)]
    Arch(#[from] ArchError),
    /// The base's GGUF header lacks something.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A tensor can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The base's settings, vocabulary or tensors are not a model's.
    #[error("the base is damaged: {0}; download it again")]
    Check(#[from] CheckError),
    /// The vocabulary can't be converted.
    #[error(transparent)]
    Vocab(#[from] VocabError),
    /// The adapter can't be merged.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// A type can't be given to the tensors asked for.
    #[error(transparent)]
    Override(#[from] OverrideError),
    /// The importance matrix can't be used.
    #[error(transparent)]
    Imatrix(#[from] ImatrixError),
    /// The profile can't be written.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A tensor can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The target can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The result failed its check.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A tensor that the architecture does not have.
    #[error("tensor {} of the base is not known in this architecture", shown(.0))]
    UnknownTensor(String),
    /// Two names for one tensor.
    #[error("the base has tensor {} twice, under different names", shown(.0))]
    DuplicateTensor(String),
    /// A tensor that the architecture must have.
    #[error("tensor {} is missing in the base: the download is incomplete", shown(.0))]
    MissingTensor(String),
    /// A tensor of another shape than the configuration gives it.
    #[error(
        "tensor {} is {found:?}, but the base's configuration gives it [{expected}]: they are not of one model",
        shown(.name)
    )]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape, rows first.
        found: Vec<u64>,
        /// The shape of the configuration, rows first.
        expected: String,
    },
    /// A Gemma 2 with a head of its own.
    #[error(
        "the base has an output head (lm_head) apart from its embedding, but llama.cpp's Gemma 2 has one matrix for both; train it with tie_word_embeddings = true, or take Gemma 3"
    )]
    UntiedHead,
    /// More files than a model can have.
    #[error("--split-max-size would make {0} files, and a model has at most {MAX_PARTS}; give a larger size")]
    TooManyParts(usize),
    /// Stopped by the user.
    #[error("stopped: nothing was left behind")]
    Cancelled,
    /// A thread panicked.
    #[error("a worker thread died; this is a bug")]
    WorkerDied,
}
