//! The tokens file: who may call, what, and how much. It holds hashes only, and no message repeats its values.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tonic::Status;
use tonic::codegen::http::HeaderMap;
use tracing::warn;

use super::principal::{Admitted, Limits, Principal, PrincipalUse};
use super::reload::{Reload, Reloaded};
use super::x509::{at, unix_days};
use super::{status, tls};
use crate::files::open;
use crate::text::shown::{shown_message, shown_path};

/// What a token begins with, so that people and scanners for secrets know it.
const PREFIX: &str = "kos_";

/// Methods that a token can be limited to.
const METHODS: [&str; 5] = ["Classify", "StreamReason", "ClassifyBatch", "ClassifyStream", "GetModelInfo"];

/// Maximum size of the file, in bytes: some 100,000 entries.
const MAX_FILE: u64 = 16 << 20;

/// Maximum characters of a name.
const MAX_NAME: usize = 64;

/// Why a tokens file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file.
    #[error("cannot read the tokens file {}: {source}; name a readable file with --tokens", shown_path(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Its text.
    #[error("{} line {line}: {reason}", shown_path(path))]
    Toml {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong, without the values.
        reason: String,
    },
    /// One of its tokens.
    #[error("{} token {number}: {reason}", shown_path(path))]
    Entry {
        /// The file.
        path: PathBuf,
        /// Which token, from 1.
        number: usize,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A name that a token cannot have.
    #[error("a name has 1 to {MAX_NAME} letters, digits, dots, dashes and underscores; choose another")]
    Name,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] std::io::Error),
}

/// The file's text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Row>,
}

/// A `[[token]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    sha256: Option<String>,
    certificate: Option<String>,
    expires: Option<toml::Value>,
    weight: Option<f64>,
    requests_per_second: Option<f64>,
    concurrent: Option<usize>,
    comments_per_day: Option<u64>,
    methods: Option<Vec<String>>,
}

/// What a caller shows.
enum Key {
    /// The hash of a token.
    Hash([u8; 32]),
    /// A name of a client's certificate.
    Certificate(String),
}

/// One way to be let in.
struct Entry {
    key: Key,
    principal: Arc<Principal>,
    expires: Option<SystemTime>,
    limits: Limits,
    methods: Option<Vec<String>>,
}

/// The tokens of a file, as it is now.
pub struct Tokens {
    path: PathBuf,
    entries: RwLock<Arc<Vec<Entry>>>,
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// See [`TokensError`].
    pub fn load(path: &Path) -> Result<Self, TokensError> {
        let entries = read(path, &BTreeMap::new())?;
        Ok(Self { path: path.to_owned(), entries: RwLock::new(Arc::new(entries)) })
    }

    /// Lets a call of `method` in, by its token or by the names of its certificate.
    ///
    /// # Errors
    /// UNAUTHENTICATED, PERMISSION_DENIED or RESOURCE_EXHAUSTED.
    pub fn admit(&self, headers: &HeaderMap, names: &[String], method: &str) -> Result<Admitted, Status> {
        let entries = self.entries();
        let entry = match bearer(headers) {
            Some(token) => {
                let hash: [u8; 32] = Sha256::digest(token).into();
                by_hash(&entries, &hash).ok_or_else(status::unknown_token)?
            }
            None => by_name(&entries, names).ok_or_else(|| status::no_token(!names.is_empty()))?,
        };
        if entry.expires.is_some_and(|end| end <= SystemTime::now()) {
            return Err(status::expired_token());
        }
        if entry.methods.as_ref().is_some_and(|allowed| !allowed.iter().any(|m| m == method)) {
            return Err(status::method_denied(entry.principal.name(), method));
        }
        let admitted = entry.principal.enter(entry.limits, Instant::now());
        admitted.map_err(|exceeded| status::exceeded(&exceeded))
    }

    /// What each principal used, by name.
    pub fn principals(&self) -> Vec<PrincipalUse> {
        let entries = self.entries();
        let by_name: BTreeMap<&str, &Principal> =
            entries.iter().map(|entry| (entry.principal.name(), &*entry.principal)).collect();
        by_name.into_values().map(Principal::used_in_all).collect()
    }

    fn entries(&self) -> Arc<Vec<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Reload for Tokens {
    fn kind(&self) -> Reloaded {
        Reloaded::Tokens
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn reload(&self) -> Result<(), String> {
        let old = self.entries();
        let known = old.iter().map(|e| (e.principal.name(), e.principal.clone())).collect();
        let new = read(&self.path, &known).map_err(|e| e.to_string())?;
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(())
    }
}

/// The token of `authorization: Bearer …`; an empty one for what is no such header.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get("authorization")?.as_bytes();
    let (scheme, token) = value.split_at_checked(7).unwrap_or((value, b""));
    Some(if scheme.eq_ignore_ascii_case(b"bearer ") { token.trim_ascii() } else { b"" })
}

/// Compares with every entry, in a time that says nothing of how much of a hash is right.
fn by_hash<'a>(entries: &'a [Entry], hash: &[u8; 32]) -> Option<&'a Entry> {
    let mut found = None;
    for entry in entries {
        if let Key::Hash(known) = &entry.key
            && bool::from(known.ct_eq(hash))
        {
            found = Some(entry);
        }
    }
    found
}

fn by_name<'a>(entries: &'a [Entry], names: &[String]) -> Option<&'a Entry> {
    entries.iter().find(|e| matches!(&e.key, Key::Certificate(name) if names.contains(name)))
}

