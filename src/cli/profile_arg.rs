//! A profile on the command line: a file, or the bundled one by its name.

use std::io;
use std::path::{Path, PathBuf};

use crate::files::open;
use crate::sentiment::profile::{DEFAULT_TOML, Profile, ProfileError};
use crate::text::shown::shown_path;

/// The bundled profile: the model card's prompt.
pub const BUNDLED: &str = "ko-youtube-sentiment";

/// Bytes of a profile: more than any needs.
const MAX_BYTES: u64 = 1 << 20;

/// Why `--profile` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileArgError {
    /// The file.
    #[error(
        "cannot read the profile {}: {source}; give a TOML file, or the bundled profile's name, {BUNDLED}",
        shown_path(path)
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Its content.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

/// Reads a profile by file or name; `default` is the bundled one, too.
///
/// # Errors
/// Any [`ProfileArgError`].
pub fn read_profile(name_or_file: &Path) -> Result<Profile, ProfileArgError> {
    if [BUNDLED, "default"].iter().any(|name| name_or_file.as_os_str() == *name) {
        return Ok(Profile::from_toml(DEFAULT_TOML)?);
    }
    let text = open::read_text(name_or_file, MAX_BYTES)
        .map_err(|source| ProfileArgError::Read { path: name_or_file.to_owned(), source })?;
    Ok(Profile::from_toml(&text)?)
}
