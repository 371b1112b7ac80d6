//! A llama.cpp context as the scheduler's backend.
//!
//! `llama_context` is owned here, through the raw bindings, since the safe ones do not reach
//! `n_outputs_max`, which keeps the compute buffer at tens of MiB instead of hundreds.

use std::ptr::NonNull;
use std::sync::Arc;

use llama_cpp_sys_2 as sys;

use super::features::offloads;
use super::kernels::head::Head;
use super::kernels::hook::Hook;
use super::kernels::product_types;
use super::model::Model;
use crate::engine::StartError;
use crate::engine::backend::{Backend, Batch, DecodeError, Limits, Output, SeqId};
use crate::engine::logits::log_sum_exps;
use crate::text::vocabulary::Token;

/// llama.cpp aborts beyond this (`LLAMA_MAX_SEQ`).
const MAX_SEQUENCES: usize = 256;

/// Type of the KV cache's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum KvType {
    /// 16-bit floats, llama.cpp's default.
    #[default]
    F16,
    /// 16-bit floats with the range of 32-bit ones.
    Bf16,
    /// 8-bit blocks, about 8.5 bits per number.
    #[value(name = "q8_0")]
    Q8_0,
}

impl KvType {
    fn ggml(self) -> sys::ggml_type {
        match self {
            Self::F16 => sys::GGML_TYPE_F16,
            Self::Bf16 => sys::GGML_TYPE_BF16,
            Self::Q8_0 => sys::GGML_TYPE_Q8_0,
        }
    }
}

/// How a context is made.
#[derive(Debug, Clone, Copy)]
pub struct ContextOptions {
    /// Cells of the KV cache.
    pub cells: usize,
    /// Tokens in a step.
    pub batch: usize,
    /// Tokens that are multiplied at once; a step is cut into these.
    pub ubatch: usize,
    /// Sequences at once.
    pub sequences: usize,
    /// Rows of logits in a step.
    pub outputs: usize,
    /// CPU threads.
    pub threads: usize,
    /// Entries of the KV cache.
    pub kv_type: KvType,
    /// Attention by [`crate::llama::kernels::attention`] where it fits, which is on the CPU and with [`KvType::F16`];
    /// else llama.cpp's.
    pub own_attention: bool,
    /// Products by [`crate::llama::kernels::products`] where they fit, which is on the CPU, in steps of many tokens,
    /// and with some types of weights; else llama.cpp's.
    pub own_products: bool,
}

impl ContextOptions {
    /// llama.cpp's parameters, for at most `outputs` rows of logits a step.
    fn params(&self, outputs: usize) -> sys::llama_context_params {
        let small = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let threads = i32::try_from(self.threads).unwrap_or(i32::MAX);
        // SAFETY: returns a plain struct.
        let mut params = unsafe { sys::llama_context_default_params() };
        params.n_ctx = small(self.cells);
        params.n_batch = small(self.batch);
        params.n_ubatch = small(self.ubatch);
        params.n_seq_max = small(self.sequences);
        params.n_outputs_max = small(outputs);
        params.n_threads = threads;
        params.n_threads_batch = threads;
        params.type_k = self.kv_type.ggml();
        params.type_v = self.kv_type.ggml();
        params.kv_unified = true;
        params.swa_full = true;
        params.no_perf = true;
        params
    }
}

/// A context and the model that it computes with.
pub struct LlamaContext {
    ptr: NonNull<sys::llama_context>,
    model: Arc<Model>,
    /// Where llama.cpp's callback finds it; freed after the context.
    hook: Box<Hook>,
    limits: Limits,
    batch: RawBatch,
    /// What each row of the last batch gave, and which of its outputs that is; empty if it was not computed.
    outputs: Vec<(Output, usize)>,
}

// SAFETY: a context is not bound to a thread; it is only ever used through `&mut self` or by its one owner.
unsafe impl Send for LlamaContext {}

