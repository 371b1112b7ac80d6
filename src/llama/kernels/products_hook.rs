//! Puts our `products` in the place of llama.cpp's, on the CPU.

use std::cell::{RefCell, UnsafeCell};
use std::ffi::c_void;
use std::ops::Range;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use ko_sentiment_kernels::products::activations::{self, Activations, Form, Rounded, blocks};
use ko_sentiment_kernels::products::multiply::{self, Scratch, panels};
use ko_sentiment_kernels::products::rows::{Bytes, Few, ROWS, Signed, Unsigned, Words};
use ko_sentiment_kernels::products::unpacked::COLUMNS;
use ko_sentiment_kernels::products::weights::{Kind, Weights};
use llama_cpp_sys_2 as sys;

use super::custom::Custom;
use super::head::{Head, WIDTH, Whose, is_head};
use super::tensor::size;

/// A thread takes no fewer rows at a time, since weights are unpacked for them.
const LEAST_PART: usize = 64;

/// Panels that follow each other and go to one thread: the next one's weights are asked for while one is computed.
const LONGEST_RUN: usize = 8;

/// Turns of the loop before a waiting thread lets others run.
const SPINS: usize = 2_000;

/// The nodes' memory; it must outlive the context.
pub struct ProductsHook {
    custom: Custom,
    /// Boxed, since nodes point to it.
    shared: Box<Shared>,
}

impl ProductsHook {
    /// Without any memory yet.
    pub fn new() -> Box<Self> {
        let mut shared = Box::<Shared>::default();
        let custom = Custom::new(compute, std::ptr::from_mut(&mut *shared).cast());
        Box::new(Self { custom, shared })
    }

    /// What the head gives of a step.
    pub fn head(&self) -> &Head {
        &self.shared.head
    }

    /// As [`Self::head`], to begin a step.
    pub fn head_mut(&mut self) -> &mut Head {
        &mut self.shared.head
    }

    /// Makes a product's node ours if it fits. Called for all of a graph's nodes before any is computed.
    pub fn take(&mut self, node: &mut sys::ggml_tensor) {
        let form = fits(node);
        self.shared.head.note(
            node,
            match form {
                Some(_) => Whose::Ours,
                None if self.custom.is(node) => Whose::OursBefore,
                None => Whose::LlamaCpp,
            },
        );
        if let Some(form) = form {
            self.custom.put(node);
            // SAFETY: a node that fits has two sources.
            let x = unsafe { &*node.src[1] };
            let need = size(x.ne[1]).div_ceil(ROWS) * blocks(size(x.ne[0]));
            self.shared.grow(form, need);
        }
        self.shared.forget();
    }
}

/// What the threads of a product share.
#[derive(Default)]
struct Shared {
    head: Head,
    bytes: Slot<Bytes>,
    words: Slot<Words>,
    unsigned: Slot<Unsigned>,
    signed: Slot<Signed>,
    few: Slot<Few>,
    /// Groups of rows that were given out to be rounded, and those that are done.
    given: AtomicUsize,
    rounded: AtomicUsize,
    /// Tasks that were given out.
    tasks: AtomicUsize,
    /// Threads that found nothing left to do.
    left: AtomicUsize,
    /// Whose activations are held, for each form: a node of the graph at hand; else null.
    of: [AtomicPtr<sys::ggml_tensor>; Form::COUNT],
}

/// Activations of one form. Grown between graphs; while one is computed, each block is written by the thread that was given
/// its group, and read when all are rounded.
struct Slot<T>(UnsafeCell<Vec<T>>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(UnsafeCell::default())
    }
}

// SAFETY: as said above.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

impl Shared {
    /// Makes room for so many blocks.
    fn grow(&mut self, form: Form, blocks: usize) {
        match form {
            Form::Bytes => self.bytes.grow(blocks, Bytes::ZERO),
            Form::Words => self.words.grow(blocks, Words::ZERO),
            Form::Unsigned => self.unsigned.grow(blocks, Unsigned::ZERO),
            Form::Signed => self.signed.grow(blocks, Signed::ZERO),
            Form::Few => self.few.grow(blocks, Few::ZERO),
        }
    }

