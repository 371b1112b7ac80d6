//! The head's rows of which only scores are wanted: their log-sum-exp and a few columns are found while the products lie in
//! the cache, so that rows of 262,144 logits are neither written nor read.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::{CStr, c_char};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use ko_sentiment_kernels::Level;
use ko_sentiment_kernels::reductions::{Cap, Part, join, reduce};
use llama_cpp_sys_2 as sys;

use crate::engine::backend::Output;
use crate::text::vocabulary::Token;

/// Columns that are reduced together, whatever the number of threads, so that sums are the same to the bit.
pub const WIDTH: usize = 512;

/// What llama.cpp calls a head's weights; the second where they are the embedding's.
const NAMES: [&CStr; 2] = [c"output.weight", c"token_embd.weight"];

/// As products are where nothing follows them.
const PLAIN: Cap = Cap { before: 1.0, after: None };

/// Logits of one step's rows, in the order of its outputs.
#[derive(Default)]
pub struct Head {
    /// Where the head's weights lie; null as long as no graph had them.
    weights: usize,
    /// The last node that is known to follow the head's product.
    last: usize,
    /// What follows it; `None` if it is nothing that we know.
    cap: Option<Cap>,
    outputs: Vec<Output>,
    columns: Vec<usize>,
    /// The first output that is not computed yet.
    next: AtomicUsize,
    /// Runs of a row.
    runs: usize,
    /// A [`Part`]'s bits for each output and run.
    parts: Vec<AtomicU64>,
    /// A logit's bits for each output and wanted column.
    logits: Vec<AtomicU32>,
}

impl Head {
    /// Looks at a graph's node, before anything is computed: a head's product, or what follows it. Other than a scale and
    /// a cap by tangent, nothing is known.
    pub fn note(&mut self, node: &sys::ggml_tensor, is_product: bool) {
        let place = std::ptr::from_ref(node).addr();
        // SAFETY: a source is null or a live tensor.
        let weights = unsafe { node.src[0].as_ref() };
        if let Some(weights) = weights.filter(|weights| is_product && is_head(&weights.name)) {
            (self.weights, self.last, self.cap) = (weights.data.addr(), place, Some(PLAIN));
        } else if self.last != 0 && node.src[0].addr() == self.last {
            self.cap = self.cap.and_then(|cap| followed(cap, node));
            self.last = place;
        }
    }

    /// A step with these outputs begins, of rows of so many logits.
    pub fn begin(&mut self, outputs: impl Iterator<Item = Output>, columns: &BTreeSet<Token>, width: usize) {
        self.outputs.clear();
        self.outputs.extend(outputs.filter(|output| *output != Output::None));
        self.columns.clear();
        self.columns.extend(columns.iter().filter_map(|token| usize::try_from(*token).ok()));
        self.runs = width.div_ceil(WIDTH);
        *self.next.get_mut() = 0;
        let scores = self.outputs.contains(&Output::Scores);
        let count = if scores { self.outputs.len() } else { 0 };
        self.parts.resize_with(count * self.runs, AtomicU64::default);
        self.logits.resize_with(count * self.columns.len(), AtomicU32::default);
    }

    /// Whether a product with these weights gives scores in this step.
    pub fn is_asked(&self, weights: &[u8], columns: usize) -> bool {
        self.cap.is_some()
            && weights.as_ptr().addr() == self.weights
            && !self.parts.is_empty()
            && columns.div_ceil(WIDTH) == self.runs
    }

    /// Whether only scores are wanted of a row of the graph at hand.
    fn gives_scores(&self, row: usize) -> bool {
        self.outputs.get(self.next.load(Ordering::Relaxed) + row) == Some(&Output::Scores)
    }

