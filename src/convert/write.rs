//! Writing the tensors: read rows, merge, transform, quantise, write, in parallel row chunks.
//!
//! Each thread takes the next chunk of the tensor at hand and writes it at its own place, so that
//! memory is a few chunks and the update's matrices, whatever the model's size.

use super::quantise::read::read_f32;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::error::{ConvertError, WriteError};
use super::merge::lora::Update;
use super::plan::{AddOne, Plan, PlannedTensor};
use super::quantise::quant::{self, QuantError, Rows};

/// F32 numbers of a chunk: a few rows for each thread, small enough for its cache.
const CHUNK_NUMBERS: u64 = 1 << 18;

/// How a conversion reports and is stopped.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    /// Threads that quantise.
    pub threads: usize,
    /// Set to stop: the temporary file is removed.
    pub cancel: &'a AtomicBool,
    /// Called after each chunk, from any thread.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

/// What was just done.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// Bytes of the result written so far, and the tensor at hand.
    Written {
        /// Bytes of tensor data.
        bytes: u64,
        /// The tensor's name.
        tensor: &'a str,
    },
    /// All tensors are written; the result is checked.
    Verifying,
}

/// Where a tensor's data goes.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The file.
    pub file: &'a File,
    /// Where the data starts in it, in bytes.
    pub start: u64,
}

/// Writes the data of all tensors of `plan` to `places`, which are in the plan's order.
///
/// # Errors
/// [`ConvertError::Write`] for the first thing that went wrong, [`ConvertError::Cancelled`].
pub fn write_tensors(plan: &Plan, places: &[Place], control: Control) -> Result<(), ConvertError> {
    let written = AtomicU64::new(0);
    for (tensor, place) in plan.tensors.iter().zip(places) {
        let writer = TensorWriter::new(tensor, *place, control, &written)?;
        thread::scope(|scope| {
            let extra = control.threads.saturating_sub(1).min(writer.n_chunks() as usize - 1);
            let workers: Vec<_> = (0..extra).map(|_| scope.spawn(|| writer.work())).collect();
            let mut result = writer.work();
            for worker in workers {
                let other = worker.join().unwrap_or(Err(ConvertError::WorkerDied));
                result = result.and(other);
            }
            result
        })?;
    }
    Ok(())
}

struct TensorWriter<'a> {
    tensor: &'a PlannedTensor,
    update: Option<Update>,
    place: Place<'a>,
    chunk_rows: u64,
    next_chunk: AtomicU64,
    failed: AtomicBool,
    written: &'a AtomicU64,
    control: Control<'a>,
}

impl<'a> TensorWriter<'a> {
    fn new(
        tensor: &'a PlannedTensor,
        place: Place<'a>,
        control: Control<'a>,
        written: &'a AtomicU64,
    ) -> Result<Self, WriteError> {
        let update =
            tensor.low_rank.as_ref().map(|l| Update::load(l, tensor.source.columns())).transpose()?;
        Ok(Self {
            tensor,
            update,
            place,
            chunk_rows: (CHUNK_NUMBERS / tensor.info.columns()).max(1),
            next_chunk: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            written,
            control,
        })
    }

    fn n_chunks(&self) -> u64 {
        self.tensor.info.rows().div_ceil(self.chunk_rows)
    }

    /// Takes chunks until there are none.
    fn work(&self) -> Result<(), ConvertError> {
        let mut buffers = Buffers::default();
        loop {
            let chunk = self.next_chunk.fetch_add(1, Ordering::Relaxed);
            if chunk >= self.n_chunks() || self.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            if self.control.cancel.load(Ordering::Relaxed) {
                return Err(ConvertError::Cancelled);
            }
            if let Err(error) = self.chunk(chunk, &mut buffers) {
                self.failed.store(true, Ordering::Relaxed);
                return Err(error.into());
            }
        }
    }

