//! Attention of a batch over the cells of the KV cache that its tokens see, and over no others.
//!
//! A step mixes tokens of many requests, and in a unified cache each of them sees a small part of the cells: the
//! instruction, its video, its own comment. Here a few tokens at a time (a tile) take the cells that any of them
//! sees, and compute softmax(scale · Q Kᵀ + mask) V over these alone, in one pass with a running maximum
//! (FlashAttention, Dao et al. 2022). What it computes is what `GGML_OP_FLASH_ATTN_EXT` computes
//! (ggml/src/ggml-cpu/ops.cpp), which looks at every cell up to the last one in use.
//!
//! Queries are lanes: all steps of the softmax are the same operation on 16 neighbours, which the compiler
//! turns into vectors.

use std::ops::Range;

use crate::cells::{Cells, Rows};
use crate::exponential::{exp_nonpositive as exp, tanh};
use crate::level::{Level, by_level};
#[cfg(target_arch = "x86_64")]
use crate::strips::Avx512;
#[cfg(not(target_arch = "x86_64"))]
use crate::strips::Plain as Avx512;
use crate::strips::{CELLS, LANES, Lane, Plain, Strips};

/// Cells of one round of the running softmax; a multiple of [`CELLS`].
const CHUNK: usize = 96;

/// From one strip of a chunk's values to the next, in [`Lane`]s; odd, so that they do not share a cache set.
const VALUES: usize = CHUNK + 1;

/// What the conversion of a cell's key and value costs, in lanes that use them.
const CONVERSION: usize = 8;

/// Most tokens that are worth one call of [`attend`]: with more, keys and values do not get cheaper.
pub const BLOCK: usize = 32;

/// A mask's entry for a cell that is not seen: −∞ as an f16.
const UNSEEN: u16 = 0xFC00;

/// Takes a token, a query head and their result.
type Put<'a> = &'a mut dyn FnMut(usize, usize, &[f32]);

/// A step's attention in one layer.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// A row for each token and head.
    pub queries: Rows<'a, f32>,
    /// A row for each cell and KV head.
    pub keys: Cells<'a>,
    /// A row for each cell and KV head.
    pub values: Cells<'a>,
    /// A row of f16 bits for each token: 0 for a cell that it sees, −∞ for another.
    pub mask: Rows<'a, u16>,
    /// Query heads that share a KV head.
    pub group: usize,
    /// What a product of query and key is multiplied by.
    pub scale: f32,
    /// Scores s become c · tanh(s / c) for this c, unless it is 0 (Gemma 2).
    pub softcap: f32,
}

/// Memory that one call after the other uses.
#[derive(Default)]
pub struct Scratch {
    /// For each cell, how many tokens of the tile see it.
    seen: Vec<u16>,
    /// The cells that any of them sees, those that all of them see first.
    cells: Vec<usize>,
    queries: Vec<Lane>,
    mask: Vec<Lane>,
    keys: Vec<f32>,
    values: Vec<Lane>,
    row: Vec<f32>,
    scores: Vec<Lane>,
    sums: Vec<f32>,
    max: Vec<Lane>,
    total: Vec<Lane>,
}

impl Scratch {
    /// Sizes the buffers for a tile of `strips` strips of queries, and clears what is summed into. What is not
    /// written afterwards ends in lanes or columns that nobody reads.
    #[inline(always)]
    fn size_for(&mut self, a: &Attention, strips: usize, value_width: usize) {
        self.mask.resize(strips * CHUNK, [0.0; LANES]);
        self.keys.resize(CHUNK * a.keys.width(), 0.0);
        self.values.resize(VALUES * (value_width / LANES), [0.0; LANES]);
        self.row.resize(value_width, 0.0);
        self.scores.resize(CHUNK, [0.0; LANES]);
        self.queries.resize(strips * a.keys.width(), [0.0; LANES]);
        fill(&mut self.sums, strips * LANES * value_width, 0.0);
        fill(&mut self.max, strips, [f32::NEG_INFINITY; LANES]);
        fill(&mut self.total, strips, [0.0; LANES]);
    }
}

