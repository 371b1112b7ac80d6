//! Fitting a temperature and class biases, so that a probability of 0.8 is right in 80 % of cases.
//!
//! The calibrated probabilities are softmax(log-probability / temperature + bias): temperature
//! scaling (Guo et al. 2017, arXiv 1706.04599) with a bias for each class. With a = 1/temperature
//! the logits are linear in (a, bias), so the negative log-likelihood is convex, and Newton's
//! method finds its one minimum in a few steps.
//!
//! Honest probabilities make a rare label's answers rarer still. `balance`, in 0..=1, trades some
//! of the honesty for even-handed answers: rows count (1/frequency of their label)^balance in the
//! fit of the biases, so that 0 fits to the labels as frequent as they are, and 1 as if they were
//! equally frequent. The temperature is then fitted to the rows as they are, with the answers kept.

use super::metrics::Scored;
use crate::sentiment::labels::Sentiment;
use crate::sentiment::profile::{Calibration, Labels};
use crate::sentiment::score::probabilities;

/// Strength of the pull towards "change nothing", in rows' worth of curvature: keeps the fit
/// finite where a small data set is answered without an error.
const RIDGE: f64 = 0.1;
/// Fewer rows than this fit noise.
pub const MIN_ROWS: usize = 30;
/// Parts of the data set in [`cross_fitted`].
pub const FOLDS: usize = 5;

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
pub fn fit(rows: &[Scored], balance: f64) -> Result<Calibration, FitError> {
    check(rows)?;
    fit_checked(rows, balance)
}

fn fit_checked(rows: &[Scored], balance: f64) -> Result<Calibration, FitError> {
    let weights = class_weights(rows, balance);
    let [mut a, mut neutral, mut negative] = minimise(rows, weights, affine_features)?;
    if balance > 0.0 {
        let (x, y) = (neutral / a, negative / a);
        [a] = minimise(rows, [1.0; 3], |l| [[l[0], l[1] + x, l[2] + y]])?;
        (neutral, negative) = (a * x, a * y);
    }
    let mean = (neutral + negative) / 3.0;
    Ok(Calibration {
        temperature: 1.0 / a,
        bias: Labels { positive: -mean, neutral: neutral - mean, negative: negative - mean },
        ..Calibration::default()
    })
}

/// What a row of each label counts: (1/frequency)^balance, with a mean of 1 over the rows.
fn class_weights(rows: &[Scored], balance: f64) -> [f64; 3] {
    let counts = Sentiment::ALL.map(|class| rows.iter().filter(|(label, _)| *label == class).count() as f64);
    let weights = counts.map(|n| n.max(1.0).powf(-balance));
    let sum: f64 = counts.iter().zip(weights).map(|(n, w)| n * w).sum();
    weights.map(|w| w * rows.len() as f64 / sum)
}

/// Probabilities for every row under calibrations that have not seen it: row i belongs to part
/// i mod [`FOLDS`], and is answered by the fit to the other parts. What is measured on these is
/// what new comments of the same kind will get.
///
/// # Errors
/// See [`FitError`].
pub fn cross_fitted(rows: &[Scored], balance: f64) -> Result<Vec<[f64; 3]>, FitError> {
    check(rows)?;
    let mut calibrated = vec![[0.0; 3]; rows.len()];
    for fold in 0..FOLDS {
        let seen: Vec<Scored> = (0..rows.len()).filter(|i| i % FOLDS != fold).map(|i| rows[i]).collect();
        let calibration = fit_checked(&seen, balance)?;
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
/// Σ −weights[truth] · log softmax(logits)[truth] + RIDGE/2 · |theta − (1, 0, 0)|².
fn minimise<const K: usize>(
    rows: &[Scored],
    weights: [f64; 3],
    features: impl Fn(&[f64; 3]) -> [[f64; 3]; K],
) -> Result<[f64; K], FitError> {
    let rows: Vec<Weighted<K>> = rows
        .iter()
        .map(|(truth, log_probs)| {
            let (truth, x) = (truth.index(), features(log_probs));
            Weighted { truth, weight: weights[truth], x }
        })
        .collect();
    let start: [f64; K] = std::array::from_fn(|k| f64::from(k == 0));
    let loss = |theta: &[f64; K]| -> f64 {
        let fit: f64 = rows
            .iter()
            .map(|row| -row.weight * softmax(logits(theta, &row.x))[row.truth].max(f64::MIN_POSITIVE).ln())
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

/// A row of the fit: its true label, what it counts, and the features of its logits.
struct Weighted<const K: usize> {
    truth: usize,
    weight: f64,
    x: [[f64; 3]; K],
}

type Derivatives<const K: usize> = ([f64; K], [[f64; K]; K]);

fn derivatives<const K: usize>(rows: &[Weighted<K>], theta: &[f64; K], start: &[f64; K]) -> Derivatives<K> {
    let mut gradient = std::array::from_fn(|k| RIDGE * (theta[k] - start[k]));
    let mut hessian: [[f64; K]; K] =
        std::array::from_fn(|k| std::array::from_fn(|m| if k == m { RIDGE } else { 0.0 }));
    for Weighted { truth, weight, x } in rows {
        let p = softmax(logits(theta, x));
        let mean: [f64; K] = std::array::from_fn(|k| (0..3).map(|c| p[c] * x[k][c]).sum());
        for k in 0..K {
            gradient[k] += weight * (mean[k] - x[k][*truth]);
            for m in 0..K {
                let product: f64 = (0..3).map(|c| p[c] * x[k][c] * x[m][c]).sum();
                hessian[k][m] += weight * (product - mean[k] * mean[m]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::metrics::{Confusion, top};
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

    fn confusion(rows: &[Scored], calibration: &Calibration) -> Confusion {
        Confusion::of(rows.iter().map(|(truth, l)| (*truth, Some(top(&probabilities(*l, calibration))))))
    }

    #[test]
    fn balance_finds_the_rare_class() {
        // A tenth of the rows that look the same are 중립.
        let mut rows = shy_neutral();
        rows.extend((0..20).map(|i| (Negative, [-3.0, -1.2 - f64::from(i) * 0.01, -0.4])));
        let recall = |balance| confusion(&rows, &fit(&rows, balance).unwrap()).scores(Neutral).recall;
        assert_eq!((recall(0.0), recall(1.0)), (0.0, 1.0));
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
        for balance in [0.0, 0.75] {
            let fitted = fit(&rows, balance).unwrap();
            assert!(fitted.temperature.is_finite() && fitted.temperature > 0.1, "{fitted:?}");
            assert_eq!(confusion(&rows, &fitted).accuracy(), 1.0);
        }
    }

    #[test]
    fn faults_are_named() {
        let rows = shy_neutral();
        let check = |rows: &[Scored], expect| {
            assert_eq!(fit(rows, 0.0).unwrap_err(), expect);
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
        assert!(cross_fitted(&rows, 0.0).unwrap().iter().flatten().all(|p| p.is_finite()));
    }

    #[test]
    fn cross_fitting_keeps_a_row_out_of_its_own_fit() {
        let mut rows = shy_neutral();
        let before = cross_fitted(&rows, 0.0).unwrap();
        // Another label for row 0 changes the other parts' fits, not its own probabilities.
        rows[0].0 = Negative;
        let after = cross_fitted(&rows, 0.0).unwrap();
        assert_eq!(before[0], after[0]);
        assert_ne!(before[1], after[1]);
    }
}
