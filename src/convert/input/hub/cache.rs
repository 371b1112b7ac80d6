//! The hub's cache on disk, in the layout of `huggingface_hub`:
//!
//! ```text
//! models--OWNER--NAME/blobs/ETAG                   the bytes; ETAG.incomplete while they come
//! models--OWNER--NAME/snapshots/COMMIT/FILE        a link to ../../blobs/ETAG
//! models--OWNER--NAME/refs/REVISION                the revision's commit
//! .locks/models--OWNER--NAME/ETAG.lock             held by the process that downloads
//! ```
//!
//! No folder below the cache may be a link: then nothing is written outside.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::error::HubError;
use super::names::{CommitHash, Etag, FileName, RepoId, Revision};
use crate::files::lock::{LockFile, TryLockError};

const LOCK_POLL: Duration = Duration::from_millis(200);

/// One repository's part of the cache.
#[derive(Debug)]
pub struct RepoCache {
    root: PathBuf,
    name: String,
}

/// What the cache has of a file of a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub enum Cached {
    /// A link to a blob.
    Blob(Etag),
    /// The bytes themselves, as on a file system without links.
    Plain,
    /// Nothing, or what isn't the layout's.
    Nothing,
}

impl RepoCache {
    /// The part of `repo` in the cache `root`.
    pub fn new(root: &Path, repo: &RepoId) -> Self {
        Self { root: root.to_owned(), name: repo.folder() }
    }

    /// The cache's own folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file's bytes.
    pub fn blob(&self, etag: &Etag) -> PathBuf {
        self.root.join(&self.name).join("blobs").join(etag.as_str())
    }

    /// A file's bytes while they come.
    pub fn incomplete(&self, etag: &Etag) -> PathBuf {
        self.blob(etag).with_file_name(format!("{etag}.incomplete"))
    }

    /// What an earlier version had in place of [`Self::incomplete`].
    pub fn part(&self, etag: &Etag) -> PathBuf {
        self.blob(etag).with_file_name(format!("{etag}.part"))
    }

    /// Where it is noted that a blob was checked.
    pub fn note(&self, etag: &Etag) -> PathBuf {
        self.root.join(&self.name).join(".checked").join(etag.as_str())
    }

    /// A commit's folder.
    pub fn snapshot(&self, commit: &CommitHash) -> PathBuf {
        self.root.join(&self.name).join("snapshots").join(commit.as_str())
    }

    /// Refuses what has a link or a file where a folder belongs, so that nothing is read or written elsewhere.
    ///
    /// # Errors
    /// [`HubError::Strange`], [`HubError::Io`].
    pub fn check(&self) -> Result<(), HubError> {
        for parts in [&["blobs"][..], &["snapshots"], &["refs"], &[".checked"]] {
            walk(&self.root, [self.name.as_str()].iter().chain(parts), |_| Ok(()))?;
        }
        walk(&self.root, &[".locks", &self.name], |_| Ok(()))
    }