/// Computes some tokens with the queries of one KV head, and gives each result, a row as wide as a value, to `put`
/// with its token and query head.
///
/// # Panics
/// If it is not [`available`](crate::available), or rows are shorter than their strides say.
pub fn attend(
    a: &Attention,
    tokens: Range<usize>,
    kv_head: usize,
    scratch: &mut Scratch,
    mut put: impl FnMut(usize, usize, &[f32]),
) {
    attend_and_put(a, tokens, kv_head, scratch, &mut put);
}

/// Not generic, and so compiled in this crate.
fn attend_and_put(a: &Attention, tokens: Range<usize>, kv_head: usize, scratch: &mut Scratch, put: Put) {
    attend_at(Level::best(), a, tokens, kv_head, scratch, put);
}

by_level!(
    fn attend_at(a: &Attention, tokens: Range<usize>, kv_head: usize, scratch: &mut Scratch, put: Put)
        = attend_tiles::<Plain>, attend_tiles::<Avx512>
);

/// The rest of this file is inlined here.
#[inline(always)]
fn attend_tiles<S: Strips>(
    a: &Attention,
    tokens: Range<usize>,
    kv_head: usize,
    scratch: &mut Scratch,
    put: Put,
) {
    let mut first = tokens.start;
    while first < tokens.end {
        let tile = first..next_tile(a, first..tokens.end, scratch);
        first = tile.end;
        attend_tile::<S>(a, tile, kv_head, scratch, put);
    }
}

/// The end of the tile that begins with the first of these tokens; `scratch` gets the cells that it sees. A token
/// joins where that costs no more than a tile of its own would: tokens of one comment do, those of different videos
/// mostly do not.
#[inline(always)]
fn next_tile(a: &Attention, tokens: Range<usize>, scratch: &mut Scratch) -> usize {
    let cost =
        |tokens: usize, cells: usize| ((tokens * a.group).next_multiple_of(LANES) + CONVERSION) * cells;
    let Scratch { seen, cells, .. } = scratch;
    fill(seen, a.mask.width, 0);
    let mut end = tokens.start;
    let mut union = 0;
    for token in tokens.clone() {
        let row = a.mask.row(token, 0);
        let (own, added) = count_seen(row, seen);
        let count = end - tokens.start;
        if count > 0 && cost(count + 1, union + added) > cost(count, union) + cost(1, own) {
            break;
        }
        union += added;
        end += 1;
        for (seen, entry) in seen.iter_mut().zip(row) {
            *seen += u16::from(*entry != UNSEEN);
        }
    }
    let all = end - tokens.start;
    cells.clear();
    cells.extend((0..seen.len()).filter(|cell| seen[*cell] > 0));
    cells.sort_by_key(|cell| usize::from(seen[*cell]) < all);
    end
}

/// Cells that a row of the mask sees, and how many of them are new to `seen`.
#[inline(always)]
fn count_seen(row: &[u16], seen: &[u16]) -> (usize, usize) {
    // Sums of so many fit 16 bits.
    const PART: usize = 1 << 15;
    let (mut own, mut added) = (0, 0);
    for (row, seen) in row.chunks(PART).zip(seen.chunks(PART)) {
        let (mut part_own, mut part_added) = (0u16, 0u16);
        for (entry, seen) in row.iter().zip(seen) {
            let sees = u16::from(*entry != UNSEEN);
            part_own += sees;
            part_added += sees & u16::from(*seen == 0);
        }
        own += usize::from(part_own);
        added += usize::from(part_added);
    }
    (own, added)
}

/// Attention of a tile of tokens over the cells that `scratch` has for it.
#[inline(always)]
fn attend_tile<S: Strips>(
    a: &Attention,
    tokens: Range<usize>,
    kv_head: usize,
    scratch: &mut Scratch,
    put: Put,
) {
    let strips = (tokens.len() * a.group).div_ceil(LANES);
    let value_width = a.values.width().next_multiple_of(LANES);
    scratch.size_for(a, strips, value_width);
    fill_queries(a, &tokens, kv_head, &mut scratch.queries);
    let cells = std::mem::take(&mut scratch.cells);
    for chunk in cells.chunks(CHUNK) {
        convert_cells(a, chunk, kv_head, scratch);
        let masked = chunk.last().is_some_and(|cell| usize::from(scratch.seen[*cell]) < tokens.len());
        if masked {
            fill_mask(a, &tokens, chunk, &mut scratch.mask);
        }
        for strip in 0..strips {
            attend_strip::<S>(a, strip, chunk.len(), masked, scratch);
        }
    }
    scratch.cells = cells;
    for h in 0..a.group {
        for t in 0..tokens.len() {
            let lane = h * tokens.len() + t;
            let sum = scratch.total[lane / LANES][lane % LANES];
            let factor = if sum == 0.0 { 0.0 } else { 1.0 / sum };
            let result = &mut scratch.sums[lane * value_width..][..a.values.width()];
            result.iter_mut().for_each(|x| *x *= factor);
            put(tokens.start + t, kv_head * a.group + h, result);
        }
    }
}

