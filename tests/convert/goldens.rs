//! Without an adapter: the bytes of llama.cpp's converter and llama-quantize, for every type.

use ko_sentiment::gguf::tensor_type::FileType;
use ko_sentiment::gguf::{Array, Metadata, Value};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::support::{Checkpoint, Converted, Job, fixture_f32s, fixture_json, largest_difference, logits};

/// Converts the checkpoint of a fixture's folder and compares each tensor's type and hash.
fn check_hashes(folder: &str, goldens: &str, file_types: &[FileType]) {
    let checkpoint = Checkpoint::of(folder);
    let base = checkpoint.write();
    let goldens = fixture_json(goldens);
    for file_type in file_types {
        let out = base.join(format!("{file_type}.gguf"));
        Job::new(base, *file_type, &out).run().unwrap();
        check_tensors(&Converted::read(&out), &goldens[file_type.name()], file_type.name());
    }
}

/// Compares each tensor's type and hash.
pub fn check_tensors(converted: &Converted, golden: &Json, what: &str) {
    assert_eq!(golden.as_object().unwrap().len(), converted.header.tensors.len());
    for tensor in &converted.header.tensors {
        let hash = Sha256::digest(converted.data(&tensor.name));
        let hash: String = hash.iter().map(|b| format!("{b:02x}")).collect();
        let expect = &golden[&tensor.name];
        assert_eq!(expect[0], tensor.tensor_type.to_string(), "{what}: {}", tensor.name);
        assert_eq!(expect[1], hash, "{what}: {}", tensor.name);
    }
}

#[test]
fn every_type_has_the_bytes_of_llama_quantize() {
    check_hashes("checkpoint", "hashes.json", &FileType::ALL);
    check_hashes("gemma3", "gemma3/hashes.json", &[FileType::F32, FileType::Q4KM]);
}

/// llama-quantize's own reading of `--tensor-type`.
#[test]
fn overridden_types_have_the_bytes_of_llama_quantize() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let goldens = fixture_json("tensor_types.json");
    for golden in goldens.as_array().unwrap() {
        let overrides: Vec<&str> =
            golden["overrides"].as_array().unwrap().iter().map(|o| o.as_str().unwrap()).collect();
        let out = base.join("out.gguf");
        let job =
            Job { force: true, ..Job::new(base, golden["type"].as_str().unwrap().parse().unwrap(), &out) };
        job.with_types(&overrides).run().unwrap();
        let converted = Converted::read(&out);
        check_tensors(&converted, &golden["tensors"], &format!("{overrides:?}"));
        let provenance =
            converted.header.metadata.require_str("ko_sentiment.provenance.tensor_types").unwrap();
        assert!(provenance.eq_ignore_ascii_case(&overrides.join(" ")), "{provenance}");
    }
}

/// Names that llama.cpp's converter guesses from the folder's name.
const GUESSED: [&str; 3] = ["general.name", "general.basename", "general.version"];

#[test]
fn metadata_is_that_of_llama_cpps_converter() {
    for (folder, golden) in [("checkpoint", "metadata.json"), ("gemma3", "gemma3/metadata.json")] {
        let checkpoint = Checkpoint::of(folder);
        let out = checkpoint.path().join("out.gguf");
        Job::new(checkpoint.write(), FileType::F32, &out).run().unwrap();
        let metadata = Converted::read(&out).header.metadata;
        check_metadata(&metadata, &fixture_json(golden), folder);
    }
}

/// Compares all metadata but our own; the tokenizer's, where the golden has it.
pub fn check_metadata(metadata: &Metadata, golden: &Json, what: &str) {
    let golden = golden.as_object().unwrap();
    for (key, expect) in golden.iter().filter(|(key, _)| !GUESSED.contains(&key.as_str())) {
        let value = metadata.get(key).unwrap_or_else(|| panic!("{what}: {key} is missing"));
        assert_eq!(&typed_json(value), expect, "{what}: {key}");
    }
    // The tokenizer of all is that of the first file, and left out of the goldens of others.
    let has_tokenizer = golden.keys().any(|key| key.starts_with("tokenizer."));
    for (key, _) in metadata.iter().filter(|(key, _)| has_tokenizer || !key.starts_with("tokenizer.")) {
        let known = golden.contains_key(key) || GUESSED.contains(&key);
        assert!(
            known || key.starts_with("ko_sentiment."),
            "{what}: llama.cpp's converter does not write {key}"
        );
    }
}

