//! What a fitted calibration changes, measured by cross-fitting.

use serde::Serialize;

use super::SEED;
use super::calibrate::{FitError, check_labels, cross_fitted, fit, rare_labels};
use super::folds::FOLDS;
use super::metrics::{ANSWERED, Confusion, Scored, Selective, Trust, selective};
use super::predictions::{Prediction, probabilities};
use crate::dataset::Row;
use crate::sentiment::labels::Sentiment;
use crate::sentiment::profile::{Calibration, Scaling};
use crate::sentiment::score::{self, top};

/// How a calibration is fitted.
#[derive(Debug, Clone)]
pub struct Fitting {
    /// Weight of rare labels in the fit, in 0..=1: see [`calibrate`](super::calibrate).
    pub balance: f64,
    /// Comments that show their video are fitted apart from those that don't.
    pub by_video: bool,
    /// The calibration in force. Where comments are fitted apart, it stays for a kind that the data has too little of.
    pub present: Calibration,
}

/// Comments that are fitted together.
struct Kind<T> {
    shows_video: bool,
    /// What the terminal calls them; `None` for all comments.
    name: Option<&'static str>,
    rows: Vec<T>,
}

/// Comments without a video, and those with one.
const KINDS: [&str; 2] = ["without a video", "with a video"];

impl<T> Kind<T> {
    /// All rows, or the kinds that occur among them.
    fn of(by_video: bool, rows: impl Iterator<Item = (bool, T)>) -> Vec<Self> {
        let (with, without): (Vec<_>, Vec<_>) = rows.partition(|(shows_video, _)| by_video && *shows_video);
        let kind = |shows_video, name, rows: Vec<(bool, T)>| {
            let rows = rows.into_iter().map(|(_, row)| row).collect();
            Self { shows_video, name: by_video.then_some(name), rows }
        };
        let mut kinds = vec![kind(false, KINDS[0], without), kind(true, KINDS[1], with)];
        if kinds.iter().any(|kind| !kind.rows.is_empty()) {
            kinds.retain(|kind| !kind.rows.is_empty());
        }
        kinds
    }
}

/// Whether these rows can be calibrated with, as far as can be told before they are answered.
///
/// # Errors
/// [`FitError::TooFew`], [`FitError::Missing`]; if comments are fitted apart, those of one kind suffice.
pub fn check(rows: &[Row], by_video: bool) -> Result<(), FitError> {
    let labels = rows.iter().map(|row| (row.shows_video(), row.label));
    let checked: Vec<_> = Kind::of(by_video, labels).iter().map(|kind| check_labels(&kind.rows)).collect();
    checked.iter().find(|check| check.is_ok()).unwrap_or(&checked[0]).clone()
}

/// Whether no label's bias would rest on chance.
fn enough(rows: &[Scored]) -> Result<(), FitError> {
    check_labels(&rows.iter().map(|(label, _)| *label).collect::<Vec<_>>())?;
    rare_labels(rows)
        .first()
        .map_or(Ok(()), |(label, rows)| Err(FitError::Few { label: *label, rows: *rows }))
}

/// A label with too few rows to fit a bias to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rare {
    /// Which.
    pub label: Sentiment,
    /// Rows that it has.
    pub rows: usize,
    /// Among which comments, where they are fitted apart.
    pub kind: Option<&'static str>,
}

/// A fitted calibration, and what it changes on rows that its fit has not seen ([`cross_fitted`]).
#[derive(Debug, Clone)]
pub struct Recalibration {
    /// As [`Fitting::balance`].
    pub balance: f64,
    /// Fitted to all rows.
    pub fitted: Calibration,
    /// Under the model's present calibration.
    pub before: Summary,
    /// Under calibrations fitted to the other folds of the data.
    pub after: Summary,
    /// Labels with too few rows to fit a bias to.
    pub rare: Vec<Rare>,
    /// Comments that keep the present calibration, where they are fitted apart, and why.
    pub kept: Vec<(&'static str, FitError)>,
    /// What thresholds answer under the fitted calibration, on the rows that it was fitted to.
    pub selective: [Selective; ANSWERED.len()],
}

/// The figures to compare calibrations by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Share of right answers, in 0..=1.
    pub accuracy: f64,
    /// F1, each class among the labels or answers counting the same.
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

