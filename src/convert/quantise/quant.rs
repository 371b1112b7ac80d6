//! Numbers to blocks and back, with llama.cpp's own bytes: by ggml's quantisers, or by our `kquants`
//! where that is the same and faster.

use llama_cpp_sys_2 as ggml;

use crate::gguf::tensor_type::TensorType;

/// Why rows could not be quantised or dequantised.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum QuantError {
    /// ggml's own check of the blocks failed: a scale is NaN or infinite.
    #[error("a block of type {0} holds NaN or an infinity")]
    InvalidBlocks(TensorType),
    /// Lengths that do not fit together, or rows that are no whole number of blocks.
    #[error(
        "{rows} rows of {columns} numbers as {tensor_type} do not fit buffers of {numbers} numbers and {bytes} bytes"
    )]
    Lengths {
        /// The block type.
        tensor_type: TensorType,
        /// Rows asked for.
        rows: usize,
        /// Numbers a row.
        columns: usize,
        /// Numbers in the F32 buffer.
        numbers: usize,
        /// Bytes in the block buffer.
        bytes: usize,
    },
    /// ggml does not know how to turn the type into F32.
    #[error("the linked ggml cannot dequantise {0}")]
    NoDequantiser(TensorType),
}

/// A whole number of rows: what one call quantises.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    /// The type of the blocks.
    pub tensor_type: TensorType,
    /// Number of rows.
    pub rows: usize,
    /// Numbers in a row.
    pub columns: usize,
}

impl Rows {
    fn check(&self, numbers: usize, bytes: usize) -> Result<(), QuantError> {
        let Self { tensor_type, rows, columns } = *self;
        let whole_blocks = columns > 0 && (columns as u64).is_multiple_of(tensor_type.block_len());
        let expected_bytes = rows as u64 * tensor_type.row_bytes(columns as u64);
        if whole_blocks && rows * columns == numbers && expected_bytes == bytes as u64 {
            return Ok(());
        }
        Err(QuantError::Lengths { tensor_type, rows, columns, numbers, bytes })
    }
}

/// Quantises `numbers` (`rows` × `columns`) into `blocks`, as `ggml_quantize_chunk`, and checks the
/// result. `importance` is a row of an importance matrix: what an error in each column costs.
///
/// # Errors
/// [`QuantError::Lengths`]; [`QuantError::InvalidBlocks`] where numbers are NaN, infinite, or too
/// large for a block's half-precision scale.
pub fn quantise(
    rows: Rows,
    importance: Option<&[f32]>,
    numbers: &[f32],
    blocks: &mut [u8],
) -> Result<(), QuantError> {
    rows.check(numbers.len(), blocks.len())?;
    assert!(importance.is_none_or(|row| row.len() == rows.columns), "one importance a column");
    match fast_kernel(rows.tensor_type) {
        Some(kernel) if importance.is_none() => kernel(numbers, blocks),
        _ => quantise_with_ggml(rows, importance, numbers, blocks),
    }
    validate(rows.tensor_type, blocks)
}

/// Quantises whole rows into their bytes.
type Kernel = fn(&[f32], &mut [u8]);

/// A quantiser of our own with ggml's bytes, where all columns are worth the same.
fn fast_kernel(tensor_type: TensorType) -> Option<Kernel> {
    #[cfg(target_arch = "x86_64")]
    match tensor_type {
        TensorType::Q4K => return Some(ko_sentiment_kernels::kquants::quantise_q4k),
        TensorType::Q5K => return Some(ko_sentiment_kernels::kquants::quantise_q5k),
        TensorType::Q6K => return Some(ko_sentiment_kernels::kquants::quantise_q6k),
        _ => {}
    }
    let _none = tensor_type;
    None
}

/// `numbers` and `blocks` must have passed [`Rows::check`], and `importance` be as long as a row.
fn quantise_with_ggml(rows: Rows, importance: Option<&[f32]>, numbers: &[f32], blocks: &mut [u8]) {
    // SAFETY: the caller made sure that the source holds rows × columns numbers, the target exactly
    // ggml_row_size × rows bytes, and a row a whole number of blocks; the importance is a row's length
    // or null, and none of the supported types needs one.
    let written = unsafe {
        ggml::ggml_quantize_chunk(
            rows.tensor_type.id() as ggml::ggml_type,
            numbers.as_ptr(),
            blocks.as_mut_ptr().cast(),
            0,
            rows.rows as i64,
            rows.columns as i64,
            importance.map_or(std::ptr::null(), <[f32]>::as_ptr),
        )
    };
    debug_assert_eq!(written, blocks.len());
}

/// Turns `blocks` into `numbers` (`rows` × `columns`), with ggml's `to_float` of the type.
///
/// # Errors
/// [`QuantError::Lengths`], [`QuantError::NoDequantiser`].
pub fn dequantise(rows: Rows, blocks: &[u8], numbers: &mut [f32]) -> Result<(), QuantError> {
    rows.check(numbers.len(), blocks.len())?;
    if rows.tensor_type == TensorType::F32 {
        for (number, bytes) in numbers.iter_mut().zip(blocks.as_chunks::<4>().0) {
            *number = f32::from_le_bytes(*bytes);
        }
        return Ok(());
    }
    // SAFETY: the id is one of ggml's types, for each of which a static traits entry exists.
    let traits = unsafe { ggml::ggml_get_type_traits(rows.tensor_type.id() as ggml::ggml_type).as_ref() };
    let to_float = traits.and_then(|t| t.to_float).ok_or(QuantError::NoDequantiser(rows.tensor_type))?;
    // SAFETY: `check` made sure that the source holds exactly the blocks of rows × columns numbers
    // and the target as many numbers; ggml reads blocks at any alignment that malloc gives, and
    // `blocks` comes from a Vec<u8> of our own.
    unsafe { to_float(blocks.as_ptr().cast(), numbers.as_mut_ptr(), numbers.len() as i64) };
    Ok(())
}

