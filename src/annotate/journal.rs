//! Answers on disk, as they come: a line per row, after a first line that says whose they are.
//!
//! A crash costs no more than the line that was being written. Lines stand nearly in the rows' order
//! ([`WINDOW`]), so that they are read back in step with the rows.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Take, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tempfile::TempPath;

use super::error::AnnotateError;
use super::identity::Identity;
use super::reply::Reply;
use crate::files::lock::{LockFile, TryLockError};
use crate::files::open;

/// Rows between the first that has no answer and the last that is asked for. It bounds how far the journal's order
/// may differ from the rows': an entry stands before all entries of rows this much later.
pub const WINDOW: u64 = 4096;
/// A power failure costs no more than the answers of this time.
const SYNC_EVERY: Duration = Duration::from_secs(10);
/// Bytes read at a time where the last line's begin is looked for.
const CHUNK: u64 = 64 << 10;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    ko_sentiment_answers: u32,
    run: Identity,
}

/// Every other line.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    row: u64,
    #[serde(flatten)]
    reply: Reply,
}

/// The journal of the output `out`, in the same folder.
pub fn journal_path(out: &Path) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!(".{name}.answers.jsonl"))
}

/// An open journal. It is locked until it is dropped, so that no second run writes to it.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: LockFile,
    /// Where answers are written.
    length: u64,
    synced: Instant,
    /// Goes with the run.
    temporary: Option<TempPath>,
}

impl Journal {
    /// Opens or creates a journal, without reading it.
    ///
    /// # Errors
    /// [`AnnotateError::Journal`], [`AnnotateError::InUse`].
    pub fn open(path: &Path) -> Result<Self, AnnotateError> {
        let failed = |source| AnnotateError::Journal { path: path.into(), source };
        let mut options = OpenOptions::new();
        // Reasons quote comments, which are not for everybody.
        options.read(true).append(true).create(true).mode(0o600);
        let file = LockFile::new(open::regular_with(path, &mut options).map_err(failed)?);
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(AnnotateError::InUse(path.into())),
            // A file system without locks is no reason to keep no answers.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        Ok(Self { path: path.into(), file, length: 0, synced: Instant::now(), temporary: None })
    }

    /// A journal that goes with the run, for an output that has no folder.
    ///
    /// # Errors
    /// [`AnnotateError::Journal`].
    pub fn temporary() -> Result<Self, AnnotateError> {
        let made = tempfile::NamedTempFile::new().map(tempfile::NamedTempFile::into_temp_path);
        let path = made.map_err(|source| AnnotateError::Journal { path: std::env::temp_dir(), source })?;
        let journal = Self::open(&path)?;
        Ok(Self { temporary: Some(path), ..journal })
    }

    /// Forgets all answers.
    ///
    /// # Errors
    /// [`AnnotateError::Journal`].
    pub fn clear(&mut self) -> Result<(), AnnotateError> {
        self.length = 0;
        self.file.file().set_len(0).map_err(|e| self.failed(e))
    }

    /// Goes on with the answers that are there, which must be those of `run`. A new journal gets its first line; a
    /// last line that was cut off in writing is removed.
    ///
    /// # Errors
    /// Any [`AnnotateError`] of a journal; it is then as it was.
    pub fn resume(&mut self, run: &Identity) -> Result<(), AnnotateError> {
        let whole = whole_lines(self.file.file()).map_err(|e| self.failed(e))?;
        if whole == 0 {
            self.clear()?;
            return self.line(&Head { ko_sentiment_answers: 1, run: run.clone() });
        }
        let mut first = String::new();
        let read = File::open(&self.path).and_then(|file| BufReader::new(file).read_line(&mut first));
        read.map_err(|e| self.failed(e))?;
        let head: Head = serde_json::from_str(&first).map_err(|e| AnnotateError::Damaged {
            path: self.path.clone(),
            line: 1,
            fault: format!("not the answers of a run ({e})"),
        })?;
        if let Some((what, found, wanted)) = head.run.difference(run) {
            return Err(AnnotateError::OtherRun { path: self.path.clone(), what, found, wanted });
        }
        self.file.file().set_len(whole).map_err(|e| self.failed(e))?;
        self.length = whole;
        Ok(())
    }

    /// Adds an answer.
    ///
    /// # Errors
    /// [`AnnotateError::Journal`].
    pub fn append(&mut self, row: u64, reply: Reply) -> Result<(), AnnotateError> {
        self.line(&Entry { row, reply })?;
        if self.synced.elapsed() > SYNC_EVERY {
            self.file.file().sync_data().map_err(|e| self.failed(e))?;
            self.synced = Instant::now();
        }
        Ok(())
    }