    /// Makes the folders that a download writes to.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn prepare(&self, commit: &CommitHash) -> Result<(), HubError> {
        fs::create_dir_all(&self.root).map_err(|source| io_error(&self.root, source))?;
        walk(&self.root, &[self.name.as_str(), "blobs"], make)?;
        walk(&self.root, &[self.name.as_str(), ".checked"], make)?;
        walk(&self.root, &[self.name.as_str(), "snapshots", commit.as_str()], make)?;
        walk(&self.root, &[".locks", &self.name], make)
    }

    /// The commit that a revision was when it was last seen.
    pub fn commit(&self, revision: &Revision) -> Option<CommitHash> {
        let mut text = String::new();
        let path = self.root.join(&self.name).join("refs").join(revision.as_str());
        let file = open_plain(OpenOptions::new().read(true), &path).ok()?;
        file.take(100).read_to_string(&mut text).ok()?;
        CommitHash::parse(text.trim())
    }

    /// Notes which commit a revision is, for when the hub can't be reached.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn remember(&self, revision: &Revision, commit: &CommitHash) -> Result<(), HubError> {
        if revision.commit().is_some() {
            return Ok(());
        }
        let (folder, name) = revision.as_str().rsplit_once('/').unwrap_or(("", revision.as_str()));
        let parts = [self.name.as_str(), "refs"];
        let folders = folder.split('/').filter(|part| !part.is_empty());
        let parts: Vec<&str> = parts.into_iter().chain(folders).collect();
        walk(&self.root, &parts, make)?;
        let folder: PathBuf = [self.root.as_path()].into_iter().chain(parts.iter().map(Path::new)).collect();
        replace(&folder, name, commit.as_str()).map_err(|source| io_error(&folder.join(name), source))
    }

    /// What the snapshot of a commit has of a file.
    pub fn cached(&self, commit: &CommitHash, file: &FileName) -> Cached {
        let path = self.snapshot(commit).join(file.as_str());
        if let Ok(target) = fs::read_link(&path) {
            let name = target.file_name().and_then(|name| name.to_str()).and_then(Etag::parse);
            let is_blob = |etag: &Etag| target == Path::new("../../blobs").join(etag.as_str());
            return name.filter(is_blob).map_or(Cached::Nothing, Cached::Blob);
        }
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()) {
            Cached::Plain
        } else {
            Cached::Nothing
        }
    }

    /// Links a snapshot's file to its bytes, in place of what was there.
    ///
    /// # Errors
    /// [`HubError::Io`].
    pub fn link(&self, commit: &CommitHash, file: &FileName, etag: &Etag) -> Result<(), HubError> {
        if self.cached(commit, file) == Cached::Blob(etag.clone()) {
            return Ok(());
        }
        let folder = self.snapshot(commit);
        let made = folder.join(format!(".{file}.{}", std::process::id()));
        let path = folder.join(file.as_str());
        let _absent = fs::remove_file(&made);
        symlink(Path::new("../../blobs").join(etag.as_str()), &made)
            .and_then(|()| fs::rename(&made, &path))
            .map_err(|source| io_error(&path, source))
    }

    /// Waits until no other process downloads these bytes; `note` is told once if one does.
    ///
    /// # Errors
    /// [`HubError::Io`].
    pub fn lock(&self, etag: &Etag, note: impl Fn(&str)) -> Result<LockFile, HubError> {
        let path = self.root.join(".locks").join(&self.name).join(format!("{etag}.lock"));
        let mut options = OpenOptions::new();
        let file = open_plain(options.write(true).create(true), &path).map_err(|e| io_error(&path, e))?;
        let lock = LockFile::new(file);
        let mut is_first = true;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    note(&format!("the cache can't be locked against other downloads: {error}"));
                    return Ok(lock);
                }
            }
            if std::mem::take(&mut is_first) {
                note("another process is downloading it, waiting");
            }
            thread::sleep(LOCK_POLL);
        }
    }
}

/// Opens a regular file; a link, FIFO or device is an error.
///
/// # Errors
/// The file system's own.
pub fn open_plain(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// Gives `folder/name` a content, all of it at once.
///
/// # Errors
/// The file system's own.
pub fn replace(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.persist(folder.join(name)).map(drop).map_err(|error| error.error)
}

/// An error at a path; a link in place of a file is called what it is.
pub fn io_error(path: &Path, source: io::Error) -> HubError {
    let path = path.to_owned();
    match source.raw_os_error() {
        Some(libc::ELOOP) => HubError::Strange { path, what: "file" },
        _ => HubError::Io { path, source },
    }
}

/// Goes down from `root`: each part is a folder, or `missing` makes it.
fn walk<'a>(
    root: &Path,
    parts: impl IntoIterator<Item = &'a &'a str>,
    missing: impl Fn(&Path) -> io::Result<()>,
) -> Result<(), HubError> {
    let mut path = root.to_owned();
    for part in parts {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(HubError::Strange { path, what: "folder" }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing(&path).map_err(|source| io_error(&path, source))?;
            }
            Err(source) => return Err(io_error(&path, source)),
        }
    }
    Ok(())
}

fn make(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o777).create(path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
