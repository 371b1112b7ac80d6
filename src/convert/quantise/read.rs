//! A tensor's rows as F32, whatever they are stored as.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use super::quant::{self, QuantError, Rows};
use crate::convert::input::tensor::TensorSource;
use crate::text::shown::shown_path;

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file can't be read.
    #[error("cannot read {path}: {source}", path = shown_path(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The blocks can't be turned into numbers.
    #[error(transparent)]
    Quant(#[from] QuantError),
}

impl ReadError {
    /// The file of `tensor` can't be read.
    pub fn io(tensor: &TensorSource, source: io::Error) -> Self {
        Self::Io { path: tensor.path.clone(), source }
    }
}

/// Reads rows of a tensor as F32; `raw` is scratch.
///
/// # Errors
/// Any [`ReadError`].
pub fn read_f32(
    tensor: &TensorSource,
    rows: Range<u64>,
    raw: &mut Vec<u8>,
    numbers: &mut Vec<f32>,
) -> Result<(), ReadError> {
    let (count, columns) = ((rows.end - rows.start) as usize, tensor.columns() as usize);
    tensor.read_raw(rows, raw).map_err(|source| ReadError::io(tensor, source))?;
    numbers.resize(count * columns, 0.0);
    quant::dequantise(Rows { tensor_type: tensor.tensor_type, rows: count, columns }, raw, numbers)?;
    Ok(())
}

/// Reads a whole tensor as F32: for small ones.
///
/// # Errors
/// Any [`ReadError`].
pub fn read_all_f32(tensor: &TensorSource) -> Result<Vec<f32>, ReadError> {
    let (mut raw, mut numbers) = (Vec::new(), Vec::new());
    read_f32(tensor, 0..tensor.rows(), &mut raw, &mut numbers)?;
    Ok(numbers)
}

/// Whether two tensors of one shape hold the same numbers. Reads both, up to the first difference.
///
/// # Errors
/// Any [`ReadError`].
pub fn same_numbers(a: &TensorSource, b: &TensorSource) -> Result<bool, ReadError> {
    let (mut raw, mut left, mut right) = (Vec::new(), Vec::new(), Vec::new());
    for start in (0..a.rows()).step_by(1024) {
        let rows = start..(start + 1024).min(a.rows());
        read_f32(a, rows.clone(), &mut raw, &mut left)?;
        read_f32(b, rows, &mut raw, &mut right)?;
        if left != right {
            return Ok(false);
        }
    }
    Ok(true)
}
