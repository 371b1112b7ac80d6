//! Whether a file that is in use is still the one that was opened.
//!
//! A server computes with the pages of its model's file. Whoever writes into that file changes what it
//! answers, and whoever cuts it ends the process. A file that is *replaced* (another one gets its name) does
//! no harm: the open one keeps its pages.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::open;

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    size: u64,
    modified: (i64, i64),
}

impl State {
    fn of(about: &Metadata) -> Self {
        Self { size: about.size(), modified: (about.mtime(), about.mtime_nsec()) }
    }
}

/// What has become of a watched file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// Its name is another file's now, or nobody's. The open one is as it was.
    Replaced,
    /// It was written to or cut: what is computed from it can't be trusted.
    Modified,
}

/// An open file and what it was like when it was opened.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    file: File,
    inode: (u64, u64),
    state: State,
}

impl Watched {
    /// Opens a regular file and notes its size and modification time.
    ///
    /// # Errors
    /// As [`open::regular`].
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = open::regular(path)?;
        let about = file.metadata()?;
        let inode = (about.dev(), about.ino());
        Ok(Self { path: path.to_owned(), file, inode, state: State::of(&about) })
    }

    /// The file's path, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Compares the file with what it was.
    pub fn change(&self) -> Change {
        // An open file whose state cannot be read any more (a lost mount) can't be trusted.
        if !self.file.metadata().is_ok_and(|about| State::of(&about) == self.state) {
            return Change::Modified;
        }
        let same_name =
            std::fs::metadata(&self.path).is_ok_and(|about| (about.dev(), about.ino()) == self.inode);
        if same_name { Change::None } else { Change::Replaced }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_happens_to_a_file_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let check = |act: &dyn Fn(&Path), expect: Change| {
            let path = folder.path().join("model.gguf");
            fs::write(&path, [7; 100]).unwrap();
            let watched = Watched::open(&path).unwrap();
            assert_eq!(watched.change(), Change::None);
            act(&path);
            assert_eq!(watched.change(), expect);
        };
        let file = |path: &Path| fs::OpenOptions::new().write(true).open(path).unwrap();
        check(&|path| file(path).set_len(10).unwrap(), Change::Modified);
        let overwrite = |path: &Path| {
            use std::io::Write as _;
            // A clock's tick: writes within one leave the same time.
            std::thread::sleep(std::time::Duration::from_millis(20));
            file(path).write_all(&[8; 100]).unwrap();
        };
        check(&overwrite, Change::Modified);
        check(&|path| fs::remove_file(path).unwrap(), Change::Replaced);
        let replace = |path: &Path| {
            let new = path.with_extension("new");
            fs::write(&new, [8; 100]).unwrap();
            fs::rename(&new, path).unwrap();
        };
        check(&replace, Change::Replaced);
    }
}