impl LlamaContext {
    /// Makes a context with a unified KV cache, in which sequences can share cells, and a full
    /// window: a sliding one forgets cells that a later fork may need.
    ///
    /// # Errors
    /// [`StartError`] if the options do not fit llama.cpp, or memory is short.
    pub fn new(model: Arc<Model>, options: ContextOptions) -> Result<Self, StartError> {
        if options.sequences > MAX_SEQUENCES {
            let text = format!(
                "{} sequences are needed, and llama.cpp has {MAX_SEQUENCES}; lower --parallel or --max-videos",
                options.sequences
            );
            return Err(StartError::Config(text));
        }
        let batch = options.batch.min(options.cells);
        if options.sequences > batch {
            let text = format!(
                "a step of {batch} tokens is too small for {} sequences; raise --batch-size and --ctx-size, or lower --parallel or --max-videos",
                options.sequences
            );
            return Err(StartError::Config(text));
        }
        // llama.cpp asserts that there are as many rows as sequences.
        let outputs = options.outputs.max(options.sequences).min(options.batch);
        let mut params = options.params(outputs);
        let mut hook = Hook::new(options.own_attention, options.own_products && !product_types().is_empty());
        // A callback would make a GPU wait after every part of the graph.
        if !offloads() {
            hook.install(&mut params);
        }
        // SAFETY: the model outlives the context, which holds an `Arc` of it; the parameters are valid.
        let ptr = unsafe { sys::llama_init_from_model(model.as_ptr(), params) };
        let Some(ptr) = NonNull::new(ptr) else {
            let text = format!(
                "llama.cpp cannot make a context of {} tokens; if memory is short, lower --ctx-size",
                options.cells
            );
            return Err(StartError::Backend(text));
        };
        // SAFETY: the context was just made.
        let (cells, batch) = unsafe { (sys::llama_n_ctx(ptr.as_ptr()), sys::llama_n_batch(ptr.as_ptr())) };
        let limits = Limits {
            cells: cells as usize,
            batch: batch as usize,
            outputs: options.outputs.min(outputs),
            sequences: options.sequences,
        };
        let mut context = Self { ptr, model, hook, limits, batch: RawBatch::default(), outputs: Vec::new() };
        context.release_unused_rows(options.sequences);
        // What reading the vocabulary and planning the graph left in the heap.
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        // SAFETY: no preconditions.
        unsafe {
            libc::malloc_trim(0)
        };
        Ok(context)
    }

    /// Gives the memory of the `rows` rows of logits back until they are used: llama.cpp has one for each
    /// sequence, zeroed, and few steps need half of them.
    fn release_unused_rows(&mut self, rows: usize) {
        const PAGE: usize = 1 << 16;
        // With a GPU the rows are memory that its driver has pinned.
        if offloads() || !cfg!(target_os = "linux") {
            return;
        }
        // SAFETY: the context is alive.
        let start = unsafe { sys::llama_get_logits(self.ptr.as_ptr()) }.cast::<u8>();
        let size = rows * self.model.vocabulary_size() * size_of::<f32>();
        let skip = start.align_offset(PAGE);
        if start.is_null() || skip + PAGE > size {
            return;
        }
        let length = (size - skip) / PAGE * PAGE;
        // SAFETY: whole pages within llama.cpp's own buffer of `rows` rows, an anonymous private mapping,
        // which read as zeros afterwards, as they do now.
        unsafe { libc::madvise(start.add(skip).cast(), length, libc::MADV_DONTNEED) };
    }

    fn memory(&self) -> sys::llama_memory_t {
        // SAFETY: the context is alive.
        unsafe { sys::llama_get_memory(self.ptr.as_ptr()) }
    }

    /// Where the head has reduced a row of the last batch to what is wanted of it: the head, and which of its outputs that is.
    fn reduced(&self, row: usize) -> Option<(&Head, usize)> {
        let (asked, output) = *self.outputs.get(row)?;
        matches!(asked, Output::Scores | Output::Columns).then_some(())?;
        self.hook.head().filter(|head| head.has(output)).map(|head| (head, output))
    }

    fn valid(&self, seq: SeqId) -> bool {
        usize::try_from(seq).is_ok_and(|seq| seq < self.limits.sequences)
    }
}

impl Drop for LlamaContext {
    fn drop(&mut self) {
        // SAFETY: made by `llama_init_from_model`, freed once.
        unsafe { sys::llama_free(self.ptr.as_ptr()) }
    }
}

impl Backend for LlamaContext {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn decode(&mut self, batch: &Batch) -> Result<(), DecodeError> {
        self.outputs.clear();
        let vocabulary = self.model.vocabulary_size();
        let token_ok = |token: i32| usize::try_from(token).is_ok_and(|t| t < vocabulary);
        // llama.cpp asserts these, and an assertion ends the process.
        let fits = batch.len() <= self.limits.batch
            && batch.outputs <= self.limits.outputs
            && batch
                .tokens
                .iter()
                .all(|t| token_ok(t.token) && !t.seqs.is_empty() && t.seqs.iter().all(|s| self.valid(*s)));
        if !fits {
            return Err(DecodeError(-1));
        }
        self.hook.begin(batch, vocabulary);
        let raw = self.batch.fill(batch);
        // SAFETY: the arrays of `raw` live in `self.batch` and have `n_tokens` entries each; ids are checked.
        let code = unsafe { sys::llama_decode(self.ptr.as_ptr(), raw) };
        if code != 0 {
            return Err(DecodeError(code));
        }
        let mut count = 0;
        self.outputs.extend(batch.tokens.iter().map(|t| {
            count += usize::from(t.output != Output::None);
            (t.output, count.saturating_sub(1))
        }));
        Ok(())
    }

