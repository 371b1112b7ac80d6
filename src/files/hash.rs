//! SHA-256 of files, for provenance and for the closing table.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::open;

/// Hexadecimal SHA-256 of a file; `None` if `stop` said so.
///
/// # Errors
/// What reading answers.
pub fn file(path: &Path, stop: &dyn Fn() -> bool) -> io::Result<Option<String>> {
    let mut file = open::regular(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        if stop() {
            return Ok(None);
        }
        match file.read(&mut buffer)? {
            0 => return Ok(Some(hex(hasher))),
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
