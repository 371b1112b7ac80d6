//! What isn't understood, doesn't fit or is damaged is refused by name, and leaves no file.

use std::fs;
use std::path::Path;

use ko_sentiment::convert::ConvertError;
use ko_sentiment::convert::arch::ArchError;
use ko_sentiment::convert::error::WriteError;
use ko_sentiment::convert::finish::verify::VerifyError;
use ko_sentiment::convert::input::error::SourceError;
use ko_sentiment::convert::merge::adapter::AdapterError;
use ko_sentiment::convert::tokenizer::error::VocabError;
use ko_sentiment::gguf::tensor_type::FileType;
use safetensors::Dtype;
use serde_json::json;

use super::support::{AdapterFolder, Checkpoint, Job, Tensor, fixture_json};

type Expect = fn(&ConvertError) -> bool;

/// Converts, expects the error, and that nothing was left behind.
fn check(what: &str, base: &Path, adapter: Option<&Path>, expect: Expect) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.gguf");
    let job = Job { adapter, ..Job::new(base, FileType::Q4KM, &out) };
    let error = job.run().err().unwrap_or_else(|| panic!("{what} was not refused"));
    assert!(expect(&error), "{what}: {error:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{what} left something behind");
}

fn nan_at(tensor: &mut Tensor, index: usize, bits: u16) {
    assert_eq!(tensor.dtype, Dtype::BF16);
    tensor.bytes[2 * index..2 * index + 2].copy_from_slice(&bits.to_le_bytes());
}

#[test]
fn damaged_checkpoints() {
    type Damage = fn(&mut Checkpoint);
    let q_proj = "model.layers.3.self_attn.q_proj.weight";
    assert!(Checkpoint::tiny().tensors.iter().any(|t| t.name == q_proj));
    let cases: [(&str, Damage, Expect); 14] = [
        (
            "NaN",
            |c| nan_at(c.tensor("model.layers.3.self_attn.q_proj.weight"), 300, 0x7fc0),
            |e| {
                matches!(e, ConvertError::Write(WriteError::NotFinite { name, row: 1, merged: false, .. })
                    if name == "blk.3.attn_q.weight")
            },
        ),
        (
            "infinity in a norm",
            |c| nan_at(c.tensor("model.norm.weight"), 5, 0x7f80),
            |e| matches!(e, ConvertError::Write(WriteError::NotFinite { name, .. }) if name == "output_norm.weight"),
        ),
        (
            "a missing tensor",
            |c| c.tensors.retain(|t| t.name != "model.layers.3.self_attn.q_proj.weight"),
            |e| matches!(e, ConvertError::MissingTensor(name) if name == "blk.3.attn_q.weight"),
        ),
        (
            "a tensor too many",
            |c| c.tensors.push(Tensor::f32("model.layers.0.self_attn.q_proj.bias", &[4], &[0.0; 4])),
            |e| matches!(e, ConvertError::UnknownTensor(name) if name.ends_with("q_proj.bias")),
        ),
        (
            "a layer too many",
            |c| c.config["num_hidden_layers"] = json!(7),
            |e| matches!(e, ConvertError::UnknownTensor(name) if name.starts_with("blk.7.")),
        ),
        (
            "another architecture",
            |c| c.config["architectures"] = json!(["LlamaForCausalLM"]),
            |e| matches!(e, ConvertError::Arch(ArchError::Unsupported(name)) if name == "LlamaForCausalLM"),
        ),
        (
            "no architecture",
            |c| c.config["architectures"] = json!(null),
            |e| matches!(e, ConvertError::Arch(ArchError::Missing)),
        ),
        (
            "a quantised checkpoint",
            |c| c.config["quantization_config"] = json!({"quant_method": "bitsandbytes"}),
            |e| matches!(e, ConvertError::Arch(ArchError::Quantised(how)) if how == "bitsandbytes"),
        ),
        (
            "softcapping off",
            |c| c.config["attn_logit_softcapping"] = json!(null),
            |e| matches!(e, ConvertError::Arch(ArchError::Setting { key: "attn_logit_softcapping", .. })),
        ),
        (
            "another attention scale",
            |c| c.config["query_pre_attn_scalar"] = json!(144),
            |e| matches!(e, ConvertError::Arch(ArchError::Mismatch { key: "query_pre_attn_scalar", .. })),
        ),
        (
            "other layer types",
            |c| c.config["layer_types"] = json!(vec!["full_attention"; 8]),
            |e| matches!(e, ConvertError::Arch(ArchError::Mismatch { key: "layer_types", .. })),
        ),
        (
            "an untied head",
            |c| c.config["tie_word_embeddings"] = json!(false),
            |e| matches!(e, ConvertError::UntiedHead),
        ),
        (
            "a vocabulary that does not fit",
            |c| c.config["vocab_size"] = json!(800),
            |e| matches!(e, ConvertError::Vocab(VocabError::Size { rows: 768, vocab_size: 800 })),
        ),
        (
            "a special token out of range",
            |c| c.config["sep_token_id"] = json!(768),
            |e| matches!(e, ConvertError::Vocab(VocabError::SpecialToken { id: 768, .. })),
        ),
    ];
    for (what, damage, expect) in cases {
        let mut checkpoint = Checkpoint::tiny();
        damage(&mut checkpoint);
        check(what, checkpoint.write(), None, expect);
    }
}

