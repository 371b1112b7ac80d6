//! Formats of written files, and how they are written.

use std::path::Path;

/// The format of a written file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OutFormat {
    /// Fields separated by commas (RFC 4180).
    Csv,
    /// Fields separated by tabs, without quoting; a text with a tab or line break or a leading quotation mark is escaped, as in $'a\tb'.
    Tsv,
    /// One JSON object per line.
    Jsonl,
    /// Parquet.
    Parquet,
    /// Arrow IPC file (Feather).
    Arrow,
    /// Excel workbook with one sheet.
    Xlsx,
}

impl OutFormat {
    /// The format that a file's name says.
    pub fn of_name(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "csv" => Self::Csv,
            "tsv" | "tab" => Self::Tsv,
            "jsonl" | "ndjson" => Self::Jsonl,
            "parquet" => Self::Parquet,
            "arrow" | "feather" | "ipc" => Self::Arrow,
            "xlsx" => Self::Xlsx,
            _ => return None,
        })
    }
}

/// How a file is written.
#[derive(Debug, Clone, Copy)]
pub struct WriteOptions {
    /// The format.
    pub format: OutFormat,
    /// A byte order mark before CSV and TSV, by which Excel knows UTF-8.
    pub bom: bool,
    /// An apostrophe before what a spreadsheet would compute, in CSV and TSV. Cells of a workbook are text and never
    /// computed.
    pub escape_formulas: bool,
}
