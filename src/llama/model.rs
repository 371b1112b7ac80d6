//! A model file and its vocabulary.

use std::ffi::CString;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_sys_2 as sys;

use super::backend::{BackendError, backend};
use super::crash;
use super::features::repacks_weights;
use super::kernels::choice::Kernels;
use crate::files::open;
use crate::gguf::GgufError;
use crate::gguf::check::{self, CheckError};
use crate::text::escape::quoted;
use crate::text::shown::shown_path;
use crate::text::vocabulary::{Token, Vocabulary};

/// Why a model file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// There is no such file, or it may not be read.
    #[error("cannot read the model file {}: {source}", shown_path(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A folder.
    #[error(
        "{} is a folder; name a GGUF file, or convert a checkpoint with `ko-sentiment convert-model --base`",
        shown_path(.0)
    )]
    Folder(PathBuf),
    /// Another kind of file.
    #[error(
        "{} is {kind}, not a GGUF file; name a file that `ko-sentiment convert-model` made",
        shown_path(path)
    )]
    NotGguf {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// llama.cpp itself.
    #[error(transparent)]
    Backend(#[from] &'static BackendError),
    /// llama.cpp would end the process by it, or compute something else than the file says.
    #[error("{}: {source}; download the file again or convert the model anew", shown_path(path))]
    Check {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CheckError,
    },
    /// llama.cpp refuses the file, or a device has no memory for it.
    #[error(
        "llama.cpp cannot load {}: memory is short, or the file is damaged or newer than this build; its log says which (--log-level info)",
        shown_path(path)
    )]
    Load {
        /// The file.
        path: PathBuf,
    },
    /// Not one of the Gemma models.
    #[error(
        "{} holds a model of architecture {}; this server runs gemma2 and gemma3",
        shown_path(path),
        quoted(architecture)
    )]
    Architecture {
        /// The file.
        path: PathBuf,
        /// What it holds.
        architecture: String,
    },
}

/// Names of `llama_ftype`'s values (llama.h).
const FILE_TYPES: [(u32, &str); 14] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (32, "BF16"),
];

/// The name of a `llama_ftype`.
pub fn file_type_name(number: u32) -> String {
    let known = FILE_TYPES.iter().find(|(id, _)| *id == number);
    known.map_or_else(|| format!("file type {number}"), |(_, name)| (*name).to_owned())
}

/// Refuses what is no GGUF file by what it is: llama.cpp would only say that it cannot load it.
fn check_kind(path: &Path) -> Result<(), ModelError> {
    let failed = |source| ModelError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Err(ModelError::Folder(path.to_owned()));
    }
    let mut file = open::regular(path).map_err(failed)?;
    let mut start = Vec::new();
    file.by_ref().take(256).read_to_end(&mut start).map_err(failed)?;
    let kind = match &start[..] {
        [b'G', b'G', b'U', b'F', ..] => return Ok(()),
        [] => "empty",
        [b'P', b'K', 3, 4, ..] => "a ZIP or PyTorch file",
        [_, _, _, _, _, _, 0, 0, b'{', ..] => "a safetensors file",
        start if is_text(start) => "a text file",
        _ => "a file of another format",
    };
    Err(ModelError::NotGguf { path: path.to_owned(), kind })
}

/// Whether this could be a text's beginning, which may end within a character.
fn is_text(start: &[u8]) -> bool {
    let text = std::str::from_utf8(start).err().is_none_or(|error| error.error_len().is_none());
    text && !start.contains(&0)
}

/// A loaded model.
pub struct Model {
    inner: LlamaModel,
}

impl Model {
    /// Loads the weights, by memory map. `gpu_layers`: layers to offload; `None` for all, where a GPU is.
    ///
    /// # Errors
    /// See [`ModelError`].
    pub fn load(path: &Path, gpu_layers: Option<u32>) -> Result<Self, ModelError> {
        Self::load_for(path, gpu_layers, Kernels::default())
    }

