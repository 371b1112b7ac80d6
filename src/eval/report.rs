//! What an evaluation found, as text for a terminal, as Markdown and as JSON.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value, json};
use unicode_width::UnicodeWidthStr;

use super::calibrate::{FOLDS, FitError, cross_fitted, fit};
use super::fidelity::Fidelity;
use super::metrics::{BINS, Bin, Confusion, Scored, Scores, Selective, Trust, reliability, selective, top};
use super::predictions::{Mode, Prediction, Source, log_probs, probabilities};
use crate::sentiment::labels::Sentiment;
use crate::sentiment::profile::Calibration;

/// What an evaluation found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The model, in words.
    pub model: String,
    /// The data set, in words.
    pub data: String,
    /// Hashes of both, and how answers were taken.
    pub source: Source,
    /// Answers counted by label.
    pub confusion: Confusion,
    /// How far the model's probabilities can be trusted, where it gave any.
    pub reliability: Option<Reliability>,
    /// What calibration would change.
    pub calibration: Option<Recalibration>,
    /// Differences from a reference model.
    pub fidelity: Option<Fidelity>,
    /// Rows answered in this run, and the seconds that they took.
    pub speed: Option<(usize, f64)>,
}

/// Shares of the rows for which an abstain threshold is shown.
const ANSWERED: [f64; 5] = [1.0, 0.9, 0.8, 0.7, 0.5];

/// How far the probabilities can be trusted.
#[derive(Debug, Clone, Copy)]
pub struct Reliability {
    /// The figures.
    pub trust: Trust,
    /// The bins that ECE is computed from.
    pub bins: [Bin; BINS],
    /// What withholding unsure answers would gain.
    pub selective: [Selective; ANSWERED.len()],
}

impl Reliability {
    /// For rows of true label and probabilities.
    pub fn of(rows: &[Scored]) -> Self {
        Self { trust: Trust::of(rows), bins: reliability(rows), selective: selective(rows, ANSWERED) }
    }
}

/// A fitted calibration, and what it changes on rows that its fit has not seen
/// ([`cross_fitted`]).
#[derive(Debug, Clone)]
pub struct Recalibration {
    /// Weight of rare labels in the fit, in 0..=1: see [`calibrate`](super::calibrate).
    pub balance: f64,
    /// Fitted to all rows.
    pub fitted: Calibration,
    /// Under the model's present calibration.
    pub before: Summary,
    /// Under calibrations fitted to the other parts of the data.
    pub after: Summary,
}

/// The figures to compare calibrations by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Share of right answers, in 0..=1.
    pub accuracy: f64,
    /// F1, each class counting the same.
    pub macro_f1: f64,
    /// How far the probabilities can be trusted.
    #[serde(flatten)]
    pub trust: Trust,
}

impl Summary {
    /// The figures for rows of true label and probabilities.
    pub fn of(rows: &[Scored]) -> Self {
        let confusion = Confusion::of(rows.iter().map(|(truth, p)| (*truth, Some(top(p)))));
        Self {
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_average().f1,
            trust: Trust::of(rows),
        }
    }