    /// One call, so that a line is cut off only by a crash or a full disk.
    fn line(&mut self, value: &impl Serialize) -> Result<(), AnnotateError> {
        let mut line = serde_json::to_vec(value).map_err(|e| self.failed(e.into()))?;
        line.push(b'\n');
        self.file.file().write_all(&line).map_err(|e| self.failed(e))?;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Reads the answers that are there now, in step with the rows.
    ///
    /// # Errors
    /// [`AnnotateError::Journal`].
    pub fn answers(&self) -> Result<Answers, AnnotateError> {
        let file = File::open(&self.path).map_err(|e| self.failed(e))?;
        let mut lines = BufReader::new(file.take(self.length));
        lines.read_line(&mut String::new()).map_err(|e| self.failed(e))?;
        Ok(Answers { path: self.path.clone(), lines, line: 1, ahead: BTreeMap::new(), ended: false })
    }

    /// Removes the file: the output has all that it held.
    ///
    /// # Errors
    /// [`AnnotateError::Journal`].
    pub fn remove(self) -> Result<(), AnnotateError> {
        match self.temporary {
            Some(_) => Ok(()),
            None => std::fs::remove_file(&self.path).map_err(|e| self.failed(e)),
        }
    }

    fn failed(&self, source: io::Error) -> AnnotateError {
        AnnotateError::Journal { path: self.path.clone(), source }
    }
}

/// The length of a file up to the end of its last whole line.
fn whole_lines(file: &File) -> io::Result<u64> {
    let mut file = file;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        let mut bytes = vec![0; (end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut bytes)?;
        if let Some(at) = bytes.iter().rposition(|b| *b == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// A journal's answers, read in step with the rows.
#[derive(Debug)]
pub struct Answers {
    path: PathBuf,
    lines: BufReader<Take<File>>,
    line: u64,
    /// Of rows later than the last that was asked for.
    ahead: BTreeMap<u64, Reply>,
    ended: bool,
}

impl Answers {
    /// The answer to `row`, if there is one. Rows must be asked for in their order.
    ///
    /// # Errors
    /// [`AnnotateError::Journal`], [`AnnotateError::Damaged`].
    pub fn get(&mut self, row: u64) -> Result<Option<Reply>, AnnotateError> {
        loop {
            if let Some(reply) = self.ahead.remove(&row) {
                return Ok(Some(reply));
            }
            let beyond = self.ahead.last_key_value().is_some_and(|(last, _)| *last >= row + WINDOW);
            if self.ended || beyond {
                return Ok(None);
            }
            self.read()?;
        }
    }

    fn read(&mut self) -> Result<(), AnnotateError> {
        let mut line = Vec::new();
        let read = self.lines.read_until(b'\n', &mut line);
        read.map_err(|source| AnnotateError::Journal { path: self.path.clone(), source })?;
        if line.is_empty() {
            self.ended = true;
            return Ok(());
        }
        self.line += 1;
        let entry: Entry = serde_json::from_slice(&line).map_err(|e| AnnotateError::Damaged {
            path: self.path.clone(),
            line: self.line,
            fault: format!("not an answer ({e})"),
        })?;
        self.ahead.insert(entry.row, entry.reply);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run() -> Identity {
        Identity::default().with("model", "m")
    }

    fn reply(row: u64) -> Reply {
        match row % 3 {
            0 => Reply::Refused(format!("줄 {row}\n")),
            1 => Reply::Answer { probabilities: [0.5, 0.25, 0.25], abstained: true, reasons: None },
            _ => {
                Reply::Answer {
                    probabilities: [0.1, 0.2, 0.7], abstained: false, reasons: Some("왜".into())
                }
            }
        }
    }

    fn open(path: &Path) -> Journal {
        let mut journal = Journal::open(path).unwrap();
        journal.resume(&run()).unwrap();
        journal
    }

    fn all(journal: &Journal, rows: u64) -> Vec<Option<Reply>> {
        let mut answers = journal.answers().unwrap();
        (0..rows).map(|row| answers.get(row).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn what_was_written_whole_is_read_again(part in 0.0..=1.0) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("journal");
            let order = [2, 0, 1, 4, 5, 3, 7, 6];
            let mut journal = open(&path);
            order.iter().for_each(|row| journal.append(*row, reply(*row)).unwrap());
            drop(journal);
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..(bytes.len() as f64 * part) as usize]).unwrap();
            let mut journal = open(&path);
            for (row, found) in all(&journal, 8).into_iter().enumerate() {
                match found {
                    Some(found) => prop_assert_eq!(found, reply(row as u64)),
                    None => journal.append(row as u64, reply(row as u64)).unwrap(),
                }
            }
            prop_assert_eq!(all(&journal, 8), (0..8).map(|row| Some(reply(row))).collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_more_is_read_ahead_than_the_window() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = open(&folder.path().join("journal"));
        // Row 5 was missing when a run was interrupted.
        let rows = 2 * WINDOW;
        (0..5 + WINDOW).filter(|row| *row != 5).for_each(|row| journal.append(row, reply(row)).unwrap());
        journal.append(5, reply(5)).unwrap();
        (5 + WINDOW..rows).for_each(|row| journal.append(row, reply(row)).unwrap());
        let mut answers = journal.answers().unwrap();
        for row in 0..rows {
            assert_eq!(answers.get(row).unwrap(), Some(reply(row)));
            assert!(answers.ahead.len() as u64 <= WINDOW);
        }
    }

    #[test]
    fn other_journals_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = open(&path);
        assert!(matches!(Journal::open(&path), Err(AnnotateError::InUse(_))));
        journal.append(0, reply(0)).unwrap();
        drop(journal);
        let bytes = std::fs::read(&path).unwrap();
        let check = |other: &Identity, expect: &str| {
            let error = Journal::open(&path).unwrap().resume(other).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        };
        check(&run().with("model", "n"), "another model (m, where this run has n)");
        check(&run().with("--reasons", "yes"), "another --reasons (not set");
        std::fs::write(&path, "notes\n").unwrap();
        let error = Journal::open(&path).unwrap().resume(&run()).unwrap_err().to_string();
        assert!(error.contains("line 1: not the answers"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "notes\n");
    }
}