    fn figures(&self) -> [Figure; 5] {
        [
            ("accuracy", self.accuracy),
            ("macro F1", self.macro_f1),
            ("log-loss", self.trust.log_loss),
            ("Brier", self.trust.brier),
            ("ECE", self.trust.ece),
        ]
    }
}

/// A figure's name and value.
pub(super) type Figure = (&'static str, f64);

impl Recalibration {
    /// Fits to the answers with log-probabilities to these rows, and measures by cross-fitting.
    ///
    /// # Errors
    /// See [`FitError`].
    pub fn of(rows: &[Row], predictions: &[Prediction], how: &Fitting) -> Result<Self, FitError> {
        let mut fitted = Calibration { abstain_below: 0.0, ..how.present.clone() };
        fitted.with_video = how.by_video.then(|| how.present.scaling(true));
        let (mut after, mut under_fitted) = (Vec::new(), Vec::new());
        let (mut rare, mut kept) = (Vec::new(), Vec::new());
        let scored = |p: &Prediction| Some((rows[p.row].shows_video(), (p.label, p.log_probs?)));
        let kinds = Kind::of(how.by_video, predictions.iter().filter_map(scored));
        // One that is fitted well needs no other beside it that rests on chance.
        let some_are_enough = kinds.iter().any(|kind| enough(&kind.rows).is_ok());
        for Kind { shows_video, name, rows } in &kinds {
            let answer = |scaling| move |(truth, l): &Scored| (*truth, score::probabilities(*l, &scaling));
            let enough = if some_are_enough { enough(rows) } else { Ok(()) };
            match enough.and_then(|()| fit(rows, how.balance)) {
                Ok(scaling) => {
                    fitted.set_scaling(*shows_video, scaling);
                    let unseen = cross_fitted(rows, how.balance)?;
                    after.extend(rows.iter().map(|(truth, _)| *truth).zip(unseen));
                    let few = rare_labels(rows).into_iter();
                    rare.extend(few.map(|(label, rows)| Rare { label, rows, kind: *name }));
                }
                Err(fault) => {
                    kept.push((name.unwrap_or_default(), fault));
                    after.extend(rows.iter().map(answer(fitted.scaling(*shows_video))));
                }
            }
            under_fitted.extend(rows.iter().map(answer(fitted.scaling(*shows_video))));
        }
        if kept.len() == kinds.len() {
            return Err(kept.swap_remove(0).1);
        }
        Ok(Self {
            balance: how.balance,
            before: Summary::of(&probabilities(predictions)),
            after: Summary::of(&after),
            rare,
            kept,
            selective: selective(&under_fitted, ANSWERED),
            fitted,
        })
    }

    /// Why the model is better off without the fitted calibration, if it is: log-loss, which the fit lowers, is
    /// higher on rows that the fit has not seen; with a balance, macro F1 is lower.
    pub fn worse(&self) -> Option<String> {
        let (name, before, after) = if self.balance > 0.0 {
            ("macro F1", self.before.macro_f1, self.after.macro_f1)
        } else {
            ("log-loss", self.before.trust.log_loss, self.after.trust.log_loss)
        };
        let worse = if self.balance > 0.0 { after < before } else { after > before };
        worse.then(|| format!("{name} goes from {before:.4} to {after:.4} on rows that the fit has not seen"))
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n{:>12}{:>10}{:>10}\n", self.heading(), "", "before", "after");
        for ((name, before), (_, after)) in self.figures() {
            out += &format!("{name:>12}{before:>10.4}{after:>10.4}\n");
        }
        out += &format!("fitted to all rows: {}\n", words(&self.fitted));
        for sentence in self.warnings() {
            out += &format!("{sentence}\n");
        }
        out
    }

    /// What there is too little data for, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let kept = self.kept.iter();
        let kept = kept.map(|(kind, fault)| format!("comments {kind} keep the present calibration: {fault}"));
        let sentence = |Rare { label, rows, kind }: &Rare| {
            let verb = if *rows == 1 { "row is" } else { "rows are" };
            let kind = kind.map(|kind| format!(" among the comments {kind}")).unwrap_or_default();
            format!(
                "only {rows} {verb} labelled {label}{kind}: its bias and its part in \"after\" rest on chance; label at least {}",
                super::calibrate::FEW_ROWS
            )
        };
        kept.chain(self.rare.iter().map(sentence)).collect()
    }

    pub(super) fn heading(&self) -> String {
        let apart = if self.fitted.with_video.is_some() { "; comments with a video apart" } else { "" };
        format!(
            "calibration with balance {}; {FOLDS} folds, shuffled with seed {SEED} and stratified by label, each \
             calibrated by the fit to the others{apart}",
            self.balance
        )
    }

    pub(super) fn figures(&self) -> impl Iterator<Item = (Figure, Figure)> {
        self.before.figures().into_iter().zip(self.after.figures())
    }
}

