//! The report for a terminal.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::content::{Reliability, Report, SLICE_HEADER, matrix, slice_rows, thresholds};
use crate::eval::metrics::{Confusion, Scores, Selective};
use crate::eval::recalibration::Recalibration;
use crate::eval::slices::Slices;
use crate::sentiment::labels::Sentiment;
use crate::text::shown::shown;

/// `text` right-aligned in `width` terminal columns; a Hangul syllable takes two.
fn right(text: &str, width: usize) -> String {
    " ".repeat(width.saturating_sub(text.width())) + text
}

pub(super) fn averages(confusion: &Confusion) -> [(&'static str, Scores); 2] {
    [("macro avg", confusion.macro_average()), ("weighted avg", confusion.weighted_average())]
}

/// The table in the shape of scikit-learn's `classification_report`.
pub fn classification_report(confusion: &Confusion, digits: usize) -> String {
    let width = "weighted avg".len().max(digits);
    let line = |name: &str, cells: [String; 4]| {
        let cells: String = cells.iter().map(|cell| format!(" {cell:>9}")).collect();
        right(name, width) + " " + &cells + "\n"
    };
    let scores = |name: &str, s: Scores| {
        let share = |x: f64| format!("{x:.digits$}");
        let cells = [share(s.precision), share(s.recall), share(s.f1), s.support.to_string()];
        line(name, cells)
    };
    let mut text = line("", ["precision", "recall", "f1-score", "support"].map(Into::into));
    text.push('\n');
    for class in Sentiment::ALL.into_iter().filter(|class| confusion.occurs(*class)) {
        text += &scores(class.korean(), confusion.scores(class));
    }
    let accuracy = format!("{:.digits$}", confusion.accuracy());
    let cells = [String::new(), String::new(), accuracy, confusion.total().to_string()];
    text.push('\n');
    text += &line("accuracy", cells);
    for (name, average) in averages(confusion) {
        text += &scores(name, average);
    }
    text
}

/// The table of thresholds.
fn threshold_table(selective: &[Selective]) -> String {
    let mut out = "\n    answered  abstain below  accuracy\n".to_owned();
    for [share, threshold, accuracy] in thresholds(selective) {
        let _ = writeln!(out, "{share:>12}{threshold:>15}{accuracy:>10}");
    }
    out
}

/// The table of a column's slices; the names come last, because they may be long.
fn slice_table(slices: &Slices) -> String {
    let [rows, accuracy, macro_f1] = SLICE_HEADER;
    let line = |[name, rows, accuracy, macro_f1]: [&str; 4]| {
        format!("{rows:>12}{accuracy:>28}{macro_f1:>28}  {name}\n")
    };
    let mut out = format!("\n{}", line([&shown(&slices.column), rows, accuracy, macro_f1]));
    for row in slice_rows(slices) {
        out += &line(row.each_ref().map(String::as_str));
    }
    out
}

impl Recalibration {
    /// The fit, and the thresholds under it, for a terminal.
    pub fn with_thresholds(&self) -> String {
        let note = "\nunder the fitted calibration, on the rows that it was fitted to:";
        format!("{}{note}{}", self.text(), threshold_table(&self.selective))
    }
}

impl Report {
    /// For a terminal.
    pub fn text(&self) -> String {
        let mut out = format!(
            "model  {}\ndata   {}\nmode   {}\n\n{}\n",
            self.model,
            self.data,
            self.identity.mode.name(),
            classification_report(&self.confusion, 2)
        );
        let (names, rows) = matrix(&self.confusion);
        let line = |name: &str, cells: &[String]| {
            let cells: String = cells.iter().map(|cell| right(cell, 10)).collect();
            right(name, 12) + &cells + "\n"
        };
        let header: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        out += &line("true\\answer", &header);
        for (name, row) in names.iter().zip(&rows) {
            out += &line(name, row);
        }
        for sentence in self.sentences() {
            let _ = write!(out, "\n{sentence}\n");
        }
        if let Some(Reliability { selective, .. }) = &self.reliability {
            out += &threshold_table(selective);
        }
        for slices in &self.slices {
            out += &slice_table(slices);
        }
        if let Some(change) = &self.calibration {
            out.push('\n');
            out += &change.with_thresholds();
        }
        out
    }
}