    /// The activations at hand belong to an earlier graph.
    fn forget(&mut self) {
        self.of.iter_mut().for_each(|of| *of.get_mut() = std::ptr::null_mut());
    }

    /// Rounds activations together with the other threads, unless the last product had the same.
    ///
    /// # Safety
    /// All threads of the product call it with the same, and none holds blocks of an earlier one.
    unsafe fn round<'a, T>(
        &self,
        (form, slot): (Form, &'a Slot<T>),
        (of, x): (*mut sys::ggml_tensor, &Activations),
        round: fn(&Activations, usize, &mut [T]),
    ) -> &'a [T] {
        let (groups, blocks) = (x.groups(), blocks(x.width));
        // SAFETY: no reference is made to what other threads write.
        let (start, length) = unsafe { ((*slot.0.get()).as_mut_ptr(), (*slot.0.get()).len()) };
        assert!(groups * blocks <= length, "a product that was not announced");
        if self.of[form as usize].load(Ordering::Relaxed) != of {
            take(&self.given, groups, |group| {
                // SAFETY: within the vector, and this thread alone was given this group.
                round(x, group, unsafe { std::slice::from_raw_parts_mut(start.add(group * blocks), blocks) });
                self.rounded.fetch_add(1, Ordering::Release);
            });
            let mut spins = 0;
            while self.rounded.load(Ordering::Acquire) < groups {
                spins += 1;
                if spins < SPINS {
                    std::hint::spin_loop();
                } else {
                    std::thread::yield_now();
                }
            }
        }
        // SAFETY: all are written, and stay until every thread has left.
        unsafe { std::slice::from_raw_parts(start, groups * blocks) }
    }

    /// The last thread that leaves makes ready for the next product, which begins when it has left.
    fn leave(&self, threads: usize, form: Form, of: *mut sys::ggml_tensor) {
        if self.left.fetch_add(1, Ordering::AcqRel) + 1 == threads {
            for count in [&self.given, &self.rounded, &self.tasks, &self.left] {
                count.store(0, Ordering::Relaxed);
            }
            self.of[form as usize].store(of, Ordering::Relaxed);
        }
    }
}

impl<T: Clone> Slot<T> {
    fn grow(&mut self, blocks: usize, zero: T) {
        let held = self.0.get_mut();
        if held.len() < blocks {
            held.resize(blocks, zero);
        }
    }
}

/// Does what of `0..end` this thread is given; others share the counter.
fn take(counter: &AtomicUsize, end: usize, mut task: impl FnMut(usize)) {
    loop {
        let next = counter.fetch_add(1, Ordering::Relaxed);
        if next >= end {
            return;
        }
        task(next);
    }
}

/// The type of weights, if there are products for it.
pub fn kind(ggml: sys::ggml_type) -> Option<Kind> {
    match ggml {
        sys::GGML_TYPE_Q4_K => Some(Kind::Q4K),
        sys::GGML_TYPE_Q5_K => Some(Kind::Q5K),
        sys::GGML_TYPE_Q6_K => Some(Kind::Q6K),
        sys::GGML_TYPE_Q8_0 => Some(Kind::Q8_0),
        _ => None,
    }
}

/// How a node's activations are to be rounded, if it is as `compute` takes it: a product of enough rows with weights
/// of a known type, which lie in memory as in the file.
fn fits(node: &sys::ggml_tensor) -> Option<Form> {
    let src = |i: usize| {
        // SAFETY: a source is null or a live tensor.
        unsafe { node.src[i].as_ref() }
    };
    let (sys::GGML_OP_MUL_MAT, Some(w), Some(x), None) = (node.op, src(0), src(1), src(2)) else {
        return None;
    };
    let kind = kind(w.type_)?;
    let (weights, bytes) = kind.block();
    // SAFETY: weights have a buffer, which outlives the graph.
    let in_memory = !w.buffer.is_null() && unsafe { sys::ggml_backend_buffer_is_host(w.buffer) };
    let fits = in_memory
        && [w.ne[2], w.ne[3], x.ne[2], x.ne[3]] == [1; 4]
        && (x.type_, node.type_) == (sys::GGML_TYPE_F32, sys::GGML_TYPE_F32)
        && [w.nb[0], x.nb[0], node.nb[0]] == [bytes, 4, 4]
        && size(w.ne[0]).is_multiple_of(weights)
        && x.nb[1].is_multiple_of(4);
    form(w, kind, size(x.ne[1])).filter(|_| fits)
}

