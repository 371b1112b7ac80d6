//! Keys and values in the types that a KV cache may have.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Rows of numbers, some for each head.
#[derive(Clone, Copy)]
pub struct Rows<'a, T> {
    /// From the first number of the first row to the last of the last.
    pub data: &'a [T],
    /// Numbers in a row.
    pub width: usize,
    /// From a row to the next one of the same head.
    pub row_stride: usize,
    /// From a row to the same one of the next head.
    pub head_stride: usize,
}

impl<'a, T> Rows<'a, T> {
    #[inline(always)]
    pub(crate) fn row(&self, row: usize, head: usize) -> &'a [T] {
        let start = row * self.row_stride + head * self.head_stride;
        &self.data[start..start + self.width]
    }
}

/// Numbers of a [`Q8Block`].
pub const Q8_NUMBERS: usize = 32;

/// Numbers in 8 bits with a scale (`block_q8_0`, ggml/src/ggml-common.h).
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Q8Block {
    /// What each is multiplied by.
    pub scale: f16,
    /// The numbers, divided by it.
    pub numbers: [i8; Q8_NUMBERS],
}

/// A row for each cell and KV head.
#[derive(Clone, Copy)]
pub enum Cells<'a> {
    /// 16 bits, half precision.
    F16(Rows<'a, f16>),
    /// 16 bits, bfloat16.
    Bf16(Rows<'a, bf16>),
    /// 8 bits and a scale; lengths and strides are in blocks.
    Q8_0(Rows<'a, Q8Block>),
}

impl Cells<'_> {
    /// Numbers in a row.
    #[inline(always)]
    pub fn width(&self) -> usize {
        match self {
            Self::F16(rows) => rows.width,
            Self::Bf16(rows) => rows.width,
            Self::Q8_0(rows) => rows.width * Q8_NUMBERS,
        }
    }

    /// Converts a row.
    #[inline(always)]
    pub(crate) fn convert(&self, cell: usize, head: usize, to: &mut [f32]) {
        match self {
            Self::F16(rows) => rows.row(cell, head).convert_to_f32_slice(to),
            Self::Bf16(rows) => {
                for (to, x) in to.iter_mut().zip(rows.row(cell, head)) {
                    *to = f32::from_bits(u32::from(x.to_bits()) << 16);
                }
            }
            Self::Q8_0(rows) => {
                let blocks = to.as_chunks_mut::<Q8_NUMBERS>().0;
                for (to, block) in blocks.iter_mut().zip(rows.row(cell, head)) {
                    let scale = block.scale.to_f32();
                    *to = block.numbers.map(|x| f32::from(x) * scale);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[cfg(test)]
mod tests {
    use llama_cpp_sys_2 as sys;

    use super::*;
    use crate::random::SplitMix64;

    /// Three cells of two heads.
    const CELLS: usize = 3;
    const HEADS: usize = 2;
    const WIDTH: usize = 64;

    /// What ggml makes of rows of its type, and ours does of the same bytes.
    fn check<T: 'static>(
        kind: sys::ggml_type,
        cells: impl Fn(Rows<'static, T>) -> Cells<'static>,
        block: usize,
    ) {
        let mut random = SplitMix64::new(7);
        let exact: Vec<f32> =
            (0..CELLS * HEADS * WIDTH).map(|_| (random.uniform() * 8.0 - 4.0) as f32).collect();
        let blocks = WIDTH / block;
        let mut stored = Vec::<T>::with_capacity(CELLS * HEADS * blocks);
        let mut expected = vec![0.0f32; exact.len()];
        // SAFETY: room for all blocks of this type, which the quantiser fills and the decoder reads.
        unsafe {
            let (rows, width) = (i64::try_from(CELLS * HEADS).unwrap(), i64::try_from(WIDTH).unwrap());
            let (from, to) = (exact.as_ptr(), stored.as_mut_ptr());
            sys::ggml_quantize_chunk(kind, from, to.cast(), 0, rows, width, std::ptr::null());
            stored.set_len(CELLS * HEADS * blocks);
            let to_float = (*sys::ggml_get_type_traits(kind)).to_float.unwrap();
            to_float(stored.as_ptr().cast(), expected.as_mut_ptr(), i64::try_from(exact.len()).unwrap());
        }
        let rows =
            Rows { data: stored.leak(), width: blocks, row_stride: HEADS * blocks, head_stride: blocks };
        let cells = cells(rows);
        assert_eq!(cells.width(), WIDTH);
        let mut got = vec![0.0; WIDTH];
        for (row, expected) in expected.chunks(WIDTH).enumerate() {
            cells.convert(row / HEADS, row % HEADS, &mut got);
            assert_eq!(got, expected, "row {row}");
        }
    }

    #[test]
    fn every_type_is_read_as_ggml_reads_it() {
        check(sys::GGML_TYPE_F16, Cells::F16, 1);
        check(sys::GGML_TYPE_BF16, Cells::Bf16, 1);
        check(sys::GGML_TYPE_Q8_0, Cells::Q8_0, Q8_NUMBERS);
    }
}
