//! A model in several files: `NAME-00001-of-00003.gguf`, as llama.cpp splits and finds them.

use std::path::{Path, PathBuf};

/// The files of the model that `path` names, in order: the parts of a split GGUF, else `path` itself.
pub fn parts(path: &Path) -> Vec<PathBuf> {
    split_name(path).unwrap_or_else(|| vec![path.to_owned()])
}

/// What the parts of a model are called that is split into `count` files; one file keeps its name.
pub fn names(path: &Path, count: usize) -> Vec<PathBuf> {
    if count == 1 {
        return vec![path.to_owned()];
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".gguf").unwrap_or(&name);
    (1..=count).map(|n| path.with_file_name(format!("{stem}-{n:05}-of-{count:05}.gguf"))).collect()
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
    fn parts_are_named_as_they_are_found() {
        for path in ["a/m.gguf", "a/m", "m.v2.gguf"] {
            let named = names(Path::new(path), 3);
            assert_eq!(parts(&named[0]), named, "{path}");
        }
        assert_eq!(names(Path::new("a/m.gguf"), 2)[1], Path::new("a/m-00002-of-00002.gguf"));
        assert_eq!(names(Path::new("a/m.gguf"), 1), [Path::new("a/m.gguf")]);
    }

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