    fn logits(&self, row: usize) -> Option<&[f32]> {
        let (asked, _) = *self.outputs.get(row)?;
        // Of a row that the head has reduced, llama.cpp has nothing.
        (asked != Output::None && self.reduced(row).is_none()).then_some(())?;
        let index = i32::try_from(row).ok()?;
        // SAFETY: the last batch was computed, and this row of it asked for logits.
        let data = unsafe { sys::llama_get_logits_ith(self.ptr.as_ptr(), index) };
        // SAFETY: a row has one entry for each token of the vocabulary, and stays until the next `decode`, which needs `&mut`.
        (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data, self.model.vocabulary_size()) })
    }

    fn log_sums(&self, rows: &[usize]) -> Vec<f64> {
        let whole: Vec<&[f32]> = rows.iter().filter_map(|row| self.logits(*row)).collect();
        let mut sums = log_sum_exps(&whole).into_iter();
        let sum = |row: &usize| match self.reduced(*row) {
            Some((head, output)) => head.log_sum(output),
            None if self.logits(*row).is_some() => sums.next().unwrap_or(f64::NAN),
            None => f64::NAN,
        };
        rows.iter().map(sum).collect()
    }

    fn logit(&self, row: usize, token: Token) -> Option<f32> {
        match self.reduced(row) {
            Some((head, output)) => head.logit(output, token),
            None => self.logits(row)?.get(usize::try_from(token).ok()?).copied(),
        }
    }

    fn share(&mut self, from: SeqId, to: SeqId, end: usize) {
        if self.valid(from) && self.valid(to) {
            let end = i32::try_from(end).unwrap_or(i32::MAX);
            // SAFETY: the ids are within `n_seq_max`.
            unsafe { sys::llama_memory_seq_cp(self.memory(), from, to, 0, end) }
        }
    }

    fn truncate(&mut self, seq: SeqId, start: usize) {
        if self.valid(seq) {
            let start = i32::try_from(start).unwrap_or(i32::MAX);
            // SAFETY: the id is within `n_seq_max`. With a full window any tail can be removed.
            unsafe { sys::llama_memory_seq_rm(self.memory(), seq, start, -1) };
        }
    }
}

/// A batch as llama.cpp reads it: parallel arrays, kept to be filled again.
#[derive(Default)]
struct RawBatch {
    tokens: Vec<i32>,
    positions: Vec<i32>,
    seq_counts: Vec<i32>,
    seq_ids: Vec<i32>,
    seq_starts: Vec<*mut i32>,
    outputs: Vec<i8>,
}

impl RawBatch {
    fn fill(&mut self, batch: &Batch) -> sys::llama_batch {
        self.tokens.clear();
        self.positions.clear();
        self.seq_counts.clear();
        self.seq_ids.clear();
        self.seq_starts.clear();
        self.outputs.clear();
        for t in &batch.tokens {
            self.tokens.push(t.token);
            self.positions.push(i32::try_from(t.pos).unwrap_or(i32::MAX));
            self.seq_counts.push(i32::try_from(t.seqs.len()).unwrap_or(0));
            self.seq_ids.extend_from_slice(&t.seqs);
            self.outputs.push(i8::from(t.output != Output::None));
        }
        // Only now, since pushing may move the ids.
        let mut rest = self.seq_ids.as_mut_slice();
        for t in &batch.tokens {
            let (ids, tail) = rest.split_at_mut(t.seqs.len());
            self.seq_starts.push(ids.as_mut_ptr());
            rest = tail;
        }
        sys::llama_batch {
            n_tokens: i32::try_from(batch.len()).unwrap_or(0),
            token: self.tokens.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: self.positions.as_mut_ptr(),
            n_seq_id: self.seq_counts.as_mut_ptr(),
            seq_id: self.seq_starts.as_mut_ptr(),
            logits: self.outputs.as_mut_ptr(),
        }
    }
}
