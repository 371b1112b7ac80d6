//! `--imatrix`: rounded as `llama_model_quantize` rounds with the same importance, or refused.

use std::fs;
use std::path::{Path, PathBuf};

use ko_sentiment::convert::ConvertError;
use ko_sentiment::convert::quantise::imatrix::{Imatrix, ImatrixError};
use ko_sentiment::gguf::tensor_type::{FileType, TensorType};
use ko_sentiment::gguf::{Array, Metadata, Value};
use ko_sentiment::gguf::{Header, TensorInfo};

use super::llama_quantize::{LlamaQuantize, check_same_tensors};
use super::support::{Checkpoint, Converted, Job, narrow};

pub const COUNT: f32 = 512.0;

/// Sums of squares, far apart from column to column, for each weight but the embedding.
pub fn sums_for(model: &Path) -> Vec<(String, Vec<f32>)> {
    let mut state = 7u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from(u16::try_from(state >> 16).unwrap())
    };
    let header = Header::read(model).unwrap();
    let weights = header.tensors.iter().filter(|t| t.shape.len() == 2 && t.name.starts_with("blk."));
    weights
        .map(|t| (t.name.clone(), (0..t.columns()).map(|_| (next() / 16384.0).exp() * COUNT).collect()))
        .collect()
}

/// A file as llama-imatrix writes it.
pub fn write_imatrix(path: &Path, sums: &[(String, Vec<f32>)], count: f32) {
    let mut metadata = Metadata::new();
    metadata.set("general.type", "imatrix");
    metadata.set("imatrix.datasets", Value::Array(Array::from_strings(["/data/comments.txt"])));
    metadata.set("imatrix.chunk_count", Value::U32(3));
    metadata.set("imatrix.chunk_size", Value::U32(512));
    let (mut infos, mut data) = (Vec::new(), Vec::new());
    for (name, row) in sums {
        for (suffix, numbers) in [(".in_sum2", row.as_slice()), (".counts", &[count])] {
            let shape = vec![numbers.len() as u64, 1];
            let name = format!("{name}{suffix}");
            infos.push(TensorInfo { name, shape, tensor_type: TensorType::F32, offset: 0 });
            data.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
            data.resize(data.len().next_multiple_of(32), 0);
        }
    }
    fs::write(path, [Header::new(metadata, infos).encode(), data].concat()).unwrap();
}

fn means(sums: &[(String, Vec<f32>)]) -> Vec<(String, Vec<f32>)> {
    sums.iter().map(|(name, row)| (name.clone(), row.iter().map(|sum| sum / COUNT).collect())).collect()
}

#[test]
fn rounded_as_llama_quantize_does() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let [full, imatrix, ours, theirs, plain] =
        ["full", "imatrix", "ours", "theirs", "plain"].map(|name| base.join(format!("{name}.gguf")));
    Job::new(base, FileType::F32, &full).run().unwrap();
    let sums = sums_for(&full);
    write_imatrix(&imatrix, &sums, COUNT);
    for file_type in FileType::ALL.into_iter().filter(|t| t.default_type().is_quantised()) {
        let job = Job { force: true, imatrix: Some(&imatrix), ..Job::new(base, file_type, &ours) };
        job.run().unwrap();
        LlamaQuantize { imatrix: &means(&sums), ..LlamaQuantize::new(file_type) }.run(&full, &theirs);
        check_same_tensors(&ours, &theirs, &file_type.to_string());
    }
    Job { force: true, imatrix: Some(&imatrix), ..Job::new(base, FileType::Q4KM, &ours) }.run().unwrap();
    Job::new(base, FileType::Q4KM, &plain).run().unwrap();
    let [ours, plain] = [&ours, &plain].map(|path| Converted::read(path));
    assert!(ours.data("blk.0.attn_q.weight") != plain.data("blk.0.attn_q.weight"), "it made a difference");
    assert!(ours.data("token_embd.weight") == plain.data("token_embd.weight"), "it has no such row");
    let metadata = &ours.header.metadata;
    assert_eq!(metadata.require_str("quantize.imatrix.file").unwrap(), "imatrix.gguf");
    assert_eq!(metadata.require_str("quantize.imatrix.dataset").unwrap(), "comments.txt");
    assert_eq!(metadata.require_u64("quantize.imatrix.entries_count").unwrap(), sums.len() as u64);
    assert_eq!(metadata.require_u64("quantize.imatrix.chunks_count").unwrap(), 3);
    assert_eq!(metadata.require_str("ko_sentiment.provenance.imatrix_sha256").unwrap().len(), 64);
}