/// How so many rows are rounded. One row of a head is as two are: few of its columns may be wanted.
fn form(weights: &sys::ggml_tensor, kind: Kind, rows: usize) -> Option<Form> {
    Form::of(kind, if rows == 1 && is_head(weights) { 2 } else { rows })
}

/// The weights of a node.
///
/// # Safety
/// A live tensor of this kind.
unsafe fn weights<'a>(w: *const sys::ggml_tensor, kind: Kind) -> Weights<'a> {
    // SAFETY: the caller's.
    let w = unsafe { &*w };
    let (width, columns, stride) = (size(w.ne[0]), size(w.ne[1]), w.nb[1]);
    let (weights, bytes) = kind.block();
    let length = (columns - 1) * stride + width / weights * bytes;
    // SAFETY: from the first column to the end of the last.
    let data = unsafe { std::slice::from_raw_parts(w.data.cast::<u8>(), length) };
    Weights { kind, data, stride, width, columns }
}

/// The activations of a node.
///
/// # Safety
/// A live tensor of 32-bit floats that is computed and not written while the result lives.
unsafe fn activations<'a>(x: *const sys::ggml_tensor) -> Activations<'a> {
    // SAFETY: the caller's.
    let x = unsafe { &*x };
    let (width, rows, stride) = (size(x.ne[0]), size(x.ne[1]), x.nb[1] / 4);
    // SAFETY: from the first row to the end of the last.
    let data = unsafe { std::slice::from_raw_parts(x.data.cast::<f32>(), (rows - 1) * stride + width) };
    Activations { data, stride, width, rows }
}

/// Each of `nth` threads computes what it is given.
unsafe extern "C" fn compute(node: *mut sys::ggml_tensor, _: i32, nth: i32, shared: *mut c_void) {
    thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());
    // SAFETY: a live node whose sources are computed and as `fits` wants them; `shared` lives as long as the hook.
    let (node, shared) = unsafe { (&*node, &*shared.cast::<Shared>()) };
    let threads = usize::try_from(nth).unwrap_or(1);
    let [w, x, ..] = node.src;
    // SAFETY: as above.
    let Some(kind) = kind(unsafe { (*w).type_ }) else { return };
    // SAFETY: as above.
    let (weights, activations) = unsafe { (weights(w, kind), activations(x)) };
    // SAFETY: as above.
    let Some(form) = form(unsafe { &*w }, kind, activations.rows) else { return };
    // SAFETY: ggml calls this on every thread, and begins the next node when all are back.
    let rounded = unsafe { rounded(shared, form, (x, &activations)) };
    SCRATCH.with_borrow_mut(|scratch| {
        // SAFETY: as above, and the node has these rows and columns.
        unsafe { multiply_given(node, shared, (&weights, rounded, activations.rows), (threads, scratch)) }
    });
    shared.leave(threads, form, x);
}

/// A node's activations, rounded.
///
/// # Safety
/// As [`Shared::round`].
unsafe fn rounded<'a>(
    shared: &'a Shared,
    form: Form,
    x: (*mut sys::ggml_tensor, &Activations),
) -> Rounded<'a> {
    // SAFETY: the caller's.
    unsafe {
        match form {
            Form::Bytes => {
                Rounded::Bytes(shared.round((form, &shared.bytes), x, activations::round_to_bytes))
            }
            Form::Words => {
                Rounded::Words(shared.round((form, &shared.words), x, activations::round_to_words))
            }
            Form::Unsigned => {
                Rounded::Unsigned(shared.round((form, &shared.unsigned), x, activations::round_to_unsigned))
            }
            Form::Signed => {
                Rounded::Signed(shared.round((form, &shared.signed), x, activations::round_to_signed))
            }
            Form::Few => Rounded::Few(shared.round((form, &shared.few), x, activations::round_to_few)),
        }
    }
}

