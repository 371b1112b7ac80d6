//! Importance matrices: how much each column of a weight matters, for quantisers to round by.
//!
//! `llama-imatrix` runs a text through a model and sums the squares of what comes into each weight.
//! Source: `common/imatrix-loader.cpp` and `load_imatrix` in `tools/quantize/quantize.cpp` of
//! llama.cpp.

use super::read::read_all_f32;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::read::ReadError;
use crate::convert::input::error::SourceError;
use crate::convert::input::gguf_base::GgufBase;
use crate::convert::input::tensor::TensorSource;
use crate::gguf::Metadata;
use crate::gguf::Value;
use crate::gguf::tensor_type::TensorType;
use crate::text::shown::{shown, shown_path};

const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";

/// Why an importance matrix can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ImatrixError {
    /// Not a GGUF file that can be read.
    #[error("{0}; older importance matrices: llama-imatrix --in-file OLD --output-format gguf -o NEW")]
    Source(#[from] SourceError),
    /// Its numbers can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A GGUF file of another kind.
    #[error(
        "{path}: not an importance matrix as llama-imatrix writes them (no .in_sum2 with its .counts)",
        path = shown_path(.0)
    )]
    NotImatrix(PathBuf),
    /// Sums without counts, or other types and shapes than a dense model's.
    #[error(
        "{path}: {name}.in_sum2 and .counts must be F32, one row and one number",
        path = shown_path(path),
        name = shown(name)
    )]
    Form {
        /// The file.
        path: PathBuf,
        /// The weight.
        name: String,
    },
    /// NaN, an infinity or less than nothing.
    #[error(
        "{path}: {name} has {value} where a sum of squares must be; make it again",
        path = shown_path(path),
        name = shown(name)
    )]
    Value {
        /// The file.
        path: PathBuf,
        /// The weight.
        name: String,
        /// What is there.
        value: f32,
    },
    /// Made from a model of another shape.
    #[error(
        "{path} has {found} columns for {name}, and the base has {expected}; make it again from this base",
        path = shown_path(path),
        name = shown(name)
    )]
    Columns {
        /// The file.
        path: PathBuf,
        /// The weight.
        name: String,
        /// Columns of the matrix.
        found: u64,
        /// Columns of the base's weight.
        expected: u64,
    },
    /// A file type that is not quantised, where it would do nothing.
    #[error("--imatrix {path} has no effect on this --quant; choose a quantised one", path = shown_path(.0))]
    NotQuantised(PathBuf),
    /// Smoothing needs what the matrix does not have.
    #[error(
        "{path} has no entry for {name}, which --smooth needs; make it again from the whole model",
        path = shown_path(path),
        name = shown(name)
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// The weight.
        name: String,
    },
    /// Smoothing without a matrix.
    #[error("--smooth takes its scales from an importance matrix; add --imatrix")]
    Needed,
    /// It names no weight of the base.
    #[error("{path} names no weight of the base; make it again from this base", path = shown_path(.0))]
    NoTensor(PathBuf),
}

/// An importance matrix.
#[derive(Debug)]
pub struct Imatrix {
    /// The file.
    pub path: PathBuf,
    /// Mean squares of a weight's inputs, one a column, by the weight's GGUF name.
    pub weights: BTreeMap<String, Vec<f32>>,
    /// The text's name.
    dataset: Option<String>,
    n_chunks: u64,
}

impl Imatrix {
    /// Reads a file of `llama-imatrix`, in its GGUF form.
    ///
    /// # Errors
    /// [`ImatrixError`], for all that can be told without a base.
    pub fn open(path: &Path) -> Result<Self, ImatrixError> {
        let file = GgufBase::open(path)?;
        let mut weights = BTreeMap::new();
        for (name, sums) in &file.tensors {
            let Some(name) = name.strip_suffix(SUMS) else { continue };
            let form = || ImatrixError::Form { path: path.to_owned(), name: name.to_owned() };
            let counts = file.tensors.get(&format!("{name}{COUNTS}")).ok_or_else(form)?;
            let is_row = |t: &TensorSource| t.tensor_type == TensorType::F32 && t.rows() == 1;
            if !is_row(sums) || !is_row(counts) || counts.columns() != 1 {
                return Err(form());
            }
            let means = means(read_all_f32(sums)?, read_all_f32(counts)?[0]);
            if let Some(&value) = means.iter().find(|mean| !mean.is_finite() || **mean < 0.0) {
                return Err(ImatrixError::Value { path: path.to_owned(), name: name.to_owned(), value });
            }
            weights.insert(name.to_owned(), means);
        }
        if weights.is_empty() {
            return Err(ImatrixError::NotImatrix(path.to_owned()));
        }
        let metadata = &file.header.metadata;
        let datasets = metadata.get("imatrix.datasets").and_then(Value::as_array);
        let dataset = datasets.and_then(|names| names.strings().next());
        let dataset = dataset.map(|name| String::from_utf8_lossy(name).into_owned());
        let n_chunks = metadata.get("imatrix.chunk_count").and_then(Value::as_u64).unwrap_or(0);
        Ok(Self { path: path.to_owned(), weights, dataset, n_chunks })
    }

    /// The importance of a weight's columns, if the matrix has it. `columns` are the base's.
    ///
    /// # Errors
    /// [`ImatrixError::Columns`].
    pub fn of(&self, name: &str, columns: u64) -> Result<Option<&[f32]>, ImatrixError> {
        let Some(row) = self.weights.get(name) else { return Ok(None) };
        if row.len() as u64 == columns {
            return Ok(Some(row));
        }
        let (path, name) = (self.path.clone(), name.to_owned());
        Err(ImatrixError::Columns { path, name, found: row.len() as u64, expected: columns })
    }

    /// Sets what `llama-quantize` notes in the result; of files their names, without their folders.
    pub fn describe(&self, metadata: &mut Metadata) {
        let file_name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        metadata.set("quantize.imatrix.file", file_name(&self.path));
        if let Some(dataset) = &self.dataset {
            metadata.set("quantize.imatrix.dataset", file_name(Path::new(dataset)));
        }
        metadata.set("quantize.imatrix.entries_count", Value::U32(self.weights.len() as u32));
        if self.n_chunks > 0 {
            metadata.set("quantize.imatrix.chunks_count", Value::U32(self.n_chunks as u32));
        }
    }
}

/// Sums to means. Of what never ran nothing is known, and every column is worth the same.
fn means(mut sums: Vec<f32>, count: f32) -> Vec<f32> {
    sums.iter_mut().for_each(|sum| *sum = if count > 0.0 { *sum / count } else { 1.0 });
    sums
}
