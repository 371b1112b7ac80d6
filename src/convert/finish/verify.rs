//! Proof before the name: the written file, or each of its parts, is read again, loaded, and asked one question.

use std::ffi::{CString, c_char};
use std::io;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use llama_cpp_sys_2 as llama;

use crate::gguf::check::{self, CheckError};
use crate::gguf::{GgufError, Header};
use crate::llama::crash;
use crate::sentiment::profile::{COMMENT, Profile};

/// What the loaded model is asked about.
const QUESTION: &str = "영상 정말 재미있게 봤어요!";
/// A text of few tokens, one of them of single bytes in most vocabularies.
const STEP: &str = "좋아요 😀";
/// Prompts are read in batches of this many tokens, to keep the compute buffer small.
const BATCH_TOKENS: usize = 64;

/// What is wrong with a written file.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Its header can't be read.
    #[error("the output file is damaged: {0}")]
    Header(#[from] GgufError),
    /// llama.cpp could not be given it: the base's settings or its vocabulary are at fault.
    #[error("the result could not be served: {0}; the base is damaged or incomplete")]
    Check(#[from] CheckError),
    /// Its header or its size is not what was planned.
    #[error("the output file does not match the plan: {0}")]
    Differs(&'static str),
    /// It can't be read.
    #[error("cannot read the output file: {0}")]
    Io(#[from] io::Error),
    /// llama.cpp can't be started.
    #[error("{0}")]
    Backend(&'static crate::llama::backend::BackendError),
    /// llama.cpp does not load it.
    #[error("llama.cpp cannot load the output file; --log-level info,llama-cpp-2=debug shows why")]
    Load,
    /// A turn marker is not a control token.
    #[error(
        "{0:?} is not a control token in the vocabulary: text could forge a turn; check tokenizer_config.json"
    )]
    NotControl(String),
    /// The prompt can't be computed.
    #[error("llama.cpp does not compute the test prompt: llama_decode answers {0}")]
    Decode(i32),
    /// A child process that verified the file.
    #[error("{0}")]
    Child(String),
    /// The answer is not made of numbers.
    #[error("the model answers the test prompt with NaN: its weights are damaged")]
    NotFinite,
}

/// Reads the headers of the model's files again and holds them against the planned ones.
///
/// # Errors
/// [`VerifyError::Header`], [`VerifyError::Check`], [`VerifyError::Differs`], [`VerifyError::Io`].
pub fn check_headers(paths: &[PathBuf], planned: &[Header]) -> Result<(), VerifyError> {
    let mut whole: Option<Header> = None;
    for (path, planned) in paths.iter().zip(planned) {
        let found = Header::read(path)?;
        match &mut whole {
            None => whole = Some(found.clone()),
            Some(whole) => whole.tensors.extend(found.tensors.iter().cloned()),
        }
        check_planned(path, &found, planned)?;
    }
    match whole {
        Some(whole) => Ok(check::header(&whole)?),
        None => Err(VerifyError::Differs("it has no files")),
    }
}

fn check_planned(path: &Path, found: &Header, planned: &Header) -> Result<(), VerifyError> {
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

/// Loads the model's files on the CPU and computes the logits after one prompt of `profile`.
///
/// # Errors
/// Any [`VerifyError`] but those of [`check_headers`].
pub fn ask(paths: &[PathBuf], profile: &Profile, threads: usize) -> Result<(), VerifyError> {
    crate::llama::backend::backend().map_err(VerifyError::Backend)?;
    crash::name_unfinished(paths);
    let asked = answer(paths, profile, threads);
    crash::finished();
    asked
}

/// Loads any model on the CPU and computes one step. An abort of llama.cpp ends this process: a child process calls it.
///
/// # Errors
/// [`VerifyError::Backend`], [`VerifyError::Load`], [`VerifyError::Decode`], [`VerifyError::NotFinite`].
pub fn step(paths: &[PathBuf], threads: usize) -> Result<(), VerifyError> {
    crate::llama::backend::backend().map_err(VerifyError::Backend)?;
    if let Some(path) = paths.first() {
        crash::name_model(path);
    }
    let model = Model::load(paths)?;
    compute(&model, model.tokenise(STEP, true), threads)
}

fn answer(paths: &[PathBuf], profile: &Profile, threads: usize) -> Result<(), VerifyError> {
    let model = Model::load(paths)?;
    for marker in ["<start_of_turn>", "<end_of_turn>"] {
        if !matches!(model.tokenise(marker, false)[..], [token] if model.is_control(token)) {
            return Err(VerifyError::NotControl(marker.to_owned()));
        }
    }
    let comment = profile.comment.replace(COMMENT, QUESTION);
    let parts =
        [&profile.turn.user, &profile.instruction, &comment, &profile.turn.model, &profile.answer.prefix];
    let prompt: String = parts.into_iter().map(String::as_str).collect();
    compute(&model, model.tokenise(&prompt, true), threads)
}

/// Reads the tokens, and whether the logits are numbers.
fn compute(model: &Model, mut tokens: Vec<llama::llama_token>, threads: usize) -> Result<(), VerifyError> {
    let mut context = Context::new(model, tokens.len(), threads)?;
    for batch in tokens.chunks_mut(BATCH_TOKENS) {
        context.decode(batch)?;
        if !context.last_logits()?.iter().all(|logit| logit.is_finite()) {
            return Err(VerifyError::NotFinite);
        }
    }
    Ok(())
}

/// A model whose weights stay in the file's pages. The safe bindings can't say so: theirs holds
/// the weights a second time, repacked for speed.
struct Model(NonNull<llama::llama_model>);

impl Model {
    fn load(paths: &[PathBuf]) -> Result<Self, VerifyError> {
        let path = |path: &PathBuf| CString::new(path.as_os_str().as_encoded_bytes());
        let paths = paths.iter().map(path).collect::<Result<Vec<CString>, _>>().map_err(io::Error::from)?;
        let mut pointers: Vec<*const c_char> = paths.iter().map(|path| path.as_ptr()).collect();
        // SAFETY: the backend is initialised, the paths are C strings that live until the call returns, as does the
        // list of so many pointers to them, and the parameters are llama.cpp's defaults, which hold no pointer of ours.
        let model = unsafe {
            let mut params = llama::llama_model_default_params();
            params.n_gpu_layers = 0;
            params.use_extra_bufts = false;
            llama::llama_model_load_from_splits(pointers.as_mut_ptr(), pointers.len(), params)
        };
        NonNull::new(model).map(Self).ok_or(VerifyError::Load)
    }

    fn vocab(&self) -> *const llama::llama_vocab {
        // SAFETY: the model is alive; the vocabulary lives as long as it.
        unsafe { llama::llama_model_get_vocab(self.0.as_ptr()) }
    }

    fn n_tokens(&self) -> usize {
        // SAFETY: the vocabulary is that of a model that is alive.
        unsafe { llama::llama_vocab_n_tokens(self.vocab()) }.max(0) as usize
    }

    fn is_control(&self, token: llama::llama_token) -> bool {
        // SAFETY: the vocabulary is that of a model that is alive, and the token is one of its own.
        unsafe { llama::llama_vocab_is_control(self.vocab(), token) }
    }

    /// Tokens of a text whose turn markers count.
    fn tokenise(&self, text: &str, add_bos: bool) -> Vec<llama::llama_token> {
        // A token has at least a byte, but for the one that is added.
        let mut tokens = vec![0; text.len() + 1];
        // SAFETY: the text is read up to its length, and at most as many tokens are written as the
        // vector holds.
        let n = unsafe {
            llama::llama_tokenize(
                self.vocab(),
                text.as_ptr().cast(),
                text.len() as i32,
                tokens.as_mut_ptr(),
                tokens.len() as i32,
                add_bos,
                true,
            )
        };
        tokens.truncate(n.max(0) as usize);
        tokens
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: the pointer came from llama_model_load_from_file and is freed once.
        unsafe { llama::llama_model_free(self.0.as_ptr()) }
    }
}

struct Context<'a> {
    context: NonNull<llama::llama_context>,
    model: &'a Model,
}

impl<'a> Context<'a> {
    fn new(model: &'a Model, n_tokens: usize, threads: usize) -> Result<Self, VerifyError> {
        let threads = i32::try_from(threads).unwrap_or(i32::MAX);
        // SAFETY: the model outlives the context by the lifetime; the parameters are llama.cpp's
        // defaults with other numbers.
        let context = unsafe {
            let mut params = llama::llama_context_default_params();
            params.n_ctx = n_tokens as u32 + 1;
            params.n_batch = BATCH_TOKENS as u32;
            params.n_ubatch = BATCH_TOKENS as u32;
            params.n_outputs_max = 1;
            params.n_threads = threads;
            params.n_threads_batch = threads;
            llama::llama_init_from_model(model.0.as_ptr(), params)
        };
        NonNull::new(context).map(|context| Self { context, model }).ok_or(VerifyError::Load)
    }

    /// Computes the next tokens; logits are kept for the last one.
    fn decode(&mut self, tokens: &mut [llama::llama_token]) -> Result<(), VerifyError> {
        // SAFETY: the batch points to `tokens`, which outlive the call, and is no longer than n_batch.
        let code = unsafe {
            let batch = llama::llama_batch_get_one(tokens.as_mut_ptr(), tokens.len() as i32);
            llama::llama_decode(self.context.as_ptr(), batch)
        };
        if code == 0 { Ok(()) } else { Err(VerifyError::Decode(code)) }
    }

    fn last_logits(&self) -> Result<&[f32], VerifyError> {
        // SAFETY: the context is alive; a null pointer is checked for.
        let logits = unsafe { llama::llama_get_logits_ith(self.context.as_ptr(), -1) };
        let logits = NonNull::new(logits).ok_or(VerifyError::NotFinite)?;
        // SAFETY: llama.cpp keeps one number for each token of the vocabulary there until the next
        // llama_decode, which borrows the context mutably.
        Ok(unsafe { std::slice::from_raw_parts(logits.as_ptr(), self.model.n_tokens()) })
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from llama_init_from_model and is freed once, before its model.
        unsafe { llama::llama_free(self.context.as_ptr()) }
    }
}
