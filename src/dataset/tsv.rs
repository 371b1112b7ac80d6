//! Quoted fields in TSV, as pandas, polars, R and Excel write them. Other files have no quoting, so a quotation mark
//! counts only where it must:
//!
//! - A field is quoted if it begins with `"` and the closing `"` stands right before a tab or the line's end; `""` in
//!   it is one quotation mark, tabs and line breaks belong to it. It also needs a reason for its quotes: a tab, a line
//!   break or `""` in it, nothing in it, or a file that quotes its header. A comma is a reason in a file with Windows'
//!   line ends, because of Excel. Any other field is its own text, quotation marks included.
//! - A file that quotes its header may be R's, where `\"` is a quotation mark in a field.
//! - A record is read so only if it then has as many columns as the header. If it takes several lines of which each
//!   has as many, these are rows of their own. A quote that does not close costs no other row.

use super::lines::without_end;

/// How a file quotes, as its header tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Habit {
    /// All texts are quoted.
    pub all: bool,
    /// Texts with commas are quoted, too.
    pub commas: bool,
}

/// How far a record was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// To its end.
    Whole,
    /// A quoted field goes on in the next line, if it is one.
    Open,
    /// A quoted field of several lines does not close before a delimiter: it is none.
    Unquoted,
}

/// The state of reading one record, which is taken up again when its next line is there.
pub struct Scan {
    delimiter: u8,
    habit: Habit,
    /// The fields so far.
    pub fields: Vec<Vec<u8>>,
    /// How many of them were quoted.
    pub quoted: usize,
    /// Where the current field begins.
    start: usize,
    at: usize,
    open: bool,
    /// The current field has an odd number of `\"` so far.
    unpaired: bool,
}

impl Scan {
    /// Begins a record.
    pub fn new(delimiter: u8, habit: Habit) -> Self {
        Self {
            delimiter,
            habit,
            fields: Vec::new(),
            quoted: 0,
            start: 0,
            at: 0,
            open: false,
            unpaired: false,
        }
    }

    /// Reads on to the end of `text`, which has the record's lines so far with their ends.
    pub fn run(&mut self, text: &[u8]) -> End {
        loop {
            if !self.open {
                (self.start, self.unpaired) = (self.at, false);
                self.open = text.get(self.at) == Some(&b'"');
                self.at += usize::from(self.open);
            }
            if self.open {
                if !self.close(text) {
                    return End::Open;
                }
                self.open = false;
                if self.is_end(text, self.at) {
                    self.push_quoted(&text[self.start..self.at]);
                } else if text[self.start..self.at].contains(&b'\n') {
                    return End::Unquoted;
                } else {
                    self.push_plain(text);
                }
            } else {
                self.push_plain(text);
            }
            if text.get(self.at) != Some(&self.delimiter) {
                return End::Whole;
            }
            self.at += 1;
        }
    }

    /// Goes behind the closing quote; false if `text` has none.
    fn close(&mut self, text: &[u8]) -> bool {
        while let Some(quote) = text[self.at..].iter().position(|b| *b == b'"') {
            let backslash = self.habit.all && text[..self.at + quote].ends_with(b"\\");
            self.at += quote + 1;
            let doubled = text.get(self.at) == Some(&b'"');
            // R's `\"`. Where it could be the field's end, it is not if it is the second of a pair or the end follows.
            let ends = self.is_end(text, self.at + usize::from(doubled));
            if backslash && (doubled == ends || !doubled && self.unpaired) {
                self.unpaired = !self.unpaired;
                continue;
            }
            if !doubled {
                return true;
            }
            self.at += 1;
        }
        self.at = text.len();
        false
    }

    /// Whether a field may end at `at`.
    fn is_end(&self, text: &[u8], at: usize) -> bool {
        text.get(at) == Some(&self.delimiter) || without_end(&text[at..]) == 0
    }

    fn push_plain(&mut self, text: &[u8]) {
        let rest = &text[self.start..];
        let end = rest.iter().position(|b| *b == self.delimiter).unwrap_or_else(|| without_end(rest));
        self.at = self.start + end;
        self.fields.push(rest[..end].to_vec());
    }

