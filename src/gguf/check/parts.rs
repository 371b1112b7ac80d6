//! The other parts of a split model, which llama.cpp opens by itself.
//!
//! Source: the constructor of `llama_model_loader` in `llama-model-loader.cpp`, `llama_split_path` in
//! `llama.cpp`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::error::CheckError;
use crate::files::split;
use crate::gguf::{GgufError, Header, Value};

/// Parts of a model: more than any has.
const MAX_PARTS: u16 = 1024;

/// The paths and headers of all parts but the first, which is at `path`. None where the model is not split.
///
/// # Errors
/// [`CheckError::NotFirstPart`], [`CheckError::Part`], [`CheckError::Setting`].
pub fn others(path: &Path, first: &Header) -> Result<Vec<(PathBuf, Header)>, CheckError> {
    let count = match first.metadata.get("split.count") {
        None | Some(Value::U16(0 | 1)) => return Ok(Vec::new()),
        Some(Value::U16(n)) if *n <= MAX_PARTS => *n,
        value => {
            return Err(CheckError::setting("split.count", value, format!("a U16 up to {MAX_PARTS}")));
        }
    };
    if first.metadata.get("split.no") != Some(&Value::U16(0)) {
        return Err(CheckError::NotFirstPart(count.into()));
    }
    let mut names: HashSet<String> = first.tensors.iter().map(|t| t.name.clone()).collect();
    let mut parts = Vec::new();
    let paths = split::parts(path);
    if paths.len() != usize::from(count) || paths.first().is_none_or(|first| first != path) {
        return Err(CheckError::NotFirstPart(count.into()));
    }
    for (number, path) in (1..).zip(paths.into_iter().skip(1)) {
        let part = part(&path, number, &mut names)
            .map_err(|source| CheckError::Part { path: path.clone(), source: Box::new(source) })?;
        parts.push((path, part));
    }
    let total = first.metadata.get("split.tensors.count");
    if !matches!(total, Some(Value::I32(n)) if usize::try_from(*n) == Ok(names.len())) {
        let expected = format!("the I32 {}, the number of tensors in all parts", names.len());
        return Err(CheckError::setting("split.tensors.count", total, expected));
    }
    Ok(parts)
}

fn part(path: &Path, number: u16, names: &mut HashSet<String>) -> Result<Header, CheckError> {
    let part = Header::read(path)?;
    let found = part.metadata.get("split.no");
    if found != Some(&Value::U16(number)) {
        return Err(CheckError::setting("split.no", found, format!("the U16 {number}")));
    }
    super::settings::alignment(&part)?;
    match part.tensors.iter().find(|t| !names.insert(t.name.clone())) {
        None => Ok(part),
        Some(twice) => Err(GgufError::DuplicateTensor(twice.name.clone()).into()),
    }
}

/// Where the other parts of a model lie, by the first one's name; none if it isn't one of a first part.
pub fn other_parts(first: &Path) -> Vec<PathBuf> {
    let mut parts = split::parts(first);
    if parts.len() > usize::from(MAX_PARTS) || parts.first().is_none_or(|part| part != first) {
        return Vec::new();
    }
    parts.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_name() {
        let check = |name: &str, expect: &[&str]| {
            let found: Vec<PathBuf> = expect.iter().map(PathBuf::from).collect();
            assert_eq!(other_parts(Path::new(name)), found, "{name}");
        };
        check("m/a-00001-of-00003.gguf", &["m/a-00002-of-00003.gguf", "m/a-00003-of-00003.gguf"]);
        check("m/a-00002-of-00003.gguf", &[]);
        check("a-00001-of-99999.gguf", &[]);
        check("a-00001-of-3.gguf", &[]);
        check("a.gguf", &[]);
    }
}
