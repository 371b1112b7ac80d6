//! Nodes of a graph that follow each other and each take a row of numbers to a row: norms, sums, rotations. They become
//! one: the last node's operation takes every row through all of them. What lies between is written only if anything
//! else wants it, and the threads wait for each other once.

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::Arc;

use ko_sentiment_kernels::rotary::Table;
use ko_sentiment_kernels::{Level, rowwise};
use llama_cpp_sys_2 as sys;

use super::custom::Custom;
use super::tensor::{apart, has_rows, read, rows, size, start};

/// What is done to a row.
pub enum Operation {
    /// RMSNorm, with this epsilon.
    Norm(f32),
    /// Times the one row of this tensor.
    Multiply(*const sys::ggml_tensor),
    /// Rotated by the positions in this tensor.
    Rotate(Arc<Table>, *const sys::ggml_tensor),
    /// Times the one, plus the other.
    Scale(f32, f32),
    /// Plus the same row of this tensor.
    Add(*const sys::ggml_tensor),
}

impl Operation {
    /// The tensor whose same row it reads.
    fn other(&self) -> Option<*const sys::ggml_tensor> {
        match self {
            Self::Add(other) => Some(*other),
            _ => None,
        }
    }
}

/// A node of a chain.
struct Step {
    node: *mut sys::ggml_tensor,
    operation: Operation,
    /// Something beside the next step reads the node.
    is_wanted: bool,
}

/// Steps on the rows of `from`. The tensors are live as long as the graph.
pub struct Chain {
    from: *const sys::ggml_tensor,
    steps: Vec<Step>,
    /// What the last node is turned into, once that is known.
    custom: Option<Custom>,
}

impl Chain {
    /// A chain of no nodes yet.
    pub fn new(from: *const sys::ggml_tensor) -> Self {
        Self { from, steps: Vec::new(), custom: None }
    }

    /// Whether a node's rows can be computed with those before.
    pub fn fits(&self, node: &sys::ggml_tensor, operation: &Operation) -> bool {
        // SAFETY: live tensors.
        let (from, other) = unsafe { (&*self.from, operation.other().map(|other| &*other)) };
        let added = self.steps.iter().filter_map(|step| step.operation.other());
        // SAFETY: as above.
        let mut added = added.map(|other| unsafe { &*other });
        // SAFETY: as above.
        let mut written = self.steps.iter().map(|step| unsafe { &*step.node });
        has_rows(node)
            && has_rows(from)
            && from.ne == node.ne
            && apart(node, from)
            && added.all(|read| apart(node, read))
            && other.is_none_or(|other| apart(node, other) && written.all(|node| apart(node, other)))
    }

    /// Adds a node that fits.
    pub fn push(&mut self, node: *mut sys::ggml_tensor, operation: Operation) {
        // A sum is what is added to later on.
        let is_wanted = matches!(operation, Operation::Add(_));
        self.steps.push(Step { node, operation, is_wanted });
    }

    /// The nodes before the last, and the last.
    pub fn nodes(&self) -> Option<(impl Iterator<Item = *mut sys::ggml_tensor>, *mut sys::ggml_tensor)> {
        let (last, inner) = self.steps.split_last()?;
        Some((inner.iter().map(|step| step.node), last.node))
    }

    /// Has a node of the chain written, since something else reads it.
    pub fn want(&mut self, node: *const sys::ggml_tensor) {
        for step in self.steps.iter_mut().filter(|step| std::ptr::eq(step.node, node)) {
            step.is_wanted = true;
        }
    }

    /// Whether this is faster than what llama.cpp does.
    pub fn pays(&self) -> bool {
        self.steps.len() > 1 || self.steps.iter().any(|step| matches!(step.operation, Operation::Rotate(..)))
    }

    /// Empties the nodes but the last, and turns that into the whole. The chain must stay where it is as long as the graph.
    pub fn put(&mut self) {
        let here = std::ptr::from_mut(self).cast();
        let custom = *self.custom.get_or_insert_with(|| Custom::new(compute, here));
        let Some((inner, last)) = self.nodes() else { return };
        // SAFETY: live nodes.
        unsafe {
            inner.for_each(|node| (*node).op = sys::GGML_OP_NONE);
            custom.put(&mut *last);
        }
    }

    /// Whether a node is the last of this chain, rather than another at its place.
    pub fn is(&self, node: &sys::ggml_tensor) -> bool {
        self.custom.is_some_and(|custom| custom.is(node))
    }

    /// Takes a row through all steps.
    fn row(&self, level: Level, place: [usize; 3], row: &mut [f32]) {
        for (i, step) in self.steps.iter().enumerate() {
            match &step.operation {
                Operation::Norm(epsilon) => rowwise::rms_norm(level, row, *epsilon),
                Operation::Scale(by, plus) => rowwise::scale(level, row, *by, *plus),
                Operation::Multiply(by) => {
                    // SAFETY: one row of as many numbers.
                    rowwise::multiply(level, row, unsafe { read(*by, [0; 3], row.len()) });
                }
                // SAFETY: as many rows, and computed.
                Operation::Add(other) => rowwise::add(level, row, unsafe { read(*other, place, row.len()) }),
                Operation::Rotate(table, positions) => {
                    // SAFETY: as many positions as there are rows of dimension 2.
                    let position = unsafe { *(**positions).data.cast::<i32>().add(place[1]) };
                    table.rotate(level, row, position);
                }
            }
            if step.is_wanted || i + 1 == self.steps.len() {
                // SAFETY: this thread alone writes this row, apart from what others read.
                unsafe { std::ptr::copy_nonoverlapping(row.as_ptr(), start(step.node, place), row.len()) };
            }
        }
    }
}

/// Thread `ith` of `nth` takes its rows through a chain.
unsafe extern "C" fn compute(node: *mut sys::ggml_tensor, ith: i32, nth: i32, chain: *mut c_void) {
    thread_local!(static ROW: RefCell<Vec<f32>> = RefCell::default());
    // SAFETY: a live node of a chain, which stays where it is.
    let (node, chain) = unsafe { (&*node, &*chain.cast::<Chain>()) };
    let (level, width) = (Level::best(), size(node.ne[0]));
    ROW.with_borrow_mut(|numbers| {
        rows(node, ith, nth, |place| {
            numbers.clear();
            // SAFETY: a computed row.
            numbers.extend_from_slice(unsafe { read(chain.from, place, width) });
            chain.row(level, place, numbers);
        });
    });
}
