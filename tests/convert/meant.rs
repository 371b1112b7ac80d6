//! Which of the files in a folder are meant: what is taken, what is left and said, and what is refused.

use std::fs;
use std::path::Path;

use ko_sentiment::convert::ConvertError;
use ko_sentiment::convert::arch::ArchError;
use ko_sentiment::convert::input::error::SourceError;
use ko_sentiment::convert::merge::adapter::AdapterError;
use ko_sentiment::convert::plan::Plan;
use ko_sentiment::convert::tokenizer::error::VocabError;
use ko_sentiment::gguf::tensor_type::FileType;
use serde_json::{Value as Json, json};

use super::support::{AdapterFolder, Checkpoint, Converted, Job, Tensor, fixture, write_safetensors};

fn plan(base: &Path, adapter: Option<&Path>) -> Result<Plan, ConvertError> {
    Job { adapter, ..Job::new(base, FileType::F32, Path::new("out.gguf")) }.plan()
}

fn refusal(base: &Path, adapter: Option<&Path>) -> ConvertError {
    let Err(error) = plan(base, adapter) else { panic!("it was not refused") };
    error
}

/// The plan has a note with these words, and no line is long.
fn check_note(what: &str, plan: &Plan, words: &str) {
    assert!(plan.notes.iter().any(|note| note.contains(words)), "{what}: {:?}", plan.notes);
    assert!(plan.notes.iter().all(|note| note.chars().count() < 390), "{what}: {:?}", plan.notes);
}

/// A head: the embedding, or the embedding with one number changed.
fn head(checkpoint: &mut Checkpoint, is_changed: bool) -> Tensor {
    let mut head = Tensor {
        name: "lm_head.weight".to_owned(),
        ..checkpoint.tensor("model.embed_tokens.weight").clone()
    };
    head.bytes[7] ^= u8::from(is_changed);
    head
}

#[test]
fn a_head_is_the_embedding_or_kept_or_refused() {
    type Expect = fn(Result<Plan, ConvertError>) -> bool;
    let tied: Expect = |plan| plan.is_ok_and(|p| p.tensors.iter().all(|t| t.info.name != "output.weight"));
    let own: Expect = |plan| plan.is_ok_and(|p| p.tensors.iter().any(|t| t.info.name == "output.weight"));
    let refused: Expect = |plan| matches!(plan, Err(ConvertError::UntiedHead));
    let missing: Expect =
        |plan| matches!(plan, Err(ConvertError::MissingTensor(name)) if name == "lm_head.weight");
    let (gemma2, gemma3) = ("checkpoint", "gemma3");
    let (absent, equal, apart) = (None, Some(false), Some(true));
    let cases = [
        (gemma2, Json::Null, absent, tied),
        (gemma2, Json::Null, equal, tied),
        (gemma2, Json::Null, apart, refused),
        (gemma2, json!(true), equal, tied),
        (gemma2, json!(true), apart, refused),
        (gemma2, json!(false), absent, refused),
        (gemma2, json!(false), equal, tied),
        (gemma2, json!(false), apart, refused),
        (gemma3, Json::Null, apart, own),
        (gemma3, json!(true), absent, tied),
        (gemma3, json!(true), equal, tied),
        (gemma3, json!(true), apart, own),
        (gemma3, json!(false), absent, missing),
        (gemma3, json!(false), apart, own),
    ];
    for (folder, ties, is_apart, expect) in cases {
        let mut checkpoint = Checkpoint::of(folder);
        checkpoint.config["tie_word_embeddings"] = ties.clone();
        if let Some(is_apart) = is_apart {
            let head = head(&mut checkpoint, is_apart);
            checkpoint.tensors.push(head);
        }
        let plan = plan(checkpoint.write(), None);
        assert!(expect(plan), "{folder}, tied {ties}, apart {is_apart:?}");
    }
}

/// The head's own numbers are in the result, and stay there when that is the base.
#[test]
fn a_head_apart_is_kept_on_every_road() {
    let mut checkpoint = Checkpoint::of("gemma3");
    let head = head(&mut checkpoint, true);
    checkpoint.tensors.push(head);
    let base = checkpoint.write();
    let [first, second] = ["first.gguf", "second.gguf"].map(|name| base.join(name));
    check_note("apart", &plan(base, None).unwrap(), "lm_head.weight differs from the embedding");
    Job::new(base, FileType::F32, &first).run().unwrap();
    Job::new(&first, FileType::F32, &second).run().unwrap();
    let [first, second] = [&first, &second].map(|path| Converted::read(path));
    assert_ne!(first.data("output.weight"), first.data("token_embd.weight"));
    assert_eq!(first.data("output.weight"), second.data("output.weight"));
}

