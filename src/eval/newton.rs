//! The minimum of a weighted, penalised negative log-likelihood by Newton's method.

use super::metrics::Scored;

/// Strength of the pull towards "change nothing", in rows' worth of curvature: keeps the fit finite where a small
/// data set is answered without an error.
const RIDGE: f64 = 0.1;
/// Gaps between a row's logits at the start of the search: small enough that no probability is 0 or 1, whatever the
/// size of the scores.
const FIRST_GAP: f64 = 4.0;
const MOST_STEPS: usize = 200;

/// What is minimised over theta: the sum over rows of −weights\[truth\] · log softmax(logits)\[truth\], where logits
/// are Σ theta\[k\] · features\[k\], plus the pull RIDGE/2 · (theta − (1, 0, …))ᵀ · penalty · (theta − (1, 0, …)).
pub(super) struct Likelihood<const K: usize> {
    rows: Vec<Weighted<K>>,
    penalty: [[f64; K]; K],
    /// The largest gap between two scores of a row.
    widest: f64,
}

/// A row of the fit: its true label, what it counts, and the features of its logits.
struct Weighted<const K: usize> {
    truth: usize,
    weight: f64,
    x: [[f64; 3]; K],
}

/// ln of the softmax, finite for finite logits of any size.
fn log_softmax(logits: [f64; 3]) -> [f64; 3] {
    let max = logits.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|z| (z - max).exp()).sum();
    logits.map(|z| z - max - sum.ln())
}

fn logits<const K: usize>(theta: &[f64; K], features: &[[f64; 3]; K]) -> [f64; 3] {
    std::array::from_fn(|c| (0..K).map(|k| theta[k] * features[k][c]).sum())
}

type Derivatives<const K: usize> = ([f64; K], [[f64; K]; K]);

impl<const K: usize> Likelihood<K> {
    /// Over rows of true label and scores; theta\[0\] scales the scores.
    pub fn new(
        rows: &[Scored],
        weights: [f64; 3],
        penalty: [[f64; K]; K],
        features: impl Fn(&[f64; 3]) -> [[f64; 3]; K],
    ) -> Self {
        let gap = |s: &[f64; 3]| {
            s.iter().fold(f64::MIN, |a, b| a.max(*b)) - s.iter().fold(f64::MAX, |a, b| a.min(*b))
        };
        let widest = rows.iter().map(|(_, scores)| gap(scores)).fold(0.0, f64::max);
        let weighted = |(truth, scores): &Scored| {
            let (truth, x) = (truth.index(), features(scores));
            Weighted { truth, weight: weights[truth], x }
        };
        Self { rows: rows.iter().map(weighted).collect(), penalty, widest }
    }

    fn value(&self, theta: &[f64; K]) -> f64 {
        let fit: f64 =
            self.rows.iter().map(|row| -row.weight * log_softmax(logits(theta, &row.x))[row.truth]).sum();
        let away = from_start(theta);
        let pull: f64 = (0..K).map(|k| away[k] * dot(&self.penalty[k], &away)).sum();
        fit + RIDGE / 2.0 * pull
    }

    fn derivatives(&self, theta: &[f64; K]) -> Derivatives<K> {
        let away = from_start(theta);
        let mut gradient = std::array::from_fn(|k| RIDGE * dot(&self.penalty[k], &away));
        let mut hessian = self.penalty.map(|row| row.map(|x| RIDGE * x));
        for Weighted { truth, weight, x } in &self.rows {
            let p = log_softmax(logits(theta, x)).map(f64::exp);
            // Against the true label's features: differences keep their digits where the scores are large.
            let d: [[f64; 3]; K] = std::array::from_fn(|k| x[k].map(|feature| feature - x[k][*truth]));
            let mean: [f64; K] = std::array::from_fn(|k| dot(&p, &d[k]));
            for k in 0..K {
                gradient[k] += weight * mean[k];
                for m in 0..K {
                    let product: f64 = (0..3).map(|c| p[c] * d[k][c] * d[m][c]).sum();
                    hessian[k][m] += weight * (product - mean[k] * mean[m]);
                }
            }
        }
        (gradient, hessian)
    }

    /// Theta at the minimum: Newton's method with step halving. `None` where higher scores do not mean likelier
    /// labels.
    pub fn minimum(&self) -> Option<[f64; K]> {
        let first = (FIRST_GAP / self.widest.max(FIRST_GAP)).max(f64::MIN_POSITIVE);
        let mut theta: [f64; K] = std::array::from_fn(|k| if k == 0 { first } else { 0.0 });
        let mut value = self.value(&theta);
        for _ in 0..MOST_STEPS {
            let (gradient, hessian) = self.derivatives(&theta);
            let step = solve(hessian, gradient);
            let gain = dot(&step, &gradient);
            let Some((next, lower)) = self.descend(&theta, &step, value) else { break };
            (theta, value) = (next, lower);
            // What another step could gain, which is below what a sum of this size can show.
            if gain <= 1e-15 * value.abs().max(1e-6) {
                break;
            }
        }
        (theta[0] * self.widest.max(1.0) > 1e-3).then_some(theta)
    }

    /// The first of the halved steps that does not go up.
    fn descend(&self, theta: &[f64; K], step: &[f64; K], value: f64) -> Option<([f64; K], f64)> {
        let mut length = 1.0;
        while length > 1e-12 {
            let next = std::array::from_fn(|k| theta[k] - length * step[k]);
            let lower = self.value(&next);
            if lower <= value {
                return Some((next, lower));
            }
            length /= 2.0;
        }
        None
    }
}

fn from_start<const K: usize>(theta: &[f64; K]) -> [f64; K] {
    std::array::from_fn(|k| theta[k] - f64::from(k == 0))
}

fn dot<const K: usize>(a: &[f64; K], b: &[f64; K]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Gaussian elimination; `matrix` is positive definite (a covariance plus a ridge), so no pivoting is needed.
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
