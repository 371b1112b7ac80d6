//! Where the rows of a graph's tensors lie.

use std::ops::Range;

use llama_cpp_sys_2 as sys;

/// A thread takes so many rows at a time, if there are enough.
const ROWS: usize = 8;

/// A number of elements or rows.
pub fn size(value: i64) -> usize {
    usize::try_from(value).unwrap_or(0)
}

/// Where a tensor's data lies.
fn span(tensor: &sys::ggml_tensor) -> Range<usize> {
    let start = tensor.data.addr();
    // SAFETY: a live tensor.
    start..start + unsafe { sys::ggml_nbytes(tensor) }
}

/// Whether no memory belongs to both.
pub fn disjoint(a: &sys::ggml_tensor, b: &sys::ggml_tensor) -> bool {
    let (a, b) = (span(a), span(b));
    a.end <= b.start || b.end <= a.start
}

/// Whether one tensor can be written row by row when the other's same row has been read.
pub fn apart(a: &sys::ggml_tensor, b: &sys::ggml_tensor) -> bool {
    disjoint(a, b) || (a.data == b.data && a.nb == b.nb)
}

/// Whether a tensor has rows of 32-bit floats without gaps in them.
pub fn has_rows(tensor: &sys::ggml_tensor) -> bool {
    tensor.type_ == sys::GGML_TYPE_F32 && tensor.nb[0] == 4 && tensor.ne.iter().all(|n| *n > 0)
}

/// Gives each of this thread's rows, by its places in dimensions 1 to 3.
pub fn rows(node: &sys::ggml_tensor, ith: i32, nth: i32, mut each: impl FnMut([usize; 3])) {
    let (ith, nth) = (usize::try_from(ith).unwrap_or(0), usize::try_from(nth).unwrap_or(1));
    let [_, a, b, c] = node.ne.map(size);
    let count = a * b * c;
    let run = (count / nth).clamp(1, ROWS);
    for first in (ith * run..count).step_by(nth * run) {
        for row in first..(first + run).min(count) {
            each([row % a, row / a % b, row / a / b]);
        }
    }
}

/// Where a row of a tensor begins.
pub fn start(tensor: *const sys::ggml_tensor, row: [usize; 3]) -> *mut f32 {
    // SAFETY: a live tensor.
    let tensor = unsafe { &*tensor };
    let offset: usize = row.iter().zip(&tensor.nb[1..]).map(|(row, stride)| row * stride).sum();
    tensor.data.cast::<u8>().wrapping_add(offset).cast()
}

/// A row of a tensor.
///
/// # Safety
/// A live tensor with this row, which is computed and not written while the result lives.
pub unsafe fn read<'a>(tensor: *const sys::ggml_tensor, row: [usize; 3], width: usize) -> &'a [f32] {
    // SAFETY: the caller's.
    unsafe { std::slice::from_raw_parts(start(tensor, row), width) }
}
