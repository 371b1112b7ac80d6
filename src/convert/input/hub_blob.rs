//! Files of the hub's cache whose bytes are all there, and only their name is missing.
//!
//! The hub's client keeps a file as `blobs/ETAG` (`blobs/ETAG.part` while it comes) and links a
//! snapshot to it. It asks for the bytes that a `.part` lacks, which the hub refuses when it lacks
//! none, and it downloads a blob again for every commit that has it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use fs4::FileExt;

use crate::files::hash;

/// What the hub says of a file, and where the cache keeps its bytes.
#[derive(Debug)]
pub struct Blob {
    /// `blobs/ETAG`.
    pub path: PathBuf,
    /// Its size, in bytes.
    pub size: u64,
    /// SHA-256 of its bytes where the hub has it (large files), else another name for them.
    pub etag: String,
}

impl Blob {
    /// Links `pointer`, a file of a snapshot, to the bytes, and tells whether they were all there.
    /// A `.part` that can't be gone on with is removed.
    ///
    /// # Errors
    /// The file system's own.
    pub fn adopt(&self, pointer: &Path) -> io::Result<bool> {
        let part = self.path.with_extension("part");
        if !part.exists() && !self.path.exists() {
            return Ok(false);
        }
        // The client's own lock: who holds it is downloading.
        let lock = File::create(self.path.with_extension("lock"))?;
        if FileExt::try_lock(&lock).is_err() {
            return Ok(false);
        }
        if let Ok(found) = fs::metadata(&part)
            && found.len() >= self.size
        {
            if found.len() == self.size && self.is_intact(&part)? {
                fs::rename(&part, &self.path)?;
            } else {
                fs::remove_file(&part)?;
            }
        }
        if fs::metadata(&self.path).map(|found| found.len()).ok() != Some(self.size) {
            return Ok(false);
        }
        if let Some(snapshot) = pointer.parent() {
            fs::create_dir_all(snapshot)?;
        }
        symlink(Path::new("../../blobs").join(&self.etag), pointer)?;
        Ok(true)
    }

    fn is_intact(&self, part: &Path) -> io::Result<bool> {
        Ok(hash::file(part, &|| false)?.is_some_and(|hash| hash.eq_ignore_ascii_case(&self.etag)))
    }
}
