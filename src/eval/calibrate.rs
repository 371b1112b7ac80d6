//! Fitting a temperature and class biases, so that a probability of 0.8 is right in 80 % of cases.
//!
//! The calibrated probabilities are softmax(log-probability / temperature + bias): temperature
//! scaling (Guo et al. 2017, arXiv 1706.04599) with a bias for each class. With a = 1/temperature
//! the logits are linear in (a, bias), so the negative log-likelihood is convex, and Newton's
//! method finds its one minimum in a few steps.

use serde::Serialize;

use super::metrics::{Confusion, Scored, top};
use crate::labels::Sentiment;
use crate::profile::{Calibration, Labels};
use crate::score::probabilities;

/// Strength of the pull towards "change nothing", in rows' worth of curvature: keeps the fit
/// finite where a small data set is answered without an error.
const RIDGE: f64 = 0.1;
/// Fewer rows than this fit noise.
pub const MIN_ROWS: usize = 30;
/// Parts of the data set in [`cross_fitted`].
pub const FOLDS: usize = 5;

/// What the fit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Honest probabilities: temperature and biases minimise the negative log-likelihood.
    #[default]
    Likelihood,
    /// Even-handed answers: the biases maximise macro F1, so that a rare class is found too; the
    /// temperature then minimises the negative log-likelihood among all that answer the same.
    MacroF1,
}

/// Why nothing can be fitted.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum FitError {
    /// Too little data.
    #[error("{rows} rows are too few to calibrate with: at least {MIN_ROWS} are needed")]
    TooFew {
        /// Rows given.
        rows: usize,
    },
    /// A class that the data does not show.
    #[error("no row is labelled {0}: calibration needs every label")]
    Missing(Sentiment),
    /// NaN or infinite log-probabilities.
    #[error("row {0}: log-probabilities must be finite")]
    NotFinite(usize),
    /// Higher scores do not mean likelier labels.
    #[error("the model's scores do not tell the labels of this data set apart: nothing to calibrate")]
    Uninformative,
}

fn softmax(logits: [f64; 3]) -> [f64; 3] {
    let max = logits.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let weights = logits.map(|z| (z - max).exp());
    let sum: f64 = weights.iter().sum();
    weights.map(|w| w / sum)
}

/// Whether rows of these labels can be calibrated with.
///
/// # Errors
/// [`FitError::TooFew`], [`FitError::Missing`].
pub fn check_labels(labels: &[Sentiment]) -> Result<(), FitError> {
    if labels.len() < MIN_ROWS {
        return Err(FitError::TooFew { rows: labels.len() });
    }
    match Sentiment::ALL.into_iter().find(|class| !labels.contains(class)) {
        Some(class) => Err(FitError::Missing(class)),
        None => Ok(()),
    }
}

fn check(rows: &[Scored]) -> Result<(), FitError> {
    check_labels(&rows.iter().map(|(label, _)| *label).collect::<Vec<_>>())?;
    match rows.iter().position(|(_, l)| l.iter().any(|x| !x.is_finite())) {
        Some(i) => Err(FitError::NotFinite(i)),
        None => Ok(()),
    }
}

/// Fit to rows of true label and log-probabilities in nats; biases sum to zero.
/// `abstain_below` stays off.
///
/// # Errors
/// See [`FitError`].
pub fn fit(rows: &[Scored], objective: Objective) -> Result<Calibration, FitError> {
    check(rows)?;
    fit_checked(rows, objective)
}

fn fit_checked(rows: &[Scored], objective: Objective) -> Result<Calibration, FitError> {
    let theta = match objective {
        Objective::Likelihood => minimise(rows, affine_features)?,
        Objective::MacroF1 => {
            let likely: [f64; 3] = minimise(rows, affine_features)?;
            let offsets = best_offsets(rows, [likely[1] / likely[0], likely[2] / likely[0]]);
            let [a] = minimise(rows, |l| [[l[0], l[1] + offsets[0], l[2] + offsets[1]]])?;
            [a, a * offsets[0], a * offsets[1]]
        }
    };
    let [a, neutral, negative] = theta;
    let mean = (neutral + negative) / 3.0;
    Ok(Calibration {
        temperature: 1.0 / a,
        bias: Labels { positive: -mean, neutral: neutral - mean, negative: negative - mean },
        ..Calibration::default()
    })
}

/// Probabilities for every row under calibrations that have not seen it: row i belongs to part
/// i mod [`FOLDS`], and is answered by the fit to the other parts. What is measured on these is
/// what new comments of the same kind will get.
///
/// # Errors
/// See [`FitError`].
pub fn cross_fitted(rows: &[Scored], objective: Objective) -> Result<Vec<[f64; 3]>, FitError> {
    check(rows)?;
    let mut calibrated = vec![[0.0; 3]; rows.len()];
    for fold in 0..FOLDS {
        let seen: Vec<Scored> = (0..rows.len()).filter(|i| i % FOLDS != fold).map(|i| rows[i]).collect();
        let calibration = fit_checked(&seen, objective)?;
        for i in (fold..rows.len()).step_by(FOLDS) {
            calibrated[i] = probabilities(rows[i].1, &calibration);
        }
    }
    Ok(calibrated)
}

