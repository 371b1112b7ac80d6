//! Whether bytes of the cache are those that their name says.
//!
//! A blob is hashed once. Then its size, time of change and inode are noted, so that the next run need not read
//! gigabytes again, and still sees what changed.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::cache::{RepoCache, open_plain, replace};
use super::names::{Etag, HashKind};
use crate::files::open;

/// Maximum size of a note that a file was checked, in bytes.
const MAX_NOTE: u64 = 4096;

/// Files that take long enough to hash for a user to wonder.
const LARGE: u64 = 256 << 20;

/// Whether bytes of the cache are those that their name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intact {
    /// They are.
    Yes,
    /// They are not, or there are none.
    No,
    /// The name is no hash, and nothing is noted.
    Unknown,
}

/// A hash that grows with a download.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-1 of git's blob.
    GitBlob(Sha1),
    /// None: the name is no hash.
    None,
}

impl Hasher {
    /// The hash of `size` bytes that `etag` is.
    pub fn new(etag: &Etag, size: u64) -> Self {
        match etag.hash() {
            Some(HashKind::Sha256) => Self::Sha256(Sha256::new()),
            Some(HashKind::GitBlob) => Self::GitBlob(Sha1::new_with_prefix(format!("blob {size}\0"))),
            None => Self::None,
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::GitBlob(hasher) => hasher.update(bytes),
            Self::None => {}
        }
    }

    /// Whether the bytes are those of `etag`; what has no hash passes.
    pub fn is(self, etag: &Etag) -> bool {
        let digest = match self {
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::GitBlob(hasher) => hasher.finalize().to_vec(),
            Self::None => return true,
        };
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        hex.eq_ignore_ascii_case(etag.as_str())
    }
}

/// Checks the blob at `path`, which is a blob of the cache or a snapshot's own file. `on_long` is called before a
/// large file is read.
///
/// # Errors
/// The file system's own.
pub fn check(cache: &RepoCache, etag: &Etag, path: &Path, on_long: impl Fn()) -> io::Result<Intact> {
    let mut file = match open_plain(OpenOptions::new().read(true), path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Intact::No),
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    let noted = open::read_text(&cache.note(etag), MAX_NOTE).ok();
    if noted.as_deref() == Some(stamp(&found).as_str()) {
        return Ok(Intact::Yes);
    }
    if etag.hash().is_none() {
        return Ok(if noted.is_some() { Intact::No } else { Intact::Unknown });
    }
    if found.len() >= LARGE {
        on_long();
    }
    let mut hasher = Hasher::new(etag, found.len());
    read_into(&mut file, &mut hasher)?;
    if !hasher.is(etag) {
        return Ok(Intact::No);
    }
    note(cache, etag, path);
    Ok(Intact::Yes)
}

/// Reads all that is left of a file into a hash; returns the number of bytes.
///
/// # Errors
/// The file system's own.
pub fn read_into(file: &mut impl Read, hasher: &mut Hasher) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(total),
            n => {
                hasher.update(&buffer[..n]);
                total += n as u64;
            }
        }
    }
}

/// Notes that a file was checked. Failing to only means that it is checked again.
pub fn note(cache: &RepoCache, etag: &Etag, path: &Path) {
    let noted = || {
        let stamp = stamp(&fs::symlink_metadata(path)?);
        let note = cache.note(etag);
        let folder = note.parent().unwrap_or(cache.root());
        let _exists = fs::create_dir(folder);
        replace(folder, etag.as_str(), &stamp)
    };
    if let Err(error) = noted() {
        tracing::debug!(%error, "that a file was checked can't be noted");
    }
}

fn stamp(found: &Metadata) -> String {
    format!("{} {}.{:09} {}", found.len(), found.mtime(), found.mtime_nsec(), found.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_git_and_sha256sum() {
        let check = |etag: &str, bytes: &[u8], expect: bool| {
            let etag = Etag::parse(etag).unwrap();
            let mut hasher = Hasher::new(&etag, bytes.len() as u64);
            bytes.chunks(2).for_each(|chunk| hasher.update(chunk));
            assert_eq!(hasher.is(&etag), expect, "{etag}");
        };
        // `printf hello | git hash-object --stdin`, `printf hello | sha256sum`.
        check("b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0", b"hello", true);
        check("b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0", b"hellO", false);
        check("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", b"hello", true);
        check("2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824", b"hello", true);
        check("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", b"hell", false);
        check("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", b"", true);
    }
}
