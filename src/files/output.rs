//! The file that is being made: it has its final name only when it is complete.
//!
//! It is a locked temporary file in the target's folder. Dropping it removes it; what a killed
//! process left behind is told by its free lock, and removed by the next conversion.
//!
//! Only a regular file is ever replaced: no folder, pipe or device, and no symbolic link, which may point
//! anywhere.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use fs4::FileExt;
use tempfile::NamedTempFile;

use super::open;
use crate::text::shown::shown_path;

const SUFFIX: &str = ".partial";

/// Why the result can't be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The target is there already.
    #[error("{path} exists; remove it, choose another --out, or pass --force", path = shown_path(.0))]
    Exists(PathBuf),
    /// The target is no file name.
    #[error("{path} is not a file name", path = shown_path(.0))]
    Name(PathBuf),
    /// The target is there and is no file.
    #[error("{path} is not a file, but a link, a pipe or a device; name another file", path = shown_path(.0))]
    NotAFile(PathBuf),
    /// Too little space.
    #[error(
        "{folder} has {free} bytes free, and the model needs {needed}; free {} more or choose another folder",
        needed - free,
        folder = shown_path(folder)
    )]
    Space {
        /// The target's folder.
        folder: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// The result's size, in bytes.
        needed: u64,
    },
    /// Reading or writing failed.
    #[error("cannot write {path}: {source}", path = shown_path(path))]
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
    check_kind(target, force)?;
    let free =
        fs4::available_space(&folder).map_err(|source| OutputError::Io { path: folder.clone(), source })?;
    if free < size {
        return Err(OutputError::Space { folder, free, needed: size });
    }
    Ok(())
}

/// What has the target's name, if anything, may be replaced.
fn check_kind(target: &Path, force: bool) -> Result<(), OutputError> {
    match fs::symlink_metadata(target) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(OutputError::Io { path: target.to_owned(), source }),
        Ok(about) if about.is_dir() => Err(OutputError::Name(target.to_owned())),
        Ok(about) if !about.is_file() => Err(OutputError::NotAFile(target.to_owned())),
        Ok(_) if force => Ok(()),
        Ok(_) => Err(OutputError::Exists(target.to_owned())),
    }
}

/// Replaces a file by `bytes`, whole or not at all; its folder must be there.
///
/// # Errors
/// Any [`OutputError`] but [`OutputError::Exists`].
pub fn replace(target: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    let output = Output::create(target, bytes.len() as u64, true)?;
    output.file().write_all(bytes).map_err(|e| output.io_error(e))?;
    output.finish(true)
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
        // Nothing is reserved for a file whose size is not known.
        if size > 0 {
            FileExt::allocate(temporary.as_file(), size).map_err(|source| match source.kind() {
                io::ErrorKind::StorageFull => OutputError::Space { folder, free: 0, needed: size },
                _ => OutputError::Io { path: target.to_owned(), source },
            })?;
            temporary.as_file().set_len(size).map_err(io)?;
        }
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
        // Once more: what has the name now may be another thing than before.
        check_kind(&target, force)?;
        let renamed = if force { temporary.persist(&target) } else { temporary.persist_noclobber(&target) };
        renamed.map_err(|e| match e.error.kind() {
            io::ErrorKind::AlreadyExists => OutputError::Exists(target.clone()),
            _ => io(e.error),
        })?;
        // The rename is durable only when the folder is.
        File::open(folder_of(&target)?).and_then(|folder| folder.sync_all()).map_err(io)
    }
}

/// Gives files of one model their names, the first one last: it is the one that is opened. If that fails, none of them
/// stays.
///
/// # Errors
/// As [`Output::finish`].
pub fn finish_all(outputs: Vec<Output>, force: bool) -> Result<(), OutputError> {
    let mut named = Vec::new();
    for output in outputs.into_iter().rev() {
        let target = output.target.clone();
        if let Err(error) = output.finish(force) {
            // What cannot be removed either is left: the first error says more.
            named.iter().for_each(|target| drop(fs::remove_file(target)));
            return Err(error);
        }
        named.push(target);
    }
    Ok(())
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
        // Never a link or a pipe that somebody else gave such a name.
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(file) = open::regular_with(&entry.path(), OpenOptions::new().write(true)) else { continue };
        if FileExt::try_lock(&file).is_ok() && fs::remove_file(entry.path()).is_ok() {
            tracing::info!(path = %shown_path(&entry.path()), "removed what an interrupted conversion left");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn only_files_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "old").unwrap();
        fs::write(path("other"), "kept").unwrap();
        fs::create_dir(path("folder")).unwrap();
        std::os::unix::fs::symlink(path("other"), path("link")).unwrap();
        std::os::unix::fs::symlink(path("nothing"), path("dangling")).unwrap();
        assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
        let before = || fs::read_dir(folder.path()).unwrap().count();
        let check = |name: &str, expect: &str| {
            let count = before();
            let refusal = replace(&path(name), b"new").unwrap_err().to_string();
            assert!(refusal.contains(expect), "{name}: {refusal}");
            assert_eq!(before(), count, "{name} left something behind");
        };
        check("folder", "is not a file name");
        check("link", "is not a file, but a link");
        check("dangling", "is not a file, but a link");
        check("fifo", "is not a file, but a link, a pipe");
        assert!(!path("nothing").exists());
        assert_eq!(fs::read_to_string(path("other")).unwrap(), "kept");
        replace(&path("file"), b"new").unwrap();
        assert_eq!(fs::read_to_string(path("file")).unwrap(), "new");
        let exists = Output::create(&path("file"), 3, false).unwrap_err();
        assert!(matches!(exists, OutputError::Exists(_)), "{exists}");
    }

    #[test]
    fn parts_get_their_names_together() {
        let folder = tempfile::tempdir().unwrap();
        let targets: Vec<PathBuf> = ["a", "b", "c"].iter().map(|name| folder.path().join(name)).collect();
        let create = || targets.iter().map(|target| Output::create(target, 3, false).unwrap()).collect();
        let outputs: Vec<Output> = create();
        fs::write(&targets[0], "somebody's").unwrap();
        let refusal = finish_all(outputs, false).unwrap_err();
        assert!(matches!(refusal, OutputError::Exists(_)), "{refusal}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "somebody's file alone");
        fs::remove_file(&targets[0]).unwrap();
        finish_all(create(), false).unwrap();
        assert!(targets.iter().all(|target| target.is_file()));
    }

    #[test]
    fn what_takes_the_name_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let output = Output::create(&target, 3, true).unwrap();
        assert!(Command::new("mkfifo").arg(&target).status().unwrap().success());
        let refusal = output.finish(true).unwrap_err();
        assert!(matches!(refusal, OutputError::NotAFile(_)), "{refusal}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the pipe alone");
    }

    #[test]
    fn leftovers_are_removed_and_lookalikes_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path(".out.killed.partial"), "half").unwrap();
        assert!(Command::new("mkfifo").arg(path(".out.pipe.partial")).status().unwrap().success());
        fs::write(path(".other.killed.partial"), "half").unwrap();
        replace(&path("out"), b"new").unwrap();
        assert!(!path(".out.killed.partial").exists());
        assert!(path(".out.pipe.partial").exists() && path(".other.killed.partial").exists());
    }
}
