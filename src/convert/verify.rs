//! Proof before the name: the written file is read again, loaded, and asked one question.

use std::io;
use std::path::Path;

use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;

use super::gguf::{GgufError, Header};
use crate::profile::{COMMENT, Profile};

/// What the loaded model is asked about.
const QUESTION: &str = "영상 정말 재미있게 봤어요!";
/// Prompts are read in batches of this many tokens, to keep the compute buffer small.
const BATCH_TOKENS: usize = 64;

/// What is wrong with a written file.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Its header can't be read.
    #[error("the written file is broken: {0}")]
    Header(#[from] GgufError),
    /// Its header or its size is not what was planned.
    #[error("the written file is not what was planned: {0}")]
    Differs(&'static str),
    /// It can't be read.
    #[error("cannot read the written file: {0}")]
    Io(#[from] io::Error),
    /// llama.cpp can't be started.
    #[error("llama.cpp cannot be started: {0}")]
    Backend(&'static llama_cpp_2::LlamaCppError),
    /// llama.cpp does not load it.
    #[error("llama.cpp does not load the written file: {0}")]
    Load(String),
    /// A turn marker is not a control token.
    #[error(
        "{0:?} is not a control token in the vocabulary: text could forge a turn; check tokenizer_config.json"
    )]
    NotControl(String),
    /// The prompt can't be computed.
    #[error("llama.cpp does not compute the test prompt: {0}")]
    Decode(String),
    /// The answer is not made of numbers.
    #[error("the model answers the test prompt with NaN: its weights are damaged")]
    NotFinite,
}

/// Reads the header again and holds it against the plan's.
///
/// # Errors
/// [`VerifyError::Header`], [`VerifyError::Differs`], [`VerifyError::Io`].
pub fn check_header(path: &Path, planned: &Header) -> Result<(), VerifyError> {
    let found = Header::read(path)?;
    if found.tensors != planned.tensors {
        return Err(VerifyError::Differs("its tensors differ"));
    }
    if found.metadata != planned.metadata {
        return Err(VerifyError::Differs("its metadata differs"));
    }
    if std::fs::metadata(path)?.len() != planned.file_size() {
        return Err(VerifyError::Differs("its size differs"));
    }
    Ok(())
}

/// Loads the file on the CPU and computes the logits after one prompt of `profile`.
///
/// # Errors
/// Any [`VerifyError`] but those of [`check_header`].
pub fn ask(path: &Path, profile: &Profile, threads: usize) -> Result<(), VerifyError> {
    let backend = crate::llama_backend::backend().map_err(VerifyError::Backend)?;
    let mut params = std::pin::pin!(LlamaModelParams::default().with_n_gpu_layers(0));
    // Plain CPU buffers stay in the file's pages; others would hold the weights a second time.
    params.as_mut().add_cpu_buft_override(c".*");
    let model =
        LlamaModel::load_from_file(backend, path, &params).map_err(|e| VerifyError::Load(e.to_string()))?;
    let vocab = model.vocab();
    for marker in ["<start_of_turn>", "<end_of_turn>"] {
        let tokens = vocab.tokenize(marker.as_bytes(), false, true);
        if !matches!(tokens.as_slice(), [token] if vocab.is_control(*token)) {
            return Err(VerifyError::NotControl(marker.to_owned()));
        }
    }
    let comment = profile.comment.replace(COMMENT, QUESTION);
    let parts =
        [&profile.turn.user, &profile.instruction, &comment, &profile.turn.model, &profile.answer.prefix];
    let prompt: String = parts.into_iter().map(String::as_str).collect();
    let tokens = vocab.tokenize(prompt.as_bytes(), true, true);

    let threads = i32::try_from(threads).unwrap_or(i32::MAX);
    let params = LlamaContextParams::default()
        .with_n_ctx(std::num::NonZeroU32::new(tokens.len() as u32 + 1))
        .with_n_batch(BATCH_TOKENS as u32)
        .with_n_ubatch(BATCH_TOKENS as u32)
        .with_n_threads(threads)
        .with_n_threads_batch(threads);
    let mut context = model.new_context(backend, params).map_err(|e| VerifyError::Load(e.to_string()))?;
    let decode = |e: &dyn std::fmt::Display| VerifyError::Decode(e.to_string());
    let mut batch = LlamaBatch::new(BATCH_TOKENS, 1);
    let last = tokens.len() - 1;
    for (start, chunk) in (0..).step_by(BATCH_TOKENS).zip(tokens.chunks(BATCH_TOKENS)) {
        batch.clear();
        for (i, token) in chunk.iter().enumerate() {
            let position = start + i;
            batch.add(*token, position as i32, &[0], position == last).map_err(|e| decode(&e))?;
        }
        context.decode(&mut batch).map_err(|e| decode(&e))?;
    }
    let logits = context.get_logits_ith(batch.n_tokens() - 1);
    if logits.iter().all(|l| l.is_finite()) { Ok(()) } else { Err(VerifyError::NotFinite) }
}
