//! CSV by RFC 4180, and TSV, in which few fields are quoted (see [`super::tsv`]) or escaped (see [`escape`]).
//!
//! In CSV a quote opens a field only at the field's start; elsewhere it is a letter. A quote that does not
//! close costs its own line and no other: the line is refused, and reading goes on with the next one.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;
use std::sync::Arc;

use super::error::DatasetError;
use super::escape;
use super::lines::{Line, Lines, without_end};
use super::place::Place;
use super::record::{Record, RecordResult, Refused, Value};
use super::tsv::{End, Habit, Scan as TabScan};

/// Bytes of a quoted field beyond which its quote is taken for one that never closes.
const MAX_QUOTED: usize = 1 << 20;
/// Delimiters that are recognised.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How fields are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// The character between fields; `None` recognises it from the header.
    pub delimiter: Option<u8>,
    /// Whether a quote at a field's start always opens it, as in CSV.
    pub quotes: bool,
}

/// Tells whether the fields of a line, taken by itself, are those of a row.
pub type IsRow = Box<dyn Fn(&[String], &[&str]) -> bool + Send>;

/// The rows of a CSV or TSV file.
pub struct Delimited<R> {
    path: PathBuf,
    lines: Lines<R>,
    delimiter: u8,
    quotes: bool,
    habit: Habit,
    names: Arc<[String]>,
    is_row: IsRow,
    failed: bool,
}

/// Why a quoted record is none.
enum Quote {
    Open,
    MidField,
}

