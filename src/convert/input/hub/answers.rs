//! What the hub says of a repository and of a file.

use std::collections::BTreeSet;

use serde::Deserialize;
use ureq::http::HeaderMap;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG};

use super::client::{Answer, LINKED_ETAG, LINKED_SIZE};
use super::names::{CommitHash, Etag, FileName};
use crate::text::shown::shown;

/// A repository at one commit.
#[derive(Debug)]
pub struct ModelInfo {
    /// The commit.
    pub commit: CommitHash,
    /// The files at its top whose names we could use.
    pub files: BTreeSet<FileName>,
}

impl ModelInfo {
    /// Reads the hub's JSON.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Info {
            sha: String,
            #[serde(default)]
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let info: Info = serde_json::from_slice(text)
            .map_err(|e| format!("the list of files is not the JSON of a hub: {}", shown(&e.to_string())))?;
        let commit = CommitHash::parse(&info.sha)
            .ok_or_else(|| format!("the commit \"{}\" is not 40 hexadecimal digits", shown(&info.sha)))?;
        let files = info.siblings.iter().filter_map(|file| FileName::parse(&file.rfilename)).collect();
        Ok(Self { commit, files })
    }
}

/// A file at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// The name of its bytes.
    pub etag: Etag,
    /// Size in bytes.
    pub size: u64,
}

impl FileInfo {
    /// Reads the headers of an answer to a request for the file's first byte.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(answer: &Answer, commit: &CommitHash) -> Result<Self, String> {
        let (own, last) = (&answer.hub, &answer.headers);
        if let Some(other) = text(own, "x-repo-commit")
            && other != commit.as_str()
        {
            return Err(format!("the hub sends it from the commit \"{}\" instead of {commit}", shown(other)));
        }
        let etag = [(own, LINKED_ETAG), (own, ETAG.as_str()), (last, ETAG.as_str())];
        let etag = etag.into_iter().find_map(|(headers, name)| text(headers, name));
        let etag = etag.ok_or("the hub doesn't say which bytes it has (no ETag)")?;
        let etag = Etag::parse(etag)
            .ok_or_else(|| format!("the ETag \"{}\" can't be a file's name", shown(etag)))?;
        let linked = text(own, LINKED_SIZE).map(|size| size.parse().ok());
        let size = linked.unwrap_or_else(|| size(answer)).ok_or("the hub doesn't say how large it is")?;
        Ok(Self { etag, size })
    }
}

/// The size of the whole file, by the last response's headers.
fn size(answer: &Answer) -> Option<u64> {
    match answer.status {
        206 | 416 => text(&answer.headers, CONTENT_RANGE.as_str())?.rsplit('/').next()?.parse().ok(),
        200 => text(&answer.headers, CONTENT_LENGTH.as_str())?.parse().ok(),
        _ => None,
    }
}

/// First byte, last byte and size of the whole file that a 206 response says it has.
pub fn content_range(headers: &HeaderMap) -> Option<(u64, u64, u64)> {
    let range = text(headers, CONTENT_RANGE.as_str())?.strip_prefix("bytes ")?;
    let (range, size) = range.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?, size.trim().parse().ok()?))
}

/// A header's text.
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn what_a_hub_may_say_of_a_repository() {
        let check = |json: String, expect: Result<Vec<&str>, &str>| {
            let info = ModelInfo::parse(json.as_bytes());
            match (&info, expect) {
                (Ok(info), Ok(files)) => {
                    assert_eq!(info.files.iter().map(FileName::as_str).collect::<Vec<_>>(), files)
                }
                (Err(error), Err(part)) => assert!(error.contains(part) && error.len() < 300, "{error}"),
                (info, expect) => panic!("{info:?} instead of {expect:?}"),
            }
        };
        let with = |siblings: &str| format!(r#"{{"sha": "{COMMIT}", "siblings": {siblings}}}"#);
        check(with(r#"[{"rfilename": "config.json", "x": [1]}]"#), Ok(vec!["config.json"]));
        check(with(r#"[{"rfilename": "../x"}, {"rfilename": "a/b"}, {"rfilename": "/x"}]"#), Ok(vec![]));
        check(format!(r#"{{"sha": "{COMMIT}"}}"#), Ok(vec![]));
        check(r#"{"sha": "../../../x", "siblings": []}"#.to_owned(), Err("40 hexadecimal digits"));
        check(r#"{"sha": "\u001b[2J"}"#.to_owned(), Err("\\u{1b}[2J"));
        check("{}".to_owned(), Err("not the JSON of a hub"));
        check("[".repeat(100_000), Err("not the JSON of a hub"));
        check(with(&"[".repeat(100_000)), Err("not the JSON of a hub"));
        check("<html>".to_owned(), Err("not the JSON of a hub"));
    }

    #[test]
    fn ranges() {
        for (value, expect) in [
            ("bytes 5-9/10", Some((5, 9, 10))),
            ("bytes 0-0/1", Some((0, 0, 1))),
            ("bytes 5-9/*", None),
            ("bytes -9/10", None),
            ("items 5-9/10", None),
            ("bytes 99999999999999999999-1/2", None),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_RANGE, value.parse().unwrap())]);
            assert_eq!(content_range(&headers), expect, "{value}");
        }
    }
}