#[test]
fn damaged_folders() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage, Expect); 11] = [
        (
            "a missing shard",
            |p| fs::remove_file(p.join("model-00002-of-00003.safetensors")).unwrap(),
            |e| {
                matches!(e, ConvertError::Source(SourceError::MissingShard { shard, .. })
                    if shard == "model-00002-of-00003.safetensors")
            },
        ),
        (
            "a truncated shard",
            |p| {
                let path = p.join("model-00002-of-00003.safetensors");
                let bytes = fs::read(&path).unwrap();
                fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            },
            |e| matches!(e, ConvertError::Source(SourceError::Safetensors(_))),
        ),
        (
            "swapped shards",
            |p| {
                fs::copy(
                    p.join("model-00001-of-00003.safetensors"),
                    p.join("model-00002-of-00003.safetensors"),
                )
                .unwrap();
            },
            |e| matches!(e, ConvertError::Source(SourceError::DuplicateTensor { .. })),
        ),
        (
            "an index with a tensor too many",
            |p| edit_index(p, |map| map["phantom"] = json!("model-00001-of-00003.safetensors")),
            |e| matches!(e, ConvertError::Source(SourceError::MissingTensor { name, .. }) if name == "phantom"),
        ),
        (
            "an index without a tensor",
            |p| {
                edit_index(p, |map| {
                    map.as_object_mut().unwrap().remove("model.norm.weight");
                })
            },
            |e| {
                matches!(e, ConvertError::Source(SourceError::ExtraTensor { name, .. })
                    if name == "model.norm.weight")
            },
        ),
        (
            "an index that leads out of the folder",
            |p| edit_index(p, |map| map["model.norm.weight"] = json!("../model.safetensors")),
            |e| matches!(e, ConvertError::Source(SourceError::ShardName { .. })),
        ),
        (
            "an index without a map",
            |p| fs::write(p.join("model.safetensors.index.json"), "{}").unwrap(),
            |e| matches!(e, ConvertError::Source(SourceError::Json { .. })),
        ),
        (
            "no weights",
            |p| fs::remove_file(p.join("model.safetensors.index.json")).unwrap(),
            |e| matches!(e, ConvertError::Source(SourceError::NoWeights { hint: "", .. })),
        ),
        (
            "only pickled weights",
            |p| {
                fs::rename(p.join("model.safetensors.index.json"), p.join("pytorch_model.bin.index.json"))
                    .unwrap();
            },
            |e| matches!(e, ConvertError::Source(SourceError::NoWeights { hint, .. }) if !hint.is_empty()),
        ),
        (
            "no tokenizer",
            |p| {
                fs::remove_file(p.join("tokenizer.model")).unwrap();
                fs::remove_file(p.join("tokenizer.json")).unwrap();
            },
            |e| matches!(e, ConvertError::Vocab(VocabError::Missing(_))),
        ),
        (
            "a broken tokenizer.model",
            |p| fs::write(p.join("tokenizer.model"), b"\x0a\xff\xff\xff").unwrap(),
            |e| matches!(e, ConvertError::Vocab(VocabError::SentencePiece { .. })),
        ),
    ];
    for (what, damage, expect) in cases {
        let checkpoint = Checkpoint::tiny();
        damage(checkpoint.write());
        check(what, checkpoint.path(), None, expect);
    }
}

fn edit_index(folder: &Path, edit: impl Fn(&mut serde_json::Value)) {
    let path = folder.join("model.safetensors.index.json");
    let mut index: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut index["weight_map"]);
    fs::write(path, index.to_string()).unwrap();
}

