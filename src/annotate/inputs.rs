//! The files to annotate. Each is read several times, so that what can be read only once is copied first.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::TempPath;

use super::error::AnnotateError;
use crate::dataset::{Comments, DatasetError, ReadOptions};
use crate::files::hash;
use crate::text::shown::shown_path;

/// A file to annotate.
#[derive(Debug)]
pub struct Input {
    path: PathBuf,
    /// For messages.
    name: String,
    sha256: String,
    state: (u64, Option<SystemTime>),
    /// Standard input's or a pipe's content.
    _copy: Option<TempPath>,
}

/// Opens files in their order; `-` is standard input.
///
/// # Errors
/// [`AnnotateError::Read`].
pub fn open_inputs(paths: &[PathBuf]) -> Result<Vec<Input>, AnnotateError> {
    paths.iter().map(|path| Input::open(path)).collect()
}

impl Input {
    fn open(path: &Path) -> Result<Self, AnnotateError> {
        let is_stdin = path.as_os_str() == "-";
        let name = if is_stdin { "standard input".to_owned() } else { shown_path(path) };
        let failed = |source: io::Error| AnnotateError::Read(format!("cannot read {name}: {source}"));
        if is_stdin {
            let copy = copied(&mut io::stdin().lock()).map_err(failed)?;
            return Self::known(copy.to_path_buf(), name.clone(), Some(copy)).map_err(failed);
        }
        let metadata = fs::metadata(path).map_err(failed)?;
        if metadata.is_dir() {
            return Err(AnnotateError::Read(DatasetError::Folder(path.into()).to_string()));
        }
        if metadata.is_file() {
            return Self::known(path.to_owned(), name.clone(), None).map_err(failed);
        }
        let copy = File::open(path).and_then(|mut file| copied(&mut file)).map_err(failed)?;
        Self::known(copy.to_path_buf(), name.clone(), Some(copy)).map_err(failed)
    }

    fn known(path: PathBuf, name: String, copy: Option<TempPath>) -> io::Result<Self> {
        let state = state(&path)?;
        let sha256 = hash::file(&path, &|| false)?.unwrap_or_default();
        Ok(Self { path, name, sha256, state, _copy: copy })
    }

    /// Where its content lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of its content, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Its comments, from the first.
    ///
    /// # Errors
    /// [`AnnotateError::Read`].
    pub fn comments(&self, options: &ReadOptions) -> Result<Comments, AnnotateError> {
        Comments::open(&self.path, options.clone(), false).map_err(|e| self.error(&e))
    }

    /// An error of reading it, in its own name.
    pub fn error(&self, error: &DatasetError) -> AnnotateError {
        AnnotateError::Read(error.to_string().replace(&*self.path.to_string_lossy(), &self.name))
    }

    /// Refuses a file that is not what it was when it was opened.
    ///
    /// # Errors
    /// [`AnnotateError::Changed`].
    pub fn check_unchanged(&self) -> Result<(), AnnotateError> {
        match state(&self.path) {
            Ok(state) if state == self.state => Ok(()),
            _ => Err(AnnotateError::Changed(self.name.clone())),
        }
    }
}

fn state(path: &Path) -> io::Result<(u64, Option<SystemTime>)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.len(), metadata.modified().ok()))
}

fn copied(from: &mut dyn io::Read) -> io::Result<TempPath> {
    let mut copy = tempfile::NamedTempFile::new()?;
    io::copy(from, copy.as_file_mut())?;
    Ok(copy.into_temp_path())
}
