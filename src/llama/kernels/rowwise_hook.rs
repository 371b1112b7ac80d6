//! Puts our norms and gates in the place of llama.cpp's, on the CPU.

use std::ffi::c_void;
use std::ops::Range;

use ko_sentiment_kernels::rowwise;
use llama_cpp_sys_2 as sys;

use super::custom::Custom;

/// A thread takes so many rows at a time.
const ROWS: usize = 8;

/// What nodes are turned into; they need no memory.
pub struct RowwiseHook {
    norm: Custom,
    gate: Custom,
}

impl RowwiseHook {
    pub fn new() -> Self {
        let none = std::ptr::null_mut();
        Self { norm: Custom::new(compute_norm, none), gate: Custom::new(compute_gate, none) }
    }

    /// Makes a node ours if it fits. Called for all of a graph's nodes before any is computed.
    ///
    /// A norm and the product with its weights that follows become one: the norm's node is left empty, and the
    /// product's computes both.
    pub fn take(&self, node: &mut sys::ggml_tensor) {
        if node.op == sys::GGML_OP_MUL && fits_norm(node) {
            // SAFETY: a node that fits has a norm for its first source.
            unsafe { (*node.src[0]).op = sys::GGML_OP_NONE };
            self.norm.put(node);
        } else if node.op == sys::GGML_OP_GLU && fits_gate(node) {
            self.gate.put(node);
        } else if node.op != sys::GGML_OP_CUSTOM {
            restore_sources(node);
        }
    }
}

/// A norm that was left empty is computed after all if anything but its product wants it.
fn restore_sources(node: &sys::ggml_tensor) {
    for source in node.src {
        // SAFETY: a source is null or a live tensor.
        if let Some(source) = unsafe { source.as_mut() }
            && source.op == sys::GGML_OP_NONE
            && !source.src[0].is_null()
        {
            source.op = sys::GGML_OP_RMS_NORM;
        }
    }
}

fn size(value: i64) -> usize {
    usize::try_from(value).unwrap_or(0)
}

/// Where a tensor's data lies.
fn span(tensor: &sys::ggml_tensor) -> Range<usize> {
    let start = tensor.data.addr();
    // SAFETY: a live tensor.
    start..start + unsafe { sys::ggml_nbytes(tensor) }
}

fn disjoint(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.end <= b.start || b.end <= a.start
}

/// Whether a tensor has rows of 32-bit floats without gaps in them.
fn has_rows(tensor: &sys::ggml_tensor) -> bool {
    tensor.type_ == sys::GGML_TYPE_F32 && tensor.nb[0] == 4 && tensor.ne.iter().all(|n| *n > 0)
}

/// Whether a product is of a norm with one row of weights; what it writes lies where the norm's numbers do, or
/// apart from them.
fn fits_norm(node: &sys::ggml_tensor) -> bool {
    // SAFETY: a source is null or a live tensor.
    let source = |of: &sys::ggml_tensor, i: usize| unsafe { of.src[i].as_ref() };
    let (Some(norm), Some(weight)) = (source(node, 0), source(node, 1)) else { return false };
    let Some(x) = source(norm, 0).filter(|_| norm.op == sys::GGML_OP_RMS_NORM) else { return false };
    let (to, from) = (span(node), span(x));
    [x, weight, node].into_iter().all(has_rows)
        && x.ne == node.ne
        && weight.ne == [node.ne[0], 1, 1, 1]
        && (disjoint(&to, &from) || (to.start == from.start && x.nb == node.nb))
}

/// Whether a node is GEGLU of two tensors.
fn fits_gate(node: &sys::ggml_tensor) -> bool {
    // SAFETY: a source is null or a live tensor.
    let source = |i: usize| unsafe { node.src[i].as_ref() };
    let (Some(gate), Some(up)) = (source(0), source(1)) else { return false };
    node.op_params[0] == sys::GGML_GLU_OP_GEGLU.cast_signed()
        && [gate, up, node].into_iter().all(has_rows)
        && gate.ne == node.ne
        && up.ne == node.ne
        && [gate, up].into_iter().all(|x| disjoint(&span(x), &span(node)))
}

/// Gives each of this thread's rows, by its places in dimensions 1 to 3.
fn rows(node: &sys::ggml_tensor, ith: i32, nth: i32, mut each: impl FnMut([usize; 3])) {
    let (ith, nth) = (usize::try_from(ith).unwrap_or(0), usize::try_from(nth).unwrap_or(1));
    let [_, a, b, c] = node.ne.map(size);
    for first in (ith * ROWS..a * b * c).step_by(nth * ROWS) {
        for row in first..(first + ROWS).min(a * b * c) {
            each([row % a, row / a % b, row / a / b]);
        }
    }
}

/// Where a row of a tensor begins.
fn start(tensor: &sys::ggml_tensor, row: [usize; 3]) -> *mut f32 {
    let offset: usize = row.iter().zip(&tensor.nb[1..]).map(|(row, stride)| row * stride).sum();
    tensor.data.cast::<u8>().wrapping_add(offset).cast()
}

/// Thread `ith` of `nth` computes its rows of a norm and its product.
unsafe extern "C" fn compute_norm(node: *mut sys::ggml_tensor, ith: i32, nth: i32, _: *mut c_void) {
    // SAFETY: a live node as `fits_norm` wants it, whose sources are computed.
    let (node, norm, weight) = unsafe { (&*node, &*(*node).src[0], &*(*node).src[1]) };
    // SAFETY: as above.
    let x = unsafe { &*norm.src[0] };
    let (width, epsilon) = (size(node.ne[0]), f32::from_bits(norm.op_params[0].cast_unsigned()));
    // SAFETY: a row of weights.
    let weight = unsafe { std::slice::from_raw_parts(weight.data.cast::<f32>(), width) };
    rows(node, ith, nth, |row| {
        // SAFETY: the same row of both, which this thread alone writes; it may be one and the same.
        let to = unsafe {
            std::ptr::copy(start(x, row), start(node, row), width);
            std::slice::from_raw_parts_mut(start(node, row), width)
        };
        rowwise::rms_norm(to, weight, epsilon);
    });
}

/// Thread `ith` of `nth` computes its rows of a gate.
unsafe extern "C" fn compute_gate(node: *mut sys::ggml_tensor, ith: i32, nth: i32, _: *mut c_void) {
    // SAFETY: a live node as `fits_gate` wants it, whose sources are computed.
    let (node, gate, up) = unsafe { (&*node, &*(*node).src[0], &*(*node).src[1]) };
    let width = size(node.ne[0]);
    rows(node, ith, nth, |row| {
        // SAFETY: the same row of the three, of which this thread alone writes the node's, apart from the others.
        let (gate, up, to) = unsafe {
            (
                std::slice::from_raw_parts(start(gate, row), width),
                std::slice::from_raw_parts(start(up, row), width),
                std::slice::from_raw_parts_mut(start(node, row), width),
            )
        };
        rowwise::geglu(gate, up, to);
    });
}