    fn push_quoted(&mut self, raw: &[u8]) {
        let inner = &raw[1..raw.len() - 1];
        let is_reason =
            |b: &u8| [b'\n', b'\r', b'"', self.delimiter].contains(b) || self.habit.commas && *b == b',';
        if !(self.habit.all || inner.is_empty() || inner.iter().any(is_reason)) {
            self.fields.push(raw.to_vec());
            return;
        }
        self.quoted += 1;
        let mut field = Vec::with_capacity(inner.len());
        let mut rest = inner;
        loop {
            let (text, length): (&[u8], usize) = match rest {
                [b'\\', b'"', b'"', ..] => (b"\\\"", 3),
                [b'\\' | b'"', b'"', ..] => (b"\"", 2),
                [_, ..] => (&rest[..1], 1),
                [] => break,
            };
            field.extend_from_slice(text);
            rest = &rest[length..];
        }
        self.fields.push(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Habit = Habit { all: false, commas: false };

    fn check(habit: Habit, text: &str, end: End, expect: &[&str]) {
        let mut scan = Scan::new(b'\t', habit);
        let mut ended = End::Open;
        // Line by line, as the reader has them.
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let mut have = String::new();
        for line in lines {
            assert_eq!(ended, End::Open, "{text:?}");
            have.push_str(line);
            ended = scan.run(have.as_bytes());
        }
        assert_eq!(ended, end, "{text:?}");
        let fields: Vec<_> = scan.fields.iter().map(|field| String::from_utf8_lossy(field)).collect();
        assert_eq!(fields, expect, "{text:?}");
    }

    #[test]
    fn a_quoted_field_needs_its_closing_quote_and_a_reason() {
        let whole = |text: &str, expect: &[&str]| check(PLAIN, text, End::Whole, expect);
        whole("1\t\"탭\t하나\"\t긍정\n", &["1", "탭\t하나", "긍정"]);
        whole("\"두\n줄\r\n\n끝\"\t긍정\r\n", &["두\n줄\r\n\n끝", "긍정"]);
        whole("\"그 \"\"명장면\"\"\"\t\"\"\"인용\"\"\"", &["그 \"명장면\"", "\"인용\""]);
        whole("\"\"\t긍정", &["", "긍정"]);
        // Quotation marks that people wrote.
        whole("\"인용\"\t긍정\n", &["\"인용\"", "긍정"]);
        whole("\"쉼표, 있음\"\t긍정\n", &["\"쉼표, 있음\"", "긍정"]);
        whole("\"여기서 웃었다\" ㅋㅋ\t\"두\n줄\"\n", &["\"여기서 웃었다\" ㅋㅋ", "두\n줄"]);
        whole("\"역대급\t그 \"명장면\" 최고\n", &["\"역대급", "그 \"명장면\" 최고"]);
        whole("24\" 화면\t끝\"\n", &["24\" 화면", "끝\""]);
        check(PLAIN, "1\t\"명작이다\n", End::Open, &["1"]);
        check(PLAIN, "1\t\"명작이다\n2\t그 \"명장면\n", End::Unquoted, &["1"]);
    }

    #[test]
    fn a_file_may_quote_more() {
        let all = Habit { all: true, ..PLAIN };
        check(all, "\"인용\"\t3\t\"\"\n", End::Whole, &["인용", "3", ""]);
        check(all, "\"인용\" ㅋㅋ\t3\n", End::Whole, &["\"인용\" ㅋㅋ", "3"]);
        let r = "\"그 \\\"명장면\\\"\"\t\"\\\"인용\\\"\n끝\"\t\"C:\\\"\n";
        check(all, r, End::Whole, &["그 \"명장면\"", "\"인용\"\n끝", "C:\\"]);
        check(all, "\"가\\\"\"나\"\"\"\t\"다\\\"\"\"\n", End::Whole, &["가\\\"나\"", "다\\\""]);
        let commas = Habit { commas: true, ..PLAIN };
        check(commas, "\"쉼표, 있음\"\t\"인용\"\r\n", End::Whole, &["쉼표, 있음", "\"인용\""]);
    }
}
