//! Plain text: a comment per line.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::DatasetError;
use super::lines::Lines;
use super::place::Place;
use super::record::{Record, RecordResult, Refused, Value};

/// The lines of a text that have something on them.
pub struct PlainText<R> {
    path: PathBuf,
    lines: Lines<R>,
    names: Arc<[String]>,
    failed: bool,
}

impl<R: BufRead> PlainText<R> {
    /// The rows of `input`.
    pub fn new(input: R, path: &Path) -> Self {
        let names = Arc::new(["comment".to_owned()]);
        Self { path: path.into(), lines: Lines::new(input), names, failed: false }
    }

    /// The one column's name.
    pub fn names(&self) -> &Arc<[String]> {
        &self.names
    }
}

impl<R: BufRead> Iterator for PlainText<R> {
    type Item = RecordResult;

    fn next(&mut self) -> Option<RecordResult> {
        while !self.failed {
            let line = match self.lines.next() {
                Ok(line) => line?,
                Err(source) => {
                    self.failed = true;
                    return Some(Err(DatasetError::io(&self.path)(source)));
                }
            };
            let place = Place::Line(line.number);
            if line.too_long {
                return Some(Ok(Err(Refused::new(place, "the line is longer than 16 MiB; split it"))));
            }
            let Ok(text) = String::from_utf8(line.bytes) else {
                let reason = "not UTF-8; save the file as UTF-8 or name its encoding with --encoding";
                return Some(Ok(Err(Refused::new(place, reason))));
            };
            if !text.trim().is_empty() {
                let values = vec![Value::Text(text)];
                return Some(Ok(Ok(Record { place, names: self.names.clone(), values })));
            }
        }
        None
    }
}
