//! JSON: an object per line, arrays, and values one after the other.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::DatasetError;
use super::lines::Lines;
use super::place::{Place, quoted};
use super::record::{Record, RecordResult, Refused, Value};
use super::youtube;

/// Bytes of an array's element beyond which it is refused.
const MAX_ELEMENT: usize = 16 << 20;
/// Bytes of a value outside of arrays, such as a video with its comments, beyond which it is refused.
const MAX_VALUE: usize = 1 << 30;
const NOT_UTF8: &str = "not UTF-8; save the file as UTF-8";

/// An object's entries in their order, a name as often as it stands there.
struct Object(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Object(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A value as it is written.
fn value(raw: &RawValue) -> Result<Value, serde_json::Error> {
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'"') => Value::Text(serde_json::from_str(text)?),
        Some(b'n') | None => Value::Null,
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'[' | b'{') => Value::Json(text.to_owned()),
        Some(_) => Value::Number(text.to_owned()),
    })
}

/// Makes rows of values, and lets rows of one shape share their names.
struct Shaper {
    names: Arc<[String]>,
    ready: VecDeque<Result<Record, Refused>>,
    hint: &'static str,
}

impl Shaper {
    fn new(hint: &'static str) -> Self {
        Self { names: Arc::new([]), ready: VecDeque::new(), hint }
    }

    /// Takes in the value that begins on a line: a row, or a page of YouTube's with several.
    fn take(&mut self, bytes: &[u8], line: u64) {
        let place = Place::Line(line);
        let Ok(text) = std::str::from_utf8(bytes) else {
            return self.refuse(place, NOT_UTF8);
        };
        // The parser's message would quote all of a long text.
        if !text.trim_start().starts_with('{') {
            return self.refuse(place, format!("not a JSON object{}", self.hint));
        }
        let parsed = serde_json::from_str(text).and_then(|Object(entries)| {
            let entries = entries.into_iter().map(|(name, raw)| Ok((name, value(&raw)?)));
            entries.collect::<Result<Vec<_>, _>>()
        });
        let entries = match parsed {
            Ok(entries) => entries,
            Err(error) => return self.refuse(place, format!("not a JSON object: {error}{}", self.hint)),
        };
        match youtube::comments(text, &entries) {
            Some(comments) => {
                for (i, comment) in comments.into_iter().enumerate() {
                    let place = Place::Item { line, item: i as u64 + 1 };
                    match comment {
                        Ok(entries) => self.row(place, entries),
                        Err(reason) => self.refuse(place, reason),
                    }
                }
            }
            None => self.row(place, entries),
        }
    }

    fn row(&mut self, place: Place, entries: Vec<(String, Value)>) {
        let (names, values): (Vec<String>, Vec<Value>) = entries.into_iter().unzip();
        if let Some(i) = (0..names.len()).find(|i| names[..*i].contains(&names[*i])) {
            return self.refuse(place, format!("names {} twice; keep one", quoted(&names[i])));
        }
        if *self.names != names {
            self.names = names.into();
        }
        self.ready.push_back(Ok(Record { place, names: self.names.clone(), values }));
    }

    fn refuse(&mut self, place: Place, reason: impl Into<String>) {
        self.ready.push_back(Err(Refused::new(place, reason)));
    }
}

/// An object per line. A broken line costs no other.
pub struct JsonLines<R> {
    path: PathBuf,
    lines: Lines<R>,
    failed: bool,
    shaper: Shaper,
}

impl<R: BufRead> JsonLines<R> {
    /// The rows of `input`.
    pub fn new(input: R, path: &Path) -> Self {
        let hint = "; if values run over several lines, read the file with --format json";
        Self { path: path.into(), lines: Lines::new(input), failed: false, shaper: Shaper::new(hint) }
    }
}

impl<R: BufRead> Iterator for JsonLines<R> {
    type Item = RecordResult;

    fn next(&mut self) -> Option<RecordResult> {
        loop {
            if let Some(row) = self.shaper.ready.pop_front() {
                return Some(Ok(row));
            }
            if self.failed {
                return None;
            }
            match self.lines.next() {
                Ok(None) => return None,
                Ok(Some(line)) if line.too_long => {
                    let reason = "the line is longer than 16 MiB; read the file with --format json";
                    self.shaper.refuse(Place::Line(line.number), reason);
                }
                Ok(Some(line)) if line.bytes.trim_ascii().is_empty() => {}
                Ok(Some(line)) => self.shaper.take(&line.bytes, line.number),
                Err(source) => {
                    self.failed = true;
                    return Some(Err(DatasetError::io(&self.path)(source)));
                }
            }
        }
    }
}

