//! What the pinned llama.cpp asserts and throws on its way from a file to a model. When an upgrade changes
//! the list, read each new line, add to `src/gguf/check/` what a file could reach it by, and write the list
//! anew: `KO_SENTIMENT_TEST_WRITE=1 cargo test --release --test it -- hostile::assertions`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::root;

/// What a Gemma's file passes through. `llama-model.cpp` and `llama-vocab.cpp` are every architecture's.
const SOURCES: [&str; 8] = [
    "ggml/src/gguf.cpp",
    "src/llama-model-loader.cpp",
    "src/llama-model.cpp",
    "src/llama-hparams.cpp",
    "src/llama-vocab.cpp",
    "src/llama-mmap.cpp",
    "src/models/gemma2.cpp",
    "src/models/gemma3.cpp",
];

/// The sources that the binary was built from.
fn llama_cpp() -> PathBuf {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| env!("CARGO").to_owned());
    let args = ["metadata", "--offline", "--locked", "--format-version", "1"];
    let output = Command::new(cargo).args(args).current_dir(root()).output().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "llama-cpp-sys-2").unwrap();
    PathBuf::from(package["manifest_path"].as_str().unwrap()).with_file_name("llama.cpp")
}

#[test]
fn the_loaders_assertions_are_the_ones_that_were_read() {
    let folder = llama_cpp();
    let mut found = String::new();
    for source in SOURCES {
        let text = fs::read_to_string(folder.join(source)).unwrap();
        let ends =
            |line: &&str| ["GGML_ASSERT(", "GGML_ABORT(", "throw "].iter().any(|word| line.contains(word));
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("//")).filter(ends);
        lines.for_each(|line| found += &format!("{source}: {line}\n"));
    }
    let list = root().join("tests/fixtures/llama_assertions.txt");
    if std::env::var_os("KO_SENTIMENT_TEST_WRITE").is_some() {
        fs::write(&list, &found).unwrap();
    }
    let known = fs::read_to_string(&list).unwrap();
    let lines = |from: &str, than: &str| -> Vec<String> {
        let than: std::collections::HashSet<&str> = than.lines().collect();
        from.lines().filter(|line| !than.contains(line)).map(str::to_owned).collect()
    };
    let (new, gone) = (lines(&found, &known), lines(&known, &found));
    assert!(found == known, "llama.cpp's assertions changed; new: {new:#?} gone: {gone:#?}");
}
