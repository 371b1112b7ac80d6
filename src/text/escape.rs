//! Text from outside, made fit for a terminal or a log: no control characters, no endless lines.
//!
//! A file's name, a key, a label or a server's answer may hold what sets a terminal's title, clears it or
//! turns its text around, and may be a gigabyte long. Messages show such text through this file alone.

use std::fmt::{self, Display, Write as _};

/// Characters of a name from outside that a message shows.
pub const NAME_CHARS: usize = 120;
/// Characters of a line of a message.
pub const LINE_CHARS: usize = 400;
/// Lines of a message.
pub const LINES: usize = 40;

/// Whether a terminal acts on the character instead of showing it: control characters, line and paragraph
/// separators, and those that change the direction of text. Joiners stay, because emoji need them.
pub(super) fn acts(c: char) -> bool {
    let turns =
        matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn put(c: char, f: &mut impl fmt::Write) -> fmt::Result {
    match c {
        '\n' => f.write_str("\\n"),
        '\t' => f.write_str("\\t"),
        '\r' => f.write_str("\\r"),
        c if acts(c) => write!(f, "\\u{{{:x}}}", u32::from(c)),
        c => f.write_char(c),
    }
}

/// Text from outside; see [`shown`] and [`quoted`].
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    text: &'a str,
    quotes: bool,
}

/// Shows `text` on one line: control characters escaped, cut after [`NAME_CHARS`] characters.
pub fn shown(text: &str) -> Shown<'_> {
    Shown { text, quotes: false }
}

/// As [`shown`], between quotation marks.
pub fn quoted(text: &str) -> Shown<'_> {
    Shown { text, quotes: true }
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.quotes { "\"" } else { "" };
        f.write_str(mark)?;
        let mut rest = self.text.chars();
        for c in rest.by_ref().take(NAME_CHARS) {
            if self.quotes && matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            put(c, f)?;
        }
        f.write_str(mark)?;
        let bytes = rest.as_str().len();
        if bytes > 0 { write!(f, "… and {bytes} more bytes") } else { Ok(()) }
    }
}

/// Shows a whole message, whatever it has picked up: its line breaks stay, other control characters are
/// escaped, and lines are cut after [`LINE_CHARS`] characters and the message after [`LINES`] lines.
pub fn message(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LINE_CHARS));
    let mut lines = text.lines();
    for (i, line) in lines.by_ref().take(LINES).enumerate() {
        if i > 0 {
            out.push('\n');
        }
        put_line(line, &mut out);
    }
    let left = lines.count();
    if left > 0 {
        let _infallible = write!(out, "\n… and {left} more lines");
    }
    out
}

/// The line escaped, or its beginning and its end: what to do is said last.
fn put_line(line: &str, out: &mut String) {
    const TAIL: usize = LINE_CHARS / 2;
    const HEAD: usize = LINE_CHARS - TAIL - 3;
    let mut escaped = String::new();
    // Longer ones are cut before they are escaped, too.
    for part in ends(line, LINE_CHARS, LINE_CHARS) {
        part.chars().for_each(|c| put(c, &mut escaped).unwrap_or_default());
    }
    match ends(&escaped, HEAD, TAIL) {
        _ if escaped.chars().count() <= LINE_CHARS => out.push_str(&escaped),
        [head, tail] => {
            let _infallible = write!(out, "{head} … {tail}");
        }
    }
}

/// The first `head` and the last `tail` characters, which do not overlap.
fn ends(text: &str, head: usize, tail: usize) -> [&str; 2] {
    let head = text.char_indices().nth(head).map_or(text.len(), |(at, _)| at);
    let (head, rest) = text.split_at(head);
    let skip = rest.char_indices().rev().nth(tail.saturating_sub(1)).map_or(0, |(at, _)| at);
    [head, &rest[skip..]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_escaped() {
        let check = |text: &str, expect: &str| assert_eq!(shown(text).to_string(), expect);
        check("모델 👨‍👩‍👧", "모델 👨‍👩‍👧");
        check("\u{1b}]0;title\u{7}\u{1b}[2J", r"\u{1b}]0;title\u{7}\u{1b}[2J");
        check("a\nb\tc\r\u{0}", r"a\nb\tc\r\u{0}");
        check("\u{9b}31m\u{7f}", r"\u{9b}31m\u{7f}");
        check("gnp\u{202e}exe.", r"gnp\u{202e}exe.");
        assert_eq!(quoted("a\"b\\").to_string(), r#""a\"b\\""#);
    }

    #[test]
    fn names_are_cut_at_characters() {
        let name = "가".repeat(NAME_CHARS + 2);
        let expect = format!("{}… and 6 more bytes", "가".repeat(NAME_CHARS));
        assert_eq!(shown(&name).to_string(), expect);
        assert_eq!(shown(&"가".repeat(NAME_CHARS)).to_string(), "가".repeat(NAME_CHARS));
    }

    #[test]
    fn messages_keep_their_lines_and_end() {
        assert_eq!(message("one\n\u{1b}[2Jtwo"), "one\n\\u{1b}[2Jtwo");
        let long = message(&format!("file {}; download it again", "[".repeat(100_000)));
        assert!(long.chars().count() <= LINE_CHARS && long.ends_with("; download it again"), "{long}");
        assert!(long.starts_with("file [["));
        assert!(message(&"\u{1b}".repeat(LINE_CHARS)).chars().count() <= LINE_CHARS);
        let many = message(&"line\n".repeat(LINES + 5));
        assert_eq!(many.lines().count(), LINES + 1);
        assert!(many.ends_with("… and 5 more lines"));
    }
}
