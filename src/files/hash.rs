//! SHA-256 of files, for provenance and for the closing table.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::open;
use crate::text::shown::shown_path;

/// Hexadecimal SHA-256 of a file; `None` if `stop` said so.
///
/// # Errors
/// What reading answers.
pub fn file(path: &Path, stop: &dyn Fn() -> bool) -> io::Result<Option<String>> {
    let mut hasher = Sha256::new();
    Ok(feed(path, &mut hasher, stop)?.then(|| hex(hasher)))
}

/// Hexadecimal SHA-256 of a model: of the file, or of the [parts](super::split::parts) of a split one, one
/// after the other, as `cat NAME-*.gguf | sha256sum` prints it.
///
/// # Errors
/// What reading answers, naming the part.
pub fn model(path: &Path) -> io::Result<String> {
    Ok(joined(&super::split::parts(path), &|| false)?.unwrap_or_default())
}

/// Hexadecimal SHA-256 of files, one after the other; `None` if `stop` said so.
///
/// # Errors
/// As [`model`].
pub fn joined(paths: &[PathBuf], stop: &dyn Fn() -> bool) -> io::Result<Option<String>> {
    let mut hasher = Sha256::new();
    for path in paths {
        let fed = feed(path, &mut hasher, stop).map_err(|error| match paths.len() {
            1 => error,
            _ => io::Error::new(error.kind(), format!("{}: {error}", shown_path(path))),
        });
        if !fed? {
            return Ok(None);
        }
    }
    Ok(Some(hex(hasher)))
}

/// Hashes a file's bytes; `false` if `stop` said so.
fn feed(path: &Path, hasher: &mut Sha256, stop: &dyn Fn() -> bool) -> io::Result<bool> {
    let mut file = open::regular(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        if stop() {
            return Ok(false);
        }
        match file.read(&mut buffer)? {
            0 => return Ok(true),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// The hash of several files: of the one file, or of the list `sha256sum` would print for them.
///
/// # Errors
/// As [`file()`].
pub fn files(paths: &[PathBuf], stop: &dyn Fn() -> bool) -> io::Result<Option<String>> {
    if let [path] = paths {
        return file(path, stop);
    }
    let mut list = Sha256::new();
    for path in paths {
        let Some(hash) = file(path, stop)? else { return Ok(None) };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        list.update(format!("{hash}  {name}\n"));
    }
    Ok(Some(hex(list)))
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().fold(String::new(), |mut out, byte| {
        let _infallible = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_model_is_all_of_its_parts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let first = write("m-00001-of-00002.gguf", "ab");
        assert!(model(&first).unwrap_err().to_string().contains("m-00002-of-00002.gguf"));
        write("m-00002-of-00002.gguf", "c");
        let whole = model(&first).unwrap();
        // `printf abc | sha256sum`
        assert_eq!(whole, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        write("m-00002-of-00002.gguf", "d");
        assert_ne!(model(&first).unwrap(), whole);
        assert_eq!(model(&write("abc.gguf", "abc")).unwrap(), whole);
    }
}