    /// Computes a run of [`WIDTH`] columns for some rows: `multiply` gives products, from a row and column on; those that are
    /// wanted whole go to `put`, the rest is reduced.
    pub fn run<const COLUMNS: usize>(
        &self,
        (run, rows, columns): (usize, Range<usize>, usize),
        multiply: impl FnOnce(&mut dyn FnMut(usize, usize, &[[f32; COLUMNS]])),
        put: impl Fn(usize, usize, &[[f32; COLUMNS]]),
    ) {
        thread_local!(static PIECES: RefCell<Vec<[f32; WIDTH]>> = RefCell::default());
        let first_column = run * WIDTH;
        let width = WIDTH.min(columns - first_column);
        PIECES.with_borrow_mut(|pieces| {
            pieces.resize(rows.len(), [0.0; WIDTH]);
            multiply(&mut |row, column, results| {
                for (row, results) in (row..).zip(results) {
                    if self.gives_scores(row) {
                        let start = column - first_column;
                        pieces[row - rows.start][start..start + COLUMNS].copy_from_slice(results);
                    } else {
                        put(row, column, std::slice::from_ref(results));
                    }
                }
            });
            for (row, piece) in rows.zip(pieces) {
                if self.gives_scores(row) {
                    self.keep(row, run, &mut piece[..width]);
                }
            }
        });
    }

    /// Keeps what is wanted of a piece of a row.
    fn keep(&self, row: usize, run: usize, piece: &mut [f32]) {
        let mut part = Part { max: f32::NEG_INFINITY, sum: 0.0 };
        reduce(Level::best(), piece, self.cap.unwrap_or(PLAIN), &mut part);
        let output = self.next.load(Ordering::Relaxed) + row;
        let bits = u64::from(part.max.to_bits()) << 32 | u64::from(part.sum.to_bits());
        self.parts[output * self.runs + run].store(bits, Ordering::Relaxed);
        let first = run * WIDTH;
        let to = &self.logits[output * self.columns.len()..][..self.columns.len()];
        for (column, to) in self.columns.iter().zip(to) {
            if let Some(logit) = column.checked_sub(first).and_then(|place| piece.get(place)) {
                to.store(logit.to_bits(), Ordering::Relaxed);
            }
        }
    }

    /// The rows of a graph are computed.
    pub fn advance(&self, rows: usize) {
        self.next.fetch_add(rows, Ordering::Relaxed);
    }

    /// Whether an output's scores are here.
    pub fn has(&self, output: usize) -> bool {
        !self.parts.is_empty()
            && output < self.next.load(Ordering::Relaxed)
            && self.outputs.get(output) == Some(&Output::Scores)
    }

    /// ln Σ exp(logit) of an output that it [has](Self::has), in nats.
    pub fn log_sum(&self, output: usize) -> f64 {
        let parts = &self.parts[output * self.runs..][..self.runs];
        join(parts.iter().map(|bits| {
            let bits = bits.load(Ordering::Relaxed);
            let [max, sum] = [bits >> 32, bits & u64::from(u32::MAX)].map(|half| f32::from_bits(half as u32));
            Part { max, sum }
        }))
    }

    /// A wanted logit of an output that it [has](Self::has).
    pub fn logit(&self, output: usize, token: Token) -> Option<f32> {
        let token = usize::try_from(token).ok()?;
        let column = self.columns.binary_search(&token).ok()?;
        let bits = self.logits.get(output * self.columns.len() + column)?;
        Some(f32::from_bits(bits.load(Ordering::Relaxed)))
    }
}

fn is_head(name: &[c_char]) -> bool {
    let bytes = name.iter().map(|c| *c as u8).take_while(|byte| *byte != 0);
    NAMES.iter().any(|known| bytes.clone().eq(known.to_bytes().iter().copied()))
}

/// What follows a head with one more node, if we know that.
fn followed(cap: Cap, node: &sys::ggml_tensor) -> Option<Cap> {
    let number = |place: usize| f32::from_bits(node.op_params[place] as u32);
    match (node.op, cap.after) {
        (sys::GGML_OP_SCALE, None) if number(1) == 0.0 => Some(Cap { before: cap.before * number(0), ..cap }),
        (sys::GGML_OP_SCALE, Some(after)) if number(1) == 0.0 => {
            Some(Cap { after: Some(after * number(0)), ..cap })
        }
        (sys::GGML_OP_UNARY, None) if node.op_params[0] == sys::GGML_UNARY_OP_TANH as i32 => {
            Some(Cap { after: Some(1.0), ..cap })
        }
        _ => None,
    }
}
