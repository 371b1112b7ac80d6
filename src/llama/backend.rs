//! llama.cpp's process-wide state, initialised once for the engine and the converter.

use std::sync::OnceLock;

use llama_cpp_2::LlamaCppError;
use llama_cpp_2::llama_backend::LlamaBackend;

static BACKEND: OnceLock<Result<LlamaBackend, BackendError>> = OnceLock::new();

/// Why llama.cpp cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Another part of the process has initialised it.
    #[error("llama.cpp cannot be initialised: {0}")]
    Init(#[from] LlamaCppError),
    /// A binary that does not know where it lies.
    #[cfg(feature = "dynamic-backends")]
    #[error("the folder of this program cannot be found: {0}")]
    Folder(#[from] std::io::Error),
    /// A binary without the libraries that belong beside it.
    #[cfg(feature = "dynamic-backends")]
    #[error(
        "no CPU backend of llama.cpp can be loaded from {}; keep the libggml-cpu-* files beside the program",
        crate::text::shown::shown_path(.0)
    )]
    NoCpu(std::path::PathBuf),
}

/// The initialised backend.
///
/// # Errors
/// See [`BackendError`].
pub fn backend() -> Result<&'static LlamaBackend, &'static BackendError> {
    BACKEND.get_or_init(init).as_ref()
}

fn init() -> Result<LlamaBackend, BackendError> {
    #[cfg(feature = "dynamic-backends")]
    load_libraries()?;
    Ok(LlamaBackend::init()?)
}

/// Loads the best CPU variant, and any GPU backend, from the program's own folder and no other:
/// llama.cpp's default would also look in the working directory.
#[cfg(feature = "dynamic-backends")]
fn load_libraries() -> Result<(), BackendError> {
    use std::os::unix::ffi::OsStrExt as _;

    let program = std::env::current_exe()?;
    let folder = program.parent().unwrap_or(&program);
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes()).map_err(std::io::Error::from)?;
    // SAFETY: a C string, read during the call only; nothing else of llama.cpp runs yet.
    unsafe { llama_cpp_sys_2::ggml_backend_load_all_from_path(path.as_ptr()) };
    let is_cpu = |d: &llama_cpp_2::LlamaBackendDevice| d.backend == "CPU";
    match llama_cpp_2::list_llama_ggml_backend_devices().iter().any(is_cpu) {
        true => Ok(()),
        false => Err(BackendError::NoCpu(folder.to_owned())),
    }
}
