//! What a download tells while it runs.

/// What a download tells while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report<'a> {
    /// Bytes of a file that are there.
    Bytes {
        /// The file.
        file: &'a str,
        /// Its size in bytes.
        size: u64,
        /// Bytes that are there.
        done: u64,
    },
    /// Something that the user should know: one line.
    Note(&'a str),
}

/// Who is told.
pub type OnReport<'a> = &'a dyn Fn(Report);
