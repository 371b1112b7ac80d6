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

/// Thread `ith` of `nth` computes its rows of a product, and of the norm before it unless that was computed.
unsafe extern "C" fn compute_norm(node: *mut sys::ggml_tensor, ith: i32, nth: i32, _: *mut c_void) {
    // SAFETY: a live node as `fits_norm` wants it, whose sources are computed.
    let (node, norm, weight) = unsafe { (&*node, &*(*node).src[0], &*(*node).src[1]) };
    let left_empty = norm.op == sys::GGML_OP_NONE;
    // SAFETY: as above.
    let x = if left_empty { unsafe { &*norm.src[0] } } else { norm };
    let (width, epsilon) = (size(node.ne[0]), f32::from_bits(norm.op_params[0].cast_unsigned()));
    // SAFETY: a row of weights.
    let weight = unsafe { std::slice::from_raw_parts(weight.data.cast::<f32>(), width) };
    rows(node, ith, nth, |row| {
        // SAFETY: the same row of both, which this thread alone writes; it may be one and the same.
        let to = unsafe {
            std::ptr::copy(start(x, row), start(node, row), width);
            std::slice::from_raw_parts_mut(start(node, row), width)
        };
        if left_empty {
            rowwise::rms_norm(to, weight, epsilon);
        } else {
            to.iter_mut().zip(weight).for_each(|(x, weight)| *x *= weight);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    type Context = *mut sys::ggml_context;
    type Tensor = *mut sys::ggml_tensor;

    const WIDTH: usize = 96;
    const ROWS_OF_X: usize = 21;

    /// Rows of numbers that differ.
    fn tensor(context: Context, rows: usize, seed: usize) -> Tensor {
        let number = |i: usize| ((i * 37 + seed * 11) % 101) as f32 / 25.0 - 2.0;
        let numbers: Vec<f32> = (0..WIDTH * rows).map(number).collect();
        // SAFETY: a live context with room; as many numbers as the tensor has.
        unsafe {
            let (width, rows) = (WIDTH.cast_signed() as i64, rows.cast_signed() as i64);
            let tensor = sys::ggml_new_tensor_2d(context, sys::GGML_TYPE_F32, width, rows);
            std::ptr::copy_nonoverlapping(numbers.as_ptr(), (*tensor).data.cast(), numbers.len());
            tensor
        }
    }

    /// The numbers of what `build` makes, computed by two threads, and the operations of its nodes.
    fn compute(hook: Option<&RowwiseHook>, build: fn(Context) -> Tensor) -> (Vec<f32>, Vec<sys::ggml_op>) {
        let init =
            sys::ggml_init_params { mem_size: 1 << 22, mem_buffer: std::ptr::null_mut(), no_alloc: false };
        // SAFETY: a context with room for some small tensors and their graph, whose nodes are live.
        unsafe {
            let context = sys::ggml_init(init);
            let result = build(context);
            let graph = sys::ggml_new_graph(context);
            sys::ggml_build_forward_expand(graph, result);
            let nodes: Vec<Tensor> =
                (0..sys::ggml_graph_n_nodes(graph)).map(|i| sys::ggml_graph_node(graph, i)).collect();
            // A graph that is used again is asked about again.
            for node in nodes.iter().chain(&nodes) {
                hook.into_iter().for_each(|hook| hook.take(&mut **node));
            }
            let mut plan = sys::ggml_graph_plan(graph, 2, std::ptr::null_mut());
            let mut work = vec![0u8; plan.work_size.max(1)];
            plan.work_data = work.as_mut_ptr();
            sys::ggml_graph_compute(graph, &raw mut plan);
            let numbers =
                std::slice::from_raw_parts((*result).data.cast::<f32>(), WIDTH * ROWS_OF_X).to_vec();
            let ops = nodes.iter().map(|node| (**node).op).collect();
            sys::ggml_free(context);
            (numbers, ops)
        }
    }

    fn check(build: fn(Context) -> Tensor, expected: &[sys::ggml_op]) {
        if !ko_sentiment_kernels::available() {
            return;
        }
        let (ours, ops) = compute(Some(&RowwiseHook::new()), build);
        let (theirs, _) = compute(None, build);
        assert_eq!(ops, expected);
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!((ours - theirs).abs() <= 1e-3 * theirs.abs() + 1e-6, "{ours}, ggml says {theirs}");
        }
    }

    fn norm_and_product(context: Context) -> [Tensor; 2] {
        // SAFETY: live tensors of the context.
        unsafe {
            let norm = sys::ggml_rms_norm(context, tensor(context, ROWS_OF_X, 1), 1e-6);
            [norm, sys::ggml_mul(context, norm, tensor(context, 1, 2))]
        }
    }

    #[test]
    fn a_norm_and_its_product_are_one() {
        let build = |context| norm_and_product(context)[1];
        check(build, &[sys::GGML_OP_NONE, sys::GGML_OP_CUSTOM]);
    }

    #[test]
    fn a_norm_that_is_wanted_otherwise_is_computed() {
        let build = |context| {
            let [norm, product] = norm_and_product(context);
            // SAFETY: live tensors of the context.
            unsafe { sys::ggml_add(context, product, norm) }
        };
        check(build, &[sys::GGML_OP_RMS_NORM, sys::GGML_OP_CUSTOM, sys::GGML_OP_ADD]);
    }

    #[test]
    fn a_product_of_anything_else_stays() {
        // SAFETY: live tensors of the context.
        let build = |context| unsafe {
            let norm = sys::ggml_rms_norm(context, tensor(context, ROWS_OF_X, 1), 1e-6);
            sys::ggml_mul(context, norm, tensor(context, ROWS_OF_X, 2))
        };
        check(build, &[sys::GGML_OP_RMS_NORM, sys::GGML_OP_MUL]);
    }

    #[test]
    fn gates_are_ours_where_they_are_geglu() {
        // SAFETY: live tensors of the context.
        let geglu = |context| unsafe {
            sys::ggml_geglu_split(context, tensor(context, ROWS_OF_X, 1), tensor(context, ROWS_OF_X, 2))
        };
        check(geglu, &[sys::GGML_OP_CUSTOM]);
        // SAFETY: as above.
        let swiglu = |context| unsafe {
            sys::ggml_swiglu_split(context, tensor(context, ROWS_OF_X, 1), tensor(context, ROWS_OF_X, 2))
        };
        check(swiglu, &[sys::GGML_OP_GLU]);
    }
}
