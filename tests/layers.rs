//! The edges between the modules, as `src/lib.rs` draws them.

use std::path::{Path, PathBuf};

use crate::support::root;

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

/// Lines of a file's code (not of its tests) that contain any of `words`.
fn offending(path: &Path, words: &[&str]) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap();
    let line = |(i, line): (usize, &str)| {
        let comment = line.trim_start().starts_with("//");
        let found = !comment && words.iter().any(|word| line.contains(word));
        found.then(|| format!("{}:{}: {}", path.display(), i + 1, line.trim()))
    };
    code.lines().enumerate().filter_map(line).collect()
}

#[test]
fn modules_use_only_what_lies_beneath() {
    let all: Vec<(String, PathBuf)> = sources(&root().join("src"))
        .into_iter()
        .map(|path| (path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    let check = |within: &[&str], except: &[&str], forbidden: &[&str]| {
        let mut seen = 0;
        for (name, path) in &all {
            let inside =
                within.iter().any(|w| name.starts_with(w)) && !except.iter().any(|e| name.starts_with(e));
            if inside {
                seen += 1;
                let found = offending(path, forbidden);
                assert!(found.is_empty(), "{found:#?}");
            }
        }
        assert!(seen > 0, "no file in {within:?}");
    };
    let pure = ["labels.rs", "profile.rs", "prompt.rs", "score.rs", "utf8.rs", "vocabulary.rs", "input.rs"];
    check(&pure, &[], &["tokio", "tonic", "llama_cpp", "crate::engine::", "crate::grpc"]);
    let engine_above =
        ["crate::prompt", "crate::labels", "crate::profile", "crate::grpc", "crate::classify", "tonic"];
    check(&["engine/"], &[], &engine_above);
    check(&["convert/"], &[], &["crate::engine", "crate::grpc", "crate::classify", "tokio", "tonic"]);
    check(&["answer_cache.rs"], &[], &["crate::classify", "crate::grpc", "tonic", "crate::cli"]);
    check(&["classify.rs", "load.rs"], &[], &["crate::grpc", "tonic", "crate::cli"]);
    // llama.cpp, the wire, and the terminal have one place each.
    let llama =
        ["engine/llama/", "convert/quant.rs", "convert/verify.rs", "llama_backend.rs", "telemetry.rs"];
    check(&[""], &llama, &["llama_cpp_2", "llama_cpp_sys_2"]);
    check(&[""], &["grpc/"], &["tonic", "pb::"]);
    check(&[""], &["cli/", "main.rs"], &["println!", "eprintln!", "print!("]);
}
