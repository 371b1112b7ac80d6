//! The head's rows of which not all is wanted. Where that is the log-sum-exp and a few columns, they are found while the
//! products lie in the cache, so that rows of 262,144 logits are neither written nor read; where it is a few columns alone,
//! as in a reason whose guide leaves few choices, no others are multiplied.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ko_sentiment_kernels::Level;
use ko_sentiment_kernels::reductions::{Cap, PLAIN, Part, join, reduce};
use llama_cpp_sys_2 as sys;

use super::tensor::size;
use crate::engine::backend::Output;
use crate::text::vocabulary::Token;

/// Columns that are reduced together, whatever the number of threads, so that sums are the same to the bit.
pub const WIDTH: usize = 512;

/// What llama.cpp calls a head's weights; the second where they are the embedding's.
const NAMES: [&CStr; 2] = [c"output.weight", c"token_embd.weight"];

/// Whose a node of a graph is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Nobody has taken it.
    LlamaCpp,
    /// A product that becomes ours.
    Ours,
    /// It is ours since an earlier use of the graph.
    OursBefore,
}

/// What is wanted of one step's rows, in the order of its outputs.
#[derive(Default)]
pub struct Head {
    /// Where the head's weights lie; 0 as long as no graph had them.
    weights: usize,
    /// Where the last node that follows the head's product lies; 0 if they are all known.
    last: usize,
    /// What follows it; `None` if it is nothing that we know.
    cap: Option<Cap>,
    /// Those that the step asks for; [`Output::Row`] where llama.cpp computes the product.
    outputs: Vec<Output>,
    /// Those of the graph at hand: a step may be cut into several.
    now: Range<usize>,
    columns: Vec<usize>,
    /// Logits of a row.
    width: usize,
    /// A [`Part`]'s bits for each output and run of columns.
    parts: Vec<AtomicU64>,
    /// A logit's bits for each output and wanted column.
    logits: Vec<AtomicU32>,
}

impl Head {
    /// Looks at a graph's node, before anything of the graph is computed: a head's product, or what follows it. Other than a
    /// scale and a cap by tangent, nothing is known.
    pub fn note(&mut self, node: &sys::ggml_tensor, whose: Whose) {
        let place = std::ptr::from_ref(node).addr();
        // SAFETY: a source is null or a live tensor.
        let weights = unsafe { node.src[0].as_ref() };
        let is_product = whose != Whose::LlamaCpp || node.op == sys::GGML_OP_MUL_MAT;
        if let Some(weights) = weights.filter(|weights| is_product && is_head(weights)) {
            let whose = if size(weights.ne[1]) == self.width { whose } else { Whose::LlamaCpp };
            let end = self.now.end + size(node.ne[1]);
            self.now = self.now.end.min(self.outputs.len())..end.min(self.outputs.len());
            match whose {
                // In a graph that is used again, what follows may be ours by now, and is known.
                Whose::OursBefore => self.last = 0,
                Whose::Ours => {
                    (self.weights, self.last, self.cap) = (weights.data.addr(), place, Some(PLAIN))
                }
                Whose::LlamaCpp => {
                    self.outputs[self.now.clone()].fill(Output::Row);
                    self.last = 0;
                }
            }
        } else if self.last != 0 && node.src.iter().any(|src| src.addr() == self.last) {
            self.cap =
                self.cap.and_then(|cap| followed(cap, node)).filter(|_| node.src[0].addr() == self.last);
            self.last = place;
        }
    }

    /// A step with these outputs begins, of rows of so many logits.
    pub fn begin(&mut self, outputs: impl Iterator<Item = Output>, columns: &BTreeSet<Token>, width: usize) {
        self.outputs.clear();
        self.outputs.extend(outputs.filter(|output| *output != Output::None));
        self.columns.clear();
        let columns = columns.iter().filter_map(|token| usize::try_from(*token).ok());
        self.columns.extend(columns.filter(|column| *column < width));
        (self.width, self.now) = (width, 0..0);
        let count = |wanted: bool| if wanted { self.outputs.len() } else { 0 };
        let scores = count(self.outputs.contains(&Output::Scores));
        let reduced = count(self.outputs.iter().any(|output| *output != Output::Row));
        self.parts.resize_with(scores * self.runs(), AtomicU64::default);
        self.logits.resize_with(reduced * self.columns.len(), AtomicU32::default);
    }

    /// Runs of a row's columns.
    fn runs(&self) -> usize {
        self.width.div_ceil(WIDTH)
    }

