//! A file that can be locked against other processes and other handles of this one.

use std::fs::File;

use fs4::FileExt;
pub use fs4::TryLockError;

/// A file whose lock, if it was taken, ends with it. Closing alone would not end it while a child process that is
/// just being started still holds a copy of the descriptor.
#[derive(Debug)]
pub struct LockFile(File);

impl LockFile {
    /// A file, not locked yet.
    pub fn new(file: File) -> Self {
        Self(file)
    }

    /// Takes the lock, if nobody has it.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] where somebody has it; else the file system's own, for some know no locks.
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        FileExt::try_lock(&self.0)
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        let _was_not_locked = FileExt::unlock(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_descriptor_does_not_keep_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let open = || LockFile::new(File::create(folder.path().join("file")).unwrap());
        let first = open();
        first.try_lock().unwrap();
        assert!(matches!(open().try_lock(), Err(TryLockError::WouldBlock)));
        let _as_a_child_has_it = first.file().try_clone().unwrap();
        drop(first);
        open().try_lock().unwrap();
    }
}
