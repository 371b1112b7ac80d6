//! One model or adapter of one commit: first its small files, then its weights.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::answers::{FileInfo, ModelInfo};
use super::cache::{Cached, RepoCache, io_error, open_plain};
use super::client::{Answer, Ask, Client, HttpError};
use super::error::{Denial, HubError, INDEX};
use super::intact::{self, Intact};
use super::location::Location;
use super::names::{CommitHash, FileName, HubId, ShardName};
use super::report::{OnReport, Report};
use super::transfer::Transfer;
use crate::text::shown::{shown, shown_path};

/// Files of a model or an adapter beside the weights; those that a repository lacks are passed over, and missed
/// later where they are needed.
const SMALL_FILES: [&str; 11] = [
    "config.json",
    "adapter_config.json",
    "generation_config.json",
    "quantize_config.json",
    "quant_config.json",
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
];
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
const WEIGHTS: &str = "model.safetensors";
/// Size of an index at most, in bytes; of the largest models it is less than one.
const MAX_INDEX: u64 = 16 << 20;

/// What is wanted of a repository, which may have both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A model: `config.json` and `model.safetensors` or its shards.
    Model,
    /// A PEFT adapter: `adapter_config.json` and `adapter_model.safetensors`.
    Adapter,
}

/// What a download starts from.
pub(super) struct Start<'a, 'b> {
    pub(super) client: &'a Client,
    pub(super) cache: RepoCache,
    pub(super) id: &'b HubId,
    pub(super) part: Part,
    pub(super) on_report: OnReport<'a>,
}

/// A model or an adapter whose small files are there.
pub struct Download<'a> {
    client: &'a Client,
    cache: RepoCache,
    id: HubId,
    part: Part,
    commit: CommitHash,
    files: BTreeSet<FileName>,
    /// Whether the hub is asked for what the cache lacks.
    is_online: bool,
    on_report: OnReport<'a>,
}

/// Finds the commit and has the small files.
///
/// # Errors
/// Any [`HubError`].
pub(super) fn open<'a>(start: Start<'a, '_>, offline: bool) -> Result<Download<'a>, HubError> {
    start.cache.check()?;
    let (info, is_online) = if offline { (start.cached()?, false) } else { start.ask()? };
    let Start { client, cache, id, part, on_report } = start;
    let id = id.clone();
    let ModelInfo { commit, files } = info;
    let download = Download { client, cache, id, part, commit, files, is_online, on_report };
    download.check_weights()?;
    for file in SMALL_FILES.into_iter().filter(|file| download.has(file)) {
        download.fetch(&download.name(file)?)?;
    }
    Ok(download)
}

impl Start<'_, '_> {
    fn note(&self, text: &str) {
        (self.on_report)(Report::Note(text));
    }

    /// What the hub says of the repository, or what the cache has if it can't be reached.
    fn ask(&self) -> Result<(ModelInfo, bool), HubError> {
        let revision = self.id.revision();
        let repo = self.id.repository().split('/');
        let parts: Vec<&str> =
            ["api", "models"].into_iter().chain(repo).chain(["revision", revision.as_str()]).collect();
        let url = self.client.hub().below(&parts);
        let answered = self.client.get(&url, Ask::default(), self.on_report).and_then(|mut answer| {
            let text = if answer.status == 200 { self.client.text(&mut answer)? } else { Vec::new() };
            Ok((answer, text))
        });
        let (answer, text) = match answered {
            Ok(answered) => answered,
            Err(error) if error.is_transient() => return self.instead(error),
            Err(source) => return Err(HubError::Download { id: self.id.clone(), source }),
        };
        match answer.status {
            200 => {}
            404 | 410 => return Err(HubError::NotFound(self.id.clone())),
            _ => return Err(status_error(self.client, self.id, &answer)),
        }
        let wrong =
            |reason| HubError::Answer { id: self.id.clone(), file: "the repository".to_owned(), reason };
        let info = ModelInfo::parse(&text).map_err(wrong)?;
        match revision.commit() {
            Some(asked) if asked != info.commit => {
                Err(wrong(format!("the hub answers with the commit {} instead", info.commit)))
            }
            _ => Ok((info, true)),
        }
    }

