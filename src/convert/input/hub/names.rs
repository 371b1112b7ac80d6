//! Names that a hub or a person gives: one type each, whose values can be nothing else.
//!
//! A value of these types is safe as one component of a path (of a [`Revision`]: as several below a folder).

use std::fmt::{self, Display};

/// Longest name in bytes: a file name of 255 less the endings that the cache adds.
const MAX_NAME: usize = 200;
/// Longest repository id in bytes, as `huggingface_hub` has it.
const MAX_REPO_ID: usize = 96;

/// Implements what all names have.
macro_rules! name {
    ($name:ident) => {
        impl $name {
            /// Returns the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RepoId(String);
name!(RepoId);

impl RepoId {
    /// Reads `owner/name` by the hub's own rules; `None` where it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (owner, name) = text.split_once('/')?;
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let is_name = |name: &str| {
            let ends = [name.bytes().next(), name.bytes().next_back()];
            ends.into_iter().all(|end| end.is_some_and(is_word))
                && name.bytes().all(|b| is_word(b) || b == b'-' || b == b'.')
        };
        // Two hyphens stand for the slash in the cache.
        let is_safe = !text.contains("--") && !text.contains("..") && !text.ends_with(".git");
        (text.len() <= MAX_REPO_ID && is_safe && is_name(owner) && is_name(name))
            .then(|| Self(text.to_owned()))
    }

    /// The repository's folder in the cache.
    pub fn folder(&self) -> String {
        format!("models--{}", self.0.replace('/', "--"))
    }
}

/// Branch, tag, pull request (`refs/pr/3`) or commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision(String);
name!(Revision);

impl Revision {
    /// Reads a revision by git's rules for references; `None` where it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_part = |part: &str| {
            !part.is_empty()
                && !part.starts_with(['.', '-'])
                && !part.ends_with(".lock")
                && !part.ends_with('.')
        };
        let is_refused = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\@".contains(c);
        let is_safe = text.len() <= MAX_NAME && !text.contains("..") && !text.contains(is_refused);
        (is_safe && text.split('/').all(is_part)).then(|| Self(text.to_owned()))
    }

    /// The commit, where the revision is one.
    pub fn commit(&self) -> Option<CommitHash> {
        CommitHash::parse(&self.0)
    }
}

/// Full hash of a commit: 40 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitHash(String);
name!(CommitHash);

impl CommitHash {
    /// Reads a hash; `None` where it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 40 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }
}

/// A file at the top of a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName(String);
name!(FileName);

impl FileName {
    /// Reads a plain file name; `None` where it is a path, hidden, or has control characters.
    pub fn parse(text: &str) -> Option<Self> {
        let is_refused = |c: char| c.is_control() || c == '/' || c == '\\';
        let is_plain = !text.is_empty() && text.len() <= MAX_NAME && !text.starts_with('.');
        (is_plain && text.trim() == text && !text.contains(is_refused)).then(|| Self(text.to_owned()))
    }
}

/// A shard of an index: a plain file name that ends in `.safetensors`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardName(FileName);

impl ShardName {
    /// Reads a shard's name; `None` where it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        FileName::parse(text).filter(|_| text.ends_with(".safetensors")).map(Self)
    }

    /// The shard's file.
    pub fn file(&self) -> &FileName {
        &self.0
    }
}

/// How the hub names the bytes of a file, and the cache its blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etag(String);
name!(Etag);

/// The hash that an [`Etag`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashKind {
    /// SHA-256 of the bytes: large files.
    Sha256,
    /// SHA-1 of git's blob: small files.
    GitBlob,
}

impl Etag {
    /// Reads a header's value, `"…"` or `W/"…"`; `None` where it can't be a file's name.
    pub fn parse(header: &str) -> Option<Self> {
        let text = header.strip_prefix("W/").unwrap_or(header).trim_matches('"');
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.+=~:".contains(&b);
        let is_plain = !text.is_empty() && text.len() <= MAX_NAME && !text.starts_with('.');
        let is_ours = [".part", ".incomplete", ".lock"].iter().any(|ending| text.ends_with(ending));
        (is_plain && !is_ours && text.bytes().all(is_allowed)).then(|| Self(text.to_owned()))
    }

