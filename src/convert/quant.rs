//! Numbers to blocks and back: ggml's own quantisers, so that the bytes are llama.cpp's.

use llama_cpp_sys_2 as ggml;

use super::tensor_type::TensorType;

/// Why rows could not be quantised or dequantised.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum QuantError {
    /// ggml's own check of the blocks failed: a scale is NaN or infinite.
    #[error("a block of type {0} holds NaN or an infinity")]
    InvalidBlocks(TensorType),
    /// Lengths that do not fit together, or rows that are no whole number of blocks.
    #[error("{rows} rows of {columns} numbers as {tensor_type} do not fit buffers of {numbers} numbers and {bytes} bytes")]
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
        let whole_blocks = columns > 0 && columns as u64 % tensor_type.block_len() == 0;
        let expected_bytes = rows as u64 * tensor_type.row_bytes(columns as u64);
        if whole_blocks && rows * columns == numbers && expected_bytes == bytes as u64 {
            return Ok(());
        }
        Err(QuantError::Lengths { tensor_type, rows, columns, numbers, bytes })
    }
}

/// Quantises `numbers` (`rows` × `columns`) into `blocks`, as `ggml_quantize_chunk` without an
/// importance matrix, and checks the result.
///
/// # Errors
/// [`QuantError::Lengths`]; [`QuantError::InvalidBlocks`] where numbers are NaN, infinite, or too
/// large for a block's half-precision scale.
pub fn quantise(rows: Rows, numbers: &[f32], blocks: &mut [u8]) -> Result<(), QuantError> {
    rows.check(numbers.len(), blocks.len())?;
    // SAFETY: `check` made sure that the source holds rows × columns numbers, the target exactly
    // ggml_row_size × rows bytes, and a row a whole number of blocks; none of the supported types
    // needs an importance matrix.
    let written = unsafe {
        ggml::ggml_quantize_chunk(
            rows.tensor_type.id() as ggml::ggml_type,
            numbers.as_ptr(),
            blocks.as_mut_ptr().cast(),
            0,
            rows.rows as i64,
            rows.columns as i64,
            std::ptr::null(),
        )
    };
    debug_assert_eq!(written, blocks.len());
    validate(rows.tensor_type, blocks)
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
        ggml::ggml_validate_row_data(tensor_type.id() as ggml::ggml_type, blocks.as_ptr().cast(), blocks.len())
    };
    if valid { Ok(()) } else { Err(QuantError::InvalidBlocks(tensor_type)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_sizes_are_ggmls() {
        for tensor_type in TensorType::ALL {
            let id = tensor_type.id() as ggml::ggml_type;
            // SAFETY: both functions read ggml's static table, for an id that it has.
            let (len, bytes) = unsafe { (ggml::ggml_blck_size(id), ggml::ggml_type_size(id)) };
            assert_eq!(tensor_type.block_len(), len as u64, "{tensor_type}");
            assert_eq!(tensor_type.row_bytes(tensor_type.block_len()), bytes as u64, "{tensor_type}");
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let rows = Rows { tensor_type: TensorType::Q4K, rows: 2, columns: 256 };
        let cases = [(511, 288), (512, 287), (512, 289)];
        for (numbers, bytes) in cases {
            let result = quantise(rows, &vec![0.0; numbers], &mut vec![0; bytes]);
            assert!(matches!(result, Err(QuantError::Lengths { .. })), "{numbers} numbers, {bytes} bytes");
        }
        let split_block = Rows { columns: 128, rows: 4, ..rows };
        assert!(matches!(quantise(split_block, &[0.0; 512], &mut [0; 288]), Err(QuantError::Lengths { .. })));
    }

    #[test]
    fn infinities_do_not_pass() {
        let rows = Rows { tensor_type: TensorType::Q8_0, rows: 1, columns: 32 };
        let mut numbers = [1.0; 32];
        numbers[5] = f32::INFINITY;
        assert_eq!(
            quantise(rows, &numbers, &mut [0; 34]),
            Err(QuantError::InvalidBlocks(TensorType::Q8_0))
        );
    }
}
