//! `docs/security.md` stays true: files with `unsafe`, and flags.

use std::collections::BTreeSet;

use crate::support::{root, source_files};

fn document() -> String {
    std::fs::read_to_string(root().join("docs/security.md")).unwrap()
}

/// Whether a line of code, without its comment, has the word; `unsafe-inline` is another.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let mut words = code.split(|c: char| !c.is_alphanumeric() && !"_-".contains(c));
    words.any(|word| word == "unsafe")
}

#[test]
fn every_file_with_unsafe_code_has_its_argument() {
    let path = |path: &std::path::Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let has_unsafe =
        |path: &std::path::PathBuf| std::fs::read_to_string(path).unwrap().lines().any(is_unsafe);
    let found: BTreeSet<String> =
        source_files().into_iter().filter(has_unsafe).map(|file| path(&file)).collect();
    let document = document();
    let table = document.split("## `unsafe`").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let listed: BTreeSet<String> = rows.map(|(file, _)| file.to_owned()).collect();
    assert_eq!(found, listed, "code on the left, docs/security.md on the right");
}

#[test]
fn every_flag_that_is_named_is_there() {
    let files = source_files().into_iter().filter(|file| file.starts_with(root().join("src/cli")));
    let code: String = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let document = document();
    let flags: BTreeSet<&str> = document
        .match_indices("`--")
        .map(|(at, _)| {
            document[at + 3..].split(|c: char| !c.is_ascii_lowercase() && c != '-').next().unwrap()
        })
        .collect();
    assert!(flags.len() > 10, "{flags:?}");
    for flag in flags {
        let field = flag.replace('-', "_");
        assert!(code.contains(&format!("    {field}: ")), "no command has --{flag}");
    }
}