    /// The cache in place of a hub that can't be reached.
    fn instead(&self, error: HttpError) -> Result<(ModelInfo, bool), HubError> {
        let Ok(info) = self.cached() else {
            return Err(HubError::Download { id: self.id.clone(), source: error });
        };
        let commit = &info.commit;
        self.note(&format!("{error}: taking {}@{commit} from the cache", self.id.repository()));
        Ok((info, false))
    }

    /// What the cache has of the revision.
    fn cached(&self) -> Result<ModelInfo, HubError> {
        let missing = |reason: &str| {
            let reason = format!("{reason} in the cache {}", shown_path(self.cache.root()));
            HubError::NotCached { id: self.id.clone(), reason }
        };
        let revision = self.id.revision();
        let commit = revision.commit().or_else(|| self.cache.commit(revision));
        let commit = commit.ok_or_else(|| missing("the revision is not"))?;
        let listed = fs::read_dir(self.cache.snapshot(&commit)).map_err(|_| missing("the files are not"))?;
        let files = listed.flatten().filter_map(|file| FileName::parse(file.file_name().to_str()?)).collect();
        Ok(ModelInfo { commit, files })
    }
}

impl Download<'_> {
    /// The snapshot's folder: the small files are there, the weights after [`Self::weights`].
    pub fn folder(&self) -> PathBuf {
        self.cache.snapshot(&self.commit)
    }

    /// The commit that all files are of.
    pub fn commit(&self) -> &CommitHash {
        &self.commit
    }

    /// The second step: downloads the weights that the cache lacks, once there is space for all of them.
    ///
    /// # Errors
    /// Any [`HubError`].
    pub fn weights(&self) -> Result<(), HubError> {
        let files = self.weight_files()?;
        let mut missing = Vec::new();
        for file in &files {
            if !self.is_there(file)? {
                missing.push((file, self.about(file)?));
            }
        }
        self.check_space(missing.iter().map(|(_, info)| info))?;
        for (file, info) in missing {
            self.transfer(file, &info)?;
        }
        // Only now: what the cache has in place of the hub is whole. Failing to note it is no reason not to convert.
        if self.is_online
            && let Err(error) = self.cache.remember(self.id.revision(), &self.commit)
        {
            self.note(&error.to_string());
        }
        Ok(())
    }

    fn has(&self, file: &str) -> bool {
        FileName::parse(file).is_some_and(|file| self.files.contains(&file))
    }

    /// A name of ours, as the hub's.
    fn name(&self, file: &str) -> Result<FileName, HubError> {
        FileName::parse(file).ok_or_else(|| self.no_file(file))
    }

    fn note(&self, text: &str) {
        (self.on_report)(Report::Note(text));
    }

    fn no_file(&self, file: &str) -> HubError {
        let (id, file) = (self.id.clone(), shown(file));
        if self.is_online {
            HubError::NoFile { id, file }
        } else {
            HubError::NotCached { id, reason: format!("{file} is not in the cache") }
        }
    }

    /// Refuses a repository without the weights that are wanted, and says what is left of one that has more.
    fn check_weights(&self) -> Result<(), HubError> {
        let (has_adapter, has_model) = (self.has(ADAPTER_WEIGHTS), self.has(INDEX) || self.has(WEIGHTS));
        let id = &self.id;
        match self.part {
            Part::Model if has_model && has_adapter => {
                self.note(&format!("{id} has a model and an adapter: taking the model"));
            }
            Part::Adapter if has_model && has_adapter => {
                self.note(&format!("{id} has a model and an adapter: taking the adapter"));
            }
            Part::Model if !has_model => return Err(self.no_weights(WEIGHTS, has_adapter)),
            Part::Adapter if !has_adapter => return Err(self.no_weights(ADAPTER_WEIGHTS, has_model)),
            _ => {}
        }
        Ok(())
    }

    fn no_weights(&self, wanted: &'static str, has_other: bool) -> HubError {
        let has_pickle = match self.part {
            Part::Model => self.has("pytorch_model.bin") || self.has("pytorch_model.bin.index.json"),
            Part::Adapter => self.has("adapter_model.bin"),
        };
        let hint = match self.part {
            _ if !self.is_online => return self.no_file(wanted),
            _ if has_pickle => "; its .bin is not read, save it again with safe_serialization=True",
            Part::Model if has_other => ", but an adapter; give it as --adapter",
            Part::Adapter if has_other => ", but a model; give it as --base",
            _ => "; choose one with safetensors",
        };
        HubError::NoWeights { id: self.id.clone(), wanted, hint }
    }

    /// The files of the weights. An index is read first; one whose shards are gone gives way to the single file.
    fn weight_files(&self) -> Result<Vec<FileName>, HubError> {
        if self.part == Part::Adapter {
            return Ok(vec![self.name(ADAPTER_WEIGHTS)?]);
        }
        let single = self.name(WEIGHTS)?;
        if !self.has(INDEX) {
            return Ok(vec![single]);
        }
        let index = self.name(INDEX)?;
        self.fetch(&index)?;
        let shards = self.shards(&self.folder().join(INDEX))?;
        let missing = shards.iter().find(|shard| !self.files.contains(shard.file()));
        let has_single = self.has(WEIGHTS) && !shards.iter().any(|shard| *shard.file() == single);
        match missing {
            Some(shard) if has_single => {
                let shard = shown(shard.file().as_str());
                self.note(&format!(
                    "{}: the index needs {shard}, which is not there: taking {WEIGHTS}",
                    self.id
                ));
                Ok(vec![single])
            }
            Some(shard) => Err(self.no_file(shard.file().as_str())),
            None if has_single => Err(HubError::TwoWeights(self.id.clone())),
            None => Ok(shards.into_iter().map(|shard| shard.file().clone()).collect()),
        }
    }

    fn shards(&self, index: &Path) -> Result<BTreeSet<ShardName>, HubError> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: std::collections::BTreeMap<String, String>,
        }
        let bad = |reason: String| HubError::Index { id: self.id.clone(), reason };
        let file = fs::File::open(index).map_err(|source| io_error(index, source))?;
        let mut text = Vec::new();
        file.take(MAX_INDEX + 1).read_to_end(&mut text).map_err(|source| io_error(index, source))?;
        if text.len() as u64 > MAX_INDEX {
            return Err(bad(format!("larger than {MAX_INDEX} bytes; it is no index")));
        }
        let index: Index = serde_json::from_slice(&text).map_err(|e| {
            bad(format!("weight_map must map tensor names to file names: {}", shown(&e.to_string())))
        })?;
        let read = |name: &String| {
            ShardName::parse(name).ok_or_else(|| {
                bad(format!("\"{}\" is no shard's file name; don't trust this repository", shown(name)))
            })
        };
        let shards: BTreeSet<ShardName> = index.weight_map.values().map(read).collect::<Result<_, _>>()?;
        if shards.is_empty() { Err(bad("it names no shards".to_owned())) } else { Ok(shards) }
    }

    /// Has a file in the snapshot.
    fn fetch(&self, file: &FileName) -> Result<(), HubError> {
        if self.is_there(file)? {
            return Ok(());
        }
        let info = self.about(file)?;
        self.check_space([&info].into_iter())?;
        self.transfer(file, &info)
    }

    /// Whether the snapshot has a file, and its bytes are right.
    fn is_there(&self, file: &FileName) -> Result<bool, HubError> {
        let etag = match self.cache.cached(&self.commit, file) {
            Cached::Nothing => return Ok(false),
            // Whose bytes they are, only the hub can say.
            Cached::Plain => return Ok(!self.is_online),
            Cached::Blob(etag) => etag,
        };
        let intact = self.check(file, &etag, &self.cache.blob(&etag))?;
        match intact {
            Intact::Yes => Ok(true),
            Intact::Unknown => Ok(!self.is_online),
            Intact::No if self.is_online => Ok(false),
            Intact::No => {
                let reason = format!("{} in the cache is incomplete or damaged", shown(file.as_str()));
                Err(HubError::NotCached { id: self.id.clone(), reason })
            }
        }
    }

    fn check(&self, file: &FileName, etag: &super::names::Etag, path: &Path) -> Result<Intact, HubError> {
        let on_long = || self.note(&format!("checking {}", shown(file.as_str())));
        intact::check(&self.cache, etag, path, on_long).map_err(|source| io_error(path, source))
    }

    fn url(&self, file: &FileName) -> Location {
        let repo = self.id.repository().split('/');
        let parts: Vec<&str> = repo.chain(["resolve", self.commit.as_str(), file.as_str()]).collect();
        self.client.hub().below(&parts)
    }

    /// What the hub says of a file.
    fn about(&self, file: &FileName) -> Result<FileInfo, HubError> {
        if !self.is_online {
            return Err(self.no_file(file.as_str()));
        }
        // A large file is elsewhere: the first byte is asked for, and the hub's redirect says what the file is.
        let ask = Ask { range: Some((0, Some(0))), if_range: None, only_about: true };
        let answer = self
            .client
            .get(&self.url(file), ask, self.on_report)
            .map_err(|source| HubError::Download { id: self.id.clone(), source })?;
        match answer.status {
            200..=399 | 416 => {}
            404 | 410 => return Err(self.no_file(file.as_str())),
            _ => return Err(status_error(self.client, &self.id, &answer)),
        }
        FileInfo::parse(&answer, &self.commit).map_err(|reason| HubError::Answer {
            id: self.id.clone(),
            file: shown(file.as_str()),
            reason,
        })
    }

    /// Refuses to begin what there is no space for.
    fn check_space<'i>(&self, files: impl Iterator<Item = &'i FileInfo>) -> Result<(), HubError> {
        let there = |path: PathBuf| fs::symlink_metadata(path).map_or(0, |found| found.len());
        let missing = |info: &FileInfo| {
            let cache = &self.cache;
            let kept = there(cache.blob(&info.etag)).max(there(cache.incomplete(&info.etag)));
            info.size.saturating_sub(kept)
        };
        let needed = files.map(missing).fold(0, u64::saturating_add);
        self.cache.prepare(&self.commit)?;
        let folder = self.cache.root().to_owned();
        let free = fs4::available_space(&folder).map_err(|source| io_error(&folder, source))?;
        if needed > free { Err(HubError::Space { folder, free, needed }) } else { Ok(()) }
    }

    /// Links a file to its bytes, which are downloaded unless another commit or process has done it.
    fn transfer(&self, file: &FileName, info: &FileInfo) -> Result<(), HubError> {
        let shown_file = shown(file.as_str());
        let _lock = self.cache.lock(&info.etag, |what| self.note(&format!("{shown_file}: {what}")))?;
        if !self.has_blob(file, info)? {
            let transfer = Transfer {
                client: self.client,
                cache: &self.cache,
                id: &self.id,
                file,
                url: self.url(file),
                info,
                on_report: self.on_report,
            };
            transfer.run()?;
        }
        self.cache.link(&self.commit, file, &info.etag)
    }

    /// Whether the cache has the bytes; a blob of other bytes is removed.
    fn has_blob(&self, file: &FileName, info: &FileInfo) -> Result<bool, HubError> {
        let path = self.cache.blob(&info.etag);
        let found = match open_plain(fs::OpenOptions::new().read(true), &path) {
            Ok(found) => found.metadata().map_err(|source| io_error(&path, source))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(io_error(&path, error)),
        };
        let is_whole = found.len() == info.size
            && match self.check(file, &info.etag, &path)? {
                Intact::Yes => true,
                Intact::No => false,
                Intact::Unknown => {
                    intact::note(&self.cache, &info.etag, &path);
                    true
                }
            };
        if !is_whole {
            fs::remove_file(&path).map_err(|source| io_error(&path, source))?;
        }
        Ok(is_whole)
    }
}

/// Why the hub doesn't send what it was asked for.
fn status_error(client: &Client, id: &HubId, answer: &Answer) -> HubError {
    if !matches!(answer.status, 401 | 403) {
        return HubError::Status { id: id.clone(), status: answer.status };
    }
    let repo: Vec<&str> = id.repository().split('/').collect();
    HubError::Denied(Denial {
        id: id.clone(),
        page: client.hub().below(&repo).to_string(),
        status: answer.status,
        is_gated: super::answers::text(&answer.headers, "x-error-code") == Some("GatedRepo"),
        has_token: client.has_token(),
    })
}
