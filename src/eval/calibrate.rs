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

use super::folds::{FOLDS, folds};
use super::metrics::Scored;
use super::newton::Likelihood;
use crate::sentiment::labels::Sentiment;
use crate::sentiment::profile::{Labels, Scaling};
use crate::sentiment::score::probabilities;

/// Fewer rows than this fit noise.
pub const MIN_ROWS: usize = 30;
/// A label with fewer rows than this has a bias that rests on chance.
pub const FEW_ROWS: usize = 20;

/// Why nothing can be fitted.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum FitError {
    /// Too little data.
    #[error("{rows} rows are too few to calibrate with; label at least {MIN_ROWS}")]
    TooFew {
        /// Rows given.
        rows: usize,
    },
    /// A class that the data does not show.
    #[error("no row is labelled {0}; add some, because calibration needs every label")]
    Missing(Sentiment),
    /// NaN or infinite log-probabilities.
    #[error("row {0}: log-probabilities must be finite")]
    NotFinite(usize),
    /// A label whose bias would rest on chance, of comments that can do without a fit of their own.
    #[error("only {rows} rows are labelled {label}; label at least {FEW_ROWS}")]
    Few {
        /// Which.
        label: Sentiment,
        /// Rows that it has.
        rows: usize,
    },
    /// Higher scores do not mean likelier labels.
    #[error("cannot calibrate: the model's scores do not separate this dataset's labels")]
    Uninformative,
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
///
/// # Errors
/// See [`FitError`].
pub fn fit(rows: &[Scored], balance: f64) -> Result<Scaling, FitError> {
    check(rows)?;
    fit_checked(rows, balance)
}

fn fit_checked(rows: &[Scored], balance: f64) -> Result<Scaling, FitError> {
    let weights = class_weights(rows, balance);
    let affine = Likelihood::new(rows, weights, AFFINE_PENALTY, affine_features);
    let [mut a, mut neutral, mut negative] = affine.minimum().ok_or(FitError::Uninformative)?;
    if balance > 0.0 {
        let (x, y) = (neutral / a, negative / a);
        let scale = Likelihood::new(rows, [1.0; 3], [[1.0]], |l| [[l[0], l[1] + x, l[2] + y]]);
        [a] = scale.minimum().ok_or(FitError::Uninformative)?;
        (neutral, negative) = (a * x, a * y);
    }
    let mean = (neutral + negative) / 3.0;
    Ok(Scaling {
        temperature: 1.0 / a,
        bias: Labels { positive: -mean, neutral: neutral - mean, negative: negative - mean },
    })
}

/// What a row of each label counts: (1/frequency)^balance, with a mean of 1 over the rows.
fn class_weights(rows: &[Scored], balance: f64) -> [f64; 3] {
    let counts = Sentiment::ALL.map(|class| rows.iter().filter(|(label, _)| *label == class).count() as f64);
    let weights = counts.map(|n| n.max(1.0).powf(-balance));
    let sum: f64 = counts.iter().zip(weights).map(|(n, w)| n * w).sum();
    weights.map(|w| w * rows.len() as f64 / sum)
}

/// Probabilities for every row under calibrations that have not seen it: each of the [`folds`] is answered by the
/// fit to the others. What is measured on these is what new comments of the same kind will get.
///
/// # Errors
/// See [`FitError`].
pub fn cross_fitted(rows: &[Scored], balance: f64) -> Result<Vec<[f64; 3]>, FitError> {
    check(rows)?;
    let folds = folds(rows);
    let mut calibrated = vec![[0.0; 3]; rows.len()];
    for fold in 0..FOLDS {
        let seen: Vec<Scored> = (0..rows.len()).filter(|i| folds[*i] != fold).map(|i| rows[i]).collect();
        let scaling = fit_checked(&seen, balance)?;
        for i in (0..rows.len()).filter(|i| folds[*i] == fold) {
            calibrated[i] = probabilities(rows[i].1, &scaling);
        }
    }
    Ok(calibrated)
}

/// The labels with fewer than [`FEW_ROWS`] rows, and how many they have.
pub fn rare_labels(rows: &[Scored]) -> Vec<(Sentiment, usize)> {
    let count = |class| rows.iter().filter(|(label, _)| *label == class).count();
    Sentiment::ALL.into_iter().map(|class| (class, count(class))).filter(|(_, n)| *n < FEW_ROWS).collect()
}