/// A value as the script writes it: `[[type, element type], value]`.
fn typed_json(value: &Value) -> Json {
    match value {
        Value::U32(v) => serde_json::json!([["UINT32"], v]),
        Value::I32(v) => serde_json::json!([["INT32"], v]),
        Value::F32(v) => serde_json::json!([["FLOAT32"], f64::from(*v)]),
        Value::Bool(v) => serde_json::json!([["BOOL"], v]),
        Value::Str(v) => serde_json::json!([["STRING"], v]),
        Value::Array(array) => typed_array(array),
        other => panic!("{other:?}"),
    }
}

fn typed_array(array: &Array) -> Json {
    let strings: Vec<_> = array.strings().map(|s| std::str::from_utf8(s).unwrap()).collect();
    if !strings.is_empty() {
        return serde_json::json!([["ARRAY", "STRING"], strings]);
    }
    let numbers: Vec<f64> = array.f32s().map(f64::from).collect();
    if !numbers.is_empty() {
        return serde_json::json!([["ARRAY", "FLOAT32"], numbers]);
    }
    serde_json::json!([["ARRAY", "INT32"], array.i32s().collect::<Vec<_>>()])
}

#[test]
fn logits_are_those_of_transformers() {
    let prompt: Vec<i32> = serde_json::from_value(fixture_json("prompt.json")).unwrap();
    for (folder, golden) in [("checkpoint", "logits.bin"), ("gemma3", "gemma3/logits.bin")] {
        let checkpoint = Checkpoint::of(folder);
        let out = checkpoint.path().join("out.gguf");
        Job::new(checkpoint.write(), FileType::F32, &out).run().unwrap();
        let difference = largest_difference(&logits(&out, &prompt), &fixture_f32s(golden));
        assert!(difference < 0.01, "{folder}: logits differ by {difference}");
    }
}

/// From `tokenizer.model`, and from `tokenizer.json` where that is all there is.
#[test]
fn token_ids_are_those_of_transformers() {
    let texts: Vec<(String, Vec<i32>)> = serde_json::from_value(fixture_json("tokens.json")).unwrap();
    for without in [None, Some("tokenizer.model")] {
        let checkpoint = Checkpoint::tiny();
        checkpoint.write();
        if let Some(file) = without {
            std::fs::remove_file(checkpoint.path().join(file)).unwrap();
        }
        let out = checkpoint.path().join("out.gguf");
        Job::new(checkpoint.path(), FileType::Q8_0, &out).run().unwrap();
        let backend = ko_sentiment::llama::backend::backend().unwrap();
        let model = LlamaModel::load_from_file(backend, &out, &LlamaModelParams::default()).unwrap();
        for (text, expect) in &texts {
            let tokens = model.vocab().tokenize(text.as_bytes(), false, true);
            let ids: Vec<i32> = tokens.iter().map(|t| t.0).collect();
            assert_eq!(&ids, expect, "{text:?}, without {without:?}");
        }
    }
}

#[test]
fn newer_tokenizer_configurations_name_no_added_tokens() {
    let checkpoint = Checkpoint::tiny();
    checkpoint.write();
    let mut config = fixture_json("checkpoint/tokenizer_config.json");
    config.as_object_mut().unwrap().remove("added_tokens_decoder");
    checkpoint.write_json("tokenizer_config.json", &config);
    let out = checkpoint.path().join("out.gguf");
    Job::new(checkpoint.path(), FileType::Q8_0, &out).run().unwrap();
    let types = Converted::read(&out).header.metadata;
    let types = types.get("tokenizer.ggml.token_type").unwrap().as_array().unwrap().clone();
    let golden = &fixture_json("metadata.json")["tokenizer.ggml.token_type"][1];
    assert_eq!(serde_json::json!(types.i32s().collect::<Vec<_>>()), *golden);
}
