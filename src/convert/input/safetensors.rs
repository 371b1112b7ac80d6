//! Safetensors files: the tensors of a checkpoint's shards or of an adapter.
//!
//! The header is parsed by the `safetensors` crate, which checks that the tensors follow each
//! other without gap or overlap and fill the file. The data is never mapped: it is read in row
//! chunks when its turn comes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::tensor::TensorSource;
use crate::files::open;
use crate::gguf::tensor_type::TensorType;
use crate::text::shown::{shown, shown_path};

/// What is wrong with a safetensors file.
#[derive(Debug, thiserror::Error)]
pub enum SafetensorsError {
    /// The file can't be opened or read.
    #[error("cannot read {}: {source}", shown_path(.path))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is cut off, or longer than its header says.
    #[error(
        "{}: the file's size is not what its header says: it was cut off or written over; download it again",
        shown_path(.0)
    )]
    Size(PathBuf),
    /// The header's length is a lie, or larger than 100 MB.
    #[error("{}: the header's length is impossible: this is not a safetensors file", shown_path(.0))]
    HeaderLength(PathBuf),
    /// The header is not the JSON that safetensors defines.
    #[error("{}: the header is not valid: {}", shown_path(.path), shown(.reason))]
    HeaderJson {
        /// The file.
        path: PathBuf,
        /// What the JSON parser says.
        reason: String,
    },
    /// Tensors overlap or leave a gap.
    #[error("{}: tensor {} overlaps its neighbour or leaves a gap", shown_path(.path), shown(.name))]
    Overlap {
        /// The file.
        path: PathBuf,
        /// The first tensor out of place.
        name: String,
    },
    /// A tensor's bytes are not those of its shape and type.
    #[error("{}: a tensor's byte range is not that of its shape and type", shown_path(.0))]
    TensorSize(PathBuf),
    /// A tensor with a dimension of zero.
    #[error(
        "{}: tensor {} holds no numbers: the file is damaged or not a model's",
        shown_path(.path),
        shown(.name)
    )]
    Empty {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A type other than F32, F16 and BF16.
    #[error(
        "{}: tensor {} has type {dtype}: F32, F16 and BF16 are supported; save the model in one of them",
        shown_path(.path), shown(.name), dtype = shown(dtype)
    )]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type, as safetensors names it.
        dtype: String,
    },
}

/// An opened safetensors file: names and places of its tensors.
#[derive(Debug)]
pub struct SafetensorsFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its tensors, by name.
    pub tensors: Vec<(String, TensorSource)>,
    /// Names of the buffers that were skipped: they carry no weights.
    pub buffers: Vec<String>,
}

impl SafetensorsFile {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// Any [`SafetensorsError`].
    pub fn open(path: &Path) -> Result<Self, SafetensorsError> {
        let io = |source| SafetensorsError::Io { path: path.to_owned(), source };
        let file = open::regular(path).map_err(io)?;
        // SAFETY: the map is only used in this function, for the header; a file cut off by
        // somebody else meanwhile would end the process, as it would any reader of a map.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let (header_len, header) = SafeTensors::read_metadata(&map).map_err(|e| header_error(path, e))?;
        let data_start = 8 + header_len as u64;
        let file = Arc::new(file);
        let (mut tensors, mut buffers) = (Vec::new(), Vec::new());
        for name in header.offset_keys() {
            let Some(info) = header.info(&name) else { continue };
            if is_buffer(&name) {
                buffers.push(name);
                continue;
            }
            if info.shape.contains(&0) {
                return Err(SafetensorsError::Empty { path: path.to_owned(), name });
            }
            let Some(tensor_type) = tensor_type(info.dtype) else {
                let dtype = format!("{:?}", info.dtype);
                return Err(SafetensorsError::Dtype { path: path.to_owned(), name, dtype });
            };
            let source = TensorSource {
                file: Arc::clone(&file),
                path: path.to_owned(),
                offset: data_start + info.data_offsets.0 as u64,
                tensor_type,
                // ggml counts the fastest dimension first, safetensors last.
                shape: info.shape.iter().rev().map(|&d| d as u64).collect(),
            };
            tensors.push((name, source));
        }
        Ok(Self { path: path.to_owned(), tensors, buffers })
    }
}

/// Whether a name is that of a buffer which older libraries saved beside the weights: the rotary frequencies,
/// which follow from the configuration.
fn is_buffer(name: &str) -> bool {
    let mut parts = name.rsplit('.');
    let is_frequency = matches!(parts.next(), Some("inv_freq" | "original_inv_freq"));
    is_frequency && parts.next().is_some_and(|module| module.starts_with("rotary_emb"))
}

fn tensor_type(dtype: Dtype) -> Option<TensorType> {
    match dtype {
        Dtype::F32 => Some(TensorType::F32),
        Dtype::F16 => Some(TensorType::F16),
        Dtype::BF16 => Some(TensorType::BF16),
        _ => None,
    }
}

fn header_error(path: &Path, error: SafeTensorError) -> SafetensorsError {
    let path = path.to_owned();
    match error {
        SafeTensorError::HeaderTooLarge
        | SafeTensorError::HeaderTooSmall
        | SafeTensorError::InvalidHeaderLength => SafetensorsError::HeaderLength(path),
        SafeTensorError::MetadataIncompleteBuffer => SafetensorsError::Size(path),
        SafeTensorError::InvalidOffset(name) => SafetensorsError::Overlap { path, name },
        SafeTensorError::TensorInvalidInfo
        | SafeTensorError::ValidationOverflow
        | SafeTensorError::MisalignedSlice => SafetensorsError::TensorSize(path),
        other => SafetensorsError::HeaderJson { path, reason: other.to_string() },
    }
}