    /// The hash that it is; `None` where the hub names the bytes otherwise.
    pub fn hash(&self) -> Option<HashKind> {
        match self.0.len() {
            64 if self.0.bytes().all(|b| b.is_ascii_hexdigit()) => Some(HashKind::Sha256),
            40 if self.0.bytes().all(|b| b.is_ascii_hexdigit()) => Some(HashKind::GitBlob),
            _ => None,
        }
    }
}

/// A repository on the hub, and its revision: `rtzr/ko-gemma-2-9b-it`, `owner/name@v1.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubId {
    repo: RepoId,
    revision: Revision,
}

impl Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision.as_str() {
            "main" => f.write_str(self.repository()),
            revision => write!(f, "{}@{revision}", self.repo),
        }
    }
}

impl HubId {
    /// Reads `owner/name` or `owner/name@revision`; `None` where it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (repo, revision) = text.split_once('@').unwrap_or((text, "main"));
        Some(Self { repo: RepoId::parse(repo)?, revision: Revision::parse(revision)? })
    }

    /// `owner/name`, without the revision.
    pub fn repository(&self) -> &str {
        self.repo.as_str()
    }

    /// The repository.
    pub fn repo(&self) -> &RepoId {
        &self.repo
    }

    /// The revision.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_what_is_none() {
        let parts = |text| HubId::parse(text).map(|id| (id.repo.0, id.revision.0));
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
            ("a/b--c", None),
            ("a--b/c", None),
            ("a/..", None),
            ("a/b.", None),
            ("a/b.git", None),
            ("a/b@../../../etc", None),
            ("a/b@/etc/passwd", None),
            ("a/b@x//y", None),
            ("a/b@.hidden", None),
            ("a/b@x\u{1b}[2J", None),
            ("a/b@v1?x=1", None),
        ] {
            assert_eq!(parts(text), expect, "{text}");
        }
    }

    #[test]
    fn files_shards_etags_and_commits() {
        let sha256 = "a".repeat(64);
        let check = |is_one: fn(&str) -> bool, good: &[&str], bad: &[&str]| {
            good.iter().for_each(|text| assert!(is_one(text), "{text}"));
            bad.iter().for_each(|text| assert!(!is_one(text), "{text}"));
        };
        let long = "x".repeat(201);
        check(
            |text| FileName::parse(text).is_some(),
            &["config.json", "모델.json", "a b"],
            &["", ".", "..", "../x", "/x", "a/b", "a\\b", ".git", "x\n", "x\u{1b}[2J", " x", &long],
        );
        check(
            |text| ShardName::parse(text).is_some(),
            &["model-00001-of-00002.safetensors"],
            &["config.json", "../model.safetensors", "/model.safetensors", ".safetensors", "a\0.safetensors"],
        );
        check(
            |text| Etag::parse(text).is_some(),
            &["\"abc\"", "W/\"abc\"", "abc", "\"config.json-etag\"", "\"5f3-62:gzip\""],
            &[
                "",
                "\"\"",
                "\"/etc/x\"",
                "\"../x\"",
                "\"a b\"",
                "\".x\"",
                "\"x.lock\"",
                "\"가\"",
                "\"x\\y\"",
                &long,
            ],
        );
        check(
            |text| CommitHash::parse(text).is_some(),
            &["0123456789abcdef0123456789abcdef01234567"],
            &["", "main", "0123", "0123456789ABCDEF0123456789abcdef01234567", &sha256],
        );
        assert_eq!(Etag::parse(&sha256).unwrap().hash(), Some(HashKind::Sha256));
        assert_eq!(Etag::parse(&sha256[..40]).unwrap().hash(), Some(HashKind::GitBlob));
        assert_eq!(Etag::parse("config.json-etag").unwrap().hash(), None);
    }
}