/// A calibration in words, with three digits.
pub(super) fn words(calibration: &Calibration) -> String {
    let scaling = |Scaling { temperature, bias }: Scaling| {
        let bias = Sentiment::ALL.map(|class| format!("{class} {:+.3}", bias.get(class)));
        format!("temperature {temperature:.3}, bias {}", bias.join(", "))
    };
    let with = calibration.with_video.map(|own| format!("; with a video: {}", scaling(own)));
    scaling(calibration.scaling(false)) + &with.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as a model gives them whose log-probabilities are `sharp` times too far apart.
    fn answers(sharp: f64) -> Vec<Prediction> {
        let row = |row: usize| {
            let label = Sentiment::ALL[row % 3];
            // Three of four are right.
            let top = if row.is_multiple_of(4) { (row + 1) % 3 } else { row % 3 };
            let log_probs = std::array::from_fn(|c| {
                let wobble = ((row * 13 + c * 5) % 11) as f64 / 20.0;
                sharp * (if c == top { -0.2 } else { -2.4 } + wobble - 0.25)
            });
            let probabilities = score::probabilities(log_probs, &Scaling::NONE);
            Prediction {
                row,
                comment: String::new(),
                label,
                predicted: Some(super::top(&probabilities)),
                abstained: false,
                log_probs: Some(log_probs),
                probabilities: Some(probabilities),
                text: None,
            }
        };
        (0..120).map(row).collect()
    }

    fn titled(p: &Prediction) -> bool {
        p.row / 12 % 2 == 1
    }

    fn rows(answers: &[Prediction]) -> Vec<Row> {
        let row = |p: &Prediction| Row {
            comment: String::new(),
            video_title: titled(p).then(|| "제목".to_owned()),
            video_summary: None,
            label: p.label,
        };
        answers.iter().map(row).collect()
    }

    fn together(answers: &[Prediction]) -> Recalibration {
        let how = Fitting { balance: 0.0, by_video: false, present: Calibration::default() };
        Recalibration::of(&rows(answers), answers, &how).unwrap()
    }

    #[test]
    fn kinds_are_fitted_apart() {
        // Only the answers to titled comments are too sure.
        let mut answers = answers(1.0);
        for p in answers.iter_mut().filter(|p| titled(p)) {
            p.log_probs = p.log_probs.map(|l| l.map(|x| 3.0 * x));
        }
        let (rows, fitted) = (rows(&answers), together(&answers).fitted);
        assert_eq!(fitted.with_video, None);
        let present = Calibration { abstain_below: 0.5, ..Calibration::default() };
        let how = Fitting { balance: 0.0, by_video: true, present };
        let apart = Recalibration::of(&rows, &answers, &how).unwrap();
        let temperature = |video| apart.fitted.scaling(video).temperature;
        assert!((temperature(true) / temperature(false) - 3.0).abs() < 0.3, "{:?}", apart.fitted);
        assert!((temperature(false)..temperature(true)).contains(&fitted.temperature));
        assert_eq!(apart.fitted.abstain_below, 0.0);
        assert!(apart.after.trust.log_loss < together(&answers).after.trust.log_loss);
        let text = apart.text();
        assert!(text.contains("comments with a video apart") && text.contains("; with a video: "), "{text}");

        // A kind that the data has too little of keeps what is in force, and is named if it occurs.
        let only: Vec<Prediction> = answers.iter().filter(|p| titled(p)).cloned().collect();
        let kept = Recalibration::of(&rows, &only, &how).unwrap().fitted;
        assert_eq!((kept.scaling(false), kept.with_video), (Scaling::NONE, apart.fitted.with_video));
        let few: Vec<Prediction> = answers.iter().filter(|p| titled(p) || p.row < 3).cloned().collect();
        let change = Recalibration::of(&rows, &few, &how).unwrap();
        assert_eq!(change.fitted, kept);
        let warning = "comments without a video keep the present calibration: 3 rows are too few";
        assert!(change.text().contains(warning), "{}", change.text());
        let thin: Vec<Prediction> = answers.iter().filter(|p| titled(p) || p.row < 60).cloned().collect();
        let change = Recalibration::of(&rows, &thin, &how).unwrap();
        assert_eq!(change.fitted, kept);
        let warning = "comments without a video keep the present calibration: only 12 rows are labelled 긍정";
        assert!(change.warnings()[0].starts_with(warning), "{:?}", change.warnings());
        let plain: Vec<Prediction> = answers.iter().filter(|p| !titled(p) || p.row < 24).cloned().collect();
        let fitted = Recalibration::of(&rows, &plain, &how).unwrap().fitted;
        assert_eq!(
            (fitted.scaling(false), fitted.scaling(true)),
            (apart.fitted.scaling(false), Scaling::NONE)
        );
        let few: Vec<Row> = few.iter().map(|p| rows[p.row].clone()).collect();
        assert_eq!((check(&few, true), check(&few[..12], true)), (Ok(()), Err(FitError::TooFew { rows: 3 })));
    }

    #[test]
    fn worse_goes_by_what_was_asked_for() {
        assert_eq!(together(&answers(5.0)).worse(), None);
        let mut change = together(&answers(1.0));
        (change.before.trust.log_loss, change.after.trust.log_loss) = (0.5, 0.6);
        assert!(change.worse().unwrap().contains("log-loss goes from 0.5000 to 0.6000"));
        (change.balance, change.before.macro_f1, change.after.macro_f1) = (0.5, 0.4, 0.5);
        assert_eq!(change.worse(), None);
        change.before.macro_f1 = 0.6;
        assert!(change.worse().unwrap().contains("macro F1"));
    }

    #[test]
    fn thresholds_are_those_of_the_fitted_calibration() {
        let answers = answers(5.0);
        let change = together(&answers);
        for s in change.selective {
            let threshold: f64 = s.abstain_below.to_string().parse().unwrap();
            let calibration = Calibration { abstain_below: threshold, ..change.fitted.clone() };
            let kept = answers
                .iter()
                .filter(|p| !score::Verdict::new(p.log_probs.unwrap(), &calibration, false).abstained)
                .count();
            assert_eq!(kept as f64 / answers.len() as f64, s.answered, "{s:?}");
        }
    }

    #[test]
    fn too_few_rows_of_a_label_are_told() {
        let mut answers = answers(2.0);
        answers.retain(|p| p.label != Sentiment::Neutral || p.row < 10);
        for (row, p) in answers.iter_mut().enumerate() {
            p.row = row;
        }
        let text = together(&answers).text();
        assert!(text.contains("only 3 rows are labelled 중립"), "{text}");
        assert!(text.contains("5 folds") && text.contains(&SEED.to_string()), "{text}");
    }
}
