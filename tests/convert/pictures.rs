//! The text part of a Gemma 3 that reads pictures, as of 4B and larger (`fixtures/make_picture_goldens.py`).

use std::path::Path;

use ko_sentiment::convert::ConvertError;
use ko_sentiment::convert::merge::adapter::AdapterError;
use ko_sentiment::gguf::tensor_type::FileType;
use serde_json::{Value as Json, json};

use super::goldens::{check_metadata, check_tensors};
use super::support::{
    AdapterFolder, Checkpoint, Converted, Job, Tensor, fixture_f32s, fixture_json, largest_difference, logits,
};

const IMAGE_TOKEN: usize = 720;

fn is_vision(name: &str) -> bool {
    name.starts_with("vision_tower.") || name.starts_with("multi_modal_projector.")
}

/// The name in Google's files.
fn older(name: &str) -> String {
    if is_vision(name) { name.to_owned() } else { format!("language_model.{name}") }
}

/// The name that transformers writes since 4.52.
fn newer(name: &str) -> String {
    match name.strip_prefix("model.") {
        Some(rest) => format!("model.language_model.{rest}"),
        None => format!("model.{name}"),
    }
}

/// The checkpoint with these names, and the image token in its vocabulary.
fn checkpoint(name: fn(&str) -> String) -> Checkpoint {
    let mut checkpoint = Checkpoint::of("pictures");
    checkpoint.tensors.iter_mut().for_each(|tensor| tensor.name = name(&tensor.name));
    checkpoint
}

fn write(checkpoint: &Checkpoint) -> &Path {
    let base = checkpoint.write();
    let token = json!({"content": "<image_soft_token>", "special": true});
    let mut config = fixture_json("checkpoint/tokenizer_config.json");
    config["added_tokens_decoder"][IMAGE_TOKEN.to_string()] = token.clone();
    checkpoint.write_json("tokenizer_config.json", &config);
    let mut tokenizer = fixture_json("checkpoint/tokenizer.json");
    let mut added = token;
    added["id"] = IMAGE_TOKEN.into();
    tokenizer["added_tokens"].as_array_mut().unwrap().push(added);
    checkpoint.write_json("tokenizer.json", &tokenizer);
    base
}

/// The text model saved alone, by transformers 5.
fn alone() -> Checkpoint {
    let mut checkpoint = Checkpoint::of("pictures");
    checkpoint.tensors.retain(|tensor| !is_vision(&tensor.name));
    let mut config = checkpoint.config["text_config"].take();
    config["architectures"] = json!(["Gemma3ForCausalLM"]);
    config["eos_token_id"] = checkpoint.config["eos_token_id"].clone();
    config.as_object_mut().unwrap().remove("rope_scaling");
    config["rope_parameters"] = json!({
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    });
    checkpoint.config = config;
    checkpoint
}

#[test]
fn the_text_part_has_the_bytes_of_llama_cpps_converter() {
    let prompt: Vec<i32> = serde_json::from_value(fixture_json("prompt.json")).unwrap();
    for (what, checkpoint) in
        [("older", checkpoint(older)), ("newer", checkpoint(newer)), ("text alone", alone())]
    {
        let base = write(&checkpoint);
        let out = base.join("out.gguf");
        let job = Job::new(base, FileType::F32, &out);
        let notes = job.plan().unwrap().notes.join("\n");
        assert_eq!(notes.contains("(8 tensors: "), what != "text alone", "{what}: {notes}");
        job.run().unwrap();
        let converted = Converted::read(&out);
        check_tensors(&converted, &fixture_json("pictures/hashes.json")["F32"], what);
        check_metadata(&converted.header.metadata, &fixture_json("pictures/metadata.json"), what);
        let tokens = tokens(&converted);
        assert_eq!(
            tokens[IMAGE_TOKEN - 1..],
            *fixture_json("pictures/tokens.json").as_array().unwrap(),
            "{what}"
        );
        let difference = largest_difference(&logits(&out, &prompt), &fixture_f32s("pictures/logits.bin"));
        assert!(difference < 0.01, "{what}: logits differ by {difference}");
    }
}

/// Texts and types.
fn tokens(converted: &Converted) -> Vec<Json> {
    let array = |key: &str| {
        converted.header.metadata.get(&format!("tokenizer.ggml.{key}")).unwrap().as_array().unwrap().clone()
    };
    let (texts, types) = (array("tokens"), array("token_type"));
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().to_owned();
    texts.strings().zip(types.i32s()).map(|(bytes, kind)| json!([text(bytes), kind])).collect()
}

/// Google's files have rows that no token uses.
#[test]
fn rows_past_the_vocabulary_are_cut() {
    let mut checkpoint = checkpoint(older);
    let embedding = checkpoint.tensor("language_model.model.embed_tokens.weight");
    let row = embedding.bytes.len() / embedding.shape[0];
    embedding.shape[0] += 64;
    embedding.bytes.extend(vec![0; 64 * row]);
    let base = write(&checkpoint);
    let out = base.join("out.gguf");
    Job::new(base, FileType::F32, &out).run().unwrap();
    check_tensors(&Converted::read(&out), &fixture_json("pictures/hashes.json")["F32"], "cut");
}

/// PEFT's plain names hit the vision tower's projections, too.
#[test]
fn an_adapter_of_both_parts_is_taken_for_its_text_alone() {
    let checkpoint = checkpoint(older);
    let base = write(&checkpoint);
    let mut adapter = AdapterFolder::of("lora");
    adapter.config["target_modules"] = json!(["q_proj"]);
    adapter.config["r"] = json!(2);
    let lora = |module: &str, rows: usize, columns: usize| {
        let of = |part: &str, shape: [usize; 2]| {
            let numbers: Vec<f32> = (0..shape[0] * shape[1]).map(|i| i as f32 / 1e4).collect();
            Tensor::f32(&format!("base_model.model.model.{module}.lora_{part}.weight"), &shape, &numbers)
        };
        [of("A", [2, columns]), of("B", [rows, 2])]
    };
    let layers = (0..7).map(|layer| format!("language_model.layers.{layer}.self_attn.q_proj"));
    adapter.tensors = layers.flat_map(|module| lora(&module, 2048, 64)).collect();
    let text = adapter.tensors.clone();
    adapter.tensors.extend(lora("vision_tower.vision_model.encoder.layers.0.self_attn.q_proj", 16, 16));
    let folder = adapter.write().to_owned();
    let out = base.join("out.gguf");
    let job = |text_only| Job { text_only, ..Job::new(base, FileType::F32, &out).with_adapter(&folder) };
    let refusal = job(false).plan().unwrap_err();
    assert!(matches!(refusal, ConvertError::Adapter(AdapterError::Vision(_))), "{refusal}");
    let message = refusal.to_string();
    assert!(
        message.contains("2 tensors: ")
            && message.contains("vision_tower")
            && message.contains("--text-only")
    );
    let plan = job(true).plan().unwrap();
    assert_eq!(plan.changed(), 7);
    let note = "what the adapter trains of the part that reads pictures is left (2 tensors: ";
    assert!(plan.notes.iter().any(|n| n.starts_with(note) && n.contains("vision_tower")), "{:?}", plan.notes);
    job(true).run().unwrap();
    let both = Converted::read(&out);

    // The same as an adapter of the text part.
    adapter.tensors = text;
    adapter.write();
    Job { force: true, ..job(false) }.run().unwrap();
    let alone = Converted::read(&out);
    for tensor in &both.header.tensors {
        assert!(both.data(&tensor.name) == alone.data(&tensor.name), "{}", tensor.name);
    }
}
