//! The mixture of types against `llama_model_quantize` of the linked llama.cpp.

use ko_sentiment::gguf::tensor_type::{FileType, TensorType};

use super::llama_quantize::{LlamaQuantize, check_same_tensors};
use super::support::{AdapterFolder, Checkpoint, Converted, Job};

/// Layers enough for every rule that counts them: Gemma 2's own numbers, and one that 8 does not
/// divide.
#[test]
fn mixtures_are_llama_cpps_for_any_number_of_layers() {
    for (n_layers, file_types) in [
        (26, &[FileType::Q4KM, FileType::Q4KS][..]),
        (42, &[FileType::Q4KM, FileType::Q5KM]),
        (5, &FileType::ALL),
    ] {
        let checkpoint = Checkpoint::with_layers(n_layers);
        let base = checkpoint.write();
        let full = base.join("full.gguf");
        Job::new(base, FileType::F32, &full).run().unwrap();
        for file_type in file_types {
            let (ours, theirs) = (base.join("ours.gguf"), base.join("theirs.gguf"));
            let job = Job { force: true, ..Job::new(base, *file_type, &ours) };
            job.run().unwrap();
            LlamaQuantize::new(*file_type).run(&full, &theirs);
            check_same_tensors(&ours, &theirs, &format!("{n_layers} layers, {file_type}"));
        }
    }
}

/// From a GGUF base: the same requantisation as llama-quantize's, and a plain copy where the type
/// stays.
#[test]
fn gguf_bases_are_requantised_as_llama_quantize_does() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let quantised = base.join("base.gguf");
    Job::new(base, FileType::Q4KM, &quantised).run().unwrap();
    for file_type in [FileType::Q4KM, FileType::Q8_0, FileType::Q6K, FileType::F16] {
        let (ours, theirs) = (base.join("ours.gguf"), base.join("theirs.gguf"));
        let job = Job { force: true, ..Job::new(&quantised, file_type, &ours) };
        job.run().unwrap();
        LlamaQuantize::new(file_type).run(&quantised, &theirs);
        check_same_tensors(&ours, &theirs, &format!("Q4_K_M to {file_type}"));
    }
}

/// `--tensor-type`: which tensors it takes, what is left of the mixture's rules beside it, and rows
/// that do not fit its blocks (attn_output's 128 columns).
#[test]
fn overridden_types_are_llama_quantizes() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let full = base.join("full.gguf");
    Job::new(base, FileType::F32, &full).run().unwrap();
    let every_type: Vec<String> = TensorType::ALL.iter().map(|t| format!("attn_output|attn_k={t}")).collect();
    let mut cases: Vec<(FileType, Vec<&str>)> = vec![
        (FileType::Q4KM, vec!["ffn_down=q8_0"]),
        (FileType::Q4KM, vec!["token_embd=q8_0"]),
        (FileType::Q4KS, vec![r"blk\.(0|1|5)\.=q5_1", "attn_v|ffn_down=q3_k"]),
        (FileType::Q4KM, vec![r"BLK\.[0-2]\.(ATTN_V|FFN_DOWN)=f16"]),
        (FileType::Q5KM, vec!["attn_q=q4_0", "attn=bf16", "weight=f32"]),
        (FileType::Q8_0, vec!["ffn=q2_k", r"^token_embd\.weight$=q4_1"]),
    ];
    cases.extend(every_type.iter().map(|over| (FileType::Q4KM, vec![over.as_str()])));
    for (file_type, overrides) in cases {
        let (ours, theirs) = (base.join("ours.gguf"), base.join("theirs.gguf"));
        let job = Job { force: true, ..Job::new(base, file_type, &ours) }.with_types(&overrides);
        job.run().unwrap();
        LlamaQuantize { overrides: &job.overrides, ..LlamaQuantize::new(file_type) }.run(&full, &theirs);
        check_same_tensors(&ours, &theirs, &format!("{file_type} with {overrides:?}"));
    }
}

/// Merging into a GGUF base is merging into the checkpoint, but for the base's own rounding.
#[test]
fn an_exact_gguf_base_merges_like_its_checkpoint() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let exact = base.join("exact.gguf");
    Job::new(base, FileType::F32, &exact).run().unwrap();
    for kind in ["lora", "saved", "dora", "embedding"] {
        let adapter = AdapterFolder::of(kind);
        let adapter = adapter.write();
        let (long, short) = (base.join("long.gguf"), base.join("short.gguf"));
        let job = Job { force: true, ..Job::new(base, FileType::Q4KM, &long) };
        job.with_adapter(adapter).run().unwrap();
        let job = Job { force: true, ..Job::new(&exact, FileType::Q4KM, &short) };
        job.with_adapter(adapter).run().unwrap();
        check_same_tensors(&long, &short, kind);
    }
}

/// Only what the adapter touches changes in a quantised base.
#[test]
fn a_quantised_base_changes_where_the_adapter_is() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let quantised = base.join("base.gguf");
    Job::new(base, FileType::Q4KM, &quantised).run().unwrap();
    let adapter = AdapterFolder::of("layers");
    let merged = base.join("merged.gguf");
    Job::new(&quantised, FileType::Q4KM, &merged).with_adapter(adapter.write()).run().unwrap();
    let (before, after) = (Converted::read(&quantised), Converted::read(&merged));
    for tensor in &before.header.tensors {
        let touched =
            ["blk.0.ffn_up.weight", "blk.0.attn_k.weight", "blk.7.ffn_up.weight", "blk.7.attn_k.weight"];
        let changed = before.data(&tensor.name) != after.data(&tensor.name);
        assert_eq!(changed, touched.contains(&tensor.name.as_str()), "{}", tensor.name);
    }
}
