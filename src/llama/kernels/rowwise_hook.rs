//! Puts our norms, sums, rotations and gates in the place of llama.cpp's, on the CPU.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

use ko_sentiment_kernels::rotary::{Rotary, Table};
use ko_sentiment_kernels::{Level, rowwise};
use llama_cpp_sys_2 as sys;

use super::chain::{Chain, Operation};
use super::custom::Custom;
use super::tensor::{disjoint, has_rows, read, rows, size, start};

type Node = *const sys::ggml_tensor;

/// What nodes were turned into; it must outlive the context.
pub struct RowwiseHook {
    gate: Custom,
    /// Chains by their last node. A graph's memory is used again for the next, so these don't become more and more.
    chains: HashMap<Node, Box<Chain>>,
    /// The last node of the chain that the next node may go on with.
    open: Option<Node>,
    /// The last nodes of the chains that emptied nodes belong to.
    emptied: HashMap<Node, Node>,
    tables: Vec<Arc<Table>>,
}

impl RowwiseHook {
    pub fn new() -> Self {
        Self {
            gate: Custom::new(compute_gate, std::ptr::null_mut()),
            chains: HashMap::new(),
            open: None,
            emptied: HashMap::new(),
            tables: Vec::new(),
        }
    }

    /// Makes a node ours if it fits. Called for all of a graph's nodes in their order, before any is computed.
    pub fn take(&mut self, node: &mut sys::ggml_tensor) {
        if self.is_taken(node) {
            self.open = None;
            return;
        }
        let link = self.operation(node);
        let goes_on = link.as_ref().map(|(from, _)| *from).filter(|from| self.open == Some(*from));
        self.want_sources(node, goes_on);
        if let Some((from, operation)) = link {
            self.open = self.append((goes_on, from), node, operation);
        } else if !is_view(node) {
            self.open = None;
            if node.op == sys::GGML_OP_GLU && fits_gate(node) {
                self.gate.put(node);
            }
        }
    }

    /// Whether a node became ours when its graph was computed before.
    fn is_taken(&self, node: &sys::ggml_tensor) -> bool {
        let at = std::ptr::from_ref(node);
        match node.op {
            sys::GGML_OP_CUSTOM => self.chains.get(&at).is_some_and(|chain| chain.is(node)),
            sys::GGML_OP_NONE => self.emptied.contains_key(&at),
            _ => false,
        }
    }

    /// Appends a node to the chain that it goes on from, or else to one of its own. Gives the node if a chain ends with it.
    fn append(
        &mut self,
        (goes_on, from): (Option<Node>, Node),
        node: &mut sys::ggml_tensor,
        operation: Operation,
    ) -> Option<Node> {
        let open = goes_on
            .filter(|open| self.chains.get(open).is_some_and(|chain| chain.fits(node, &operation)))
            .and_then(|open| self.chains.remove(&open));
        let of_its_own = || Some(Box::new(Chain::new(from))).filter(|chain| chain.fits(node, &operation));
        let mut chain = open.or_else(of_its_own)?;
        chain.push(node, operation);
        let last = std::ptr::from_ref(node);
        if chain.pays() {
            chain.put();
            let inner = chain.nodes().into_iter().flat_map(|(inner, _)| inner);
            self.emptied.extend(inner.map(|node| (node.cast_const(), last)));
        }
        self.chains.insert(last, chain);
        Some(last)
    }

    /// Has what a node reads written, but for the node that it goes on from.
    fn want_sources(&mut self, node: &sys::ggml_tensor, goes_on: Option<Node>) {
        for source in node.src.map(|source| source.cast_const()) {
            // SAFETY: a source is null or a live tensor. Weights have no sources.
            let is_empty = unsafe { source.as_ref() }
                .is_some_and(|source| source.op == sys::GGML_OP_NONE && !source.src[0].is_null());
            let chain = match self.open {
                _ if goes_on == Some(source) => None,
                Some(open) if open == source => Some(&source),
                _ if is_empty => self.emptied.get(&source),
                _ => None,
            };
            if let Some(chain) = chain.and_then(|last| self.chains.get_mut(last)) {
                chain.want(source);
            }
        }
    }

