//! Why a file of comments cannot be used at all.

use crate::text::shown::{shown, shown_path};
use std::path::{Path, PathBuf};

/// Why a file of comments cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {source}", shown_path(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A folder in place of a file.
    #[error("{} is a folder; name a file in it", shown_path(.0))]
    Folder(PathBuf),
    /// The format is not known.
    #[error(
        "{}: the name must end in .jsonl, .json, .csv, .tsv, .txt, .parquet, .arrow or .xlsx (also .gz, .zst); or say the format with --format",
        shown_path(.0)
    )]
    UnknownFormat(PathBuf),
    /// An older Excel file, or one with a password.
    #[error(
        "{} is an Excel file with a password or of the old .xls format; save it as .xlsx without a password",
        shown_path(.0)
    )]
    OldExcel(PathBuf),
    /// A file of Feather's first version.
    #[error("{} is Feather of version 1; write it again with pyarrow.feather.write_feather", shown_path(.0))]
    OldFeather(PathBuf),
    /// A column is not there.
    #[error("no column {wanted}: the file has {found}; name the right one with --{flag}-column")]
    NoColumn {
        /// The column looked for.
        wanted: String,
        /// The columns that are there.
        found: String,
        /// The flag that names the column.
        flag: &'static str,
    },
    /// Several columns could be meant.
    #[error("{found} could each be the {role}; name the right one with --{flag}-column")]
    ManyColumns {
        /// The columns that could be meant.
        found: String,
        /// What is looked for.
        role: &'static str,
        /// The flag that names the column.
        flag: &'static str,
    },
    /// Two columns of one name.
    #[error("two columns are named {text}; rename one of them", text = shown(.0))]
    SameName(String),
    /// Labels that nobody has explained.
    #[error(
        "the labels of column {column} are not known: {seen}; say what they mean, for example --labels {example}",
        column = shown(column)
    )]
    Labels {
        /// The column.
        column: String,
        /// Values that stand there.
        seen: String,
        /// An example of the flag.
        example: String,
    },
    /// A file that the format's parser does not understand.
    #[error("{} is not readable as {format}: {reason}", shown_path(path))]
    Broken {
        /// The file.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// The parser's reason, and what to do.
        reason: String,
    },
    /// Several sheets have rows.
    #[error("{} has {count} sheets with rows: {found}; choose one with --sheet NAME", shown_path(path))]
    ManySheets {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
        /// Their names.
        found: String,
    },
    /// A sheet is not there.
    #[error("{} has no sheet {wanted}: it has {found}; name one of them with --sheet", shown_path(path))]
    NoSheet {
        /// The file.
        path: PathBuf,
        /// The sheet looked for.
        wanted: String,
        /// The sheets that are there.
        found: String,
    },
    /// A file without rows.
    #[error("{}: no rows", shown_path(.0))]
    NoRows(PathBuf),
    /// A file whose rows were all refused.
    #[error("{}: none of {count} rows can be used; the first is {first}", shown_path(path))]
    AllRefused {
        /// The file.
        path: PathBuf,
        /// How many rows it has.
        count: u64,
        /// The first refused row, and why.
        first: String,
    },
}

impl DatasetError {
    /// The system's error, with the file's name.
    pub(super) fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path: path.clone(), source }
    }
}
