//! A label's probability from the rows of logits of one step.

use std::collections::BTreeMap;

use super::backend::Backend;
use crate::text::vocabulary::Token;

/// Log-sum-exp of rows of the last batch.
pub(super) type LogSums = BTreeMap<usize, f64>;

/// ln P(branch | prompt), in nats: the sum over its tokens of logit − log-sum-exp, at the row of the
/// token before. `None` if a row is not finite.
pub(super) fn joint_log_prob<'a, B: Backend>(
    backend: &B,
    sums: &LogSums,
    branch: impl Iterator<Item = (&'a Token, &'a usize)>,
) -> Option<f64> {
    let mut score = 0.0;
    for (token, row) in branch {
        score += f64::from(backend.logit(*row, *token)?) - sums.get(row)?;
    }
    score.is_finite().then_some(score)
}
