//! Why a file of comments cannot be used at all.

use std::path::{Path, PathBuf};

/// Why a file of comments cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A folder in place of a file.
    #[error("{} is a folder; name a file in it", .0.display())]
    Folder(PathBuf),
    /// The format is not known.
    #[error(
        "{}: the name must end in .jsonl, .json, .csv, .tsv, .txt, .parquet, .arrow or .xlsx (also .gz, .zst); or say the format with --format",
        .0.display()
    )]
    UnknownFormat(PathBuf),
    /// An older Excel file, or one with a password.
    #[error(
        "{} is an Excel file with a password or of the old .xls format; save it as .xlsx without a password",
        .0.display()
    )]
    OldExcel(PathBuf),
    /// A file of Feather's first version.
    #[error("{} is Feather of version 1; write it again with pyarrow.feather.write_feather", .0.display())]
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
    #[error("two columns are named {0}; rename one of them")]
    SameName(String),
    /// Labels that nobody has explained.
    #[error(
        "the labels of column {column} are not known: {seen}; say what they mean, for example --labels {example}"
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
    #[error("{} is not readable as {format}: {reason}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// The parser's reason, and what to do.
        reason: String,
    },
    /// Several sheets have rows.
    #[error("{} has {count} sheets with rows: {found}; choose one with --sheet NAME", path.display())]
    ManySheets {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
        /// Their names.
        found: String,
    },
    /// A sheet is not there.
    #[error("{} has no sheet {wanted}: it has {found}; name one of them with --sheet", path.display())]
    NoSheet {
        /// The file.
        path: PathBuf,
        /// The sheet looked for.
        wanted: String,
        /// The sheets that are there.
        found: String,
    },
    /// A file without rows.
    #[error("{}: no rows", .0.display())]
    NoRows(PathBuf),
    /// A file whose rows were all refused.
    #[error("{}: none of {count} rows can be used; the first is {first}", path.display())]
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