    fn chunk(&self, chunk: u64, buffers: &mut Buffers) -> Result<(), WriteError> {
        let info = &self.tensor.info;
        let first = chunk * self.chunk_rows;
        let rows = first..(first + self.chunk_rows).min(info.rows());
        let Buffers { raw, numbers, blocks } = buffers;
        let out = if self.tensor.is_copy() {
            self.tensor.source.read_raw(rows.clone(), raw)?;
            self.check_copy(first, raw, numbers)?;
            raw
        } else {
            let source = &self.tensor.source;
            // Rows of padding are beyond the source's.
            let stored = first.min(source.rows())..rows.end.min(source.rows());
            read_f32(source, stored.clone(), raw, numbers)?;
            if let Some(update) = &self.update {
                update.apply(stored.clone(), numbers);
            }
            self.check_finite(first, numbers)?;
            add_one(self.tensor.add_one, numbers);
            if let Some(smoothing) = &self.tensor.smoothing {
                smoothing.apply(stored, numbers);
            }
            let count = rows.end - rows.start;
            if let Some(padding) = &self.tensor.padding {
                padding.widen(numbers, source.columns() as usize, info.columns() as usize);
                numbers.resize((count * info.columns()) as usize, 0.0);
            }
            blocks.resize((count * info.tensor_type.row_bytes(info.columns())) as usize, 0);
            let rows = Rows {
                tensor_type: info.tensor_type,
                rows: count as usize,
                columns: info.columns() as usize,
            };
            let importance = self.tensor.importance.as_deref();
            quant::quantise(rows, importance, numbers, blocks).map_err(|source| self.quant_error(source))?;
            blocks
        };
        let at = self.place.start + first * info.tensor_type.row_bytes(info.columns());
        self.place.file.write_all_at(out, at)?;
        let before = self.written.fetch_add(out.len() as u64, Ordering::Relaxed);
        (self.control.progress)(Progress::Written { bytes: before + out.len() as u64, tensor: &info.name });
        Ok(())
    }

    fn check_copy(&self, first: u64, raw: &[u8], numbers: &mut Vec<f32>) -> Result<(), WriteError> {
        let info = &self.tensor.info;
        if info.tensor_type.is_quantised() {
            return quant::validate(info.tensor_type, raw).map_err(|source| self.quant_error(source));
        }
        let rows = raw.len() / self.tensor.source.row_bytes() as usize;
        numbers.resize(rows * info.columns() as usize, 0.0);
        let rows = Rows { tensor_type: info.tensor_type, rows, columns: info.columns() as usize };
        quant::dequantise(rows, raw, numbers).map_err(|source| self.quant_error(source))?;
        self.check_finite(first, numbers)
    }

    fn check_finite(&self, first: u64, numbers: &[f32]) -> Result<(), WriteError> {
        // The largest of the bits tells in one pass without a branch: NaN and infinities are above.
        let largest = numbers.iter().fold(0, |max, n| (n.to_bits() & 0x7fff_ffff).max(max));
        if largest < f32::INFINITY.to_bits() {
            return Ok(());
        }
        let columns = self.tensor.source.columns() as usize;
        let bad = numbers.iter().enumerate().find(|(_, n)| !n.is_finite());
        bad.map_or(Ok(()), |(i, &value)| {
            Err(WriteError::NotFinite {
                name: self.tensor.info.name.clone(),
                value,
                row: first + (i / columns) as u64,
                merged: self.update.is_some(),
                replaced: self.tensor.is_replaced,
            })
        })
    }

    fn quant_error(&self, source: QuantError) -> WriteError {
        WriteError::Quant { name: self.tensor.info.name.clone(), source }
    }
}

/// Gemma's norms. In F16, the sum is rounded to it.
fn add_one(how: AddOne, numbers: &mut [f32]) {
    let half = |n: f32| half::f16::from_f32(n).to_f32();
    match how {
        AddOne::No => {}
        AddOne::InF32 => numbers.iter_mut().for_each(|n| *n += 1.0),
        AddOne::InF16 => numbers.iter_mut().for_each(|n| *n = half(half(*n) + 1.0)),
    }
}

/// One thread's scratch memory, kept from chunk to chunk.
#[derive(Default)]
struct Buffers {
    raw: Vec<u8>,
    numbers: Vec<f32>,
    blocks: Vec<u8>,
}
