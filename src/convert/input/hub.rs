//! Models by their Hugging Face hub id: downloaded into the hub's own cache, and found there again.
//!
//! `HF_HOME`, `HF_ENDPOINT` and `HF_TOKEN` mean what they mean to `huggingface_hub`. A broken
//! download goes on where it stopped. All files are taken from one commit, so that a repository
//! that changes meanwhile can't mix.

use std::collections::BTreeSet;
use std::path::PathBuf;

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use serde_json::Value as Json;

use super::hub_blob::Blob;

/// Files of a checkpoint or an adapter beside the weights; those that a repository lacks are passed
/// over, and missed later where they are needed.
const SMALL_FILES: [&str; 9] = [
    "config.json",
    "adapter_config.json",
    "generation_config.json",
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
];
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Why a model can't be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The hub does not let us see the repository.
    #[error(
        "{0}: the hub denies access: accept the model's licence on its page, then set HF_TOKEN to your token"
    )]
    Denied(HubId),
    /// No such repository or revision.
    #[error(
        "{0}: no such repository or revision on the hub, or it is private: then set HF_TOKEN to your token"
    )]
    NotFound(HubId),
    /// The hub can't be reached, and the cache does not have the model.
    #[error("{id}: the download failed: {source}: run again, it goes on where it stopped")]
    Download {
        /// The repository.
        id: HubId,
        /// What the client says.
        source: Box<ApiError>,
    },
    /// The repository has no safetensors.
    #[error("{0}: the repository has no safetensors weights")]
    NoWeights(HubId),
    /// The shards' index is broken.
    #[error("{id}: {INDEX}: {reason}")]
    Index {
        /// The repository.
        id: HubId,
        /// What is wrong.
        reason: String,
    },
}

/// A repository on the hub, and its revision: `rtzr/ko-gemma-2-9b-it`, `owner/name@v1.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubId {
    repository: String,
    revision: String,
}

impl std::fmt::Display for HubId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.revision.as_str() {
            "main" => f.write_str(&self.repository),
            revision => write!(f, "{}@{revision}", self.repository),
        }
    }
}

impl HubId {
    /// `owner/name`, without the revision.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Reads `owner/name` or `owner/name@revision`; `None` where it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (repository, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (owner, name) = repository.split_once('/')?;
        let is_name = |name: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !name.is_empty() && !name.starts_with('.') && name.chars().all(allowed)
        };
        let is_revision = !revision.is_empty() && !revision.contains(char::is_whitespace);
        (is_name(owner) && is_name(name) && is_revision)
            .then(|| Self { repository: repository.to_owned(), revision: revision.to_owned() })
    }
}

/// Where the hub is, where its cache is, and who we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HubSettings {
    /// `HF_ENDPOINT`; the public hub if absent.
    pub endpoint: Option<String>,
    /// The folder of the cache: `$HF_HOME/hub`; `~/.cache/huggingface/hub` if absent.
    pub cache: Option<PathBuf>,
    /// `HF_TOKEN`; the token that `hf auth login` stored if absent.
    pub token: Option<String>,
}

impl HubSettings {
    /// The settings of the environment that `variable` reads.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name| variable(name).filter(|value| !value.trim().is_empty());
        Self {
            endpoint: variable("HF_ENDPOINT").map(|url| url.trim_end_matches('/').to_owned()),
            cache: variable("HF_HOME").map(|home| PathBuf::from(home).join("hub")),
            token: variable("HF_TOKEN").map(|token| token.trim().to_owned()),
        }
    }
}

/// What a download reports: called with the file's name, its size and the bytes that are there.
pub type OnBytes<'a> = &'a dyn Fn(&str, u64, u64);

struct Reporter<'a> {
    on_bytes: OnBytes<'a>,
    file: String,
    size: u64,
    done: u64,
}

impl hf_hub::api::Progress for Reporter<'_> {
    fn init(&mut self, size: usize, filename: &str) {
        (self.file, self.size, self.done) = (filename.to_owned(), size as u64, 0);
        (self.on_bytes)(&self.file, self.size, 0);
    }

    fn update(&mut self, bytes: usize) {
        self.done += bytes as u64;
        (self.on_bytes)(&self.file, self.size, self.done);
    }

    fn finish(&mut self) {
        (self.on_bytes)(&self.file, self.size, self.size);
    }
}

/// The hub and its cache.
#[derive(Debug)]
pub struct Hub {
    api: Api,
    cache: Cache,
}

impl Hub {
    /// A client; nothing is asked yet.
    ///
    /// # Errors
    /// The client's own.
    pub fn new(settings: HubSettings) -> Result<Self, Box<ApiError>> {
        let cache = settings.cache.map_or_else(Cache::default, Cache::new);
        let mut builder = ApiBuilder::from_cache(cache.clone()).with_progress(false).with_retries(3);
        if let Some(endpoint) = settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if settings.token.is_some() {
            builder = builder.with_token(settings.token);
        }
        Ok(Self { api: builder.build().map_err(Box::new)?, cache })
    }