    fn figures(&self) -> [(&'static str, f64); 5] {
        [
            ("accuracy", self.accuracy),
            ("macro F1", self.macro_f1),
            ("log-loss", self.trust.log_loss),
            ("Brier", self.trust.brier),
            ("ECE", self.trust.ece),
        ]
    }
}

/// `text` right-aligned in `width` terminal columns; a Hangul syllable takes two.
fn right(text: &str, width: usize) -> String {
    " ".repeat(width.saturating_sub(text.width())) + text
}

fn averages(confusion: &Confusion) -> [(&'static str, Scores); 2] {
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
    for class in Sentiment::ALL {
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

const UNREADABLE: &str = "읽지 못함";

/// Rows of the confusion matrix, the unreadable answers last if there are any.
fn matrix(confusion: &Confusion) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let mut names: Vec<&str> = Sentiment::ALL.iter().map(|class| class.korean()).collect();
    let unreadable = confusion.unreadable.iter().any(|n| *n > 0);
    names.extend(unreadable.then_some(UNREADABLE));
    let rows = confusion.counts.iter().zip(confusion.unreadable).map(|(row, lost)| {
        let cells = row.iter().copied().chain(unreadable.then_some(lost));
        cells.map(|n| n.to_string()).collect()
    });
    (names, rows.collect())
}

fn fitted(calibration: &Calibration) -> String {
    let bias = Sentiment::ALL.map(|class| format!("{class} {:+.3}", calibration.bias.get(class)));
    format!("temperature {:.3}, bias {}", calibration.temperature, bias.join(", "))
}

impl Report {
    /// For a terminal.
    pub fn text(&self) -> String {
        let mut out = format!(
            "model  {}\ndata   {}\nmode   {}\n\n{}\n",
            self.model,
            self.data,
            self.mode_name(),
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
            out += "\n    answered  abstain below  accuracy\n";
            for s in selective {
                let share = 100.0 * s.answered;
                out += &format!("{share:>10.1} %{:>15.3}{:>10.4}\n", s.abstain_below, s.accuracy);
            }
        }
        if let Some(change) = &self.calibration {
            out.push('\n');
            out += &change.text();
        }
        out
    }

    /// For a document.
    pub fn markdown(&self) -> String {
        let table = |header: &[&str], rows: &[Vec<String>]| {
            let mut text = format!("| {} |\n|", header.join(" | "));
            text += " --- |";
            text += &" ---: |".repeat(header.len() - 1);
            for row in rows {
                let _ = write!(text, "\n| {} |", row.join(" | "));
            }
            text + "\n"
        };
        let mut out =
            format!("- model: {}\n- data: {}\n- mode: {}\n\n", self.model, self.data, self.mode_name());
        let scores = |name: &str, s: Scores| {
            let share = |x: f64| format!("{x:.3}");
            vec![name.into(), share(s.precision), share(s.recall), share(s.f1), s.support.to_string()]
        };
        let mut rows: Vec<_> = Sentiment::ALL
            .iter()
            .map(|class| scores(class.korean(), self.confusion.scores(*class)))
            .collect();
        let accuracy = format!("{:.3}", self.confusion.accuracy());
        let total = self.confusion.total().to_string();
        rows.push(vec!["accuracy".into(), String::new(), String::new(), accuracy, total]);
        rows.extend(averages(&self.confusion).map(|(name, s)| scores(name, s)));
        out += &table(&["", "precision", "recall", "f1-score", "support"], &rows);

        let (names, rows) = matrix(&self.confusion);
        let rows: Vec<Vec<String>> =
            names.iter().zip(rows).map(|(name, row)| [vec![format!("**{name}**")], row].concat()).collect();
        out.push('\n');
        out += &table(&[&["true \\ answer"], names.as_slice()].concat(), &rows);
        for sentence in self.sentences() {
            let _ = write!(out, "\n{sentence}\n");
        }
        if let Some(Reliability { selective, .. }) = &self.reliability {
            let rows = selective.map(|s| {
                let share = format!("{:.1} %", 100.0 * s.answered);
                vec![share, format!("{:.3}", s.abstain_below), format!("{:.4}", s.accuracy)]
            });
            out.push('\n');
            out += &table(&["answered", "abstain below", "accuracy"], &rows);
        }
        if let Some(change) = &self.calibration {
            let rows: Vec<_> = change
                .figures()
                .map(|((name, before), (_, after))| {
                    vec![name.into(), format!("{before:.4}"), format!("{after:.4}")]
                })
                .collect();
            let _ = write!(out, "\n{}\n\n", change.heading());
            out += &table(&["", "before", "after"], &rows);
            let _ = write!(out, "\nFitted to all rows: {}\n", fitted(&change.fitted));
        }
        out
    }

    /// For a program. Keys and class names are stable; shares are in 0..=1, divergences in nats.
    pub fn json(&self) -> Value {
        let classes: Map<String, Value> = Sentiment::ALL
            .into_iter()
            .map(|class| (class.name().into(), json!(self.confusion.scores(class))))
            .collect();
        let mut report = json!({
            "model": self.model,
            "model_sha256": self.source.model,
            "data": self.data,
            "data_sha256": self.source.data,
            "mode": self.source.mode,
            "rows": self.confusion.total(),
            "accuracy": self.confusion.accuracy(),
            "macro_f1": self.confusion.macro_average().f1,
            "classes": classes,
            "macro_avg": self.confusion.macro_average(),
            "weighted_avg": self.confusion.weighted_average(),
            "confusion": self.confusion.counts,
            "unreadable": self.confusion.unreadable,
        });
        if let Some(Reliability { trust, bins, selective }) = &self.reliability {
            report["log_loss"] = json!(trust.log_loss);
            report["brier"] = json!(trust.brier);
            report["ece"] = json!(trust.ece);
            report["reliability"] = json!(bins);
            report["selective"] = json!(selective);
        }
        if let Some(change) = &self.calibration {
            report["calibration"] = json!({
                "balance": change.balance,
                "parts": FOLDS,
                "before": change.before,
                "after": change.after,
                "fitted": change.fitted,
            });
        }
        if let Some(fidelity) = &self.fidelity {
            report["fidelity"] = json!(fidelity);
            report["fidelity"]["flip_rate"] = json!(fidelity.flip_rate());
        }
        if let Some((rows, seconds)) = self.speed {
            report["seconds"] = json!(seconds);
            report["comments_per_second"] = json!(rows as f64 / seconds);
        }
        report
    }

    fn mode_name(&self) -> &'static str {
        match self.source.mode {
            Mode::Score => "score",
            Mode::Generate => "generate",
        }
    }

    /// The figures that are not tables, a sentence a subject.
    fn sentences(&self) -> Vec<String> {
        let confusion = &self.confusion;
        let mut sentences = vec![format!(
            "accuracy {:.4}, macro F1 {:.4}",
            confusion.accuracy(),
            confusion.macro_average().f1
        )];
        let lost: u64 = confusion.unreadable.iter().sum();
        if self.source.mode == Mode::Generate {
            let total = confusion.total();
            sentences.push(format!("{lost} of {total} answers named no label; they count as wrong"));
        }
        if let Some(Reliability { trust, .. }) = &self.reliability {
            sentences.push(format!(
                "log-loss {:.4} nats, Brier {:.4}, ECE {:.4} ({BINS} equal bins of the top probability)",
                trust.log_loss, trust.brier, trust.ece
            ));
        }
        if let Some(f) = &self.fidelity {
            sentences.push(format!(
                "against the reference: {} of {} verdicts flip ({:.2} %), KL mean {:.5}, max {:.4} nats, \
                 accuracy {:.4} against {:.4} ({:+.4})",
                f.flips,
                f.rows,
                100.0 * f.flip_rate(),
                f.mean_kl,
                f.max_kl,
                f.accuracy,
                f.reference_accuracy,
                f.accuracy - f.reference_accuracy
            ));
        }
        if let Some((rows, seconds)) = self.speed {
            sentences
                .push(format!("{rows} comments in {seconds:.1} s: {:.2} comments/s", rows as f64 / seconds));
        }
        sentences
    }
}

type Figure = (&'static str, f64);

impl Recalibration {
    /// Fit to answers with log-probabilities, and measure by cross-fitting.
    ///
    /// # Errors
    /// See [`FitError`].
    pub fn of(predictions: &[Prediction], balance: f64) -> Result<Self, FitError> {
        let rows = log_probs(predictions);
        let fitted = fit(&rows, balance)?;
        let calibrated = cross_fitted(&rows, balance)?;
        let after: Vec<Scored> = rows.iter().map(|(truth, _)| *truth).zip(calibrated).collect();
        Ok(Self {
            balance,
            fitted,
            before: Summary::of(&probabilities(predictions)),
            after: Summary::of(&after),
        })
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n{:>12}{:>10}{:>10}\n", self.heading(), "", "before", "after");
        for ((name, before), (_, after)) in self.figures() {
            out += &format!("{name:>12}{before:>10.4}{after:>10.4}\n");
        }
        out + &format!("fitted to all rows: {}\n", fitted(&self.fitted))
    }

    fn heading(&self) -> String {
        format!(
            "calibration with balance {}; each fifth of the rows calibrated by the fit to the other four",
            self.balance
        )
    }

    fn figures(&self) -> impl Iterator<Item = (Figure, Figure)> {
        self.before.figures().into_iter().zip(self.after.figures())
    }
}
