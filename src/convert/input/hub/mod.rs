//! Models by their Hugging Face hub id: downloaded into the hub's own cache, and found there again.
//!
//! The hub is not trusted: names, sizes and hashes that it states are read into types of their own (`names`,
//! `answers`), the token goes to its own address alone (`client`), nothing is written outside the repository's
//! folder in the cache (`cache`), and bytes count only when their hash is right (`transfer`, `intact`). All
//! files are taken from one commit, so that a repository that changes meanwhile can't mix.
//!
//! A download has two steps, so that a model that can't be converted is refused before its weights come:
//! [`Hub::open`] has the small files, and [`Download::weights`] the rest.

mod answers;
mod cache;
mod client;
mod download;
mod error;
mod intact;
mod location;
mod names;
mod patience;
mod report;
mod settings;
mod transfer;

use std::path::PathBuf;

use self::cache::RepoCache;
use self::client::Client;

pub use self::client::HttpError;
pub use self::download::{Download, Part};
pub use self::error::{Denial, HubError};
pub use self::location::BadRedirect;
pub use self::names::{CommitHash, HubId, RepoId, Revision};
pub use self::patience::Patience;
pub use self::report::{OnReport, Report};
pub use self::settings::HubSettings;

/// The hub and its cache.
#[derive(Debug)]
pub struct Hub {
    client: Client,
    cache: PathBuf,
    offline: bool,
}

impl Hub {
    /// A client; nothing is asked yet.
    ///
    /// # Errors
    /// [`HubError::Settings`].
    pub fn new(settings: HubSettings) -> Result<Self, HubError> {
        let HubSettings { endpoint, cache, token, offline, patience } = settings;
        let client =
            Client::new(endpoint.as_deref(), token.as_deref(), &patience).map_err(HubError::Settings)?;
        let no_cache = || {
            HubError::Settings(
                "there is no home folder for the hub's cache; set HF_HOME to a folder".to_owned(),
            )
        };
        Ok(Self { client, cache: cache.ok_or_else(no_cache)?, offline })
    }

    /// The first step of a download: the commit, and the small files of the model or the adapter. If the hub can't
    /// be reached, or must not be asked, they are the cache's, and a note says so.
    ///
    /// # Errors
    /// Any [`HubError`].
    pub fn open<'a>(
        &'a self,
        id: &HubId,
        part: Part,
        on_report: OnReport<'a>,
    ) -> Result<Download<'a>, HubError> {
        let cache = RepoCache::new(&self.cache, id.repo());
        download::open(download::Start { client: &self.client, cache, id, part, on_report }, self.offline)
    }

    /// Both steps: the folder of a model or an adapter.
    ///
    /// # Errors
    /// Any [`HubError`].
    pub fn folder(&self, id: &HubId, part: Part, on_report: OnReport) -> Result<PathBuf, HubError> {
        let download = self.open(id, part, on_report)?;
        download.weights()?;
        Ok(download.folder())
    }
}
