//! A result in several files is the same model, for llama.cpp and for us.

use std::fs;
use std::path::PathBuf;

use ko_sentiment::files::hash;
use ko_sentiment::gguf::tensor_type::FileType;
use ko_sentiment::gguf::{Value, check};

use super::support::{Checkpoint, Converted, Job, fixture_json, logits};

const MAX: u64 = 700_000;

fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|name| name.contains("out")).collect();
    names.sort();
    names
}

#[test]
fn parts_hold_the_same_model() {
    let checkpoint = Checkpoint::of("gemma3");
    let base = checkpoint.write();
    let (whole, split) = (base.join("whole.gguf"), base.join("out.gguf"));
    Job::new(base, FileType::Q8_0, &whole).run().unwrap();
    let made = Job { split_max_size: Some(MAX), ..Job::new(base, FileType::Q8_0, &split) }.run().unwrap();

    let n = made.files.len();
    assert!(n > 2, "{n}");
    let expect: Vec<String> = (1..=n).map(|i| format!("out-{i:05}-of-{n:05}.gguf")).collect();
    assert_eq!(names(base), expect, "no other file, and none that is unfinished");
    assert_eq!(made.files, expect.iter().map(|name| base.join(name)).collect::<Vec<PathBuf>>());
    assert_eq!(made.bytes, made.files.iter().map(|f| fs::metadata(f).unwrap().len()).sum::<u64>());
    assert!(made.files.iter().all(|file| fs::metadata(file).unwrap().len() <= MAX));
    assert_eq!(made.sha256, hash::model(&made.files[0]).unwrap());
    check::file(&made.files[0]).unwrap();

    // The tensors in their order, byte by byte, and all of the metadata in the first part.
    let whole_model = Converted::read(&whole);
    let parts: Vec<Converted> = made.files.iter().map(|file| Converted::read(file)).collect();
    let tensors: Vec<_> =
        parts.iter().flat_map(|part| part.header.tensors.iter().map(move |t| (part, t))).collect();
    assert_eq!(tensors.len(), whole_model.header.tensors.len());
    for (expect, (part, found)) in whole_model.header.tensors.iter().zip(&tensors) {
        assert_eq!(expect.name, found.name);
        assert!(whole_model.data(&expect.name) == part.data(&found.name), "{}", expect.name);
    }
    let first = &parts[0].header.metadata;
    for (key, value) in whole_model.header.metadata.iter() {
        assert_eq!(first.get(key), Some(value), "{key}");
    }
    for (number, part) in parts.iter().enumerate() {
        let said = |key: &str| part.header.metadata.get(key).cloned();
        assert_eq!(said("split.no"), Some(Value::U16(number as u16)));
        assert_eq!(said("split.count"), Some(Value::U16(n as u16)));
        assert_eq!(said("split.tensors.count"), Some(Value::I32(tensors.len() as i32)));
    }

    // llama.cpp finds the other parts by itself.
    let prompt: Vec<i32> = serde_json::from_value(fixture_json("prompt.json")).unwrap();
    assert_eq!(logits(&made.files[0], &prompt), logits(&whole, &prompt));
}

#[test]
fn a_split_model_is_a_base() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let (whole, split, again) = (base.join("whole.gguf"), base.join("out.gguf"), base.join("again.gguf"));
    let made = Job { split_max_size: Some(4 * MAX), ..Job::new(base, FileType::F32, &split) }.run().unwrap();
    assert!(made.files.len() > 1);
    Job::new(base, FileType::Q4KM, &whole).run().unwrap();
    Job::new(&made.files[0], FileType::Q4KM, &again).run().unwrap();
    let (whole, again) = (Converted::read(&whole), Converted::read(&again));
    assert_eq!(whole.header.tensors, again.header.tensors);
    for tensor in &whole.header.tensors {
        assert!(whole.data(&tensor.name) == again.data(&tensor.name), "{}", tensor.name);
    }
    assert!(again.header.metadata.iter().all(|(key, _)| !key.starts_with("split.")));
    let said = again.header.metadata.require_str("ko_sentiment.provenance.base_sha256").unwrap();
    assert_eq!(said, made.sha256, "one identity");

    let second = Job::new(&made.files[1], FileType::Q4KM, &split).run().unwrap_err().to_string();
    assert!(second.contains("name the first part"), "{second}");
    fs::remove_file(&made.files[1]).unwrap();
    let missing = Job::new(&made.files[0], FileType::Q4KM, &split).run().unwrap_err().to_string();
    assert!(missing.contains("out-00002-of-"), "{missing}");
}

#[test]
fn what_need_not_be_split_is_not() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let out = base.join("out.gguf");
    let job = Job { split_max_size: Some(1 << 30), ..Job::new(base, FileType::Q8_0, &out) };
    assert_eq!(job.run().unwrap().files, std::slice::from_ref(&out));
    assert!(Converted::read(&out).header.metadata.iter().all(|(key, _)| !key.starts_with("split.")));
}

#[test]
fn a_part_that_is_there_stays() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let out = base.join("out.gguf");
    let job = |force| Job { split_max_size: Some(MAX), force, ..Job::new(base, FileType::Q8_0, &out) };
    let count = job(false).plan().unwrap().parts.len();
    let second = format!("out-00002-of-{count:05}.gguf");
    fs::write(base.join(&second), "somebody's").unwrap();
    let refusal = job(false).run().unwrap_err().to_string();
    assert!(refusal.contains(&second) && refusal.contains("exists"), "{refusal}");
    assert_eq!(names(base), [second], "nothing is left behind");
    assert_eq!(job(true).run().unwrap().files.len(), count);
}