    /// Whether less than whole rows is asked for in this step, and known how to give.
    fn is_active(&self) -> bool {
        self.cap.is_some() && !self.logits.is_empty()
    }

    /// Whether a product with so many columns of these weights is to give less than whole rows.
    pub fn is_asked(&self, weights: &[u8], columns: usize) -> bool {
        self.is_active() && weights.as_ptr().addr() == self.weights && columns == self.width
    }

    /// What is wanted of a row of the graph at hand.
    fn wanted(&self, row: usize) -> Output {
        self.outputs.get(self.now.start + row).copied().unwrap_or(Output::Row)
    }

    /// The rows of the graph at hand of which every column must be multiplied, and others between them: from a multiple of
    /// `group` to another, or to the last row.
    pub fn whole(&self, rows: usize, group: usize) -> Range<usize> {
        let is_whole = |row: &usize| self.wanted(*row) != Output::Columns;
        let Some(first) = (0..rows).find(is_whole) else { return 0..0 };
        let last = (first..rows).rfind(is_whole).unwrap_or(first);
        first / group * group..(last + 1).next_multiple_of(group).min(rows)
    }

    /// Panels of so many columns that hold wanted ones.
    pub fn panels(&self, width: usize) -> Vec<usize> {
        let mut panels: Vec<usize> = self.columns.iter().map(|column| column / width).collect();
        panels.dedup();
        panels
    }

    /// Keeps what is wanted of some rows' products, of which only columns are wanted.
    pub fn pick<const COLUMNS: usize>(&self, row: usize, column: usize, results: &[[f32; COLUMNS]]) {
        let cap = self.cap.unwrap_or(PLAIN);
        for (row, results) in (row..).zip(results) {
            self.keep_columns(row, column, |place| results.get(place).map(|product| cap.of(*product)));
        }
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
                    if self.wanted(row) != Output::Row {
                        let start = column - first_column;
                        pieces[row - rows.start][start..start + COLUMNS].copy_from_slice(results);
                    } else {
                        put(row, column, std::slice::from_ref(results));
                    }
                }
            });
            for (row, piece) in rows.zip(pieces) {
                match self.wanted(row) {
                    Output::Scores => self.keep(row, run, &mut piece[..width]),
                    Output::Columns => self.pick(row, first_column, std::slice::from_ref(piece)),
                    Output::Row | Output::None => {}
                }
            }
        });
    }

    /// Keeps what is wanted of a piece of a row.
    fn keep(&self, row: usize, run: usize, piece: &mut [f32]) {
        let mut part = Part { max: f32::NEG_INFINITY, sum: 0.0 };
        reduce(Level::best(), piece, self.cap.unwrap_or(PLAIN), &mut part);
        let bits = u64::from(part.max.to_bits()) << 32 | u64::from(part.sum.to_bits());
        self.parts[(self.now.start + row) * self.runs() + run].store(bits, Ordering::Relaxed);
        self.keep_columns(row, run * WIDTH, |place| piece.get(place).copied());
    }

    /// Keeps the wanted columns of those from `first` on, whose logits `logit` has by their place.
    fn keep_columns(&self, row: usize, first: usize, logit: impl Fn(usize) -> Option<f32>) {
        let output = self.now.start + row;
        let to = &self.logits[output * self.columns.len()..][..self.columns.len()];
        let start = self.columns.partition_point(|column| *column < first);
        for (column, to) in self.columns.iter().zip(to).skip(start) {
            let Some(logit) = logit(column - first) else { break };
            to.store(logit.to_bits(), Ordering::Relaxed);
        }
    }

    /// Whether an output was reduced to what is wanted of it.
    pub fn has(&self, output: usize) -> bool {
        self.is_active()
            && output < self.now.end
            && self.outputs.get(output).is_some_and(|wanted| *wanted != Output::Row)
    }

    /// ln Σ exp(logit) of an output that it [has](Self::has), in nats; NaN if only columns were wanted.
    pub fn log_sum(&self, output: usize) -> f64 {
        if self.outputs.get(output) != Some(&Output::Scores) {
            return f64::NAN;
        }
        let parts = &self.parts[output * self.runs()..][..self.runs()];
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

/// Whether these are a head's weights.
pub fn is_head(weights: &sys::ggml_tensor) -> bool {
    let bytes = weights.name.iter().map(|c| *c as u8).take_while(|byte| *byte != 0);
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
