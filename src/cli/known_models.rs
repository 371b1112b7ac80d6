//! Which model files were tried: a list in the user's cache folder. Without a folder to write to, each start tries its
//! file.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::files::{open, output, split};

/// Maximum files that are remembered.
const FILES: usize = 100;
/// Maximum size of the list, in bytes.
const LIST_BYTES: u64 = 256 << 10;

/// What tells a file from every other and from itself after a change: device, inode, size and time of the last change,
/// which only the system's clock sets; those of all parts, and of this program.
///
/// # Errors
/// A file cannot be looked at.
pub fn identity(path: &Path) -> io::Result<String> {
    let program = std::env::current_exe()?;
    let of = |path: &PathBuf| fs::metadata(path).map(|about| numbers(&about));
    let all: io::Result<Vec<String>> = std::iter::once(&program).chain(&split::parts(path)).map(of).collect();
    Ok(all?.join(" "))
}

fn numbers(about: &Metadata) -> String {
    let changed = format!("{}.{:09}", about.ctime(), about.ctime_nsec());
    format!("{:x}:{:x}:{}:{changed}", about.dev(), about.ino(), about.size())
}

/// Whether a file of this identity was tried.
pub fn has(identity: &str) -> bool {
    list().is_some_and(|list| contains(&list, identity))
}

fn contains(list: &Path, identity: &str) -> bool {
    open::read_text(list, LIST_BYTES).is_ok_and(|text| text.lines().any(|line| line == identity))
}

/// Notes that a file of this identity was tried. Failing to costs the next start a trial and nothing else.
pub fn add(identity: &str) {
    let noted = list().map(|list| add_to(&list, identity));
    if let Some(Err(error)) = noted {
        tracing::debug!(%error, "that a model was tried can't be noted");
    }
}

fn add_to(list: &Path, identity: &str) -> Result<(), output::OutputError> {
    if let Some(folder) = list.parent() {
        let _said_by_the_write = fs::create_dir_all(folder);
    }
    let text = open::read_text(list, LIST_BYTES).unwrap_or_default();
    let mut lines: Vec<&str> = text.lines().filter(|line| *line != identity).collect();
    lines.push(identity);
    let kept = lines.split_off(lines.len().saturating_sub(FILES));
    output::replace(list, (kept.join("\n") + "\n").as_bytes())
}

/// `$XDG_CACHE_HOME/ko-sentiment/tried-models`, or below `~/.cache`.
fn list() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(caches.join("ko-sentiment/tried-models"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("new/list");
        assert!(!contains(&list, "0"));
        (0..=FILES).for_each(|i| add_to(&list, &i.to_string()).unwrap());
        assert!(!contains(&list, "0") && contains(&list, "1") && contains(&list, &FILES.to_string()));
        fs::write(&list, "x".repeat(LIST_BYTES as usize + 1)).unwrap();
        add_to(&list, "again").unwrap();
        assert!(contains(&list, "again"));
    }

    #[test]
    fn a_change_makes_another_file_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.gguf");
        assert!(identity(&file).is_err());
        fs::write(&file, "a").unwrap();
        let first = identity(&file).unwrap();
        assert_eq!(identity(&file).unwrap(), first);
        // Within one tick of the clock, a change leaves the same time.
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(&file, "b").unwrap();
        fs::File::open(&file).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_ne!(identity(&file).unwrap(), first);
    }
}