/// Turn markers must be control tokens: the written file is refused before it gets its name.
#[test]
fn turn_markers_that_a_user_could_type() {
    let checkpoint = Checkpoint::tiny();
    checkpoint.write();
    let mut config = fixture_json("checkpoint/tokenizer_config.json");
    let tokens = config["added_tokens_decoder"].as_object_mut().unwrap();
    for token in tokens.values_mut().filter(|t| t["content"] == "<start_of_turn>") {
        token["special"] = json!(false);
    }
    checkpoint.write_json("tokenizer_config.json", &config);
    check(
        "a forgeable marker",
        checkpoint.path(),
        None,
        |e| matches!(e, ConvertError::Verify(VerifyError::NotControl(marker)) if marker == "<start_of_turn>"),
    );
}

#[test]
fn adapters() {
    type Change = fn(&mut AdapterFolder);
    let cases: [(&str, &str, Change, Expect); 23] = [
        (
            "LoHa",
            "lora",
            |a| a.config["peft_type"] = json!("LOHA"),
            |e| matches!(e, ConvertError::Adapter(AdapterError::PeftType { kind, .. }) if kind == "LOHA"),
        ),
        (
            "IA3",
            "lora",
            |a| a.config["peft_type"] = json!("IA3"),
            |e| matches!(e, ConvertError::Adapter(AdapterError::PeftType { kind, .. }) if kind == "IA3"),
        ),
        (
            "no rank",
            "lora",
            |a| a.config["r"] = json!(null),
            |e| matches!(e, ConvertError::Adapter(AdapterError::Config { .. })),
        ),
        ("bias", "lora", |a| a.config["bias"] = json!("all"), |e| is_setting(e, "bias")),
        (
            "PiSSA",
            "lora",
            |a| a.config["init_lora_weights"] = json!("pissa_niter_4"),
            |e| is_setting(e, "init_lora_weights"),
        ),
        (
            "a setting of the future",
            "lora",
            |a| a.config["use_marvel"] = json!(true),
            |e| is_setting(e, "use_marvel"),
        ),
        (
            "trainable tokens",
            "lora",
            |a| a.config["trainable_token_indices"] = json!([1, 2]),
            |e| is_setting(e, "trainable_token_indices"),
        ),
        (
            "a broken pattern",
            "lora",
            |a| a.config["target_modules"] = json!("(q_proj"),
            |e| matches!(e, ConvertError::Adapter(AdapterError::Pattern { key: "target_modules", .. })),
        ),
        (
            "half a pair",
            "lora",
            |a| a.tensors.retain(|t| t.name != LORA_B_3),
            |e| {
                matches!(e, ConvertError::Adapter(AdapterError::MissingHalf { module, missing: "lora_B" })
                if module == "model.layers.3.mlp.up_proj")
            },
        ),
        (
            "a missing module",
            "lora",
            |a| a.tensors.retain(|t| !t.name.contains("layers.3.mlp.up_proj")),
            |e| matches!(e, ConvertError::Adapter(AdapterError::MissingModule { module, .. }) if module == "model.layers.3.mlp.up_proj"),
        ),
        (
            "a module not targeted",
            "lora",
            |a| a.config["target_modules"] = json!(["q_proj"]),
            |e| matches!(e, ConvertError::Adapter(AdapterError::UntargetedModule(_))),
        ),
        (
            "layers that the base lacks",
            "lora",
            |a| rename(a, "layers.7.", "layers.8."),
            |e| matches!(e, ConvertError::Adapter(AdapterError::MissingModule { module, .. }) if module.starts_with("model.layers.7.")),
        ),
        (
            "a module of another model",
            "saved",
            |a| a.tensors.push(lora_a("model.layers.0.mlp.fc1")),
            |e| matches!(e, ConvertError::Adapter(AdapterError::UnusedTensors(names)) if names[0].contains("fc1")),
        ),
        (
            "a tensor of unknown name",
            "lora",
            |a| rename(a, "base_model.model.model.layers.0", "model.layers.0"),
            |e| matches!(e, ConvertError::Adapter(AdapterError::UnusedTensors(names)) if names.len() == 14),
        ),
        (
            "another rank than it says",
            "lora",
            |a| a.config["r"] = json!(16),
            |e| matches!(e, ConvertError::Adapter(AdapterError::Shape { expected, .. }) if expected == &[16, 256]),
        ),
        (
            "another shape",
            "saved",
            |a| *named(a, "input_layernorm") = norm(128),
            |e| matches!(e, ConvertError::Adapter(AdapterError::Shape { found, .. }) if found == &[128]),
        ),
        (
            "a vocabulary that grew",
            "saved",
            |a| *named(a, "embed_tokens") = embedding(770),
            |e| matches!(e, ConvertError::Adapter(AdapterError::VocabularyGrew { adapter: 770, base: 768 })),
        ),
        (
            "a trained head",
            "saved",
            |a| named(a, "lm_head").bytes[7] ^= 1,
            |e| matches!(e, ConvertError::Adapter(AdapterError::TiedHead(_))),
        ),
        (
            "an embedding without its head",
            "saved",
            |a| {
                a.config["ensure_weight_tying"] = json!(false);
                a.tensors.retain(|t| !t.name.contains("lm_head"));
            },
            |e| matches!(e, ConvertError::Adapter(AdapterError::UntiedEmbedding)),
        ),
        (
            "LoRA on an embedding without its head",
            "embedding",
            |a| {
                a.config["ensure_weight_tying"] = json!(false);
                a.tensors.retain(|t| !t.name.contains("lm_head"));
            },
            |e| matches!(e, ConvertError::Adapter(AdapterError::UntiedEmbedding)),
        ),
        (
            "LoRA on the head",
            "lora",
            |a| {
                a.config["target_modules"] = json!(["lm_head", "q_proj"]);
                a.tensors.retain(|t| t.name.contains("q_proj"));
                a.tensors.push(lora_a("lm_head"));
            },
            |e| matches!(e, ConvertError::Adapter(AdapterError::TiedHead(_))),
        ),
        (
            "DoRA that its configuration does not name",
            "dora",
            |a| a.config["use_dora"] = json!(false),
            |e| {
                matches!(e, ConvertError::Adapter(AdapterError::UnusedTensors(names))
                if names[0].ends_with("lora_magnitude_vector"))
            },
        ),
        (
            "NaN in B",
            "lora",
            |a| {
                let b = a.tensors.iter_mut().find(|t| t.name == LORA_B_3).unwrap();
                b.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            },
            |e| {
                matches!(e, ConvertError::Write(WriteError::NotFinite { name, row: 0, merged: true, .. })
                if name == "blk.3.ffn_up.weight")
            },
        ),
    ];
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    for (what, kind, change, expect) in cases {
        let mut adapter = AdapterFolder::of(kind);
        change(&mut adapter);
        check(what, base, Some(adapter.write()), expect);
    }
}

