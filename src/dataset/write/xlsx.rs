//! An Excel workbook with one sheet. Rows go to a temporary file, so that memory does not grow with them.

use std::io::Write;

use rust_xlsxwriter::{ExcelDateTime, Format, Workbook, XlsxError};

use super::cells;
use super::error::WriteError;
use super::layout::{Added, Layout};
use super::sink::Sink;
use crate::dataset::dates;
use crate::dataset::record::{Record, Value};

/// Characters of a cell, counted as UTF-16.
const MAX_CELL: usize = 32_767;
/// Digits up to which Excel shows a number as it is written.
const SHOWN_DIGITS: usize = 11;

/// A sheet.
pub struct Sheet {
    out: Box<dyn Write + Send>,
    book: Workbook,
    row: u32,
    formats: Formats,
}

struct Formats {
    date: Format,
    moment: Format,
    /// Text that looks like a formula stays text when it is edited.
    quoted: Format,
}

impl Sheet {
    /// Begins a workbook.
    pub fn new(out: Box<dyn Write + Send>, layout: &Layout, added: &[Added]) -> Result<Self, WriteError> {
        let mut book = Workbook::new();
        book.add_worksheet_with_constant_memory()?.set_freeze_panes(1, 0)?;
        let formats = Formats {
            date: Format::new().set_num_format("yyyy-mm-dd"),
            moment: Format::new().set_num_format("yyyy-mm-dd hh:mm:ss"),
            quoted: Format::new().set_quote_prefix(),
        };
        let mut sheet = Self { out, book, row: 0, formats };
        let own = layout.columns().iter().map(|column| &column.name);
        for (column, name) in own.chain(added.iter().map(|column| &column.name)).enumerate() {
            sheet.cell(column as u16, &Value::Text(name.clone()))?;
        }
        sheet.row = 1;
        Ok(sheet)
    }

    fn cell(&mut self, column: u16, value: &Value) -> Result<(), XlsxError> {
        let (row, formats) = (self.row, &self.formats);
        let sheet = self.book.worksheet_from_index(0)?;
        match value {
            Value::Null => return Ok(()),
            Value::Bool(b) => return sheet.write_boolean(row, column, *b).map(drop),
            Value::Number(text) | Value::Text(text) => {
                if let Some(number) = number(text, matches!(value, Value::Number(_))) {
                    return sheet.write_number(row, column, number).map(drop);
                }
            }
            Value::Date(text) => {
                if let Some((date, format)) = date(text, formats) {
                    return sheet.write_datetime_with_format(row, column, &date, format).map(drop);
                }
            }
            Value::Json(_) | Value::Error(_) => {}
        }
        let text = cut(cells::shown(value));
        if cells::is_formula(text) {
            return sheet.write_string_with_format(row, column, text, &formats.quoted).map(drop);
        }
        sheet.write_string(row, column, text).map(drop)
    }
}

/// The number that Excel shows as `text` is written. One of a file's own numbers may be shown with another number
/// of digits, but never with another value.
fn number(text: &str, is_number: bool) -> Option<f64> {
    let number: f64 = text.parse().ok().filter(|n: &f64| n.is_finite())?;
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let same = number.to_string() == text && digits <= SHOWN_DIGITS;
    (same || is_number && digits <= 15).then_some(number)
}

fn date<'a>(text: &str, formats: &'a Formats) -> Option<(ExcelDateTime, &'a Format)> {
    let ((year, month, day), seconds) = dates::parts(text)?;
    let date = ExcelDateTime::from_ymd(u16::try_from(year).ok()?, month as u8, day as u8).ok()?;
    if seconds == 0.0 {
        return Some((date, &formats.date));
    }
    let minutes = seconds as u32 / 60;
    let second = seconds - f64::from(minutes * 60);
    Some((date.and_hms((minutes / 60) as u16, (minutes % 60) as u8, second).ok()?, &formats.moment))
}

/// As much of a text as a cell can hold.
fn cut(text: &str) -> &str {
    let mut units = 0;
    let mut over = text.char_indices().filter(|(_, c)| {
        units += c.len_utf16();
        units > MAX_CELL
    });
    if text.len() <= MAX_CELL { text } else { over.next().map_or(text, |(at, _)| &text[..at]) }
}

impl Sink for Sheet {
    fn row(&mut self, cells: &[&Value], _: Option<&Record>) -> Result<(), WriteError> {
        for (column, cell) in cells.iter().enumerate() {
            self.cell(column as u16, cell)?;
        }
        self.row += 1;
        Ok(())
    }

    fn cuts(&self, value: &Value) -> bool {
        let text = cells::shown(value);
        cut(text).len() < text.len()
    }

    fn finish(mut self: Box<Self>) -> Result<(), WriteError> {
        self.book.save_to_writer(Seekless(&mut self.out))?;
        Ok(self.out.flush()?)
    }
}

/// What is written, without a way back.
struct Seekless<'a>(&'a mut (dyn Write + Send));

impl Write for Seekless<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_numbers_where_excel_shows_them_so() {
        let check = |text: &str, is_number: bool, expect: Option<f64>| {
            assert_eq!(number(text, is_number), expect, "{text}");
        };
        check("12", false, Some(12.0));
        check("-0.5", false, Some(-0.5));
        for text in ["01012345678", "1.50", "123456789012", "1e3", "NaN", "inf", "", "+1", "12개"] {
            check(text, false, None);
        }
        check("1.50", true, Some(1.5));
        check("123456789012345", true, Some(123_456_789_012_345.0));
        check("1234567890123456", true, None);
    }

    #[test]
    fn a_cell_holds_so_much() {
        let long = "😀".repeat(20_000);
        assert_eq!(cut(&long).chars().count(), MAX_CELL / 2);
        assert_eq!(cut("짧다"), "짧다");
    }
}