/// ggml's check of stored data: finite numbers and scales.
///
/// # Errors
/// [`QuantError::InvalidBlocks`].
pub fn validate(tensor_type: TensorType, blocks: &[u8]) -> Result<(), QuantError> {
    // SAFETY: the pointer and the length are those of one slice; ggml only reads.
    let valid = unsafe {
        ggml::ggml_validate_row_data(
            tensor_type.id() as ggml::ggml_type,
            blocks.as_ptr().cast(),
            blocks.len(),
        )
    };
    if valid { Ok(()) } else { Err(QuantError::InvalidBlocks(tensor_type)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_sizes_are_ggmls() {
        for tensor_type in TensorType::ALL.into_iter().chain(TensorType::READ_ONLY) {
            let id = tensor_type.id() as ggml::ggml_type;
            // SAFETY: both functions read ggml's static table, for an id that it has.
            let (len, bytes) = unsafe { (ggml::ggml_blck_size(id), ggml::ggml_type_size(id)) };
            assert_eq!(tensor_type.block_len(), len as u64, "{tensor_type}");
            assert_eq!(tensor_type.row_bytes(tensor_type.block_len()), bytes as u64, "{tensor_type}");
        }
    }

    /// Numbers of every kind that a weight may have, and some that it will not.
    fn patterns() -> Vec<(&'static str, Vec<f32>)> {
        let mut state = 1u64;
        let mut unit = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 * 2f32.powi(-23) - 1.0
        };
        let n = 256 * 37;
        let mut make = |f: &dyn Fn(f32, f32, usize) -> f32| (0..n).map(|i| f(unit(), unit(), i)).collect();
        vec![
            ("uniform", make(&|a, _, _| a)),
            ("bell", make(&|a, b, _| (a + b) * a * 0.02)),
            ("heavy tails", make(&|a, b, _| a / (b.abs() + 1e-3))),
            ("positive", make(&|a, _, _| a.abs() + 0.1)),
            ("negative", make(&|a, _, _| -a.abs() - 0.1)),
            ("few values", make(&|a, _, _| (a * 3.0).round())),
            ("constant blocks", make(&|_, _, i| (i / 32) as f32 * 0.1 - 3.0)),
            ("zeros", make(&|_, _, _| 0.0)),
            ("negative zeros", make(&|_, _, _| -0.0)),
            ("some zero blocks", make(&|a, _, i| if i / 32 % 3 == 0 { 0.0 } else { a })),
            ("spikes", make(&|a, _, i| if i % 97 == 0 { a * 100.0 } else { a * 1e-3 })),
            ("tiny", make(&|a, _, _| a * 1e-12)),
            ("below epsilon", make(&|a, _, _| a * 1e-16)),
            ("subnormal", make(&|a, _, _| a * 1e-40)),
            ("mixed sizes", make(&|a, b, _| a * 2f32.powi((b * 40.0) as i32))),
            ("large", make(&|a, _, _| a * 1e6)),
            ("brain floats", make(&|a, _, _| half::bf16::from_f32(a * 0.05).to_f32())),
        ]
    }

    #[test]
    fn fast_kernels_have_ggmls_bytes() {
        for tensor_type in TensorType::ALL {
            let Some(kernel) = fast_kernel(tensor_type) else { continue };
            for (what, numbers) in patterns() {
                let rows = Rows { tensor_type, rows: 37, columns: 256 };
                let size = 37 * tensor_type.row_bytes(256) as usize;
                let (mut ours, mut ggmls) = (vec![0xaa; size], vec![0x55; size]);
                kernel(&numbers, &mut ours);
                quantise_with_ggml(rows, None, &numbers, &mut ggmls);
                let block = tensor_type.row_bytes(256) as usize;
                let different = ours.chunks(block).zip(ggmls.chunks(block)).position(|(a, b)| a != b);
                assert_eq!(different, None, "{tensor_type}, {what}: the first super-block that differs");
            }
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let rows = Rows { tensor_type: TensorType::Q4K, rows: 2, columns: 256 };
        let cases = [(511, 288), (512, 287), (512, 289)];
        for (numbers, bytes) in cases {
            let result = quantise(rows, None, &vec![0.0; numbers], &mut vec![0; bytes]);
            assert!(matches!(result, Err(QuantError::Lengths { .. })), "{numbers} numbers, {bytes} bytes");
        }
        let split_block = Rows { columns: 128, rows: 4, ..rows };
        assert!(matches!(
            quantise(split_block, None, &[0.0; 512], &mut [0; 288]),
            Err(QuantError::Lengths { .. })
        ));
    }

    #[test]
    fn infinities_do_not_pass() {
        let rows = Rows { tensor_type: TensorType::Q8_0, rows: 1, columns: 32 };
        let mut numbers = [1.0; 32];
        numbers[5] = f32::INFINITY;
        assert_eq!(
            quantise(rows, None, &numbers, &mut [0; 34]),
            Err(QuantError::InvalidBlocks(TensorType::Q8_0))
        );
    }
}
