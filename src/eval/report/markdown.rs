//! The report for a document.

use std::fmt::Write;

use super::content::{Reliability, Report, SLICE_HEADER, matrix, slice_rows, thresholds};
use super::text::averages;
use crate::eval::metrics::{Scores, Selective};
use crate::eval::recalibration::{Recalibration, words};
use crate::eval::slices::Slices;
use crate::sentiment::labels::Sentiment;
use crate::text::shown::shown;

fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|", header.join(" | "));
    text += " --- |";
    text += &" ---: |".repeat(header.len() - 1);
    for row in rows {
        let _ = write!(text, "\n| {} |", row.join(" | "));
    }
    text + "\n"
}

fn threshold_table(selective: &[Selective]) -> String {
    let rows: Vec<Vec<String>> = thresholds(selective).map(Vec::from).collect();
    table(&["answered", "abstain below", "accuracy"], &rows)
}

fn slice_table(slices: &Slices) -> String {
    let cell = |text: String| text.replace('|', "\\|");
    let rows: Vec<Vec<String>> = slice_rows(slices).into_iter().map(|row| row.map(cell).to_vec()).collect();
    let column = cell(shown(&slices.column));
    table(&[&[column.as_str()], &SLICE_HEADER[..]].concat(), &rows)
}

impl Report {
    /// For a document.
    pub fn markdown(&self) -> String {
        let mode = self.identity.mode.name();
        let mut out = format!("- model: {}\n- data: {}\n- mode: {mode}\n\n", self.model, self.data);
        out += &self.scores_table();
        let (names, rows) = matrix(&self.confusion);
        let rows: Vec<Vec<String>> =
            names.iter().zip(rows).map(|(name, row)| [vec![format!("**{name}**")], row].concat()).collect();
        out.push('\n');
        out += &table(&[&["true \\ answer"], names.as_slice()].concat(), &rows);
        for sentence in self.sentences() {
            let _ = write!(out, "\n{sentence}\n");
        }
        if let Some(Reliability { selective, .. }) = &self.reliability {
            out.push('\n');
            out += &threshold_table(selective);
        }
        for slices in &self.slices {
            out.push('\n');
            out += &slice_table(slices);
        }
        if let Some(change) = &self.calibration {
            out += &recalibration(change);
        }
        out
    }

    fn scores_table(&self) -> String {
        let scores = |name: &str, s: Scores| {
            let share = |x: f64| format!("{x:.3}");
            vec![name.into(), share(s.precision), share(s.recall), share(s.f1), s.support.to_string()]
        };
        let mut rows: Vec<_> = Sentiment::ALL
            .iter()
            .filter(|class| self.confusion.occurs(**class))
            .map(|class| scores(class.korean(), self.confusion.scores(*class)))
            .collect();
        let accuracy = format!("{:.3}", self.confusion.accuracy());
        let total = self.confusion.total().to_string();
        rows.push(vec!["accuracy".into(), String::new(), String::new(), accuracy, total]);
        rows.extend(averages(&self.confusion).map(|(name, s)| scores(name, s)));
        table(&["", "precision", "recall", "f1-score", "support"], &rows)
    }
}

fn recalibration(change: &Recalibration) -> String {
    let rows: Vec<_> = change
        .figures()
        .map(|((name, before), (_, after))| vec![name.into(), format!("{before:.4}"), format!("{after:.4}")])
        .collect();
    let mut out = format!("\n{}\n\n", change.heading());
    out += &table(&["", "before", "after"], &rows);
    let _ = write!(out, "\nFitted to all rows: {}\n", words(&change.fitted));
    for sentence in change.warnings() {
        let _ = write!(out, "\n{sentence}\n");
    }
    out += "\nUnder the fitted calibration, on the rows that it was fitted to:\n\n";
    out + &threshold_table(&change.selective)
}
