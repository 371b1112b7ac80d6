//! People's files of comments: each row is read or refused with its place, and none shifts or vanishes.

mod arrow;
mod columnar;
mod commands;
mod json;
mod kept;
mod properties;
mod tables;

use std::path::{Path, PathBuf};

use ko_sentiment::dataset::{self, Comments, Dataset, ReadOptions};

/// A file in a folder of its own.
struct Made {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn made(name: &str, content: &[u8]) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    Made { path, _folder: folder }
}

fn usual() -> ReadOptions {
    ReadOptions::default()
}

fn read(name: &str, content: &[u8], options: &ReadOptions) -> Result<Dataset, String> {
    let file = made(name, content);
    dataset::read(&file.path, options).map_err(|e| without_path(&e.to_string(), &file.path))
}

fn without_path(message: &str, path: &Path) -> String {
    message.replace(&path.display().to_string(), "FILE")
}

/// Each row in the file's order: `comment|label`, with the title before it if there is one, or `!` and the
/// refusal.
fn rows(path: &Path, options: &ReadOptions, labelled: bool) -> Result<Vec<String>, String> {
    let mut comments =
        Comments::open(path, options.clone(), labelled).map_err(|e| without_path(&e.to_string(), path))?;
    let mut rows = Vec::new();
    for row in comments.by_ref() {
        rows.push(match row.map_err(|e| without_path(&e.to_string(), path))? {
            Ok(row) => {
                let title = row.video_title.map(|title| title + "|");
                let label = row.label.map(|label| format!("|{label}"));
                title.unwrap_or_default() + &row.text + &label.unwrap_or_default()
            }
            Err(refused) => format!("!{refused}"),
        });
    }
    assert_eq!(comments.counts().total(), rows.len() as u64);
    Ok(rows)
}

/// Reads a labelled file, whose refusals must begin as expected.
fn check(name: &str, content: impl AsRef<[u8]>, options: &ReadOptions, expect: &[&str]) {
    let found = rows(&made(name, content.as_ref()).path, options, true).unwrap();
    same(name, &found, expect);
}

fn same(name: &str, found: &[String], expect: &[&str]) {
    let fits = |(found, expect): (&String, &&str)| match expect.strip_prefix('!') {
        Some(_) => found.starts_with(*expect),
        None => found == expect,
    };
    let all = found.len() == expect.len() && found.iter().zip(expect).all(fits);
    assert!(all, "{name}: {found:#?} is not {expect:#?}");
}

/// Reads a labelled file, which must be refused as a whole.
fn refused(name: &str, content: impl AsRef<[u8]>, options: &ReadOptions, expect: &str) {
    let error = read(name, content.as_ref(), options).unwrap_err();
    assert!(error.starts_with(expect), "{name}: {error:?} is not {expect:?}");
    assert!(error.chars().count() < 400, "{error}");
}