impl<R: BufRead> Delimited<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// The header is missing or broken.
    pub fn open(input: R, path: &Path, dialect: Dialect, is_row: IsRow) -> Result<Self, DatasetError> {
        let names: Arc<[String]> = Arc::new([]);
        let lines = Lines::new(input);
        let Dialect { quotes, .. } = dialect;
        let habit = Habit::default();
        let mut reader =
            Self { path: path.into(), lines, delimiter: b',', quotes, habit, names, is_row, failed: false };
        let Some(mut line) = reader.next_line()? else {
            return Err(DatasetError::NoRows(path.into()));
        };
        // Excel's own way of naming the delimiter.
        let named = line.bytes.strip_prefix(b"sep=").filter(|rest| rest.len() == 1).map(|rest| rest[0]);
        if let (Some(_), true) = (named, quotes) {
            line = reader.next_line()?.ok_or_else(|| DatasetError::NoRows(path.into()))?;
        }
        if line.bytes.contains(&b'\r') && !line.bytes.contains(&b'"') {
            let reason = "its lines end with carriage returns alone, as on old Macs; save it with line feeds, for \
                          example with tr '\\r' '\\n'";
            return Err(DatasetError::Broken {
                path: path.into(),
                format: reader.format(),
                reason: reason.into(),
            });
        }
        reader.delimiter = dialect.delimiter.or(named).unwrap_or_else(|| delimiter_of(&line.bytes));
        match reader.record(line).map_err(DatasetError::io(path))? {
            Ok((_, fields)) => reader.names = fields.into_iter().map(|f| f.trim().to_owned()).collect(),
            Err(refused) => {
                let reason = format!("the header is broken: {refused}");
                return Err(DatasetError::Broken { path: path.into(), format: reader.format(), reason });
            }
        }
        Ok(reader)
    }

    /// The columns' names.
    pub fn names(&self) -> &Arc<[String]> {
        &self.names
    }

    fn format(&self) -> &'static str {
        if self.quotes { "CSV" } else { "TSV" }
    }

    /// The next line that has something on it.
    fn next_line(&mut self) -> Result<Option<Line>, DatasetError> {
        loop {
            match self.lines.next().map_err(DatasetError::io(&self.path))? {
                Some(line) if line.bytes.is_empty() || line.bytes == b"\r" => {}
                other => return Ok(other),
            }
        }
    }

    /// The fields of the record that begins with `first`. A refused record takes only that line.
    fn record(&mut self, first: Line) -> std::io::Result<Result<(Place, Vec<String>), Refused>> {
        let place = Place::Line(first.number);
        if first.too_long {
            return Ok(Err(Refused::new(place, "the line is longer than 16 MiB; split it")));
        }
        let fields = if self.quotes {
            match self.quoted(first)? {
                Ok(fields) => fields,
                Err(reason) => return Ok(Err(Refused::new(place, reason))),
            }
        } else {
            self.tabbed(first)?
        };
        let text = |bytes| {
            let text = String::from_utf8(bytes)?;
            let escaped = if self.quotes { None } else { escape::unescaped(&text) };
            Ok::<String, FromUtf8Error>(escaped.unwrap_or(text))
        };
        let texts: Result<Vec<String>, _> = fields.into_iter().map(text).collect();
        Ok(texts.map(|texts| (place, texts)).map_err(|_| Refused::new(place, NOT_UTF8)))
    }

    /// The fields of a TSV record, of which some may be quoted.
    fn tabbed(&mut self, first: Line) -> std::io::Result<Vec<Vec<u8>>> {
        if self.names.is_empty() {
            self.habit = Habit { all: false, commas: first.end == b"\r\n" };
        }
        let with_quotes = if first.bytes.contains(&b'"') { self.tabbed_with_quotes(&first)? } else { None };
        if let Some(fields) = with_quotes {
            return Ok(fields);
        }
        Ok(first.bytes.split(|b| *b == self.delimiter).map(<[u8]>::to_vec).collect())
    }

    /// The fields of a TSV record by the rule of [`super::tsv`]; `None` if its quotes are letters.
    fn tabbed_with_quotes(&mut self, first: &Line) -> std::io::Result<Option<Vec<Vec<u8>>>> {
        let is_header = self.names.is_empty();
        let (width, habit) = match self.names.len() {
            // A name means the same with quotes and without.
            0 => (usize::MAX, Habit { all: true, commas: true }),
            width => (width, self.habit),
        };
        let mut text = [&first.bytes[..], first.end].concat();
        let mut more: Vec<Line> = Vec::new();
        let mut scan = TabScan::new(self.delimiter, habit);
        loop {
            let next = match scan.run(&text) {
                End::Whole if is_header => {
                    let commas = more.last().unwrap_or(first).end == b"\r\n";
                    self.habit = Habit { all: scan.quoted == scan.fields.len(), commas };
                    return Ok(Some(scan.fields));
                }
                End::Whole if scan.fields.len() == width && !self.are_rows(first, &more) => {
                    return Ok(Some(scan.fields));
                }
                End::Open if text.len() <= MAX_QUOTED && scan.fields.len() < width => self.lines.next()?,
                _ => None,
            };
            if !self.goes_on(next, &mut text, &mut more) {
                return Ok(None);
            }
        }
    }

    /// Adds the next line to a record's text and lines. Without one that fits, the record is none: its lines are put
    /// back, to be read as rows.
    fn goes_on(&mut self, next: Option<Line>, text: &mut Vec<u8>, more: &mut Vec<Line>) -> bool {
        match next {
            Some(line) if !line.too_long => {
                text.extend_from_slice(&line.bytes);
                text.extend_from_slice(line.end);
                more.push(line);
                true
            }
            other => {
                more.extend(other);
                self.lines.put_back(std::mem::take(more));
                false
            }
        }
    }

    /// Whether each line of a TSV record of several, but blank ones, is a row by itself. In a file of one column all
    /// would be, and in one that quotes all texts none is.
    fn are_rows(&self, first: &Line, more: &[Line]) -> bool {
        let width = self.names.len();
        let is_row = |line: &Line| line.bytes.split(|b| *b == self.delimiter).count() == width;
        let mut lines = more.iter().chain([first]);
        let may_be = !more.is_empty() && width > 1 && !self.habit.all;
        may_be && lines.all(|line| line.bytes.is_empty() || is_row(line))
    }

    /// The fields of a record whose quoted fields may go on over lines.
    fn quoted(&mut self, first: Line) -> std::io::Result<Result<Vec<Vec<u8>>, String>> {
        let mut text = [&first.bytes[..], first.end].concat();
        let mut more: Vec<Line> = Vec::new();
        let mut scan = Scan::default();
        loop {
            let fault = match scan.run(&text, self.delimiter) {
                Ok(()) if more.is_empty() || !self.is_swallowed(&first, &more) => return Ok(Ok(scan.fields)),
                Ok(()) => {
                    let last = more.last().map_or(first.number, |line| line.number);
                    Some(format!(
                        "a quote opens here and closes on line {last}, but the lines between are rows of their own; double the quote or close it"
                    ))
                }
                Err(Quote::MidField) => Some(
                    "a quote opens a field but closes in the middle of it; double the quotes in the field, or add --format tsv --delimiter CHAR if the file has no quoting".to_owned(),
                ),
                Err(Quote::Open) if text.len() > MAX_QUOTED => Some(NEVER_CLOSES.to_owned()),
                Err(Quote::Open) => None,
            };
            let next = match fault {
                Some(_) => None,
                None => self.lines.next()?,
            };
            if !self.goes_on(next, &mut text, &mut more) {
                return Ok(Err(fault.unwrap_or_else(|| NEVER_CLOSES.to_owned())));
            }
        }
    }

    /// Whether a quoted field has run over lines that are rows by themselves.
    fn is_swallowed(&self, first: &Line, more: &[Line]) -> bool {
        let is_row = |line: &Line| {
            let Ok(text) = std::str::from_utf8(&line.bytes) else { return false };
            let fields: Vec<&str> = text.split(self.delimiter as char).collect();
            fields.len() == self.names.len() && (self.is_row)(&self.names, &fields)
        };
        let inner = &more[..more.len() - 1];
        is_row(first) && inner.iter().all(|line| line.bytes.is_empty() || is_row(line))
    }
}