    /// What a node does to each row of which source, if we can do that.
    fn operation(&mut self, node: &sys::ggml_tensor) -> Option<(Node, Operation)> {
        // SAFETY: a source is null or a live tensor.
        let source = |i: usize| unsafe { node.src[i].as_ref() };
        let param = |i: usize| f32::from_bits(node.op_params[i].cast_unsigned());
        let (first, second) = (source(0)?, source(1));
        let operation = match (node.op, second) {
            (sys::GGML_OP_RMS_NORM, _) => Operation::Norm(param(0)),
            (sys::GGML_OP_SCALE, _) => Operation::Scale(param(0), param(1)),
            (sys::GGML_OP_MUL, Some(by)) if has_rows(by) && by.ne == [node.ne[0], 1, 1, 1] => {
                Operation::Multiply(by)
            }
            (sys::GGML_OP_ADD, Some(second)) => {
                let fits = has_rows(first)
                    && has_rows(second)
                    && first.ne == second.ne
                    && !std::ptr::eq(first, second);
                let goes_on = self.open.is_some_and(|open| std::ptr::eq(open, second));
                let (from, other) = if goes_on { (second, first) } else { (first, second) };
                return fits.then_some((from, Operation::Add(other)));
            }
            (sys::GGML_OP_ROPE, Some(positions)) => {
                Operation::Rotate(self.table(node, positions)?, positions)
            }
            _ => return None,
        };
        Some((first, operation))
    }

    /// The sines for a rotation, if it is one of Gemma's: of halves, and without YaRN or factors per frequency.
    fn table(&mut self, node: &sys::ggml_tensor, positions: &sys::ggml_tensor) -> Option<Arc<Table>> {
        let param = |i: usize| f32::from_bits(node.op_params[i].cast_unsigned());
        let [_, width, mode, ..] = node.op_params;
        let offset = node.op_params[15];
        let fits = mode == sys::LLAMA_ROPE_TYPE_NEOX
            && offset == 0
            && param(7) == 0.0
            && node.src[2].is_null()
            && positions.type_ == sys::GGML_TYPE_I32
            && positions.nb[0] == 4
            && positions.ne == [node.ne[2], 1, 1, 1]
            && node.ne[3] == 1
            && (2..=node.ne[0]).contains(&i64::from(width))
            && width % 2 == 0;
        if !fits {
            return None;
        }
        let width = usize::try_from(width).ok()?;
        let rotary = Rotary { width, base: param(5), scale: param(6), factor: param(8) };
        let known = self.tables.iter().find(|table| *table.rotary() == rotary).cloned();
        Some(known.unwrap_or_else(|| {
            self.tables.push(Arc::new(Table::new(rotary)));
            Arc::clone(&self.tables[self.tables.len() - 1])
        }))
    }
}

/// Whether nothing is computed for a node.
fn is_view(node: &sys::ggml_tensor) -> bool {
    use sys::{GGML_OP_NONE, GGML_OP_PERMUTE, GGML_OP_RESHAPE, GGML_OP_TRANSPOSE, GGML_OP_VIEW};
    matches!(node.op, GGML_OP_NONE | GGML_OP_VIEW | GGML_OP_RESHAPE | GGML_OP_PERMUTE | GGML_OP_TRANSPOSE)
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
        && [gate, up].into_iter().all(|x| disjoint(node, x))
}

