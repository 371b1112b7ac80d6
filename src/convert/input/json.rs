//! JSON files beside the weights.

use std::path::Path;

use serde_json::Value as Json;

use super::error::SourceError;
use crate::files::open;

/// Bytes of a JSON file at most: several times the largest `tokenizer.json` of a supported model.
const MAX_BYTES: u64 = 256 << 20;

/// Reads a JSON file.
///
/// # Errors
/// [`SourceError::Io`], [`SourceError::Json`].
pub fn read_json(path: &Path) -> Result<Json, SourceError> {
    let text =
        open::read(path, MAX_BYTES).map_err(|source| SourceError::Io { path: path.to_owned(), source })?;
    serde_json::from_slice(&text)
        .map_err(|e| SourceError::Json { path: path.to_owned(), reason: format!("not valid JSON: {e}") })
}

/// As [`read_json`], but a file that is not there is `None`.
///
/// # Errors
/// As [`read_json`].
pub fn read_json_if_there(path: &Path) -> Result<Option<Json>, SourceError> {
    if path.exists() { read_json(path).map(Some) } else { Ok(None) }
}