/// Logits of a row are the sum over parameters k of theta[k] · features[k]; the first parameter
/// is the inverse temperature, the others are the biases of 중립 and 부정 against 긍정.
fn affine_features(log_probs: &[f64; 3]) -> [[f64; 3]; 3] {
    [*log_probs, [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
}

/// Newton's method with step halving on the penalised negative log-likelihood
/// Σ −log softmax(logits)[truth] + RIDGE/2 · |theta − (1, 0, 0)|².
fn minimise<const K: usize>(
    rows: &[Scored],
    features: impl Fn(&[f64; 3]) -> [[f64; 3]; K],
) -> Result<[f64; K], FitError> {
    let rows: Vec<(usize, [[f64; 3]; K])> =
        rows.iter().map(|(truth, log_probs)| (truth.index(), features(log_probs))).collect();
    let start: [f64; K] = std::array::from_fn(|k| f64::from(k == 0));
    let loss = |theta: &[f64; K]| -> f64 {
        let fit: f64 = rows
            .iter()
            .map(|(truth, x)| -softmax(logits(theta, x))[*truth].max(f64::MIN_POSITIVE).ln())
            .sum();
        let pull: f64 = (0..K).map(|k| (theta[k] - start[k]).powi(2)).sum();
        fit + RIDGE / 2.0 * pull
    };
    let mut theta = start;
    let mut value = loss(&theta);
    for _ in 0..100 {
        let (gradient, hessian) = derivatives(&rows, &theta, &start);
        let step = solve(hessian, gradient);
        let mut length = 1.0;
        let (next, lower) = loop {
            let next = std::array::from_fn(|k| theta[k] - length * step[k]);
            let lower = loss(&next);
            if lower <= value || length < 1e-9 {
                break (next, lower);
            }
            length /= 2.0;
        };
        let done = value - lower <= 1e-12 * value.abs();
        if lower <= value {
            (theta, value) = (next, lower);
        }
        if done {
            break;
        }
    }
    if theta[0] > 1e-3 { Ok(theta) } else { Err(FitError::Uninformative) }
}

fn logits<const K: usize>(theta: &[f64; K], features: &[[f64; 3]; K]) -> [f64; 3] {
    std::array::from_fn(|c| (0..K).map(|k| theta[k] * features[k][c]).sum())
}

type Derivatives<const K: usize> = ([f64; K], [[f64; K]; K]);

fn derivatives<const K: usize>(
    rows: &[(usize, [[f64; 3]; K])],
    theta: &[f64; K],
    start: &[f64; K],
) -> Derivatives<K> {
    let mut gradient = std::array::from_fn(|k| RIDGE * (theta[k] - start[k]));
    let mut hessian: [[f64; K]; K] =
        std::array::from_fn(|k| std::array::from_fn(|m| if k == m { RIDGE } else { 0.0 }));
    for (truth, x) in rows {
        let p = softmax(logits(theta, x));
        let mean: [f64; K] = std::array::from_fn(|k| (0..3).map(|c| p[c] * x[k][c]).sum());
        for k in 0..K {
            gradient[k] += mean[k] - x[k][*truth];
            for m in 0..K {
                let product: f64 = (0..3).map(|c| p[c] * x[k][c] * x[m][c]).sum();
                hessian[k][m] += product - mean[k] * mean[m];
            }
        }
    }
    (gradient, hessian)
}

/// Gaussian elimination; `matrix` is positive definite (a covariance plus a ridge), so no
/// pivoting is needed.
fn solve<const K: usize>(mut matrix: [[f64; K]; K], mut right: [f64; K]) -> [f64; K] {
    for k in 0..K {
        let pivot = matrix[k];
        for row in k + 1..K {
            let factor = matrix[row][k] / pivot[k];
            for (cell, above) in matrix[row].iter_mut().zip(pivot).skip(k) {
                *cell -= factor * above;
            }
            right[row] -= factor * right[k];
        }
    }
    for k in (0..K).rev() {
        let known: f64 = (k + 1..K).map(|m| matrix[k][m] * right[m]).sum();
        right[k] = (right[k] - known) / matrix[k][k];
    }
    right
}

/// Search grid of [`best_offsets`]: steps to either side, and their width in nats.
const STEPS: usize = 60;
const WIDTH: f64 = 0.05;
/// Macro F1 is averaged over this many steps to either side: a plateau beats a lucky peak.
const SMOOTH: usize = 5;

/// Offsets of 중립 and 부정 against 긍정, in nats of log-probability, that maximise macro F1;
/// searched within 3 nats of `centre`.
fn best_offsets(rows: &[Scored], centre: [f64; 2]) -> [f64; 2] {
    let side = 2 * STEPS + 1;
    let offset = |from: f64, step: usize| from + (step as f64 - STEPS as f64) * WIDTH;
    let offsets = |i, j| [offset(centre[0], i), offset(centre[1], j)];
    let macro_f1 = |[neutral, negative]: [f64; 2]| {
        let answer = |l: &[f64; 3]| top(&[l[0], l[1] + neutral, l[2] + negative]);
        let pairs = rows.iter().map(|(truth, l)| (*truth, Some(answer(l))));
        Confusion::of(pairs).macro_average().f1
    };
    let grid: Vec<Vec<f64>> =
        (0..side).map(|i| (0..side).map(|j| macro_f1(offsets(i, j))).collect()).collect();
    let near = |i: usize| i.saturating_sub(SMOOTH)..(i + SMOOTH + 1).min(side);
    let smoothed = |i: usize, j: usize| {
        let cells = grid[near(i)].iter().flat_map(|row| &row[near(j)]);
        cells.clone().sum::<f64>() / cells.count() as f64
    };
    let distance = |i: usize, j: usize| i.abs_diff(STEPS) + j.abs_diff(STEPS);
    let mut best = (STEPS, STEPS, smoothed(STEPS, STEPS));
    for (i, j) in (0..side).flat_map(|i| (0..side).map(move |j| (i, j))) {
        let value = smoothed(i, j);
        let nearer = distance(i, j) < distance(best.0, best.1);
        if value > best.2 + 1e-12 || (value > best.2 - 1e-12 && nearer) {
            best = (i, j, value);
        }
    }
    offsets(best.0, best.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Sentiment::{Negative, Neutral, Positive};

    /// Rows where 중립 is always a close second to 부정.
    fn shy_neutral() -> Vec<Scored> {
        let mut rows = Vec::new();
        for i in 0..100 {
            let wobble = f64::from(i % 10) * 0.05;
            rows.push((Positive, [-0.1 - wobble, -3.0, -3.0]));
            rows.push((Negative, [-3.0, -2.0 - wobble, -0.2]));
            if i % 10 == 0 {
                rows.push((Neutral, [-3.0, -1.2, -0.4]));
            }
        }
        rows
    }

    fn macro_f1(rows: &[Scored], calibration: &Calibration) -> f64 {
        let pairs = rows.iter().map(|(truth, l)| (*truth, Some(top(&probabilities(*l, calibration)))));
        Confusion::of(pairs).macro_average().f1
    }

    #[test]
    fn macro_f1_finds_the_rare_class() {
        let rows = shy_neutral();
        assert!(macro_f1(&rows, &Calibration::default()) < 0.67);
        let fitted = fit(&rows, Objective::MacroF1).unwrap();
        assert!(macro_f1(&rows, &fitted) > 0.99, "{fitted:?}");
    }

    #[test]
    fn a_perfect_model_stays_finite() {
        let rows: Vec<Scored> = (0..60)
            .map(|i| {
                let truth = Sentiment::ALL[i % 3];
                let mut log_probs = [-50.0; 3];
                log_probs[truth.index()] = 0.0;
                (truth, log_probs)
            })
            .collect();
        for objective in [Objective::Likelihood, Objective::MacroF1] {
            let fitted = fit(&rows, objective).unwrap();
            assert!(fitted.temperature.is_finite() && fitted.temperature > 0.1, "{fitted:?}");
            assert!(macro_f1(&rows, &fitted) > 0.999);
        }
    }

    #[test]
    fn faults_are_named() {
        let rows = shy_neutral();
        let check = |rows: &[Scored], expect| {
            assert_eq!(fit(rows, Objective::Likelihood).unwrap_err(), expect);
        };
        check(&rows[..29], FitError::TooFew { rows: 29 });
        let rare: Vec<Scored> = rows.iter().copied().filter(|(l, _)| *l != Neutral).collect();
        check(&rare, FitError::Missing(Neutral));
        let mut broken = rows.clone();
        broken[7].1[2] = f64::NAN;
        check(&broken, FitError::NotFinite(7));
        let upside_down: Vec<Scored> = rows.iter().map(|(truth, l)| (*truth, l.map(|x| -10.0 * x))).collect();
        check(&upside_down, FitError::Uninformative);
    }

    #[test]
    fn a_part_may_lack_a_class() {
        let mut rows: Vec<Scored> =
            shy_neutral().into_iter().filter(|(l, _)| *l != Neutral).take(29).collect();
        rows.push((Neutral, [-3.0, -1.2, -0.4]));
        assert!(cross_fitted(&rows, Objective::Likelihood).unwrap().iter().flatten().all(|p| p.is_finite()));
    }

    #[test]
    fn cross_fitting_keeps_a_row_out_of_its_own_fit() {
        let mut rows = shy_neutral();
        let before = cross_fitted(&rows, Objective::Likelihood).unwrap();
        // Another label for row 0 changes the other parts' fits, not its own probabilities.
        rows[0].0 = Negative;
        let after = cross_fitted(&rows, Objective::Likelihood).unwrap();
        assert_eq!(before[0], after[0]);
        assert_ne!(before[1], after[1]);
    }
}
