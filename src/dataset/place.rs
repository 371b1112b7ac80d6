//! Where a row stands in its file, and how a file's text is shown in a message.

use std::fmt;

/// Where a value stands, in the words of the program that shows the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line of a text file, from 1, the header counted.
    Line(u64),
    /// A row of a Parquet file or a sheet, from 1.
    Row(u64),
    /// One of several comments in a JSON value that begins on a line; both from 1.
    Item {
        /// The line that the value begins on.
        line: u64,
        /// The comment's number in it.
        item: u64,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(n) => write!(f, "line {n}"),
            Place::Row(n) => write!(f, "row {n}"),
            Place::Item { line, item } => write!(f, "line {line}, comment {item}"),
        }
    }
}

/// Characters of a file's text that a message shows.
const SHOWN: usize = 40;

/// `text` in quotes, fit for a message: control characters escaped, and cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    let cut = text.char_indices().nth(SHOWN).map_or(text.len(), |(at, _)| at);
    let dots = if cut < text.len() { "…" } else { "" };
    format!("{:?}{dots}", &text[..cut])
}

/// The first ten of `items`, and how many more there are.
pub(super) fn listed<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<&str> = items.into_iter().collect();
    let mut text = all.iter().take(10).map(|item| quoted(item)).collect::<Vec<_>>().join(", ");
    if all.len() > 10 {
        text += &format!(" and {} more", all.len() - 10);
    }
    text
}
