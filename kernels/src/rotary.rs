//! Rotary positions (RoFormer, Su et al. 2021), with a row's second half as its first half's partners, as Gemma has them.
//!
//! Computes what llama.cpp computes (`ggml_rope_cache_init` and `rotate_pairs` in ggml/src/ggml-cpu/ops.cpp), which finds the
//! same sines anew for each layer. They depend on the position alone, so here they are found once.

use std::sync::OnceLock;

use crate::level::{Level, by_level};

/// Positions whose sines are kept, 1 KiB each with heads of 256. Comments and their videos end far before.
const KEPT: usize = 4096;

/// How positions become angles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rotary {
    /// Numbers of a row that are rotated, an even count.
    pub width: usize,
    /// What the angles' frequencies are powers of.
    pub base: f32,
    /// Of the positions.
    pub scale: f32,
    /// Of the results.
    pub factor: f32,
}

/// The sines of each position, found when it first occurs.
#[derive(Debug)]
pub struct Table {
    rotary: Rotary,
    /// Cosines, then as many sines.
    angles: Vec<OnceLock<Box<[f32]>>>,
}

impl Rotary {
    /// Cosines, then sines.
    fn angles(&self, position: i32) -> Box<[f32]> {
        let half = self.width / 2;
        let mut angles = vec![0.0; self.width].into_boxed_slice();
        let (cosines, sines) = angles.split_at_mut(half);
        let step = self.base.powf(-2.0 / self.width as f32);
        let mut angle = position as f32;
        for (cosine, sine) in cosines.iter_mut().zip(sines) {
            *cosine = (self.scale * angle).cos() * self.factor;
            *sine = (self.scale * angle).sin() * self.factor;
            angle *= step;
        }
        angles
    }
}

impl Table {
    /// Nothing is found yet.
    pub fn new(rotary: Rotary) -> Self {
        Self { rotary, angles: (0..KEPT).map(|_| OnceLock::new()).collect() }
    }

    /// What the table is of.
    pub fn rotary(&self) -> &Rotary {
        &self.rotary
    }

    /// Rotates the first numbers of a row.
    ///
    /// # Panics
    /// If this is not [`available`](crate::available), or the row is shorter than said.
    pub fn rotate(&self, level: Level, row: &mut [f32], position: i32) {
        let row = &mut row[..self.rotary.width];
        match usize::try_from(position).ok().and_then(|position| self.angles.get(position)) {
            Some(kept) => rotated(level, row, kept.get_or_init(|| self.rotary.angles(position))),
            None => rotated(level, row, &self.rotary.angles(position)),
        }
    }
}

by_level!(fn rotated(row: &mut [f32], angles: &[f32]) = rotated_inlined, rotated_inlined);

#[inline(always)]
fn rotated_inlined(row: &mut [f32], angles: &[f32]) {
    let (first, second) = row.split_at_mut(angles.len() / 2);
    let (cosines, sines) = angles.split_at(angles.len() / 2);
    for (((a, b), cosine), sine) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
        (*a, *b) = (*a * cosine - *b * sine, *a * sine + *b * cosine);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::available;

    const GEMMA: Rotary = Rotary { width: 256, base: 1e6, scale: 1.0, factor: 1.0 };

    #[test]
    fn a_pair_is_turned_by_its_angle() {
        if !available() {
            return;
        }
        let table = Table::new(GEMMA);
        for position in [0, 1, 7, 300, 4095, 4096, 100_000] {
            let mut row: Vec<f32> = (0..260).map(|i| i as f32 / 50.0 - 2.0).collect();
            let before = row.clone();
            table.rotate(Level::best(), &mut row, position);
            for i in 0..128 {
                let angle = f64::from(position) * 1e6f64.powf(-f64::from(i) / 128.0);
                let (sine, cosine) = angle.sin_cos();
                let i = usize::try_from(i).unwrap();
                let (a, b) = (f64::from(before[i]), f64::from(before[i + 128]));
                // In 32 bits a large angle has few digits after its point.
                let near = |got: f32, expected: f64| (f64::from(got) - expected).abs() < 1e-5 + 3e-6 * angle;
                assert!(near(row[i], a * cosine - b * sine), "position {position}, {i}");
                assert!(near(row[i + 128], a * sine + b * cosine), "position {position}, {i}");
            }
            assert_eq!(row[256..], before[256..]);
        }
    }

    #[test]
    fn what_is_kept_is_what_was_found() {
        if !available() {
            return;
        }
        let table = Table::new(Rotary { scale: 0.125, factor: 0.5, ..GEMMA });
        let rotated = |position| {
            let mut row = [1.0; 256];
            table.rotate(Level::best(), &mut row, position);
            row
        };
        assert_eq!(rotated(8), rotated(8));
        assert_ne!(rotated(8), rotated(16));
        assert!((rotated(0)[0] - 0.5).abs() < 1e-6);
    }
}