#[test]
fn a_single_file_beside_an_index() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    write_safetensors(&base.join("model.safetensors"), &checkpoint.tensors);
    let both = refusal(base, None);
    assert!(matches!(both, ConvertError::Source(SourceError::TwoModels { shards: 3, .. })), "{both:?}");
    for file in ["model.safetensors", "model.safetensors.index.json", "move away"] {
        assert!(both.to_string().contains(file), "{both}");
    }
    fs::remove_file(base.join("model-00002-of-00003.safetensors")).unwrap();
    let single = plan(base, None).unwrap();
    check_note("shards are missing", &single, "model-00002-of-00003.safetensors");
    assert!(single.tensors.iter().all(|t| t.source.path.ends_with("model.safetensors")));
    // An index may name the single file itself.
    let map: serde_json::Map<String, Json> =
        checkpoint.tensors.iter().map(|t| (t.name.clone(), json!("model.safetensors"))).collect();
    checkpoint.write_json("model.safetensors.index.json", &json!({"weight_map": map}));
    assert!(plan(base, None).is_ok());
}

#[test]
fn a_quantised_checkpoint_is_refused_before_its_weights() {
    let mut checkpoint = Checkpoint::tiny();
    checkpoint.config["quantization_config"] = json!({"quant_method": "gptq", "bits": 4});
    let base = &checkpoint.write().to_owned();
    // Not even the headers are read.
    for shard in 1..=3 {
        fs::remove_file(base.join(format!("model-0000{shard}-of-00003.safetensors"))).unwrap();
    }
    let is_quantised = |method: &str| matches!(plan(base, None), Err(ConvertError::Arch(ArchError::Quantised(found))) if found.starts_with(method));
    assert!(is_quantised("gptq"));
    checkpoint.config.as_object_mut().unwrap().remove("quantization_config");
    checkpoint.write_json("config.json", &checkpoint.config);
    assert!(!is_quantised("gptq"));
    checkpoint.write_json("quantize_config.json", &json!({"bits": 4}));
    assert!(is_quantised("gptq"));
}

#[test]
fn what_lies_beside_is_named() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let adapter = AdapterFolder::of("lora");
    let lora = adapter.write();
    check_note("two tokenizers", &plan(base, None).unwrap(), "tokenizer.model");

    fs::write(base.join("pytorch_model.bin"), "pickled").unwrap();
    check_note("pickled weights", &plan(base, None).unwrap(), "pytorch_model.bin is left");
    fs::write(base.join("consolidated.safetensors"), "another copy").unwrap();
    check_note(
        "two copies",
        &plan(base, None).unwrap(),
        "other safetensors are left: consolidated.safetensors",
    );
    fs::write(lora.join("adapter_model.bin"), "pickled").unwrap();
    check_note("a pickled adapter", &plan(base, Some(lora)).unwrap(), "adapter_model.bin is left");

    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::copy(lora.join(file), base.join(file)).unwrap();
    }
    let both = plan(base, None).unwrap();
    check_note("model and adapter as the base", &both, "is not merged");
    assert_eq!(both.changed(), 0);
    let both = plan(base, Some(base)).unwrap();
    assert!(both.changed() > 0);
    fs::write(lora.join("model.safetensors"), "weights").unwrap();
    check_note(
        "model and adapter as the adapter",
        &plan(base, Some(lora)).unwrap(),
        "model.safetensors beside",
    );
}

#[test]
fn folders_that_are_given_for_another_kind() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let adapter = AdapterFolder::of("lora");
    let lora = adapter.write();
    let as_base = refusal(lora, None);
    assert!(matches!(as_base, ConvertError::Source(SourceError::AdapterAsBase(_))), "{as_base:?}");
    assert!(as_base.to_string().contains("--adapter"));
    let refused = |folder: &Path| refusal(base, Some(folder)).to_string();
    assert!(refused(base).contains("--base"), "{}", refused(base));
    let above = tempfile::tempdir().unwrap();
    fs::create_dir(above.path().join("sentiment")).unwrap();
    fs::copy(lora.join("adapter_config.json"), above.path().join("sentiment/adapter_config.json")).unwrap();
    assert!(refused(above.path()).contains("in the folder sentiment"), "{}", refused(above.path()));
}