const LORA_B_3: &str = "base_model.model.model.layers.3.mlp.up_proj.lora_B.weight";

fn is_setting(error: &ConvertError, name: &str) -> bool {
    matches!(error, ConvertError::Adapter(AdapterError::Setting { key, .. }) if key == name)
}

fn rename(adapter: &mut AdapterFolder, from: &str, to: &str) {
    for tensor in &mut adapter.tensors {
        tensor.name = tensor.name.replace(from, to);
    }
}

fn named<'a>(adapter: &'a mut AdapterFolder, part: &str) -> &'a mut Tensor {
    adapter.tensors.iter_mut().find(|t| t.name.contains(part)).unwrap()
}

fn lora_a(module: &str) -> Tensor {
    Tensor::f32(&format!("base_model.model.{module}.lora_A.weight"), &[2, 256], &[0.0; 512])
}

fn norm(width: usize) -> Tensor {
    let name = "base_model.model.model.layers.0.input_layernorm.weight";
    Tensor::f32(name, &[width], &vec![0.0; width])
}

fn embedding(tokens: usize) -> Tensor {
    let name = "base_model.model.model.embed_tokens.weight";
    Tensor::f32(name, &[tokens, 256], &vec![0.0; tokens * 256])
}

#[test]
fn gguf_bases() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let whole = base.join("whole.gguf");
    Job::new(base, FileType::Q4KM, &whole).run().unwrap();
    let bytes = fs::read(&whole).unwrap();
    let broken = base.join("broken.gguf");

    fs::write(&broken, &bytes[..bytes.len() - 100]).unwrap();
    check("a truncated file", &broken, None, |e| matches!(e, ConvertError::Source(SourceError::Gguf { .. })));

    fs::write(&broken, "not a model").unwrap();
    check("another file", &broken, None, |e| matches!(e, ConvertError::Source(SourceError::Gguf { .. })));

    let at = bytes.windows(6).position(|w| w == b"gemma2").unwrap();
    let mut other = bytes.clone();
    other[at..at + 6].copy_from_slice(b"gemma9");
    fs::write(&broken, &other).unwrap();
    check(
        "another architecture",
        &broken,
        None,
        |e| matches!(e, ConvertError::Arch(ArchError::Unsupported(name)) if name == "gemma9"),
    );
    check("no file", &base.join("nowhere.gguf"), None, |e| matches!(e, ConvertError::Source(_)));
}