/// Converts a chunk of cells to F32: keys a row each, values in strips of [`LANES`] columns.
#[inline(always)]
fn convert_cells(a: &Attention, chunk: &[usize], kv_head: usize, scratch: &mut Scratch) {
    let Scratch { keys, values, row, .. } = scratch;
    let key_width = a.keys.width();
    for (c, cell) in chunk.iter().enumerate() {
        a.keys.convert(*cell, kv_head, &mut keys[c * key_width..][..key_width]);
        a.values.convert(*cell, kv_head, &mut row[..a.values.width()]);
        for (strip, part) in row.as_chunks::<LANES>().0.iter().enumerate() {
            values[strip * VALUES + c] = *part;
        }
    }
}

/// Adds a chunk of `count` converted cells to the running softmax of one strip of queries.
#[inline(always)]
fn attend_strip<S: Strips>(a: &Attention, strip: usize, count: usize, masked: bool, scratch: &mut Scratch) {
    let Scratch { queries, mask, keys, values, row, scores, sums, max, total, .. } = scratch;
    let (key_width, value_width) = (a.keys.width(), row.len());
    let query = &queries[strip * key_width..][..key_width];
    let padded = count.next_multiple_of(CELLS);
    // SAFETY: as `attend_at` says.
    unsafe { S::dot_products(&keys[..padded * key_width], query, &mut scores[..padded]) };
    let scores = &mut scores[..count];
    if a.softcap != 0.0 {
        scores.iter_mut().for_each(|s| *s = s.map(|s| a.softcap * tanh(s / a.softcap)));
    }
    if masked {
        for (score, mask) in scores.iter_mut().zip(&mask[strip * CHUNK..]) {
            for (s, m) in score.iter_mut().zip(mask) {
                *s += m;
            }
        }
    }
    let rescale = soften(scores, &mut max[strip], &mut total[strip]);
    let sums = &mut sums[strip * LANES * value_width..][..LANES * value_width];
    for (v, values) in values.chunks_exact(VALUES).enumerate() {
        // SAFETY: as `attend_at` says.
        unsafe { S::add_weighted(scores, &values[..count], &rescale, &mut sums[v * LANES..], value_width) };
    }
}

/// Sets all of a buffer to `value`.
#[inline(always)]
fn fill<T: Copy>(buffer: &mut Vec<T>, length: usize, value: T) {
    buffer.clear();
    buffer.resize(length, value);
}

/// Writes a tile's scaled queries. Query head `h` of the group and the tile's token `t` have lane `h * count + t`.
#[inline(always)]
fn fill_queries(a: &Attention, tokens: &Range<usize>, kv_head: usize, queries: &mut [Lane]) {
    let count = tokens.len();
    for h in 0..a.group {
        for t in 0..count {
            let lane = h * count + t;
            let strip = &mut queries[lane / LANES * a.keys.width()..][..a.keys.width()];
            let row = a.queries.row(tokens.start + t, kv_head * a.group + h);
            for (to, x) in strip.iter_mut().zip(row) {
                to[lane % LANES] = x * a.scale;
            }
        }
    }
}

/// Writes the mask of a tile's lanes for some cells.
#[inline(always)]
fn fill_mask(a: &Attention, tokens: &Range<usize>, cells: &[usize], mask: &mut [Lane]) {
    let count = tokens.len();
    for t in 0..count {
        let row = a.mask.row(tokens.start + t, 0);
        for (c, cell) in cells.iter().enumerate() {
            let value = if row[*cell] == UNSEEN { f32::NEG_INFINITY } else { 0.0 };
            for h in 0..a.group {
                let lane = h * count + t;
                mask[lane / LANES * CHUNK + c][lane % LANES] = value;
            }
        }
    }
}

