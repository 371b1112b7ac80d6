//! llama.cpp's process-wide state, initialised once for the engine and the converter.

use std::sync::OnceLock;

use llama_cpp_2::LlamaCppError;
use llama_cpp_2::llama_backend::LlamaBackend;

static BACKEND: OnceLock<Result<LlamaBackend, LlamaCppError>> = OnceLock::new();

/// The initialised backend.
///
/// # Errors
/// llama.cpp's own, should another part of the process have initialised it.
pub fn backend() -> Result<&'static LlamaBackend, &'static LlamaCppError> {
    BACKEND.get_or_init(LlamaBackend::init).as_ref()
}
