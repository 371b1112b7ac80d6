//! One tensor's place in a file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::gguf::tensor_type::TensorType;

/// A tensor in a file: read in row chunks, never whole.
#[derive(Debug, Clone)]
pub struct TensorSource {
    /// The opened file.
    pub file: Arc<File>,
    /// Its path, for messages.
    pub path: PathBuf,
    /// Where the data starts, in bytes.
    pub offset: u64,
    /// How the numbers are stored.
    pub tensor_type: TensorType,
    /// Dimensions, columns first.
    pub shape: Vec<u64>,
}

impl TensorSource {
    /// Numbers in a row.
    pub fn columns(&self) -> u64 {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.shape.iter().skip(1).product()
    }

    /// Bytes in a row.
    pub fn row_bytes(&self) -> u64 {
        self.tensor_type.row_bytes(self.columns())
    }

    /// Reads rows as they are stored.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn read_raw(&self, rows: Range<u64>, raw: &mut Vec<u8>) -> io::Result<()> {
        raw.resize(((rows.end - rows.start) * self.row_bytes()) as usize, 0);
        let offset = self.offset + rows.start * self.row_bytes();
        self.file.read_exact_at(raw, offset)
    }
}
