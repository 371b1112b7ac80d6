//! A GGUF file as a base.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::SourceError;
use super::tensor::TensorSource;
use crate::files::open;
use crate::gguf::{Header, TensorInfo};

/// A GGUF file as a base.
#[derive(Debug)]
pub struct GgufBase {
    /// Where it is.
    pub path: PathBuf,
    /// Its header.
    pub header: Header,
    /// Every tensor, by its GGUF name.
    pub tensors: BTreeMap<String, TensorSource>,
}

impl GgufBase {
    /// Reads the header.
    ///
    /// # Errors
    /// [`SourceError::Gguf`], [`SourceError::Io`].
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let header =
            Header::read(path).map_err(|source| SourceError::Gguf { path: path.to_owned(), source })?;
        let file = open::regular(path).map_err(|source| SourceError::Io { path: path.to_owned(), source })?;
        let file = Arc::new(file);
        let source = |info: &TensorInfo| TensorSource {
            file: Arc::clone(&file),
            path: path.to_owned(),
            offset: header.data_start + info.offset,
            tensor_type: info.tensor_type,
            shape: info.shape.clone(),
        };
        let tensors = header.tensors.iter().map(|info| (info.name.clone(), source(info))).collect();
        Ok(Self { path: path.to_owned(), header, tensors })
    }
}