/// Values one after the other, and the elements of arrays. Each is found by its brackets, so that a broken
/// one costs no other as long as its brackets are whole.
pub struct JsonValues<R> {
    path: PathBuf,
    input: R,
    line: u64,
    in_array: bool,
    ended: bool,
    shaper: Shaper,
}

/// A value's text.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    line: u64,
    /// Why it cannot be a row.
    fault: Option<&'static str>,
}

impl<R: BufRead> JsonValues<R> {
    /// The rows of `input`.
    pub fn new(input: R, path: &Path) -> Self {
        Self { path: path.into(), input, line: 1, in_array: false, ended: false, shaper: Shaper::new("") }
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.input.fill_buf()?.first().copied())
    }

    fn skip(&mut self, byte: u8) {
        self.line += u64::from(byte == b'\n');
        self.input.consume(1);
    }

    /// Reads the next value into the shaper; `false` at the end.
    fn advance(&mut self) -> io::Result<bool> {
        while let Some(byte) = self.peek()? {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b',' => self.skip(byte),
                b'[' if !self.in_array => {
                    self.in_array = true;
                    self.skip(byte);
                }
                b']' if self.in_array => {
                    self.in_array = false;
                    self.skip(byte);
                }
                _ => {
                    let text = self.value(byte)?;
                    match text.fault {
                        Some(fault) => self.shaper.refuse(Place::Line(text.line), fault),
                        None => self.shaper.take(&text.bytes, text.line),
                    }
                    return Ok(true);
                }
            }
        }
        if std::mem::take(&mut self.in_array) {
            let reason = "the file ends before its array does; check whether the file is whole";
            self.shaper.refuse(Place::Line(self.line), reason);
            return Ok(true);
        }
        Ok(false)
    }

    /// The text of the value that begins with `first`, to the end of its brackets.
    fn value(&mut self, first: u8) -> io::Result<Text> {
        let mut text = Text { line: self.line, ..Text::default() };
        let max = if self.in_array { MAX_ELEMENT } else { MAX_VALUE };
        let bracketed = matches!(first, b'{' | b'[');
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        while let Some(byte) = self.peek()? {
            if !bracketed && !in_string && text.line_ends(byte) {
                return Ok(text);
            }
            self.skip(byte);
            if text.bytes.len() < max {
                text.bytes.push(byte);
            } else {
                text.fault = Some("the value is longer than a row can be (16 MiB); split it");
            }
            match byte {
                b'\n' if in_string => {
                    text.fault = Some("a string does not end on its line; close it");
                    self.skip_to_value()?;
                    return Ok(text);
                }
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => depth += 1,
                b'}' | b']' if !in_string => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return Ok(text);
                    }
                }
                _ => {}
            }
        }
        if bracketed || in_string {
            self.in_array = false;
            text.fault = Some("the file ends inside this value; check whether the file is whole");
        }
        Ok(text)
    }

    /// Reads over lines, up to one that begins a value or ends an array.
    fn skip_to_value(&mut self) -> io::Result<()> {
        let mut at_start = true;
        while let Some(byte) = self.peek()? {
            match byte {
                b'{' | b'[' | b']' if at_start => break,
                b'\n' => at_start = true,
                _ => at_start &= byte.is_ascii_whitespace(),
            }
            self.skip(byte);
        }
        Ok(())
    }
}

impl Text {
    /// Whether `byte` ends a value without brackets.
    fn line_ends(&self, byte: u8) -> bool {
        !self.bytes.is_empty() && matches!(byte, b',' | b']' | b'\n' | b'{' | b'[')
    }
}

impl<R: BufRead> Iterator for JsonValues<R> {
    type Item = RecordResult;

    fn next(&mut self) -> Option<RecordResult> {
        loop {
            if let Some(row) = self.shaper.ready.pop_front() {
                return Some(Ok(row));
            }
            if self.ended {
                return None;
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => self.ended = true,
                Err(source) => {
                    self.ended = true;
                    return Some(Err(DatasetError::io(&self.path)(source)));
                }
            }
        }
    }
}

/// Whether a text that begins with `head` is an object per line: its first line is, and most look like it.
pub fn is_lines(head: &[u8]) -> bool {
    let lines = head.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let lines: Vec<&[u8]> = lines.take(100).collect();
    let objects = lines.iter().filter(|line| line.starts_with(b"{") && line.ends_with(b"}")).count();
    let first = lines.first().is_some_and(|line| serde_json::from_slice::<Object>(line).is_ok());
    first && 2 * objects >= lines.len()
}
