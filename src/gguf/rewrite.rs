//! Changing one metadata value of a GGUF file, and nothing else.

use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::GgufError;
use super::header::Header;
use super::metadata::Value;
use crate::files::open;
use crate::files::output::{Output, OutputError};
use crate::text::shown::shown_path;

/// Why a file keeps its old metadata.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// The file's header cannot be read.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The file's data cannot be read.
    #[error("cannot read {path}: {source}", path = shown_path(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The new file cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Sets one key, in place if the file has it, else after the others.
///
/// Tensor data is copied byte for byte into a new file, which then takes the old one's name: a
/// reader sees the old file or the new one, and a server that has the old one mapped keeps it.
///
/// # Errors
/// Any [`RewriteError`]; the file is as it was then.
pub fn set_metadata(path: &Path, key: &str, value: Value) -> Result<(), RewriteError> {
    let read_error = |source| RewriteError::Read { path: path.to_owned(), source };
    let mut header = Header::read(path)?;
    let data_start = header.data_start;
    header.metadata.set(key, value);
    let head = header.encode();
    // The file itself is replaced, not a link to it.
    let target = fs::canonicalize(path).map_err(read_error)?;
    let mut old = open::regular(&target).map_err(read_error)?;
    let about = old.metadata().map_err(read_error)?;
    old.seek(SeekFrom::Start(data_start)).map_err(read_error)?;
    let size = head.len() as u64 + about.len().saturating_sub(data_start);
    let output = Output::create(&target, size, true)?;
    let mut file = output.file();
    file.write_all(&head).and_then(|()| io::copy(&mut old, &mut file)).map_err(|e| output.io_error(e))?;
    output.finish(true)?;
    fs::set_permissions(&target, about.permissions()).map_err(read_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::tensor_type::TensorType;
    use crate::gguf::{Array, Metadata, TensorInfo};

    const KEY: &str = "ko_sentiment.profile";

    /// A file of two small tensors, and its tensor data.
    fn model(folder: &Path) -> (PathBuf, Vec<u8>) {
        let mut metadata = Metadata::new();
        metadata.set("general.architecture", "gemma3");
        metadata.set(KEY, "name = \"old\"");
        metadata.set("tokenizer.ggml.tokens", Value::Array(Array::from_strings(["가", "나"])));
        let tensor = |name: &str, columns| TensorInfo {
            name: name.into(),
            shape: vec![columns],
            tensor_type: TensorType::F32,
            offset: 0,
        };
        let header = Header::new(metadata, vec![tensor("a", 3), tensor("b", 9)]);
        let data: Vec<u8> = (0..header.file_size() - header.data_start).map(|i| i as u8).collect();
        let path = folder.join("model.gguf");
        fs::write(&path, [header.encode(), data.clone()].concat()).unwrap();
        (path, data)
    }

    #[test]
    fn only_the_value_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, data) = model(folder.path());
        let before = Header::read(&path).unwrap();
        let original = fs::read(&path).unwrap();
        let profile = "name = \"새 프로필\"\n".repeat(20);
        set_metadata(&path, KEY, profile.as_str().into()).unwrap();

        let after = Header::read(&path).unwrap();
        assert_eq!(after.metadata.require_str(KEY).unwrap(), profile);
        assert_eq!(after.tensors, before.tensors);
        assert_eq!(fs::read(&path).unwrap()[after.data_start as usize..], data);
        let keys = |header: &Header| -> Vec<String> {
            header.metadata.iter().map(|(key, _)| key.to_owned()).collect()
        };
        assert_eq!(keys(&after), keys(&before));

        // Back again: the very same file, and nothing left beside it.
        set_metadata(&path, KEY, "name = \"old\"".into()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), original);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_refused_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = model(folder.path());
        let cut = &fs::read(&path).unwrap()[..200];
        fs::write(&path, cut).unwrap();
        set_metadata(&path, KEY, "x".into()).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), cut);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_and_links_stay() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = model(folder.path());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let link = folder.path().join("link.gguf");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        set_metadata(&link, KEY, "x".into()).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(Header::read(&path).unwrap().metadata.require_str(KEY).unwrap(), "x");
    }
}