    /// The folder of a checkpoint or an adapter: downloads what the cache lacks. Without a
    /// connection, the revision that the cache has.
    ///
    /// # Errors
    /// Any [`HubError`].
    pub fn folder(&self, id: &HubId, on_bytes: OnBytes) -> Result<PathBuf, HubError> {
        let revision = Repo::with_revision(id.repository.clone(), RepoType::Model, id.revision.clone());
        let info = match self.api.repo(revision.clone()).info() {
            Ok(info) => info,
            Err(error) => return self.cached_folder(revision).ok_or_else(|| describe(id, error)),
        };
        let commit = Repo::with_revision(id.repository.clone(), RepoType::Model, info.sha.clone());
        let cache = self.cache.repo(commit.clone());
        let folder = cache.pointer_path(&info.sha);
        let snapshot = Snapshot { id, folder, cache, api: &self.api, repo: self.api.repo(commit), on_bytes };
        let files: BTreeSet<&str> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
        for file in SMALL_FILES.into_iter().filter(|file| files.contains(file)) {
            snapshot.fetch(file)?;
        }
        if files.contains(ADAPTER_WEIGHTS) {
            snapshot.fetch(ADAPTER_WEIGHTS)?;
        } else if files.contains(INDEX) {
            let index = snapshot.fetch(INDEX)?;
            for shard in shards(id, &index)? {
                snapshot.fetch(&shard)?;
            }
        } else if files.contains(WEIGHTS) {
            snapshot.fetch(WEIGHTS)?;
        } else {
            return Err(HubError::NoWeights(id.clone()));
        }
        self.remember(id, &info.sha);
        Ok(snapshot.folder)
    }

    fn cached_folder(&self, repo: Repo) -> Option<PathBuf> {
        let cached = self.cache.repo(repo);
        let file = cached.get("config.json").or_else(|| cached.get("adapter_config.json"))?;
        file.parent().map(PathBuf::from)
    }

    /// Notes which commit the revision is, for when there is no connection. Failing to is no reason
    /// not to convert.
    fn remember(&self, id: &HubId, commit: &str) {
        let repo = Repo::with_revision(id.repository.clone(), RepoType::Model, id.revision.clone());
        if let Err(error) = self.cache.repo(repo).create_ref(commit) {
            tracing::warn!(%error, "the hub's cache can't be written");
        }
    }
}

/// One commit of a repository, in the cache and on the hub.
struct Snapshot<'a> {
    id: &'a HubId,
    folder: PathBuf,
    cache: CacheRepo,
    api: &'a Api,
    repo: ApiRepo,
    on_bytes: OnBytes<'a>,
}

impl Snapshot<'_> {
    fn fetch(&self, file: &str) -> Result<PathBuf, HubError> {
        let cached = self.folder.join(file);
        if cached.exists() {
            return Ok(cached);
        }
        let found = self.api.metadata(&self.repo.url(file)).map_err(|error| describe(self.id, error))?;
        let etag = found.etag().to_owned();
        let blob = Blob { path: self.cache.blob_path(&etag), size: found.size() as u64, etag };
        // Failing to is no reason not to download.
        match blob.adopt(&cached) {
            Ok(true) => return Ok(cached),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, file, "what the hub's cache has can't be used"),
        }
        let reporter = Reporter { on_bytes: self.on_bytes, file: file.to_owned(), size: 0, done: 0 };
        self.repo.download_with_progress(file, reporter).map_err(|error| describe(self.id, error))
    }
}

fn shards(id: &HubId, index: &std::path::Path) -> Result<BTreeSet<String>, HubError> {
    let bad = |reason: String| HubError::Index { id: id.clone(), reason };
    let text = std::fs::read(index).map_err(|e| bad(e.to_string()))?;
    let json: Json = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
    let map =
        json.get("weight_map").and_then(Json::as_object).ok_or_else(|| bad("no weight_map".to_owned()))?;
    let shards: Option<BTreeSet<String>> = map.values().map(|v| v.as_str().map(str::to_owned)).collect();
    shards.ok_or_else(|| bad("weight_map must map tensor names to file names".to_owned()))
}

fn describe(id: &HubId, error: ApiError) -> HubError {
    let status = match &error {
        ApiError::RequestError(request) => match request.as_ref() {
            ureq::Error::StatusCode(status) => Some(*status),
            _ => None,
        },
        _ => None,
    };
    match status {
        Some(401 | 403) => HubError::Denied(id.clone()),
        Some(404) => HubError::NotFound(id.clone()),
        _ => HubError::Download { id: id.clone(), source: Box::new(error) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_what_is_none() {
        let parts = |text| HubId::parse(text).map(|id| (id.repository, id.revision));
        let id = |repository: &str, revision: &str| Some((repository.to_owned(), revision.to_owned()));
        for (text, expect) in [
            ("rtzr/ko-gemma-2-9b-it", id("rtzr/ko-gemma-2-9b-it", "main")),
            ("a/b@v1.0", id("a/b", "v1.0")),
            ("a/b@refs/pr/3", id("a/b", "refs/pr/3")),
            ("a/b@", None),
            ("gemma", None),
            ("./model", None),
            ("../model", None),
            ("/tmp/model", None),
            ("a/b/c", None),
            ("a/모델", None),
        ] {
            assert_eq!(parts(text), expect, "{text}");
        }
    }

    #[test]
    fn settings_of_the_environment() {
        let variable = |name: &str| match name {
            "HF_HOME" => Some("/data/hf".to_owned()),
            "HF_ENDPOINT" => Some("https://mirror.example/".to_owned()),
            "HF_TOKEN" => Some(" hf_abc\n".to_owned()),
            _ => None,
        };
        let settings = HubSettings::from_env(variable);
        assert_eq!(settings.cache, Some(PathBuf::from("/data/hf/hub")));
        assert_eq!(settings.endpoint.as_deref(), Some("https://mirror.example"));
        assert_eq!(settings.token.as_deref(), Some("hf_abc"));
        assert_eq!(HubSettings::from_env(|_| Some(" ".to_owned())), HubSettings::default());
    }
}