/// A matrix of the model as it is goes with the padded one: zeros come into the new columns.
#[test]
fn a_padded_model_takes_the_matrix_of_the_plain_one() {
    let checkpoint = narrow("gemma3");
    let base = checkpoint.write();
    let [plain, padded, imatrix, ours, theirs] =
        ["plain", "padded", "imatrix", "ours", "theirs"].map(|name| base.join(format!("{name}.gguf")));
    Job::new(base, FileType::F32, &plain).run().unwrap();
    Job { pad: true, ..Job::new(base, FileType::F32, &padded) }.run().unwrap();
    let sums = sums_for(&plain);
    write_imatrix(&imatrix, &sums, COUNT);
    Job { pad: true, imatrix: Some(&imatrix), ..Job::new(base, FileType::Q4KM, &ours) }.run().unwrap();
    let wide = Header::read(&padded).unwrap();
    let mut rows = means(&sums);
    for (name, row) in &mut rows {
        let columns = wide.tensors.iter().find(|t| t.name == *name).unwrap().columns();
        row.resize(columns as usize, 0.0);
    }
    LlamaQuantize { imatrix: &rows, ..LlamaQuantize::new(FileType::Q4KM) }.run(&padded, &theirs);
    check_same_tensors(&ours, &theirs, "padded");
}

/// What never ran tells nothing: every column is worth the same.
#[test]
fn no_counts_are_no_importance() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("imatrix.gguf");
    write_imatrix(&path, &[("blk.0.attn_q.weight".to_owned(), vec![0.0, 3.0])], 0.0);
    assert_eq!(Imatrix::open(&path).unwrap().weights["blk.0.attn_q.weight"], [1.0, 1.0]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let full = base.join("full.gguf");
    Job::new(base, FileType::F32, &full).run().unwrap();
    let good = sums_for(&full);
    let folder = tempfile::tempdir().unwrap();
    let refused_as = |file_type, imatrix: &Path| {
        let out = folder.path().join("out.gguf");
        let error = Job { imatrix: Some(imatrix), ..Job::new(base, file_type, &out) }.run().unwrap_err();
        assert!(!out.exists());
        match error {
            ConvertError::Imatrix(error) => error,
            other => panic!("{other}"),
        }
    };
    let refused = |imatrix: &Path| refused_as(FileType::Q4KM, imatrix);
    let with = |change: &dyn Fn(&mut Vec<(String, Vec<f32>)>)| -> PathBuf {
        let mut sums = good.clone();
        change(&mut sums);
        let path = folder.path().join("imatrix.gguf");
        write_imatrix(&path, &sums, COUNT);
        path
    };
    let shorter = refused(&with(&|sums| sums[0].1.truncate(32)));
    assert!(matches!(shorter, ImatrixError::Columns { found: 32, .. }), "{shorter}");
    let exact = refused_as(FileType::F16, &with(&|_| {}));
    assert!(matches!(exact, ImatrixError::NotQuantised(_)), "{exact}");
    let nan = refused(&with(&|sums| sums[3].1[5] = f32::NAN));
    assert!(matches!(nan, ImatrixError::Value { .. }), "{nan}");
    let negative = refused(&with(&|sums| sums[3].1[5] = -1.0));
    assert!(matches!(negative, ImatrixError::Value { value, .. } if value < 0.0), "{negative}");
    let other = refused(&with(&|sums| sums.iter_mut().for_each(|(name, _)| *name = format!("v.{name}"))));
    assert!(matches!(other, ImatrixError::NoTensor(_)), "{other}");
    assert!(matches!(refused(&full), ImatrixError::NotImatrix(_)), "a model");
    let old = folder.path().join("imatrix.dat");
    fs::write(&old, [1u8; 4096]).unwrap();
    let old = refused(&old);
    assert!(old.to_string().contains("--output-format gguf"), "{old}");
}