    /// Loads the weights as these kernels need them in memory; else as [`Self::load`].
    ///
    /// # Errors
    /// See [`ModelError`].
    pub fn load_for(path: &Path, gpu_layers: Option<u32>, kernels: Kernels) -> Result<Self, ModelError> {
        check_kind(path)?;
        check::file(path).map_err(|source| match source {
            CheckError::Header(GgufError::Io { source, .. }) => {
                ModelError::Read { path: path.to_owned(), source }
            }
            CheckError::Architecture(architecture) => {
                ModelError::Architecture { path: path.to_owned(), architecture }
            }
            source => ModelError::Check { path: path.to_owned(), source },
        })?;
        Self::open(path, gpu_layers, kernels)
    }

    /// By the raw bindings, since the safe ones do not reach `use_extra_bufts`.
    fn open(path: &Path, gpu_layers: Option<u32>, kernels: Kernels) -> Result<Self, ModelError> {
        backend()?;
        crash::name_model(path);
        let refused = || ModelError::Load { path: path.to_owned() };
        let c_path = CString::new(path.as_os_str().as_bytes()).map_err(|_| refused())?;
        // SAFETY: returns a plain struct.
        let mut params = unsafe { sys::llama_model_default_params() };
        if let Some(layers) = gpu_layers {
            params.n_gpu_layers = i32::try_from(layers).unwrap_or(i32::MAX);
        }
        params.use_extra_bufts = repacks_weights(kernels);
        // SAFETY: the backend is initialised, the path is a C string, the parameters are valid.
        let ptr = unsafe { sys::llama_model_load_from_file(c_path.as_ptr(), params) };
        let ptr = NonNull::new(ptr).ok_or_else(refused)?;
        // SAFETY: in the pinned version `LlamaModel` is `repr(transparent)` over `Ptr`, which is
        // `repr(transparent)` over `NonNull<llama_model>`, and frees it when dropped; this is its only owner.
        let inner = unsafe { std::mem::transmute::<NonNull<sys::llama_model>, LlamaModel>(ptr) };
        Ok(Self { inner })
    }

    /// A metadata value as text.
    pub fn metadata(&self, key: &str) -> Option<String> {
        self.inner.meta_val_str(key).ok()
    }

    /// Tokens in the vocabulary.
    pub fn vocabulary_size(&self) -> usize {
        usize::try_from(self.inner.n_vocab()).unwrap_or(0)
    }

    /// Tokens of context that the model was trained with.
    pub fn trained_context(&self) -> usize {
        self.inner.n_ctx_train() as usize
    }

    /// Number of weights.
    pub fn parameters(&self) -> u64 {
        self.inner.n_params()
    }

    /// Size of the weights in bytes.
    pub fn size(&self) -> u64 {
        self.inner.size()
    }

    /// Name of the mixture of quantisations, such as `Q4_K_M`, from the file's metadata.
    pub fn quantization(&self) -> String {
        let number = self.metadata("general.file_type").and_then(|number| number.parse().ok());
        number.map_or_else(|| "unknown".to_owned(), file_type_name)
    }

    pub(super) fn as_ptr(&self) -> *mut sys::llama_model {
        // SAFETY: the layout that `open` rests on; the size is asserted there.
        unsafe { *(&raw const self.inner).cast::<*mut sys::llama_model>() }
    }
}

impl Vocabulary for Model {
    fn tokenize_template(&self, text: &str) -> Vec<Token> {
        self.tokenize(text, true)
    }

    fn tokenize_text(&self, text: &str) -> Vec<Token> {
        self.tokenize(text, false)
    }

    fn bos(&self) -> Option<Token> {
        let bos = self.inner.vocab().bos().0;
        (bos >= 0).then_some(bos)
    }

    fn is_control(&self, token: Token) -> bool {
        self.inner.vocab().is_control(LlamaToken(token))
    }

    fn is_end(&self, token: Token) -> bool {
        self.inner.vocab().is_eog(LlamaToken(token))
    }

    fn piece(&self, token: Token, bytes: &mut Vec<u8>) {
        self.inner.vocab().token_to_piece_into(LlamaToken(token), bytes, false, None);
    }
}

impl Model {
    fn tokenize(&self, text: &str, parse_special: bool) -> Vec<Token> {
        if text.is_empty() {
            return Vec::new();
        }
        let tokens = self.inner.vocab().tokenize(text.as_bytes(), false, parse_special);
        tokens.into_iter().map(|t| t.0).collect()
    }
}
