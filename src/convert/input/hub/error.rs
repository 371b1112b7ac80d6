//! Why a model can't be downloaded.

use std::io;
use std::path::PathBuf;

use super::client::HttpError;
use super::names::HubId;
use crate::text::shown::{shown, shown_path};

/// The index of a model's shards.
pub const INDEX: &str = "model.safetensors.index.json";

/// Why a model can't be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The address of the hub or the token can't be used.
    #[error("{0}")]
    Settings(String),
    /// The hub does not let us see the repository.
    #[error("{0}")]
    Denied(Denial),
    /// No such repository or revision.
    #[error(
        "{0}: no such repository or revision on the hub; check the name, and set HF_TOKEN to your token if the repository is private"
    )]
    NotFound(HubId),
    /// The repository lists a file, or its index names one, that the hub does not have.
    #[error(
        "{id}: the hub has no {file}; the repository is incomplete, choose another revision",
        file = shown(file)
    )]
    NoFile {
        /// The repository.
        id: HubId,
        /// The file.
        file: String,
    },
    /// The download failed.
    #[error("{id}: the download failed: {source}; run again to resume")]
    Download {
        /// The repository.
        id: HubId,
        /// What happened.
        source: HttpError,
    },
    /// A status that stays, after all tries.
    #[error("{id}: the hub answers {status}; try again later, or use what is in the cache with --offline")]
    Status {
        /// The repository.
        id: HubId,
        /// The status.
        status: u16,
    },
    /// The hub says something that can't be.
    #[error("{id}: {file}: {reason}; don't trust this hub (HF_ENDPOINT), or report it", file = shown(file))]
    Answer {
        /// The repository.
        id: HubId,
        /// The file, or "the repository".
        file: String,
        /// What it says.
        reason: String,
    },
    /// Bytes that end too early, after all tries.
    #[error("{id}: {file}: the hub sent {got} of {size} bytes; run again to resume", file = shown(file))]
    Short {
        /// The repository.
        id: HubId,
        /// The file.
        file: String,
        /// Bytes that are there.
        got: u64,
        /// Bytes that the hub announced.
        size: u64,
    },
    /// Other bytes than announced.
    #[error(
        "{id}: {file}: the bytes are not those that the hub announced ({what}); nothing of it was kept, run again",
        file = shown(file)
    )]
    Damaged {
        /// The repository.
        id: HubId,
        /// The file.
        file: String,
        /// What differs.
        what: &'static str,
    },
    /// The repository has no weights that we read.
    #[error("{id}: the repository has no {wanted}{hint}")]
    NoWeights {
        /// The repository.
        id: HubId,
        /// The file that it would need.
        wanted: &'static str,
        /// What it has instead, and what to do.
        hint: &'static str,
    },
    /// Weights twice.
    #[error(
        "{0}: the repository has both {INDEX} with all shards and model.safetensors; download the one you mean into a folder and convert that"
    )]
    TwoWeights(HubId),
    /// The shards' index is broken.
    #[error("{id}: {INDEX}: {reason}")]
    Index {
        /// The repository.
        id: HubId,
        /// What is wrong.
        reason: String,
    },
    /// The hub must not be asked or can't be reached, and the cache lacks something.
    #[error("{id}: {reason}; run once with a connection and without --offline or HF_HUB_OFFLINE")]
    NotCached {
        /// The repository.
        id: HubId,
        /// What the cache lacks.
        reason: String,
    },
    /// Too little space.
    #[error(
        "{} has {free} bytes free, the download needs {needed}; free {} more, or set HF_HOME to another disk",
        shown_path(folder),
        needed - free
    )]
    Space {
        /// The cache.
        folder: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are still to come.
        needed: u64,
    },
    /// A symbolic link or something else where the cache has a folder or a file.
    #[error(
        "{} is not a plain {what}; remove it, so that the download isn't written elsewhere",
        shown_path(path)
    )]
    Strange {
        /// Where.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
    },
    /// The cache can't be read or written.
    #[error("the hub's cache: {}: {source}", shown_path(path))]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why the hub does not let us see a repository.
#[derive(Debug)]
pub struct Denial {
    /// The repository.
    pub id: HubId,
    /// The repository's page.
    pub page: String,
    /// 401 or 403.
    pub status: u16,
    /// Whether the hub says that its users must ask for access.
    pub is_gated: bool,
    /// Whether a token was sent.
    pub has_token: bool,
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, page, .. } = self;
        match (self.is_gated, self.has_token, self.status) {
            (true, false, _) => write!(
                f,
                "{id}: the model is gated; accept its licence at {page}, then set HF_TOKEN to your token"
            ),
            (true, true, _) => write!(
                f,
                "{id}: the model is gated and your token has no access; accept its licence at {page} with the account of the token"
            ),
            (false, false, _) => write!(
                f,
                "{id}: the hub denies access, or there is no such repository; check the name, accept the model's licence at {page}, then set HF_TOKEN to your token"
            ),
            (false, true, 401) => {
                write!(f, "{id}: the hub does not accept your token; set HF_TOKEN to one that is valid")
            }
            (false, true, _) => write!(
                f,
                "{id}: your token may not read this repository; accept the model's licence at {page}, or set HF_TOKEN to a token that may read it"
            ),
        }
    }
}
