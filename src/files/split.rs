//! A model in several files: `NAME-00001-of-00003.gguf`, as llama.cpp splits and finds them.

use std::path::{Path, PathBuf};

/// The files of the model that `path` names, in order: the parts of a split GGUF, else `path` itself.
pub fn parts(path: &Path) -> Vec<PathBuf> {
    split_name(path).unwrap_or_else(|| vec![path.to_owned()])
}

fn split_name(path: &Path) -> Option<Vec<PathBuf>> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (name, number) = rest.rsplit_once('-')?;
    let five_digits = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    if !five_digits(number) || !five_digits(count) {
        return None;
    }
    let part = |n: u32| path.with_file_name(format!("{name}-{n:05}-of-{count}.gguf"));
    let count: u32 = count.parse().ok().filter(|n| *n > 0)?;
    Some((1..=count).map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_by_the_name() {
        let check = |name: &str, expect: &[&str]| {
            let expect: Vec<PathBuf> = expect.iter().map(PathBuf::from).collect();
            assert_eq!(parts(Path::new(name)), expect, "{name}");
        };
        let two = ["a/m-00001-of-00002.gguf", "a/m-00002-of-00002.gguf"];
        check("a/m-00001-of-00002.gguf", &two);
        check("a/m-00002-of-00002.gguf", &two);
        check("m-00001-of-00001.gguf", &["m-00001-of-00001.gguf"]);
        for whole in ["a/m.gguf", "m-1-of-2.gguf", "m-00001-of-00000.gguf", "m-00001-of-00002.bin", ".."] {
            check(whole, &[whole]);
        }
    }
}