/// Turns scores into exp(score − maximum), and gives what earlier sums must be multiplied by.
#[inline(always)]
fn soften(scores: &mut [Lane], max: &mut Lane, total: &mut Lane) -> Lane {
    let mut new = *max;
    for score in scores.iter() {
        for (n, s) in new.iter_mut().zip(score) {
            *n = if *s > *n { *s } else { *n };
        }
    }
    // A lane that has seen nothing yet stays at −∞; its differences must be no NaN.
    let base = new.map(|n| if n == f32::NEG_INFINITY { 0.0 } else { n });
    let mut rescale = [0.0f32; LANES];
    for i in 0..LANES {
        rescale[i] = exp(max[i] - base[i]);
    }
    let mut sum = [0.0f32; LANES];
    for score in scores.iter_mut() {
        for i in 0..LANES {
            score[i] = exp(score[i] - base[i]);
            sum[i] += score[i];
        }
    }
    for i in 0..LANES {
        total[i] = total[i].mul_add(rescale[i], sum[i]);
    }
    *max = new;
    rescale
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;
    use crate::level::available;
    use crate::random::SplitMix64;

    /// A step's numbers, as llama.cpp lays them out: heads beside each other in a row.
    struct Step {
        shape: Shape,
        queries: Vec<f32>,
        keys: Vec<f16>,
        values: Vec<f16>,
        mask: Vec<u16>,
    }

    const SHAPE: Shape = Shape { tokens: 70, cells: 300, heads: 4, kv_heads: 1, width: 32, softcap: 0.0 };

    #[derive(Clone, Copy)]
    struct Shape {
        tokens: usize,
        cells: usize,
        heads: usize,
        kv_heads: usize,
        width: usize,
        softcap: f32,
    }

    impl Step {
        /// Tokens of requests of one to forty tokens, each of which sees some cells that all see, some of a
        /// video's, and its own up to itself.
        fn new(shape: Shape, random: &mut SplitMix64) -> Self {
            let Shape { tokens, cells, heads, kv_heads, width, .. } = shape;
            let mut mask = vec![UNSEEN; tokens * cells];
            let mut below = |n: usize| (random.uniform() * n as f64) as usize;
            let (mut start, mut left) = (0, 0);
            let (mut video, mut own) = (0..0, 0..0);
            for token in 0..tokens {
                if left == 0 {
                    left = 1 + below(40);
                    let [a, b] = [(); 2].map(|()| below(cells - 40));
                    (video, own) = (a..a + below(cells - a), b..b + 40);
                    start = token;
                }
                left -= 1;
                let row = &mut mask[token * cells..][..cells];
                let seen = (0..cells / 10).chain(video.clone()).chain(own.start..=own.start + token - start);
                seen.for_each(|cell| row[cell] = 0);
            }
            let mut number = || 2.0 * random.uniform() - 1.0;
            let mut halves = |n| (0..n).map(|_| f16::from_f64(number())).collect();
            let (keys, values) = (halves(cells * kv_heads * width), halves(cells * kv_heads * width));
            let queries = (0..tokens * heads * width).map(|_| 4.0 * number() as f32).collect();
            Self { shape, queries, keys, values, mask }
        }

        fn attention(&self) -> Attention<'_> {
            let Shape { cells, heads, kv_heads, width, softcap, .. } = self.shape;
            let (kv_stride, head_stride) = (kv_heads * width, width);
            Attention {
                queries: Rows { data: &self.queries, width, row_stride: heads * width, head_stride },
                keys: Cells::F16(Rows { data: &self.keys, width, row_stride: kv_stride, head_stride }),
                values: Cells::F16(Rows { data: &self.values, width, row_stride: kv_stride, head_stride }),
                mask: Rows { data: &self.mask, width: cells, row_stride: cells, head_stride: 0 },
                group: heads / kv_heads,
                scale: 0.25,
                softcap,
            }
        }

        /// What is put for each token and head.
        fn attend(&self, level: Level, block: usize) -> Vec<f32> {
            let Shape { tokens, heads, kv_heads, width, .. } = self.shape;
            let mut results = vec![f32::NAN; tokens * heads * width];
            let mut scratch = Scratch::default();
            for first in (0..tokens).step_by(block) {
                for kv_head in 0..kv_heads {
                    let tokens = first..tokens.min(first + block);
                    let mut put = |token, head, result: &[f32]| {
                        results[(token * heads + head) * width..][..width].copy_from_slice(result);
                    };
                    attend_at(level, &self.attention(), tokens, kv_head, &mut scratch, &mut put);
                }
            }
            results
        }

        /// The definition, in 64 bits.
        fn expected(&self, token: usize, head: usize) -> Vec<f64> {
            let a = self.attention();
            let kv_head = head / a.group;
            let query = a.queries.row(token, head);
            let cells = (0..a.mask.width).filter(|cell| a.mask.row(token, 0)[*cell] != UNSEEN);
            let (mut sum, mut result) = (0.0, vec![0.0; a.values.width()]);
            let mut row = vec![0.0; a.values.width()];
            for cell in cells {
                a.keys.convert(cell, kv_head, &mut row);
                let product: f64 = query.iter().zip(&row).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                let mut score = product * f64::from(a.scale);
                if a.softcap != 0.0 {
                    score = f64::from(a.softcap) * (score / f64::from(a.softcap)).tanh();
                }
                sum += score.exp();
                a.values.convert(cell, kv_head, &mut row);
                for (r, v) in result.iter_mut().zip(&row) {
                    *r += score.exp() * f64::from(*v);
                }
            }
            result.into_iter().map(|r| if sum == 0.0 { 0.0 } else { r / sum }).collect()
        }

        fn check(&self, block: usize) {
            let Shape { tokens, heads, width, .. } = self.shape;
            let results = self.attend(Level::best(), block);
            assert_eq!(results, self.attend(Level::Avx2, block), "the same bits by any instructions");
            for token in 0..tokens {
                for head in 0..heads {
                    let result = &results[(token * heads + head) * width..][..width];
                    for (got, expected) in result.iter().zip(self.expected(token, head)) {
                        let error = (f64::from(*got) - expected).abs();
                        assert!(error < 1e-5, "token {token}, head {head}: {got}, expected {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn steps_of_many_shapes_agree_with_the_definition() {
        if !available() {
            return;
        }
        let mut random = SplitMix64::new(1);
        for shape in [
            SHAPE,
            Shape { softcap: 3.0, ..SHAPE },
            Shape { kv_heads: 4, ..SHAPE },
            Shape { heads: 6, kv_heads: 2, width: 40, ..SHAPE },
            Shape { cells: 97, tokens: 1, ..SHAPE },
            Shape { cells: 1_000, width: 20, heads: 1, ..SHAPE },
        ] {
            let step = Step::new(shape, &mut random);
            step.check(BLOCK);
            step.check(9);
        }
    }

    #[test]
    fn a_token_that_sees_nothing_gets_zeros() {
        if !available() {
            return;
        }
        let shape = Shape { tokens: 8, cells: 64, heads: 2, width: 16, ..SHAPE };
        let mut step = Step::new(shape, &mut SplitMix64::new(2));
        step.mask[3 * 64..4 * 64].fill(UNSEEN);
        step.check(BLOCK);
    }

    #[test]
    fn scores_far_apart_neither_overflow_nor_vanish() {
        if !available() {
            return;
        }
        let mut step = Step::new(Shape { tokens: 40, width: 16, ..SHAPE }, &mut SplitMix64::new(3));
        // Scores up to about 250: their exponentials would overflow 32 bits, not 64.
        step.queries.iter_mut().for_each(|q| *q *= 16.0);
        step.check(BLOCK);
    }

    #[test]
    fn tiles_end_where_requests_see_different_cells() {
        let mut step =
            Step::new(Shape { tokens: 30, cells: 400, width: 16, ..SHAPE }, &mut SplitMix64::new(4));
        step.mask.fill(UNSEEN);
        for token in 0..30 {
            let start = if token < 12 { 0 } else { 200 };
            step.mask[token * 400 + start..][..100 + token].fill(0);
        }
        let mut scratch = Scratch::default();
        assert_eq!(next_tile(&step.attention(), 0..30, &mut scratch), 12);
        assert_eq!(scratch.cells, (0..111).collect::<Vec<_>>(), "the last token's row");
        assert_eq!(next_tile(&step.attention(), 12..30, &mut scratch), 30);
        assert_eq!(scratch.cells, (200..329).collect::<Vec<_>>());
    }
}
