//! What PEFT and trainers save, and what a merge makes of it: plain LoRA in other clothes is merged, and what would
//! be merged wrongly is refused with advice that works.

use std::path::Path;

use half::f16;
use ko_sentiment::convert::ConvertError;
use ko_sentiment::convert::merge::adapter::AdapterError;
use ko_sentiment::convert::plan::Plan;
use ko_sentiment::gguf::Value;
use ko_sentiment::gguf::tensor_type::FileType;
use safetensors::Dtype;
use serde_json::json;

use super::imatrix::{COUNT, sums_for, write_imatrix};
use super::support::{AdapterFolder, Checkpoint, Converted, Job, NARROW, Tensor, WIDE, narrow};

const SAVED: &str = "base_model.model.";

fn plan(base: &Path, adapter: &Path) -> Result<Plan, ConvertError> {
    Job::new(base, FileType::F32, Path::new("out.gguf")).with_adapter(adapter).plan()
}

fn is_adapter_error(result: Result<Plan, ConvertError>, expect: fn(&AdapterError) -> bool) -> bool {
    matches!(result, Err(ConvertError::Adapter(error)) if expect(&error))
}

/// A tensor of the base under the adapter's name.
fn saved(checkpoint: &mut Checkpoint, from: &str, to: &str) -> Tensor {
    Tensor { name: format!("{SAVED}{to}"), ..checkpoint.tensor(from).clone() }
}

#[test]
fn lora_in_other_clothes_is_merged() {
    type Change = fn(&mut AdapterFolder);
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let plain = plan(base, AdapterFolder::of("lora").write()).unwrap().changed();
    let cases: [(&str, Change); 3] = [
        ("nulls", |a| {
            for key in ["use_rslora", "use_dora", "ensure_weight_tying"] {
                a.config[key] = json!(null);
            }
        }),
        ("torch.compile", |a| {
            for tensor in &mut a.tensors {
                tensor.name = tensor.name.replace(SAVED, &format!("{SAVED}_orig_mod."));
            }
        }),
        ("VeLoRA", |a| {
            a.config["velora_config"] = json!({"num_groups": 8});
            let name = format!("{SAVED}model.layers.0.self_attn.q_proj.lora_velora_embed");
            a.tensors.push(Tensor::f32(&name, &[4], &[1.0; 4]));
        }),
    ];
    for (what, change) in cases {
        let mut adapter = AdapterFolder::of("lora");
        change(&mut adapter);
        let planned = plan(base, adapter.write());
        assert_eq!(planned.map(|plan| plan.changed()).ok(), Some(plain), "{what}");
    }
}

/// In a model with pictures the same modules have longer names, in the base and in the adapter.
#[test]
fn names_of_models_with_pictures_are_understood() {
    let rename = |tensors: &mut Vec<Tensor>, to: &str| {
        for tensor in tensors {
            tensor.name = tensor.name.replacen("model.layers", to, 1);
        }
    };
    let mut checkpoint = Checkpoint::of("gemma3");
    let plain = {
        let adapter = AdapterFolder::of("lora");
        plan(checkpoint.write(), adapter.write()).map(|plan| plan.changed())
    };
    let text = Job::new(checkpoint.path(), FileType::F32, Path::new("out.gguf")).plan().unwrap();
    rename(&mut checkpoint.tensors, "language_model.model.layers");
    checkpoint.config["architectures"] = json!(["Gemma3ForConditionalGeneration"]);
    checkpoint.tensors.push(Tensor::f32("vision_tower.vision_model.x.weight", &[4], &[0.0; 4]));
    let base = checkpoint.write();
    let pictures = Job::new(base, FileType::F32, Path::new("out.gguf")).plan().unwrap();
    assert_eq!(pictures.header.metadata, text.header.metadata);
    assert_eq!(pictures.header.tensors, text.header.tensors);
    let mut adapter = AdapterFolder::of("lora");
    for tensor in &mut adapter.tensors {
        tensor.name = tensor.name.replace("model.model.layers", "model.model.language_model.layers");
    }
    adapter.config["target_modules"] = json!(r".*language_model\.layers\.\d+\.(self_attn|mlp)\..*_proj");
    let planned = plan(base, adapter.write()).unwrap();
    assert_eq!(Some(planned.changed()), plain.ok());
    assert!(planned.notes.iter().any(|note| note.contains("vision_tower")), "{:?}", planned.notes);
    let name = format!("{SAVED}model.vision_tower.layers.0.q_proj.lora_A.weight");
    adapter.tensors.push(Tensor::f32(&name, &[2, 4], &[0.0; 8]));
    assert!(is_adapter_error(plan(base, adapter.write()), |e| matches!(e, AdapterError::Vision(_))));
}