/// Logits of a row are the sum over parameters k of theta[k] · features[k]; the first parameter
/// is the inverse temperature, the others are the biases of 중립 and 부정 against 긍정.
fn affine_features(log_probs: &[f64; 3]) -> [[f64; 3]; 3] {
    [*log_probs, [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
}

/// The pull is on the three biases about their mean, all alike, whichever two of them are parameters.
const AFFINE_PENALTY: [[f64; 3]; 3] =
    [[1.0, 0.0, 0.0], [0.0, 2.0 / 3.0, -1.0 / 3.0], [0.0, -1.0 / 3.0, 2.0 / 3.0]];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::metrics::Confusion;
    use crate::sentiment::score::top;
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

    fn confusion(rows: &[Scored], calibration: &Scaling) -> Confusion {
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
        let rows = shy_neutral();
        let (calibrated, folds) = (cross_fitted(&rows, 0.0).unwrap(), folds(&rows));
        for fold in 0..FOLDS {
            let others: Vec<Scored> =
                rows.iter().zip(&folds).filter(|(_, f)| **f != fold).map(|(row, _)| *row).collect();
            let fitted = fit(&others, 0.0).unwrap();
            for i in (0..rows.len()).filter(|i| folds[*i] == fold) {
                assert_eq!(calibrated[i], probabilities(rows[i].1, &fitted));
            }
        }
    }

    /// Answers with errors and a rare label.
    fn noisy() -> Vec<Scored> {
        let class = |i: usize| Sentiment::ALL[[0, 0, 0, 1, 2, 2, 2, 2, 2][i % 9]];
        let noise =
            |i: usize, c: usize| (((i * 7919 + c * 104_729 + i * i * 31) % 997) as f64 / 997.0 - 0.5) * 5.0;
        let row = |i: usize| {
            let truth = class(i);
            (truth, std::array::from_fn(|c| noise(i, c) + f64::from(c == truth.index())))
        };
        (0..120).map(row).collect()
    }

    fn figures(rows: &[Scored]) -> (Scaling, f64) {
        let calibrated = cross_fitted(rows, 0.0).unwrap();
        let loss = rows.iter().zip(&calibrated).map(|((truth, _), p)| -p[truth.index()].ln()).sum::<f64>();
        (fit(rows, 0.5).unwrap(), loss)
    }

    #[test]
    fn the_order_of_rows_and_labels_does_not_matter() {
        let rows = noisy();
        let (fitted, loss) = figures(&rows);
        for turn in 0..10 {
            let class = |i: usize| (i + turn) % 3;
            let mut other: Vec<Scored> = rows
                .iter()
                .map(|(truth, l)| {
                    let mut turned = [0.0; 3];
                    (0..3).for_each(|c| turned[class(c)] = l[c]);
                    (Sentiment::ALL[class(truth.index())], turned)
                })
                .collect();
            other.rotate_left(turn * 11);
            other.sort_by_key(|(truth, _)| if turn % 2 == 0 { 0 } else { truth.index() });
            let (turned, same) = figures(&other);
            assert!((turned.temperature - fitted.temperature).abs() < 1e-6, "{turned:?} {fitted:?}");
            for s in Sentiment::ALL {
                let bias = turned.bias.get(Sentiment::ALL[class(s.index())]);
                assert!((bias - fitted.bias.get(s)).abs() < 1e-6, "{turned:?} {fitted:?}");
            }
            assert!((same - loss).abs() < 1e-6, "{same} {loss}");
        }
    }

    #[test]
    fn gaps_of_any_size_are_fitted() {
        let rows = noisy();
        let (plain, _) = figures(&rows);
        for size in [1e3, 1e6, 1e9] {
            let wide: Vec<Scored> = rows.iter().map(|(truth, l)| (*truth, l.map(|x| x * size))).collect();
            let fitted = fit(&wide, 0.5).unwrap();
            // The pull towards a temperature of 1 is all that differs.
            assert!(
                (fitted.temperature / size / plain.temperature - 1.0).abs() < 0.02,
                "{fitted:?} {plain:?}"
            );
            for s in Sentiment::ALL {
                assert!((fitted.bias.get(s) - plain.bias.get(s)).abs() < 0.02, "{fitted:?} {plain:?}");
            }
        }
    }

    #[test]
    fn rare_labels_are_counted() {
        assert_eq!(rare_labels(&shy_neutral()), [(Neutral, 10)]);
        assert_eq!(rare_labels(&[]).len(), 3);
    }
}
