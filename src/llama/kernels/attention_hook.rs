//! Puts `attention` in the place of llama.cpp's own, on the CPU.

use std::cell::RefCell;
use std::ffi::c_void;

use ko_sentiment_kernels::attention::{self, Attention, BLOCK, Scratch};
use ko_sentiment_kernels::cells::{Cells, Q8_NUMBERS, Q8Block, Rows};
use llama_cpp_sys_2 as sys;

use super::custom::Custom;
use super::tensor::size;

/// A thread takes no fewer tokens at a time: the cells' keys and values are prepared for them.
const LEAST_BLOCK: usize = 8;

/// What the attention nodes of one kind are computed with.
struct Kind {
    scale: f32,
    softcap: f32,
}

/// The nodes' memory; it must outlive the context.
#[derive(Default)]
pub struct AttentionHook {
    /// Boxed, since nodes point to them.
    #[allow(clippy::vec_box)]
    kinds: Vec<(Box<Kind>, Custom)>,
}

impl AttentionHook {
    /// Makes an attention node ours if it fits.
    pub fn take(&mut self, node: &mut sys::ggml_tensor) {
        if node.op == sys::GGML_OP_FLASH_ATTN_EXT && fits(node) {
            let param = |i: usize| f32::from_bits(node.op_params[i].cast_unsigned());
            self.custom(param(0), param(2)).put(node);
        }
    }

    fn custom(&mut self, scale: f32, softcap: f32) -> Custom {
        let known = self.kinds.iter().find(|(k, _)| k.scale == scale && k.softcap == softcap);
        known.map(|(_, custom)| *custom).unwrap_or_else(|| {
            let mut kind = Box::new(Kind { scale, softcap });
            let custom = Custom::new(compute, std::ptr::from_mut(&mut *kind).cast());
            self.kinds.push((kind, custom));
            custom
        })
    }
}

/// Whether a node is as `compute` takes it: one stream, keys and values of known types, a mask, nothing beside.
fn fits(node: &sys::ggml_tensor) -> bool {
    let src = |i: usize| {
        // SAFETY: a source is null or a live tensor.
        unsafe { node.src[i].as_ref() }
    };
    let (Some(q), Some(k), Some(v), Some(mask), None) = (src(0), src(1), src(2), src(3), src(4)) else {
        return false;
    };
    let max_bias = f32::from_bits(node.op_params[1].cast_unsigned());
    max_bias == 0.0
        && q.ne[3] == 1
        && q.ne[1] >= BLOCK as i64
        && [mask.ne[2], mask.ne[3], k.ne[3], v.ne[3]] == [1; 4]
        && (q.type_, mask.type_) == (sys::GGML_TYPE_F32, sys::GGML_TYPE_F16)
        && [k, v].into_iter().all(|cells| element(cells).is_some_and(|bytes| cells.nb[0] == bytes))
        && [q.nb[0], mask.nb[0]] == [4, 2]
}

/// Bytes of a number, or of a block, of cells whose type is known.
fn element(cells: &sys::ggml_tensor) -> Option<usize> {
    match cells.type_ {
        sys::GGML_TYPE_F16 | sys::GGML_TYPE_BF16 => Some(2),
        sys::GGML_TYPE_Q8_0 => Some(size_of::<Q8Block>()),
        _ => None,
    }
}

/// A tensor's cells.
///
/// # Safety
/// Its type is one that [`element`] knows; the rest is as for [`rows`].
unsafe fn cells<'a>(tensor: *const sys::ggml_tensor) -> Cells<'a> {
    // SAFETY: the caller's.
    unsafe {
        match (*tensor).type_ {
            sys::GGML_TYPE_Q8_0 => Cells::Q8_0(rows(tensor, Q8_NUMBERS)),
            sys::GGML_TYPE_BF16 => Cells::Bf16(rows(tensor, 1)),
            _ => Cells::F16(rows(tensor, 1)),
        }
    }
}

/// A tensor's rows (dimension 1) and heads (dimension 2).
///
/// # Safety
/// Its elements are `T`, of so many numbers each, and its data is there and is not written while the result lives.
unsafe fn rows<'a, T>(tensor: *const sys::ggml_tensor, numbers: usize) -> Rows<'a, T> {
    // SAFETY: the caller's.
    let t = unsafe { &*tensor };
    let [width, rows, heads, _] = t.ne.map(size);
    let width = width / numbers;
    let (row_stride, head_stride) = (t.nb[1] / size_of::<T>(), t.nb[2] / size_of::<T>());
    let length = (rows - 1) * row_stride + (heads - 1) * head_stride + width;
    // SAFETY: from the first element to the last one; the rest is the caller's.
    let data = unsafe { std::slice::from_raw_parts(t.data.cast::<T>(), length) };
    Rows { data, width, row_stride, head_stride }
}

/// Thread `ith` of `nth` computes its share.
unsafe extern "C" fn compute(node: *mut sys::ggml_tensor, ith: i32, nth: i32, kind: *mut c_void) {
    thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());
    // SAFETY: a live node whose sources are computed and as `fits` wants them; `kind` lives as long as the hook.
    let (node, kind) = unsafe { (&*node, &*kind.cast::<Kind>()) };
    // SAFETY: as above.
    let (q, k) = unsafe { (&*node.src[0], &*node.src[1]) };
    let [_, tokens, heads, _] = q.ne.map(size);
    let kv_heads = size(k.ne[2]);
    let attention = Attention {
        // SAFETY: types as `fits` wants them.
        queries: unsafe { rows::<f32>(node.src[0], 1) },
        // SAFETY: as above.
        keys: unsafe { cells(node.src[1]) },
        // SAFETY: as above.
        values: unsafe { cells(node.src[2]) },
        // SAFETY: as above.
        mask: unsafe { rows::<u16>(node.src[3], 1) },
        group: heads / kv_heads,
        scale: kind.scale,
        softcap: kind.softcap,
    };
    let (ith, nth) = (usize::try_from(ith).unwrap_or(0), usize::try_from(nth).unwrap_or(1));
    // Two blocks or more a thread, since they differ in what they see.
    let block = (tokens * kv_heads).div_ceil(2 * nth).clamp(LEAST_BLOCK, BLOCK);
    let tasks = tokens.div_ceil(block) * kv_heads;
    SCRATCH.with_borrow_mut(|scratch| {
        for task in (ith..tasks).step_by(nth) {
            let first = task / kv_heads * block;
            let tokens = first..tokens.min(first + block);
            attention::attend(&attention, tokens, task % kv_heads, scratch, |token, head, result| {
                let offset = head * node.nb[1] + token * node.nb[2];
                // SAFETY: the node's row for this head and token, which this task alone writes.
                unsafe {
                    let to = node.data.cast::<u8>().add(offset).cast::<f32>();
                    std::ptr::copy_nonoverlapping(result.as_ptr(), to, result.len());
                }
            });
        }
    });
}
