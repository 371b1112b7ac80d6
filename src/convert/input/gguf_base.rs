//! A GGUF file as a base, which may be split into several.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::SourceError;
use super::tensor::TensorSource;
use crate::files::open;
use crate::gguf::check;
use crate::gguf::{Header, TensorInfo};

/// A GGUF file as a base.
#[derive(Debug)]
pub struct GgufBase {
    /// Where it is, or where its parts are, in their order.
    pub paths: Vec<PathBuf>,
    /// Its header: the first part's metadata, and all tensors.
    pub header: Header,
    /// Every tensor, by its GGUF name.
    pub tensors: BTreeMap<String, TensorSource>,
}

impl GgufBase {
    /// Reads the headers.
    ///
    /// # Errors
    /// [`SourceError::Gguf`], [`SourceError::Parts`], [`SourceError::Io`].
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let mut header =
            Header::read(path).map_err(|source| SourceError::Gguf { path: path.to_owned(), source })?;
        let others = check::others(path, &header)?;
        let mut base = Self { paths: Vec::new(), header: header.clone(), tensors: BTreeMap::new() };
        base.add(path, &header)?;
        for (path, part) in &others {
            base.add(path, part)?;
            header.tensors.extend(part.tensors.iter().cloned());
        }
        Ok(Self { header, ..base })
    }

    fn add(&mut self, path: &Path, part: &Header) -> Result<(), SourceError> {
        let file = open::regular(path).map_err(|source| SourceError::Io { path: path.to_owned(), source })?;
        let file = Arc::new(file);
        let source = |info: &TensorInfo| TensorSource {
            file: Arc::clone(&file),
            path: path.to_owned(),
            offset: part.data_start + info.offset,
            tensor_type: info.tensor_type,
            shape: info.shape.clone(),
        };
        self.tensors.extend(part.tensors.iter().map(|info| (info.name.clone(), source(info))));
        self.paths.push(path.to_owned());
        Ok(())
    }
}
