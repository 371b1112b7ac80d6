//! Which weights our products compute with, and which are left to llama.cpp.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use ko_sentiment_kernels::available;

use super::choice::Kernels;
use crate::gguf::check::other_parts;
use crate::gguf::tensor_type::TensorType;
use crate::gguf::{GgufError, Header};
use crate::llama::features::offloads;

/// Tensors by their type.
type Counts = BTreeMap<String, usize>;

/// Which kernels a model's matrices are multiplied by in steps of many tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// Number of tensors by type for our kernels.
    pub ours: Counts,
    /// Number of tensors by type for llama.cpp's.
    pub llama_cpp: Counts,
}

impl Places {
    /// Reads a model's headers.
    ///
    /// # Errors
    /// As [`Header::read`].
    pub fn of(model: &Path, kernels: Kernels) -> Result<Self, GgufError> {
        let mut places = Self::default();
        let others = other_parts(model);
        for path in std::iter::once(model).chain(others.iter().map(AsRef::as_ref)) {
            let header = Header::read(path)?;
            for tensor in header.tensors.iter().filter(|tensor| tensor.shape.len() > 1) {
                let ours = kernels == Kernels::Ours && product_types().contains(&tensor.tensor_type);
                let counts = if ours { &mut places.ours } else { &mut places.llama_cpp };
                *counts.entry(tensor.tensor_type.to_string()).or_default() += 1;
            }
        }
        Ok(places)
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |counts: &Counts| {
            let parts: Vec<_> =
                counts.iter().map(|(name, count)| format!("{name} ({count} tensors)")).collect();
            parts.join(", ")
        };
        match (self.ours.is_empty(), self.llama_cpp.is_empty()) {
            (true, _) => write!(f, "llama.cpp: {}", list(&self.llama_cpp)),
            (false, true) => write!(f, "ours: {}", list(&self.ours)),
            (false, false) => {
                write!(f, "ours: {}; llama.cpp: {}", list(&self.ours), list(&self.llama_cpp))
            }
        }
    }
}

/// Types of weights that our products can compute with here: none where the CPU lacks AVX2 (on ARM, dot products) or a
/// GPU may take part.
pub fn product_types() -> Vec<TensorType> {
    let all = [TensorType::Q4K, TensorType::Q5K, TensorType::Q6K, TensorType::Q8_0];
    if available() && !offloads() { all.into() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_either_are_told_with_their_counts() {
        let counts = |types: &[(&str, usize)]| types.iter().map(|(t, n)| ((*t).to_owned(), *n)).collect();
        let check = |ours: &[_], llama_cpp: &[_], expect: &str| {
            let places = Places { ours: counts(ours), llama_cpp: counts(llama_cpp) };
            assert_eq!(places.to_string(), expect);
        };
        check(&[("Q6_K", 90), ("Q8_0", 37)], &[], "ours: Q6_K (90 tensors), Q8_0 (37 tensors)");
        check(&[], &[("F16", 3)], "llama.cpp: F16 (3 tensors)");
        check(&[("Q4_K", 5)], &[("F16", 3)], "ours: Q4_K (5 tensors); llama.cpp: F16 (3 tensors)");
    }
}