/// Computes what this thread is given of a node; what is reduced is the head's to keep.
///
/// # Safety
/// A live node of 32-bit floats with these rows and the weights' columns; all its threads call this with the same.
unsafe fn multiply_given(
    node: &sys::ggml_tensor,
    shared: &Shared,
    (weights, rounded, rows): (&Weights, Rounded, usize),
    (threads, scratch): (usize, &mut Scratch),
) {
    let panels = panels(weights.columns);
    let head = Some(&shared.head).filter(|head| head.is_asked(weights.data, weights.columns));
    // Of the rows before and after `whole`, few columns are wanted.
    let whole = head.map_or(0..rows, |head| head.whole(rows, ROWS));
    let few = head.filter(|_| whole.len() < rows).map_or_else(Vec::new, |head| head.panels(COLUMNS));
    let parts = (2 * threads).div_ceil(panels).clamp(1, whole.len().div_ceil(LEAST_PART).max(1));
    let part = whole.len().div_ceil(parts).next_multiple_of(ROWS);
    let run = if head.is_some() { WIDTH / COLUMNS } else { (panels / (16 * threads)).clamp(1, LONGEST_RUN) };
    // SAFETY: this thread alone was given these rows and columns of the node.
    let put = |row, column, results: &[_]| unsafe { put(node, (row, column), weights.columns, results) };
    let runs = if whole.is_empty() { 0 } else { panels.div_ceil(run) };
    take(&shared.tasks, runs * parts + few.len(), |task| {
        let mut multiply = |panels: Range<usize>, rows: Range<usize>, to: Put| {
            for panel in panels {
                multiply::multiply(weights, rounded, (panel, rows.clone()), scratch, &mut *to);
            }
        };
        if let (Some(panel), Some(head)) = (task.checked_sub(runs * parts).map(|task| few[task]), head) {
            for rows in [0..whole.start, whole.end..rows].into_iter().filter(|rows| !rows.is_empty()) {
                multiply(panel..panel + 1, rows, &mut |row, column, results| head.pick(row, column, results));
            }
            return;
        }
        let (first_panel, first) = (task / parts * run, whole.start + task % parts * part);
        let (rows, panels) = (first..whole.end.min(first + part), first_panel..panels.min(first_panel + run));
        let mut multiply = |to: Put| multiply(panels.clone(), rows.clone(), to);
        match head {
            Some(head) => head.run((task / parts, rows.clone(), weights.columns), multiply, put),
            None => multiply(&mut |row, column, results| put(row, column, results)),
        }
    });
}

/// Takes some rows' results, from a row and column on.
type Put<'a> = &'a mut dyn FnMut(usize, usize, &[[f32; COLUMNS]]);

/// Writes rows' results into a node, from a row and column on.
///
/// # Safety
/// A live node of 32-bit floats with these rows and `columns` columns, of which no other thread writes these.
unsafe fn put(
    node: &sys::ggml_tensor,
    (row, column): (usize, usize),
    columns: usize,
    results: &[[f32; COLUMNS]],
) {
    let count = COLUMNS.min(columns - column);
    for (i, results) in results.iter().enumerate() {
        // SAFETY: the caller's.
        let to = unsafe {
            let to = node.data.cast::<u8>().add((row + i) * node.nb[1]).cast::<f32>().add(column);
            std::slice::from_raw_parts_mut(to, count)
        };
        // A length that is known is copied without a call.
        match <&mut [f32; COLUMNS]>::try_from(&mut *to) {
            Ok(to) => *to = *results,
            Err(_) => to.copy_from_slice(&results[..count]),
        }
    }
}
