//! What the inputs hold, before the first comment is asked for.

use super::error::AnnotateError;
use super::inputs::Input;
use super::rows::Select;
use crate::dataset::{Layout, OutFormat, ReadOptions, RefusedRows, WriteError, no_rows};
use crate::random::SplitMix64;

/// Which rows are wanted.
#[derive(Debug, Clone, Copy)]
pub enum Wish {
    /// All.
    All,
    /// The first so many.
    First(u64),
    /// So many of those that can be read, drawn at random.
    Sample {
        /// How many.
        rows: u64,
        /// Of the drawing.
        seed: u64,
    },
}

/// What the inputs hold.
#[derive(Debug)]
pub struct Survey {
    /// The columns.
    pub layout: Layout,
    /// The rows that are annotated.
    pub select: Select,
    /// How many of them can be asked for.
    pub comments: u64,
}

/// Reads all inputs once.
///
/// # Errors
/// An input cannot be read, has no rows or none that can be used, or is more than `format` can hold.
pub fn survey(
    inputs: &[Input],
    options: &ReadOptions,
    wish: Wish,
    format: OutFormat,
) -> Result<Survey, AnnotateError> {
    let mut found =
        Found { layout: Layout::default(), drawn: Drawn::new(wish), refused: RefusedRows::default() };
    let (mut rows, mut comments) = (0, 0);
    let limit = match wish {
        Wish::First(limit) => limit,
        Wish::All | Wish::Sample { .. } => u64::MAX,
    };
    for input in inputs {
        let readable = found.input(input, options, &mut rows, limit)?;
        comments += readable;
    }
    if comments == 0 {
        let name = inputs.first().map(|input| input.name().into()).unwrap_or_default();
        return Err(AnnotateError::Read(no_rows(name, &found.refused).to_string()));
    }
    let select = match wish {
        Wish::All => Select::All,
        Wish::First(limit) => Select::First(limit),
        Wish::Sample { .. } => found.drawn.select(),
    };
    if let Select::These(positions) = &select {
        comments = positions.len() as u64;
        found.layout.set_rows(comments);
    }
    found.layout.check(format, 0).map_err(cannot_write)?;
    Ok(Survey { layout: found.layout, select, comments })
}

struct Found {
    layout: Layout,
    drawn: Drawn,
    refused: RefusedRows,
}

impl Found {
    /// The rows of an input that can be asked for.
    fn input(
        &mut self,
        input: &Input,
        options: &ReadOptions,
        rows: &mut u64,
        limit: u64,
    ) -> Result<u64, AnnotateError> {
        let mut readable = 0;
        let mut comments = input.comments(options)?;
        self.layout.file(input.path(), comments.header()).map_err(cannot_write)?;
        while *rows < limit {
            let Some(row) = comments.next() else { break };
            let row = row.map_err(|e| input.error(&e))?;
            let record = match &row {
                Ok(comment) => Some(&comment.record),
                Err(refused) => refused.record.as_deref(),
            };
            self.layout.row(record).map_err(cannot_write)?;
            match row {
                Ok(_) => {
                    self.drawn.offer(*rows);
                    readable += 1;
                }
                Err(refused) => self.refused.add(refused),
            }
            *rows += 1;
        }
        Ok(readable)
    }
}

fn cannot_write(source: WriteError) -> AnnotateError {
    AnnotateError::Write { name: "the output".into(), source }
}

/// Positions drawn at random, each with the same chance (Vitter 1985, algorithm R).
struct Drawn {
    wanted: u64,
    random: SplitMix64,
    seen: u64,
    positions: Vec<u64>,
}

impl Drawn {
    fn new(wish: Wish) -> Self {
        let (wanted, seed) = match wish {
            Wish::Sample { rows, seed } => (rows, seed),
            Wish::All | Wish::First(_) => (0, 0),
        };
        Self { wanted, random: SplitMix64::new(seed), seen: 0, positions: Vec::new() }
    }

    fn offer(&mut self, position: u64) {
        self.seen += 1;
        if (self.positions.len() as u64) < self.wanted {
            self.positions.push(position);
        } else if self.wanted > 0 {
            let at = (self.random.uniform() * self.seen as f64) as usize;
            if let Some(place) = self.positions.get_mut(at) {
                *place = position;
            }
        }
    }

    fn select(mut self) -> Select {
        self.positions.sort_unstable();
        Select::These(self.positions.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(rows: u64, seed: u64, of: u64) -> Vec<u64> {
        let mut drawn = Drawn::new(Wish::Sample { rows, seed });
        (0..of).for_each(|position| drawn.offer(position));
        match drawn.select() {
            Select::These(positions) => positions.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sample_is_drawn_evenly_and_by_its_seed() {
        assert_eq!(drawn(5, 1, 3), [0, 1, 2]);
        assert_eq!(drawn(10, 1, 1000), drawn(10, 1, 1000));
        assert_ne!(drawn(10, 1, 1000), drawn(10, 2, 1000));
        let mut counts = [0_u32; 20];
        for seed in 0..4000 {
            drawn(5, seed, 20).into_iter().for_each(|position| counts[position as usize] += 1);
        }
        // A quarter of 4,000 draws each; the standard deviation is 27.
        assert!(counts.iter().all(|count| (860..1140).contains(count)), "{counts:?}");
    }
}