fn read(path: &Path, known: &BTreeMap<&str, Arc<Principal>>) -> Result<Vec<Entry>, TokensError> {
    let failed = |source| TokensError::Read { path: path.to_owned(), source };
    let text = open::read_text(path, MAX_FILE).map_err(failed)?;
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o004 != 0 {
        warn!(path = %shown_path(path), "everybody on this machine can read the tokens file; chmod 600 it");
    }
    let file: File = toml::from_str(&text).map_err(|error| TokensError::Toml {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count()),
        reason: shown_message(&without_values(error.message())),
    })?;
    let mut principals = BTreeMap::new();
    let entry = |(i, row): (usize, Row)| {
        let fresh = || known.get(row.name.as_str()).cloned().unwrap_or_else(|| Principal::new(&row.name));
        let principal = principals.entry(row.name.clone()).or_insert_with(fresh).clone();
        row.check(principal).map_err(|reason| TokensError::Entry {
            path: path.to_owned(),
            number: i + 1,
            reason,
        })
    };
    file.token.into_iter().enumerate().map(entry).collect()
}

/// A parser's message without what stands between quotation marks: it may be a secret in the wrong place.
fn without_values(message: &str) -> String {
    let kept = message.split('"').step_by(2);
    without_tokens(kept.collect::<Vec<_>>().join("\"…\"").lines().next().unwrap_or_default())
}

/// A text with no more of each token in it than what all begin with.
fn without_tokens(text: &str) -> String {
    let mut parts = text.split(PREFIX);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |told, part| told + PREFIX + "…" + part.trim_start_matches(char::is_alphanumeric))
}

impl Row {
    /// The entry, or what is wrong and what to do.
    fn check(self, principal: Arc<Principal>) -> Result<Entry, String> {
        if !is_name(&self.name) {
            return Err(TokensError::Name.to_string());
        }
        let key = match (self.sha256, self.certificate) {
            (Some(hash), None) => Key::Hash(from_hex(&hash).ok_or_else(|| {
                "`sha256` is not 64 hexadecimal digits; make an entry with `ko-sentiment token new`"
                    .to_owned()
            })?),
            (None, Some(name)) if !name.is_empty() => Key::Certificate(name),
            _ => return Err("has not exactly one of `sha256` and `certificate`; keep one".to_owned()),
        };
        let above_0 = |name: &str, value: Option<f64>| match value {
            Some(value) if !(value.is_finite() && value > 0.0) => {
                Err(format!("`{name}` is not above 0; leave it out for no limit"))
            }
            value => Ok(value),
        };
        let methods = self.methods.unwrap_or_else(|| METHODS.map(str::to_owned).into());
        if let Some(unknown) = methods.iter().find(|m| !METHODS.contains(&m.as_str())) {
            let unknown: String = unknown.escape_debug().take(MAX_NAME).collect();
            return Err(format!(
                "no method `{}`; write some of {}",
                without_tokens(&unknown),
                METHODS.join(", ")
            ));
        }
        let limits = Limits {
            requests_per_second: above_0("requests_per_second", self.requests_per_second)?,
            concurrent: self.concurrent,
            comments_per_day: self.comments_per_day,
            weight: above_0("weight", self.weight)?,
        };
        let expires = self.expires.map(|value| expiry(&value).ok_or(EXPIRES)).transpose()?;
        // Reflection, too, is for whoever may call everything.
        let methods = (methods.len() < METHODS.len()).then_some(methods);
        Ok(Entry { key, principal, expires, limits, methods })
    }
}

const EXPIRES: &str = "`expires` is no date; write one such as 2027-01-31 or 2027-01-31T12:00:00Z";

/// The end of a validity: a date's first moment, or a time, in UTC unless it says otherwise.
fn expiry(value: &toml::Value) -> Option<SystemTime> {
    let time = match value {
        toml::Value::Datetime(time) => *time,
        toml::Value::String(text) => text.parse::<toml::value::Datetime>().ok()?,
        _ => return None,
    };
    let date = time.date?;
    let mut seconds = unix_days(date.year.into(), date.month.into(), date.day.into()) * 86_400;
    if let Some(time) = time.time {
        seconds += i64::from(time.hour) * 3_600 + i64::from(time.minute) * 60;
        seconds += i64::from(time.second.unwrap_or(0));
    }
    if let Some(toml::value::Offset::Custom { minutes }) = time.offset {
        seconds -= i64::from(minutes) * 60;
    }
    at(seconds)
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || ".-_".contains(c);
    (1..=MAX_NAME).contains(&name.chars().count()) && name.chars().all(fits)
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let bytes: Vec<u8> = digits?.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect();
    bytes.try_into().ok().filter(|_| text.len() == 64)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A new token: the secret, and the entry for the tokens file, which does not tell the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// What the client sends. It is kept nowhere.
    pub token: String,
    /// What goes into the tokens file.
    pub entry: String,
}

/// Makes a token of 256 random bits.
///
/// # Errors
/// [`TokensError::Name`], [`TokensError::Random`].
pub fn new_token(name: &str) -> Result<NewToken, TokensError> {
    if !is_name(name) {
        return Err(TokensError::Name);
    }
    let token = format!("{PREFIX}{}", hex(&tls::random_bytes::<32>()?));
    let hash = hex(&Sha256::digest(&token));
    Ok(NewToken { token, entry: format!("[[token]]\nname = \"{name}\"\nsha256 = \"{hash}\"\n") })
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