#[test]
fn an_embedding_saved_beside_lora() {
    let mut checkpoint = Checkpoint::tiny();
    let mut copy = saved(&mut checkpoint, "model.embed_tokens.weight", "model.embed_tokens.weight");
    let base = checkpoint.write();
    let with = |copy: &Tensor, modules: serde_json::Value| {
        let mut adapter = AdapterFolder::of("lora");
        adapter.tensors.push(copy.clone());
        adapter.config["modules_to_save"] = modules;
        plan(base, adapter.write())
    };
    let accepted = with(&copy, json!(null)).unwrap();
    assert_eq!(accepted.replaced().count(), 0);
    assert!(accepted.notes.iter().any(|note| note.contains("model.embed_tokens")), "{:?}", accepted.notes);
    copy.bytes[7] ^= 1;
    assert!(is_adapter_error(with(&copy, json!(null)), |e| matches!(e, AdapterError::OtherEmbedding(_))));
    let trained = with(&copy, json!(["embed_tokens"]));
    assert!(is_adapter_error(trained, |e| matches!(e, AdapterError::UntiedEmbedding)));
}

/// PEFT unties a trained head; Gemma 3 can have one in GGUF.
#[test]
fn a_trained_head_on_a_tied_gemma_3() {
    let mut checkpoint = Checkpoint::of("gemma3");
    let mut head = saved(&mut checkpoint, "model.embed_tokens.weight", "lm_head.weight");
    head.bytes[7] ^= 1;
    let base = checkpoint.write();
    let mut adapter = AdapterFolder::of("lora");
    adapter.tensors = vec![head.clone()];
    adapter.config["target_modules"] = json!([]);
    adapter.config["modules_to_save"] = json!(["lm_head"]);
    let [out, plain] = ["out.gguf", "plain.gguf"].map(|name| base.join(name));
    Job::new(base, FileType::BF16, &out).with_adapter(adapter.write()).run().unwrap();
    Job::new(base, FileType::BF16, &plain).run().unwrap();
    let [out, plain] = [&out, &plain].map(|path| Converted::read(path));
    assert!(out.data("output.weight") == head.bytes, "the adapter's head");
    assert!(out.data("token_embd.weight") == plain.data("token_embd.weight"), "the base's embedding");

    let mut lora = AdapterFolder::of("lora");
    lora.config["target_modules"] = json!(["lm_head"]);
    let low_rank = |part: &str, shape: [usize; 2]| {
        Tensor::f32(&format!("{SAVED}lm_head.lora_{part}.weight"), &shape, &vec![0.1; shape[0] * shape[1]])
    };
    lora.tensors = vec![low_rank("A", [8, 256]), low_rank("B", [768, 8])];
    let planned = plan(base, lora.write()).unwrap();
    assert_eq!(planned.merged().collect::<Vec<_>>(), ["output.weight"]);
}

#[test]
fn a_saved_module_without_its_tensor_is_refused() {
    let mut checkpoint = Checkpoint::tiny();
    let norm = "model.layers.0.input_layernorm.weight";
    let norm = saved(&mut checkpoint, norm, norm);
    let base = checkpoint.write();
    let mut adapter = AdapterFolder::of("lora");
    adapter.tensors.push(norm);
    adapter.config["modules_to_save"] = json!(["input_layernorm"]);
    let missing = |e: &AdapterError| matches!(e, AdapterError::MissingSaved(module) if module == "model.layers.1.input_layernorm");
    assert!(is_adapter_error(plan(base, adapter.write()), missing));
}

