//! What a report contains, and its sentences.

use crate::eval::fidelity::Fidelity;
use crate::eval::identity::{Identity, Mode};
use crate::eval::intervals::{Interval, Intervals};
use crate::eval::metrics::{
    ANSWERED, BINS, Bin, Confusion, Scored, Selective, Trust, reliability, selective,
};
use crate::eval::reasons::Reasons;
use crate::eval::recalibration::Recalibration;
use crate::eval::slices::{SliceFigures, SliceIntervals, Slices};
use crate::eval::withheld::Withheld;
use crate::sentiment::labels::Sentiment;
use crate::text::shown::shown;

/// What an evaluation found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The model, in words.
    pub model: String,
    /// The data set, in words.
    pub data: String,
    /// What decided the answers.
    pub identity: Identity,
    /// Rows asked for at most, where the run was limited.
    pub limit: Option<u32>,
    /// Answers counted by label.
    pub confusion: Confusion,
    /// How sure the figures are; `None` without rows.
    pub intervals: Option<Intervals>,
    /// What the model withholds, if it does.
    pub withheld: Option<Withheld>,
    /// How far the model's probabilities can be trusted, where it gave any.
    pub reliability: Option<Reliability>,
    /// What calibration would change.
    pub calibration: Option<Recalibration>,
    /// Differences from a reference model.
    pub fidelity: Option<Comparison>,
    /// The figures by the values of columns.
    pub slices: Vec<Slices>,
    /// What is wrong with the reasons, where some were asked for.
    pub reasons: Option<Reasons>,
    /// Rows answered in this run, and the seconds that they took.
    pub speed: Option<(usize, f64)>,
}

/// Differences from a reference.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// What was measured.
    pub fidelity: Fidelity,
    /// What differs between the two runs, such as `model`; `None` where the reference doesn't say.
    pub differs: Option<Vec<String>>,
}

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

impl Report {
    /// The figures that are not tables, a sentence a subject.
    pub(super) fn sentences(&self) -> Vec<String> {
        let confusion = &self.confusion;
        let mut sentences = vec![format!(
            "accuracy {:.4}, macro F1 {:.4}",
            confusion.accuracy(),
            confusion.macro_average().f1
        )];
        let absent: Vec<&str> =
            Sentiment::ALL.iter().filter(|c| !confusion.occurs(**c)).map(|c| c.korean()).collect();
        if !absent.is_empty() && absent.len() < 3 {
            sentences.push(format!(
                "macro averages leave out {}, which is neither a label nor an answer",
                absent.join(", ")
            ));
        }
        let lost: u64 = confusion.unreadable.iter().sum();
        if self.identity.mode == Mode::Generate {
            let total = confusion.total();
            sentences.push(format!("{lost} of {total} answers named no label; they count as wrong"));
        }
        if let Some(Reliability { trust, .. }) = &self.reliability {
            sentences.push(format!(
                "log-loss {:.4} nats, Brier {:.4}, ECE {:.4} ({BINS} equal bins of the top probability)",
                trust.log_loss, trust.brier, trust.ece
            ));
        }
        sentences.extend(self.intervals.as_ref().map(Intervals::sentence));
        sentences.extend(self.withheld.as_ref().map(Withheld::sentence));
        sentences.extend(self.fidelity.iter().flat_map(Comparison::sentences));
        sentences.extend(self.reasons.as_ref().map(Reasons::sentence));
        if let Some((rows, seconds)) = self.speed {
            sentences
                .push(format!("{rows} comments in {seconds:.1} s: {:.2} comments/s", rows as f64 / seconds));
        }
        sentences
    }
}

impl Comparison {
    fn sentences(&self) -> [String; 2] {
        let f = &self.fidelity;
        let compared = match &self.differs {
            None => "the reference doesn't say what made it".to_owned(),
            Some(names) if names.is_empty() => {
                "both runs have the same model, profile and options".to_owned()
            }
            Some(names) => format!("what differs: {}", names.join(", ")),
        };
        [
            format!(
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
            ),
            format!(
                "right alone: {} answers of the tested model, {} of the reference (McNemar's exact p = {:.4}); both \
                 under the tested model's calibration; {compared}",
                f.only_right, f.only_reference_right, f.mcnemar_p
            ),
        ]
    }
}

const UNREADABLE: &str = "읽지 못함";

/// Rows of the confusion matrix, the unreadable answers last if there are any.
pub(super) fn matrix(confusion: &Confusion) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let mut names: Vec<&str> = Sentiment::ALL.iter().map(|class| class.korean()).collect();
    let unreadable = confusion.unreadable.iter().any(|n| *n > 0);
    names.extend(unreadable.then_some(UNREADABLE));
    let rows = confusion.counts.iter().zip(confusion.unreadable).map(|(row, lost)| {
        let cells = row.iter().copied().chain(unreadable.then_some(lost));
        cells.map(|n| n.to_string()).collect()
    });
    (names, rows.collect())
}

/// The header of a table of slices, after the column's name.
pub(super) const SLICE_HEADER: [&str; 3] = ["rows", "accuracy (95 %)", "macro F1 (95 %)"];

/// The table of a column's slices, a row a value: its name, rows, accuracy and macro F1 with their intervals.
pub(super) fn slice_rows(slices: &Slices) -> Vec<[String; 4]> {
    let row = |name: String, figures: &SliceFigures| {
        let with = |x: f64, i: Interval| format!("{x:.4} ({:.4} to {:.4})", i.from, i.to);
        let SliceIntervals { accuracy, macro_f1 } = figures.intervals_95;
        let (accuracy, macro_f1) = (with(figures.accuracy, accuracy), with(figures.macro_f1, macro_f1));
        [name, figures.rows.to_string(), accuracy, macro_f1]
    };
    let name = |value: &str| if value.is_empty() { "(empty)".to_owned() } else { shown(value) };
    let values = slices.values.iter().map(|slice| row(name(&slice.value), &slice.figures));
    let others = slices.others.as_ref();
    let others = others.map(|o| row(format!("(others: {} values)", o.values), &o.figures));
    values.chain(others).collect()
}

/// The thresholds' table, a row a share: share answered, threshold, accuracy.
pub(super) fn thresholds(selective: &[Selective]) -> impl Iterator<Item = [String; 3]> {
    selective.iter().map(|s| {
        [format!("{:.1} %", 100.0 * s.answered), s.abstain_below.to_string(), format!("{:.4}", s.accuracy)]
    })
}
