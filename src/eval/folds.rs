//! Folds for cross-fitting: shuffled by a fixed seed, and stratified by label.

use super::SEED;
use super::metrics::Scored;
use crate::random::mix;
use crate::sentiment::labels::Sentiment;

/// Folds in cross-fitting.
pub const FOLDS: usize = 5;

/// The fold of each row, below [`FOLDS`]. Each label's rows, in an order made of the seed and their scores, are
/// dealt out in turn, so every fold has its share of every label. The order of the rows in the file and of the
/// labels does not matter.
pub fn folds(rows: &[Scored]) -> Vec<usize> {
    let keys: Vec<u64> = rows.iter().map(key).collect();
    let of = |class: Sentiment| -> Vec<usize> {
        let mut members: Vec<usize> = (0..rows.len()).filter(|i| rows[*i].0 == class).collect();
        members.sort_by_key(|i| keys[*i]);
        members
    };
    let mut classes = Sentiment::ALL.map(of);
    // The most frequent label is dealt first, and the next goes on from there: folds of equal size.
    classes.sort_by_key(|members| (std::cmp::Reverse(members.len()), members.first().map(|i| keys[*i])));
    let mut folds = vec![0; rows.len()];
    for (dealt, i) in classes.into_iter().flatten().enumerate() {
        folds[i] = dealt % FOLDS;
    }
    folds
}

/// A hash of the true label's score and of the two others, whichever labels these belong to.
fn key((truth, scores): &Scored) -> u64 {
    let mut others: Vec<f64> =
        Sentiment::ALL.into_iter().filter(|c| c != truth).map(|c| scores[c.index()]).collect();
    others.sort_by(f64::total_cmp);
    let numbers = [scores[truth.index()], others[0], others[1]];
    numbers.iter().fold(SEED, |hash, x| mix(hash.rotate_left(17) ^ x.to_bits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two labels are equally frequent.
    fn rows() -> Vec<Scored> {
        let class = |i: usize| Sentiment::ALL[[2, 0, 1, 2, 0][i % 5]];
        let scores = |i: usize| std::array::from_fn(|c| -0.01 * (i * (c + 2) + c) as f64);
        (0..52).map(|i| (class(i), scores(i))).collect()
    }

    #[test]
    fn every_fold_has_its_share_of_every_label() {
        let rows = rows();
        let folds = folds(&rows);
        for class in Sentiment::ALL {
            let counts: [usize; FOLDS] = std::array::from_fn(|fold| {
                (0..rows.len()).filter(|i| rows[*i].0 == class && folds[*i] == fold).count()
            });
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(*least > 0 && most - least <= 1, "{class}: {counts:?}");
        }
        let sizes: [usize; FOLDS] = std::array::from_fn(|fold| folds.iter().filter(|f| **f == fold).count());
        assert!(sizes.iter().all(|n| (10..=11).contains(n)), "{sizes:?}");
        // Shuffled: neighbours of one label are not dealt one after the other.
        let positive: Vec<usize> =
            (0..rows.len()).filter(|i| rows[*i].0 == Sentiment::Positive).map(|i| folds[i]).collect();
        assert!(positive.windows(2).any(|w| w[1] != (w[0] + 1) % FOLDS), "{positive:?}");
    }

    #[test]
    fn the_order_of_rows_and_labels_does_not_matter() {
        let rows = rows();
        let expect = folds(&rows);
        let mut turned: Vec<Scored> = rows
            .iter()
            .map(|(truth, s)| (Sentiment::ALL[(truth.index() + 1) % 3], [s[2], s[0], s[1]]))
            .collect();
        assert_eq!(folds(&turned), expect);
        turned.reverse();
        let mut backwards = folds(&turned);
        backwards.reverse();
        assert_eq!(backwards, expect);
    }
}