/// A norm that was saved in F16 is 1 + w in F32, for the base's is.
#[test]
fn norms_in_f16_are_not_rounded_again() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let numbers: Vec<f16> = (0..256).map(|i| f16::from_f32(0.3 + i as f32 / 7000.0)).collect();
    let bytes = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    let name = format!("{SAVED}model.norm.weight");
    let mut adapter = AdapterFolder::of("lora");
    adapter.tensors.push(Tensor { name, shape: vec![256], dtype: Dtype::F16, bytes });
    let out = base.join("out.gguf");
    Job::new(base, FileType::Q8_0, &out).with_adapter(adapter.write()).run().unwrap();
    let expect: Vec<u8> = numbers.iter().flat_map(|n| (n.to_f32() + 1.0).to_le_bytes()).collect();
    assert!(Converted::read(&out).data("output_norm.weight") == expect);
}

#[test]
fn nan_in_an_adapters_own_tensor_is_the_adapters() {
    let mut checkpoint = Checkpoint::tiny();
    let mut norm = saved(&mut checkpoint, "model.norm.weight", "model.norm.weight");
    norm.bytes[..2].copy_from_slice(&0x7fc0_u16.to_le_bytes());
    let base = checkpoint.write();
    let mut adapter = AdapterFolder::of("lora");
    adapter.tensors.push(norm);
    let out = base.join("out.gguf");
    let refused = Job::new(base, FileType::Q8_0, &out).with_adapter(adapter.write()).run().unwrap_err();
    assert!(refused.to_string().contains("the adapter is damaged"), "{refused}");
}

/// A base that `--smooth` or `--pad` made is not what the adapter was trained on, and says so in every later
/// conversion.
#[test]
fn bases_that_were_changed_take_no_adapter() {
    let adapter = AdapterFolder::of("lora");
    let lora = adapter.write();
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let [full, imatrix, smoothed, again] =
        ["full.gguf", "imatrix.gguf", "smoothed.gguf", "again.gguf"].map(|name| base.join(name));
    Job::new(base, FileType::F32, &full).run().unwrap();
    write_imatrix(&imatrix, &sums_for(&full), COUNT);
    let smooth = Job { smooth: true, imatrix: Some(&imatrix), ..Job::new(base, FileType::Q8_0, &smoothed) };
    smooth.run().unwrap();
    Job::new(&smoothed, FileType::Q8_0, &again).run().unwrap();
    let key = "ko_sentiment.provenance.smooth";
    assert_eq!(Converted::read(&again).header.metadata.get(key), Some(&Value::Bool(true)));
    for base in [&smoothed, &again] {
        assert!(is_adapter_error(plan(base, lora), |e| matches!(e, AdapterError::SmoothedBase)));
    }

    let checkpoint = narrow("checkpoint");
    let base = checkpoint.write();
    let padded = base.join("padded.gguf");
    Job { pad: true, ..Job::new(base, FileType::Q8_0, &padded) }.run().unwrap();
    let mut adapter = AdapterFolder::of("lora");
    adapter.tensors.iter_mut().for_each(|tensor| *tensor = tensor.narrowed(WIDE, NARROW));
    assert!(is_adapter_error(plan(&padded, adapter.write()), |e| matches!(e, AdapterError::PaddedBase(192))));
}

#[test]
fn another_base_than_the_adapters_is_named() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let says = |trained_on: &str| {
        let mut adapter = AdapterFolder::of("lora");
        adapter.config["base_model_name_or_path"] = json!(trained_on);
        let notes = plan(base, adapter.write()).unwrap().notes;
        notes.into_iter().find(|note| note.contains("was trained on"))
    };
    assert_eq!(says("test/tiny-gemma-2"), None);
    let note = says("other/gemma-9").unwrap();
    assert!(note.contains("other/gemma-9") && note.contains("test/tiny-gemma-2"), "{note}");
}