const NEVER_CLOSES: &str = "a quote opens a field and never closes; close it, double it, or add --format tsv --delimiter CHAR if the file has no quoting";
/// The reason for bytes that are not text.
pub const NOT_UTF8: &str =
    "not UTF-8; save the file as UTF-8 (in Excel: \"CSV UTF-8\") or name its encoding with --encoding";

/// The state of reading one record, which may be taken up again when more text is there.
#[derive(Default)]
struct Scan {
    fields: Vec<Vec<u8>>,
    at: usize,
    /// The quoted field that has not closed yet.
    open: Option<Vec<u8>>,
}

impl Scan {
    /// Reads on from where it stopped, to the end of `text`.
    fn run(&mut self, text: &[u8], delimiter: u8) -> Result<(), Quote> {
        loop {
            if self.open.is_none() && text.get(self.at) == Some(&b'"') {
                self.open = Some(Vec::new());
                self.at += 1;
            }
            if let Some(field) = &mut self.open {
                loop {
                    let rest = &text[self.at..];
                    let Some(quote) = rest.iter().position(|b| *b == b'"') else {
                        field.extend_from_slice(rest);
                        self.at = text.len();
                        return Err(Quote::Open);
                    };
                    field.extend_from_slice(&rest[..quote]);
                    self.at += quote + 1;
                    if text.get(self.at) != Some(&b'"') {
                        break;
                    }
                    field.push(b'"');
                    self.at += 1;
                }
                let field = self.open.take().unwrap_or_default();
                self.fields.push(field);
            } else {
                let rest = &text[self.at..];
                let end = rest.iter().position(|b| *b == delimiter).unwrap_or_else(|| without_end(rest));
                self.fields.push(rest[..end].to_vec());
                self.at += end;
            }
            match text.get(self.at) {
                Some(b) if *b == delimiter => self.at += 1,
                _ if without_end(&text[self.at..]) == 0 => return Ok(()),
                _ => return Err(Quote::MidField),
            }
        }
    }
}

/// The delimiter that a header has most of, outside of quotes; a comma if it has none.
fn delimiter_of(header: &[u8]) -> u8 {
    let mut counts = [0_usize; DELIMITERS.len()];
    let mut quoted = false;
    for byte in header {
        quoted ^= *byte == b'"';
        if let (false, Some(i)) = (quoted, DELIMITERS.iter().position(|d| d == byte)) {
            counts[i] += 1;
        }
    }
    let most = (0..DELIMITERS.len()).rev().max_by_key(|i| counts[*i]).unwrap_or(0);
    DELIMITERS[most]
}

impl<R: BufRead> Iterator for Delimited<R> {
    type Item = RecordResult;

    fn next(&mut self) -> Option<RecordResult> {
        if self.failed {
            return None;
        }
        let record = self.next_line().and_then(|line| {
            let read = line.map(|line| self.record(line)).transpose();
            read.map_err(DatasetError::io(&self.path))
        });
        let width = self.names.len();
        match record {
            Ok(None) => None,
            Ok(Some(Err(refused))) => Some(Ok(Err(refused))),
            Ok(Some(Ok((place, fields)))) if fields.len() != width => {
                let reason = format!(
                    "has {} columns where the header has {width}; quote a field that holds the delimiter",
                    fields.len()
                );
                Some(Ok(Err(Refused::new(place, reason))))
            }
            Ok(Some(Ok((place, fields)))) => {
                let values = fields.into_iter().map(Value::Text).collect();
                Some(Ok(Ok(Record { place, names: self.names.clone(), values })))
            }
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}
