//! The physical lines of a text, with their numbers and bounded in length.

use std::collections::VecDeque;
use std::io::{self, BufRead};

/// Bytes of a line beyond which it is not kept.
pub const MAX_LINE: usize = 16 << 20;

/// One line, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: u64,
    /// What stands on it; cut at [`MAX_LINE`].
    pub bytes: Vec<u8>,
    /// How it ends: `\n`, `\r\n`, or nothing at the file's end.
    pub end: &'static [u8],
    /// It is longer than [`MAX_LINE`].
    pub too_long: bool,
}

/// Reads lines, and takes back those that were read too far.
pub struct Lines<R> {
    input: R,
    number: u64,
    returned: VecDeque<Line>,
}

impl<R: BufRead> Lines<R> {
    /// The lines of `input`.
    pub fn new(input: R) -> Self {
        Self { input, number: 0, returned: VecDeque::new() }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// The system's.
    pub fn next(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.returned.pop_front() {
            return Ok(Some(line));
        }
        let (mut bytes, mut too_long, mut ended, mut any) = (Vec::new(), false, false, false);
        while !ended {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            any = true;
            let end = buffer.iter().position(|b| *b == b'\n');
            let taken = end.unwrap_or(buffer.len());
            let kept = taken.min(MAX_LINE.saturating_sub(bytes.len()));
            bytes.extend_from_slice(&buffer[..kept]);
            too_long |= kept < taken;
            ended = end.is_some();
            self.input.consume(taken + usize::from(ended));
        }
        if !any {
            return Ok(None);
        }
        self.number += 1;
        let mut end: &'static [u8] = if ended { b"\n" } else { b"" };
        if ended && bytes.last() == Some(&b'\r') && !too_long {
            bytes.pop();
            end = b"\r\n";
        }
        Ok(Some(Line { number: self.number, bytes, end, too_long }))
    }

    /// Puts lines back, to be read again in their order.
    pub fn put_back(&mut self, lines: Vec<Line>) {
        for line in lines.into_iter().rev() {
            self.returned.push_front(line);
        }
    }
}

/// The length of `text` without the line end that it may have.
pub fn without_end(text: &[u8]) -> usize {
    let text = text.strip_suffix(b"\n").map_or(text, |t| t.strip_suffix(b"\r").unwrap_or(t));
    text.len()
}
