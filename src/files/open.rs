//! Opening what was named: a regular file and nothing else, and no more of it than fits.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Opens a regular file for reading. A pipe without a writer does not make it wait.
///
/// # Errors
/// The operating system's; [`io::ErrorKind::InvalidInput`] for a folder, a pipe, a socket or a device.
pub fn regular(path: &Path) -> io::Result<File> {
    regular_with(path, OpenOptions::new().read(true))
}

/// As [`regular`], with options of the caller's.
///
/// # Errors
/// As [`regular`].
pub fn regular_with(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a file, but a folder, a pipe or a device",
        )),
    }
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// As [`regular`]; [`io::ErrorKind::FileTooLarge`] for a larger file.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut file = regular(path)?;
    let mut bytes = Vec::new();
    // Some files, such as those of /proc, do not say how long they are.
    file.by_ref().take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let text = format!("it is larger than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// As [`read`], a text.
///
/// # Errors
/// As [`read`]; [`io::ErrorKind::InvalidData`] for what is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8; save it as UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn only_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let check =
            |path: &Path, expect: io::ErrorKind| assert_eq!(regular(path).unwrap_err().kind(), expect);
        let fifo = folder.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        check(&fifo, io::ErrorKind::InvalidInput);
        check(folder.path(), io::ErrorKind::InvalidInput);
        check(Path::new("/dev/zero"), io::ErrorKind::InvalidInput);
        check(&folder.path().join("absent"), io::ErrorKind::NotFound);
        // A link to a file is the file.
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "내용").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read_text(&link, 6).unwrap(), "내용");
    }

    #[test]
    fn no_more_is_read_than_fits() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [b'x'; 11]).unwrap();
        assert_eq!(read(file.path(), 11).unwrap().len(), 11);
        assert_eq!(read(file.path(), 10).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        std::fs::write(file.path(), b"\xff").unwrap();
        assert_eq!(read_text(file.path(), 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
