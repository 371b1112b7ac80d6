//! An open predictions file: one run's, which it goes on from.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::PredictionsError;
use super::lines::{Lines, fault};
use super::prediction::Prediction;
use crate::dataset::Row;
use crate::eval::identity::Identity;
use crate::files::lock::{LockFile, TryLockError};
use crate::files::open;

/// An open predictions file. It is locked until it is dropped, so that no second run writes to it.
#[derive(Debug)]
pub struct PredictionsFile {
    path: PathBuf,
    file: LockFile,
}

impl PredictionsFile {
    /// Opens or creates the file and its folder, without reading it.
    ///
    /// # Errors
    /// [`PredictionsError::Io`], [`PredictionsError::InUse`].
    pub fn open(path: &Path) -> Result<Self, PredictionsError> {
        let io_error = |source| PredictionsError::Io { path: path.into(), source };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(io_error)?;
        }
        let file = open::regular_with(path, OpenOptions::new().read(true).append(true).create(true))
            .map_err(io_error)?;
        let file = LockFile::new(file);
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(PredictionsError::InUse(path.into())),
            // A file system without locks is no reason to keep no answers.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        Ok(Self { path: path.into(), file })
    }

    /// The answers that the file holds, by row, all of this run and to these rows. A new file gets its first
    /// line; a last line that was cut off in writing is removed.
    ///
    /// # Errors
    /// See [`PredictionsError`]; the file is then as it was.
    pub fn resume(
        &mut self,
        identity: &Identity,
        rows: &[Row],
    ) -> Result<BTreeMap<usize, Prediction>, PredictionsError> {
        let mut bytes = Vec::new();
        self.file.file().read_to_end(&mut bytes).map_err(|e| self.io_error(e))?;
        let first = line(identity).map_err(|e| self.io_error(e))?;
        if first.starts_with(&bytes) {
            // New, or cut off within its first line.
            self.file.file().set_len(0).map_err(|e| self.io_error(e))?;
            self.write(&first)?;
            return Ok(BTreeMap::new());
        }
        let path = self.path.clone();
        let mut lines = Lines::new(&path, &bytes);
        let Some(found) = lines.head()? else { return Err(no_head(&path, &bytes)) };
        if let Some(other) = found.differences(identity).into_iter().next() {
            let (what, found, wanted) = (other.what, other.ours, other.theirs);
            return Err(PredictionsError::OtherSource { path, what, found, wanted });
        }
        let mut known = BTreeMap::new();
        for (row, (line, prediction)) in lines.answers()? {
            if let Some(fault) = fault(&prediction, rows.get(row), identity.mode) {
                return Err(PredictionsError::Changed { path, line, fault });
            }
            known.insert(row, prediction);
        }
        self.file.file().set_len(lines.end as u64).map_err(|e| self.io_error(e))?;
        Ok(known)
    }

    /// Adds one answer.
    ///
    /// # Errors
    /// [`PredictionsError::Io`].
    pub fn append(&mut self, prediction: &Prediction) -> Result<(), PredictionsError> {
        let line = line(prediction).map_err(|e| self.io_error(e))?;
        self.write(&line)
    }

    /// One call, so that a line is cut off only by a crash or a full disk.
    fn write(&mut self, line: &[u8]) -> Result<(), PredictionsError> {
        self.file.file().write_all(line).map_err(|e| self.io_error(e))
    }

    fn io_error(&self, source: io::Error) -> PredictionsError {
        PredictionsError::Io { path: self.path.clone(), source }
    }
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// The file is something else: what its first line says is the parser's reason.
fn no_head(path: &Path, bytes: &[u8]) -> PredictionsError {
    let head = bytes.split(|b| *b == b'\n').next().unwrap_or(&[]);
    let reason = serde_json::from_slice::<Identity>(head).err();
    let source = reason.unwrap_or_else(|| serde::de::Error::custom("the file does not begin with a run"));
    PredictionsError::Line { path: path.into(), line: 1, source }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::read;
    use super::*;
    use crate::eval::identity::Mode;
    use crate::eval::identity::tests::identity;
    use crate::sentiment::labels::Sentiment;

    fn rows() -> Vec<Row> {
        let row = |i: usize| Row {
            comment: format!("댓글 {i}\n다음 줄"),
            video_title: None,
            video_summary: None,
            label: Sentiment::ALL[i % 3],
        };
        (0..6).map(row).collect()
    }

    fn prediction(row: usize) -> Prediction {
        let Row { comment, label, .. } = rows().swap_remove(row);
        Prediction {
            row,
            comment,
            label,
            predicted: Some(Sentiment::Neutral),
            abstained: row == 1,
            log_probs: Some([-1.5, -0.125, -3.0]),
            probabilities: Some([0.25, 0.625, 0.125]),
            text: None,
        }
    }

    fn resume(path: &Path) -> Result<(PredictionsFile, BTreeMap<usize, Prediction>), String> {
        let mut file = PredictionsFile::open(path).map_err(|e| e.to_string())?;
        let known = file.resume(&identity(), &rows()).map_err(|e| e.to_string())?;
        Ok((file, known))
    }

    /// A finished file.
    fn finished(path: &Path) -> Vec<u8> {
        let (mut file, _) = resume(path).unwrap();
        (0..6).for_each(|row| file.append(&prediction(row)).unwrap());
        std::fs::read(path).unwrap()
    }

    proptest! {
        #[test]
        fn from_any_prefix_a_run_ends_as_if_never_cut(part in 0.0..=1.0) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("new/predictions.jsonl");
            let whole = finished(&path);
            std::fs::write(&path, &whole[..(whole.len() as f64 * part) as usize]).unwrap();
            let (mut file, known) = resume(&path).unwrap();
            for row in (0..6).filter(|row| !known.contains_key(row)) {
                file.append(&prediction(row)).unwrap();
            }
            drop(file);
            prop_assert_eq!(std::fs::read(&path).unwrap(), whole);
        }

        #[test]
        fn a_changed_byte_is_no_other_answer(at in 0.0..1.0, byte: u8) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("predictions.jsonl");
            let mut bytes = finished(&path);
            let at = (bytes.len() as f64 * at) as usize;
            // Numbers may be changed to others: what can be checked is texts, labels and rows.
            prop_assume!(!bytes[at].is_ascii_digit() && !b".-".contains(&bytes[at]));
            bytes[at] = byte;
            std::fs::write(&path, &bytes).unwrap();
            if let Ok((_, known)) = resume(&path) {
                for (row, found) in known {
                    let expect = prediction(row);
                    prop_assert_eq!((found.comment, found.label, found.predicted), (expect.comment, expect.label, expect.predicted));
                }
            } else {
                prop_assert_eq!(std::fs::read(&path).unwrap(), bytes, "a refused file is left alone");
            }
        }
    }

    #[test]
    fn lines_that_cannot_be_this_runs_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.jsonl");
        let text = String::from_utf8(finished(&path)).unwrap();
        let check = |from: &str, to: &str, expect: Result<usize, &str>| {
            assert!(text.contains(from), "{from}");
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            match (resume(&path), expect) {
                (Ok((_, known)), Ok(rows)) => assert_eq!(known.len(), rows),
                (Err(error), Err(expect)) => assert!(error.contains(expect), "{error}"),
                (found, expect) => panic!("{found:?} is not {expect:?}"),
            }
        };
        check("\n", "\n\n  \n\r\n", Ok(6));
        check("\"label\":\"positive\"", "\"label\":\"neutral\"", Err("row 1 is labelled 중립 here and 긍정"));
        check("댓글 0", "댓글 9", Err("not that of row 1"));
        check("\"row\":5", "\"row\":4", Err("row 5 has another answer in line 6"));
        check("0.625", "0.0625", Err("not the most probable"));
        check("\"log_probs\"", "\"logs\"", Err("line 2: `log_probs`"));
        let first = text.lines().nth(1).unwrap();
        check(first, &format!("{first}\n{first}"), Ok(6));
        check(first, "{}", Err("line 2: not a prediction"));
    }

    #[test]
    fn answers_of_other_runs_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.jsonl");
        let bytes = finished(&path);
        let check = |change: fn(&mut Identity), expect: &str| {
            let mut other = identity();
            change(&mut other);
            let error =
                PredictionsFile::open(&path).unwrap().resume(&other, &rows()).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        };
        check(|s| s.model = "n".into(), "another model (m, where this run has n)");
        check(|s| s.profile = "q".into(), "another profile (p");
        check(|s| s.data = "e".into(), "another data set (d");
        check(|s| s.mode = Mode::Generate, "another mode (score");
        check(|s| _ = s.options.insert("cache-type".into(), "q8_0".into()), "another --cache-type (f16");
        check(|s| _ = s.options.insert("max-tokens".into(), "2".into()), "another --max-tokens (not set");
    }

    #[test]
    fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        let old = "{\"model\":\"m\",\"profile\":\"p\",\"data\":\"d\",\"mode\":\"score\"}\n";
        for (content, expect) in [
            ("one line, no end", "line 1: not a prediction"),
            ("id,text\n", "line 1"),
            (old, "earlier version"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = resume(&path).unwrap_err();
            assert!(error.contains(expect), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_second_run_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.jsonl");
        let first = resume(&path).unwrap();
        assert!(resume(&path).unwrap_err().contains("another run is writing"));
        drop(first);
        resume(&path).unwrap();
    }

    #[test]
    fn the_first_line_may_be_missing_from_a_reference() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.jsonl");
        let line = serde_json::to_string(&prediction(3)).unwrap();
        let check = |text: String, expect: Result<Vec<Prediction>, &str>| {
            std::fs::write(&path, text).unwrap();
            match (read(&path), expect) {
                (Ok(found), Ok(expect)) => assert_eq!(found.into_values().collect::<Vec<_>>(), expect),
                (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{error}"),
                (found, expect) => panic!("{found:?} is not {expect:?}"),
            }
        };
        let head = serde_json::to_string(&identity()).unwrap();
        check(format!("{head}\n{line}\n"), Ok(vec![prediction(3)]));
        check(format!("{line}\n"), Ok(vec![prediction(3)]));
        check(line.clone(), Ok(vec![prediction(3)]));
        check(format!("{line}\n{}", &line[..40]), Ok(vec![prediction(3)]));
        check(format!("{line}\n{{}}\n"), Err("line 2: not a prediction"));
        check("id,text\n".into(), Err("line 1: not a prediction"));
        check("id,text".into(), Err("line 1: not a prediction"));
    }
}
