//! Why a file cannot be written.

use crate::text::shown::shown_path;
use std::path::PathBuf;

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system's reason.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The Parquet library's.
    #[error("as Parquet: {0}")]
    Parquet(#[from] ::parquet::errors::ParquetError),
    /// The Arrow library's.
    #[error("as Arrow: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// The Excel library's.
    #[error("as xlsx: {0}")]
    Xlsx(#[from] rust_xlsxwriter::XlsxError),
    /// More than a format can hold.
    #[error("{what} are more than an .xlsx file can hold ({limit}); write .csv or .parquet")]
    TooLarge {
        /// Such as `2000000 rows`.
        what: String,
        /// The format's limit.
        limit: u64,
    },
    /// A file with too many different columns.
    #[error("the rows have more than {0} different columns; read a file whose rows are of one shape")]
    Columns(usize),
    /// An input of the copy changed meanwhile.
    #[error("{} changed while it was read; read it again when nothing writes to it", shown_path(.0))]
    Changed(PathBuf),
}