#[test]
fn two_vocabularies_are_refused() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let mut tokenizer: Json =
        serde_json::from_slice(&fs::read(fixture("checkpoint/tokenizer.json")).unwrap()).unwrap();
    let vocab = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    // Two pieces change places.
    let is_ordinary = |(_, id): &(&String, &Json)| id.as_u64().is_some_and(|id| id > 400);
    let ordinary: Vec<String> = vocab.iter().filter(is_ordinary).map(|(k, _)| k.clone()).take(2).collect();
    let [a, b] = [vocab[&ordinary[0]].clone(), vocab[&ordinary[1]].clone()];
    (vocab[&ordinary[0]], vocab[&ordinary[1]]) = (b, a);
    checkpoint.write_json("tokenizer.json", &tokenizer);
    let refused = refusal(base, None);
    assert!(matches!(refused, ConvertError::Vocab(VocabError::TwoVocabularies { n: 2, .. })), "{refused:?}");
    fs::remove_file(base.join("tokenizer.model")).unwrap();
    assert!(plan(base, None).is_ok());
}

/// What would end a server at the first comment that needs it.
#[test]
fn vocabularies_that_llama_cpp_would_die_of() {
    let check = |change: fn(&mut serde_json::Map<String, Json>), expect: fn(&VocabError) -> bool| {
        let checkpoint = Checkpoint::tiny();
        let base = checkpoint.write();
        fs::remove_file(base.join("tokenizer.model")).unwrap();
        let mut tokenizer: Json =
            serde_json::from_slice(&fs::read(fixture("checkpoint/tokenizer.json")).unwrap()).unwrap();
        change(tokenizer["model"]["vocab"].as_object_mut().unwrap());
        checkpoint.write_json("tokenizer.json", &tokenizer);
        let refused = refusal(base, None);
        assert!(matches!(&refused, ConvertError::Vocab(error) if expect(error)), "{refused:?}");
    };
    check(
        |vocab| {
            let id = vocab.remove("<0xF0>").unwrap();
            vocab.insert("not a byte".to_owned(), id);
        },
        |e| matches!(e, VocabError::MissingByte(0xf0)),
    );
    check(
        |vocab| {
            let id = vocab.remove("<0xF0>").unwrap();
            vocab.insert("<start_of_turn>".to_owned(), id);
        },
        |e| matches!(e, VocabError::DuplicateToken { text, .. } if text == "<start_of_turn>"),
    );
}

#[test]
fn buffers_without_weights_are_skipped_by_name() {
    let mut checkpoint = Checkpoint::tiny();
    for layer in 0..8 {
        let name = format!("model.layers.{layer}.self_attn.rotary_emb.inv_freq");
        checkpoint.tensors.push(Tensor::f32(&name, &[32], &[1.0; 32]));
    }
    let skipped = plan(checkpoint.write(), None).unwrap();
    check_note("rotary", &skipped, "model.layers.0.self_attn.rotary_emb.inv_freq");
    assert_eq!(skipped.tensors.len(), plan(Checkpoint::tiny().write(), None).unwrap().tensors.len());
}

#[test]
fn numbers_that_the_files_do_not_bear_out() {
    let mut checkpoint = Checkpoint::tiny();
    checkpoint.config["num_hidden_layers"] = json!(2_147_483_647);
    checkpoint.config["layer_types"] = Json::Null;
    let endless = refusal(checkpoint.write(), None);
    assert!(matches!(endless, ConvertError::MissingTensor(name) if name.starts_with("blk.8.")));
    for key in ["hidden_size", "intermediate_size", "num_attention_heads"] {
        let mut checkpoint = Checkpoint::tiny();
        checkpoint.config[key] = json!(512);
        assert!(matches!(plan(checkpoint.write(), None), Err(ConvertError::Shape { .. })), "{key}");
    }
}

#[test]
fn long_lists_name_ten_and_count_the_rest() {
    let checkpoint = Checkpoint::tiny();
    let mut adapter = AdapterFolder::of("lora");
    for i in 0..200 {
        let name = format!("base_model.model.model.layers.0.self_attn.x{i}\u{1b}[2J.lora_A.weight");
        adapter.tensors.push(Tensor::f32(&name, &[1, 4], &[0.0; 4]));
    }
    let refused = refusal(checkpoint.write(), Some(adapter.write()));
    assert!(
        matches!(&refused, ConvertError::Adapter(AdapterError::UnusedTensors(names)) if names.len() == 200)
    );
    let message = refused.to_string();
    assert!(message.contains("200 tensors") && message.contains(" more"), "{message}");
    assert!(message.chars().count() < 400 && !message.contains('\u{1b}'), "{message}");
}
