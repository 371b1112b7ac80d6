//! The first few of many.

/// A comment that is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The comment, cut if it is long.
    pub text: String,
    /// The three probabilities.
    pub probabilities: [f64; 3],
}

/// The samples of the highest rank; of equal ones the first.
#[derive(Debug)]
pub struct Top {
    most: usize,
    samples: Vec<(f64, Sample)>,
}

impl Top {
    /// At most so many.
    pub fn new(most: usize) -> Self {
        Self { most, samples: Vec::new() }
    }

    /// Offers a sample. A text that is there already is not taken twice.
    pub fn offer(&mut self, rank: f64, sample: impl FnOnce() -> Sample) {
        let full = self.samples.len() == self.most;
        if full && self.samples.last().is_some_and(|(least, _)| rank <= *least) {
            return;
        }
        let sample = sample();
        if self.samples.iter().any(|(_, known)| known.text == sample.text) {
            return;
        }
        let at = self.samples.partition_point(|(known, _)| *known >= rank);
        self.samples.insert(at, (rank, sample));
        self.samples.truncate(self.most);
    }

    /// The samples, the highest first.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().map(|(_, sample)| sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_are_kept() {
        let mut top = Top::new(3);
        for (rank, text) in [(1.0, "a"), (5.0, "b"), (3.0, "c"), (5.0, "b"), (4.0, "d"), (4.0, "e")] {
            top.offer(rank, || Sample { text: text.into(), probabilities: [0.0; 3] });
        }
        assert_eq!(top.samples().map(|sample| sample.text.as_str()).collect::<Vec<_>>(), ["b", "d", "e"]);
    }
}