/// Thread `ith` of `nth` computes its rows of a gate.
unsafe extern "C" fn compute_gate(node: *mut sys::ggml_tensor, ith: i32, nth: i32, _: *mut c_void) {
    // SAFETY: a live node as `fits_gate` wants it, whose sources are computed.
    let (node, gate, up) = unsafe { (&*node, &*(*node).src[0], &*(*node).src[1]) };
    let (level, width) = (Level::best(), size(node.ne[0]));
    rows(node, ith, nth, |row| {
        // SAFETY: the same row of the three, of which this thread alone writes the node's, apart from the others.
        let (gate, up, to) = unsafe {
            let to = std::slice::from_raw_parts_mut(start(node, row), width);
            (read(gate, row, width), read(up, row, width), to)
        };
        rowwise::geglu(level, gate, up, to);
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
    fn compute(
        hook: Option<&mut RowwiseHook>,
        build: fn(Context) -> Tensor,
    ) -> (Vec<f32>, Vec<sys::ggml_op>) {
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
            if let Some(hook) = hook {
                // A graph that is used again is asked about again.
                nodes.iter().chain(&nodes).for_each(|node| hook.take(&mut **node));
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
        let mut hook = RowwiseHook::new();
        let (theirs, _) = compute(None, build);
        // The second graph lies where the first was.
        for _ in 0..2 {
            let (ours, ops) = compute(Some(&mut hook), build);
            assert_eq!(ops, expected);
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert!((ours - theirs).abs() <= 1e-3 * theirs.abs() + 1e-6, "{ours}, ggml says {theirs}");
            }
        }
    }

    fn norm_and_product(context: Context, x: Tensor) -> [Tensor; 2] {
        // SAFETY: live tensors of the context.
        unsafe {
            let norm = sys::ggml_rms_norm(context, x, 1e-6);
            [norm, sys::ggml_mul(context, norm, tensor(context, 1, 2))]
        }
    }

    /// Positions of the rows, from 3 on.
    fn positions(context: Context) -> Tensor {
        // SAFETY: a live context with room; as many numbers as the tensor has.
        unsafe {
            let tensor = sys::ggml_new_tensor_1d(context, sys::GGML_TYPE_I32, ROWS_OF_X.cast_signed() as i64);
            (0..ROWS_OF_X).for_each(|i| *(*tensor).data.cast::<i32>().add(i) = 3 + i as i32);
            tensor
        }
    }

    fn rotated(context: Context, x: Tensor, yarn: f32) -> Tensor {
        // SAFETY: live tensors of the context.
        unsafe {
            let rows = ROWS_OF_X.cast_signed() as i64;
            let x = sys::ggml_reshape_3d(context, x, WIDTH.cast_signed() as i64, 1, rows);
            let (none, positions) = (std::ptr::null_mut(), positions(context));
            let (width, mode) = (WIDTH as i32 - 32, sys::LLAMA_ROPE_TYPE_NEOX);
            sys::ggml_rope_ext(context, x, positions, none, width, mode, 0, 1e4, 0.5, yarn, 0.75, 32.0, 1.0)
        }
    }

    #[test]
    fn a_norm_and_its_product_are_one() {
        let build = |context| norm_and_product(context, tensor(context, ROWS_OF_X, 1))[1];
        check(build, &[sys::GGML_OP_NONE, sys::GGML_OP_CUSTOM]);
    }

    #[test]
    fn a_norm_that_is_wanted_otherwise_is_written() {
        let build = |context| {
            let [norm, product] = norm_and_product(context, tensor(context, ROWS_OF_X, 1));
            // SAFETY: live tensors of the context.
            unsafe { sys::ggml_add(context, product, norm) }
        };
        check(build, &[sys::GGML_OP_NONE, sys::GGML_OP_NONE, sys::GGML_OP_CUSTOM]);
        let build = |context| {
            let [norm, product] = norm_and_product(context, tensor(context, ROWS_OF_X, 1));
            // SAFETY: live tensors of the context.
            unsafe { sys::ggml_mul(context, product, norm) }
        };
        check(build, &[sys::GGML_OP_NONE, sys::GGML_OP_CUSTOM, sys::GGML_OP_MUL]);
    }

    #[test]
    fn what_is_added_to_and_normed_again_is_one() {
        let build = |context| {
            let x = tensor(context, ROWS_OF_X, 1);
            let product = norm_and_product(context, x)[1];
            // SAFETY: live tensors of the context.
            unsafe {
                let sum = sys::ggml_add(context, x, product);
                let product = sys::ggml_scale(context, norm_and_product(context, sum)[1], 0.25);
                sys::ggml_sub(context, product, sum)
            }
        };
        let (none, custom) = (sys::GGML_OP_NONE, sys::GGML_OP_CUSTOM);
        check(build, &[none, none, none, none, none, custom, sys::GGML_OP_SUB]);
    }

    #[test]
    fn rotations_are_ours_unless_they_are_yarns() {
        let (none, custom) = (sys::GGML_OP_NONE, sys::GGML_OP_CUSTOM);
        let build =
            |context| rotated(context, norm_and_product(context, tensor(context, ROWS_OF_X, 1))[1], 0.0);
        check(build, &[none, custom, sys::GGML_OP_RESHAPE, custom]);
        let build =
            |context| rotated(context, norm_and_product(context, tensor(context, ROWS_OF_X, 1))[1], 1.0);
        check(build, &[none, custom, sys::GGML_OP_RESHAPE, sys::GGML_OP_ROPE]);
    }

    #[test]
    fn another_node_at_the_place_of_a_chains_last_is_not_taken() {
        let build = |context| norm_and_product(context, tensor(context, ROWS_OF_X, 1))[1];
        let init =
            sys::ggml_init_params { mem_size: 1 << 22, mem_buffer: std::ptr::null_mut(), no_alloc: false };
        // SAFETY: a context with room for some small tensors, which are live until it is freed.
        unsafe {
            let context = sys::ggml_init(init);
            let product: Tensor = build(context);
            let mut hook = RowwiseHook::new();
            hook.take(&mut *(*product).src[0]);
            hook.take(&mut *product);
            assert!(hook.is_taken(&*product));
            Custom::new(compute_gate, std::ptr::null_mut()).put(&mut *product);
            assert!(!hook.is_taken(&*product));
            sys::ggml_free(context);
        }
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
    fn a_tensor_added_to_itself_stays() {
        let build = |context| {
            let product = norm_and_product(context, tensor(context, ROWS_OF_X, 1))[1];
            // SAFETY: live tensors of the context.
            unsafe { sys::ggml_add(context, product, product) }
        };
        check(build, &[sys::GGML_OP_NONE, sys::GGML_OP_CUSTOM, sys::GGML_OP_ADD]);
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
