//! Rows of logits reduced to what is asked of them, on many cores; sampling.

use ko_sentiment_kernels::exponential::exp_nonpositive;
pub use ko_sentiment_kernels::reductions::{argmax, log_sum_exp};

use crate::random::SplitMix64;
use crate::text::vocabulary::Token;

/// Tokens of one row that may be refused: far more than continue a label.
const MOST_REFUSED: usize = 1000;

/// A thread is started for no fewer rows: about half a millisecond's work.
const ROWS_A_THREAD: usize = 4;

/// [`log_sum_exp`] of each row, on as many cores as there are and are worth it.
pub fn log_sum_exps(rows: &[&[f32]]) -> Vec<f64> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(rows.len() / ROWS_A_THREAD).max(1);
    let mut sums = vec![0.0; rows.len()];
    let share = rows.len().div_ceil(threads).max(1);
    let reduce = |(sums, rows): (&mut [f64], &[&[f32]])| {
        sums.iter_mut().zip(rows).for_each(|(sum, row)| *sum = log_sum_exp(row));
    };
    std::thread::scope(|scope| {
        let mut shares = sums.chunks_mut(share).zip(rows.chunks(share));
        let own = shares.next();
        for share in shares {
            scope.spawn(move || reduce(share));
        }
        own.map(reduce);
    });
    sums
}

/// Chooses the next token of a sequence.
#[derive(Debug, Clone)]
pub struct Sampler {
    temperature: f32,
    random: SplitMix64,
}

impl Sampler {
    /// `temperature` 0 takes the most probable token; above 0, tokens are drawn from
    /// softmax(logits / temperature).
    pub fn new(temperature: f32, seed: u64) -> Self {
        Self { temperature, random: SplitMix64::new(seed) }
    }

    /// The next token; `None` if the logits are not numbers.
    pub fn sample(&mut self, row: &[f32]) -> Option<Token> {
        let greedy = argmax(row).filter(|i| row[*i].is_finite())?;
        let index = if self.temperature > 0.0 { self.draw(row, row[greedy])? } else { greedy };
        Token::try_from(index).ok()
    }

    /// The next token, other than those that are refused; `None` if the logits are not numbers, or nearly all tokens
    /// are refused.
    pub fn sample_unless(&mut self, row: &[f32], refused: impl Fn(Token) -> bool) -> Option<Token> {
        let mut token = self.sample(row)?;
        if !refused(token) {
            return Some(token);
        }
        let mut left = row.to_vec();
        for _ in 0..MOST_REFUSED {
            *left.get_mut(usize::try_from(token).ok()?)? = f32::NEG_INFINITY;
            token = self.sample(&left)?;
            if !refused(token) {
                return Some(token);
            }
        }
        None
    }

    /// The next token, one of `choices` with these `logits`; `None` if these are not numbers.
    pub fn sample_among(&mut self, logits: &[f32], choices: &[Token]) -> Option<Token> {
        let index = self.sample(logits)?;
        choices.get(usize::try_from(index).ok()?).copied()
    }

    /// Inverse of the cumulative distribution at a uniform draw.
    fn draw(&mut self, row: &[f32], max: f32) -> Option<usize> {
        let weight = |x: &f32| f64::from(exp_nonpositive((x - max) / self.temperature));
        let total: f64 = row.iter().map(weight).sum();
        if !total.is_finite() {
            return None;
        }
        let mut left = self.random.uniform() * total;
        let weight = |x: &f32| f64::from(exp_nonpositive((x - max) / self.temperature));
        row.iter().position(|x| {
            left -= weight(x);
            left <= 0.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_rows_are_reduced_as_one_is() {
        for count in [0, 1, 3, 4, 9, 64] {
            let rows: Vec<Vec<f32>> = (0..count).map(|i| vec![i as f32; 10 + i]).collect();
            let slices: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            let expect: Vec<f64> = slices.iter().map(|row| log_sum_exp(row)).collect();
            assert_eq!(log_sum_exps(&slices), expect, "{count} rows");
        }
    }

    #[test]
    fn what_is_no_number_is_not_sampled() {
        let mut row = vec![0.0_f32; 100];
        row[37] = f32::INFINITY;
        assert_eq!(Sampler::new(0.0, 0).sample(&row), None);
        assert_eq!(Sampler::new(0.0, 0).sample(&[f32::NAN; 20]), None);
    }

    #[test]
    fn sampling_follows_the_distribution_and_its_seed() {
        let row = [0.0, 2.0_f32.ln(), f32::NEG_INFINITY, 1.0_f32.ln()];
        let mut sampler = Sampler::new(1.0, 7);
        let mut counts = [0_u32; 4];
        for _ in 0..20_000 {
            counts[usize::try_from(sampler.sample(&row).unwrap()).unwrap()] += 1;
        }
        for (count, share) in counts.iter().zip([0.25, 0.5, 0.0, 0.25]) {
            assert!((f64::from(*count) / 20_000.0 - share).abs() < 0.02, "{counts:?}");
        }
        let draws = |seed| (0..9).scan(Sampler::new(2.0, seed), |s, _| s.sample(&row)).collect::<Vec<_>>();
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
        assert_eq!(Sampler::new(0.0, 3).sample(&row), Some(1));
    }
}
