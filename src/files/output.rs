//! The file that is being made: it has its final name only when it is complete.
//!
//! It is a locked temporary file in the target's folder. Dropping it removes it; what a killed
//! process left behind is told by its free lock, and removed by the next conversion.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use fs4::FileExt;
use tempfile::NamedTempFile;

const SUFFIX: &str = ".partial";

/// Why the result can't be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The target is there already.
    #[error("{0} exists: remove it, choose another --out, or pass --force")]
    Exists(PathBuf),
    /// The target is no file name.
    #[error("{0} is not a file name")]
    Name(PathBuf),
    /// Too little space.
    #[error("{folder} has {free} bytes free, the model needs {needed}: free {} more or choose another folder", needed - free)]
    Space {
        /// The target's folder.
        folder: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// The result's size, in bytes.
        needed: u64,
    },
    /// Reading or writing failed.
    #[error("cannot write {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A file on its way.
#[derive(Debug)]
pub struct Output {
    target: PathBuf,
    temporary: NamedTempFile,
}

/// Refuses a target that can't be written, before anything long is begun.
///
/// # Errors
/// [`OutputError::Exists`], [`OutputError::Name`], [`OutputError::Space`], [`OutputError::Io`].
pub fn check_target(target: &Path, size: u64, force: bool) -> Result<(), OutputError> {
    let folder = folder_of(target)?;
    if target.is_dir() {
        return Err(OutputError::Name(target.to_owned()));
    }
    if target.exists() && !force {
        return Err(OutputError::Exists(target.to_owned()));
    }
    let free =
        fs4::available_space(&folder).map_err(|source| OutputError::Io { path: folder.clone(), source })?;
    if free < size {
        return Err(OutputError::Space { folder, free, needed: size });
    }
    Ok(())
}

impl Output {
    /// Makes the temporary file and reserves `size` bytes for it.
    ///
    /// # Errors
    /// As [`check_target`].
    pub fn create(target: &Path, size: u64, force: bool) -> Result<Self, OutputError> {
        let folder = folder_of(target)?;
        let prefix = prefix_of(target)?;
        remove_stale(&folder, &prefix);
        check_target(target, size, force)?;
        let io = |source| OutputError::Io { path: target.to_owned(), source };
        let temporary =
            tempfile::Builder::new().prefix(&prefix).suffix(SUFFIX).tempfile_in(&folder).map_err(io)?;
        FileExt::lock(temporary.as_file()).map_err(io)?;
        FileExt::allocate(temporary.as_file(), size).map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull => OutputError::Space { folder, free: 0, needed: size },
            _ => OutputError::Io { path: target.to_owned(), source },
        })?;
        temporary.as_file().set_len(size).map_err(io)?;
        Ok(Self { target: target.to_owned(), temporary })
    }

    /// The file, for writing.
    pub fn file(&self) -> &File {
        self.temporary.as_file()
    }

    /// Its temporary path.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// An error of writing it.
    pub fn io_error(&self, source: io::Error) -> OutputError {
        OutputError::Io { path: self.target.clone(), source }
    }

    /// Makes it durable and gives it its name.
    ///
    /// # Errors
    /// [`OutputError::Io`]; [`OutputError::Exists`] where somebody made the target meanwhile.
    pub fn finish(self, force: bool) -> Result<(), OutputError> {
        let Self { target, temporary } = self;
        let io = |source| OutputError::Io { path: target.clone(), source };
        make_readable(temporary.as_file()).map_err(io)?;
        temporary.as_file().sync_all().map_err(io)?;
        let renamed = if force { temporary.persist(&target) } else { temporary.persist_noclobber(&target) };
        renamed.map_err(|e| match e.error.kind() {
            io::ErrorKind::AlreadyExists => OutputError::Exists(target.clone()),
            _ => io(e.error),
        })?;
        // The rename is durable only when the folder is.
        File::open(folder_of(&target)?).and_then(|folder| folder.sync_all()).map_err(io)
    }
}

/// Temporary files are for their owner alone; a model is as readable as any new file.
fn make_readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

fn folder_of(target: &Path) -> Result<PathBuf, OutputError> {
    match target.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Ok(PathBuf::from(".")),
        Some(folder) => Ok(folder.to_owned()),
        None => Err(OutputError::Name(target.to_owned())),
    }
}

fn prefix_of(target: &Path) -> Result<String, OutputError> {
    let name = target.file_name().ok_or_else(|| OutputError::Name(target.to_owned()))?;
    Ok(format!(".{}.", name.to_string_lossy()))
}

/// Removes what earlier conversions to the same target left, unless one still runs. Failing to is
/// no reason not to convert.
fn remove_stale(folder: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !(name.starts_with(prefix) && name.ends_with(SUFFIX)) {
            continue;
        }
        let Ok(file) = OpenOptions::new().write(true).open(entry.path()) else { continue };
        if FileExt::try_lock(&file).is_ok() && fs::remove_file(entry.path()).is_ok() {
            tracing::info!(path = %entry.path().display(), "removed what an interrupted conversion left");
        }
    }
}
