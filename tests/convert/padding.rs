//! `--pad`: a wider model that computes the same.

use ko_sentiment::gguf::tensor_type::{FileType, TensorType};

use super::support::{
    AdapterFolder, Checkpoint, Converted, Job, NARROW, WIDE, fixture_json, largest_difference, logits, narrow,
};

/// The logits of the padded and of the plain conversion in F32, with the adapter if there is one.
fn both_ways(checkpoint: &Checkpoint, adapter: Option<&AdapterFolder>) -> [Vec<f32>; 2] {
    let prompt: Vec<i32> = serde_json::from_value(fixture_json("prompt.json")).unwrap();
    let base = checkpoint.write();
    [true, false].map(|pad| {
        let out = base.join(format!("pad-{pad}.gguf"));
        let job =
            Job { pad, adapter: adapter.map(AdapterFolder::write), ..Job::new(base, FileType::F32, &out) };
        job.run().unwrap();
        logits(&out, &prompt)
    })
}

fn check(what: &str, [padded, plain]: [Vec<f32>; 2]) {
    let difference = largest_difference(&padded, &plain);
    assert!(difference < 0.01, "{what}: logits differ by {difference}");
    let spread =
        plain.iter().copied().fold(f32::MIN, f32::max) - plain.iter().copied().fold(f32::MAX, f32::min);
    assert!(spread > 1.0, "{what}: the logits tell nothing apart: {spread}");
}

#[test]
fn a_padded_model_computes_the_same() {
    for folder in ["checkpoint", "gemma3"] {
        check(folder, both_ways(&narrow(folder), None));
    }
    let mut adapter = AdapterFolder::of("lora");
    adapter.tensors.iter_mut().for_each(|tensor| *tensor = tensor.narrowed(WIDE, NARROW));
    let merged = both_ways(&narrow("checkpoint"), Some(&adapter));
    let plain = both_ways(&narrow("checkpoint"), None);
    assert!(largest_difference(&merged[0], &plain[0]) > 0.01, "the adapter was merged");
    check("with an adapter", merged);
}

#[test]
fn a_head_of_its_own_is_not_scaled() {
    let mut checkpoint = narrow("gemma3");
    let mut head = checkpoint.tensor("model.embed_tokens.weight").clone();
    head.name = "lm_head.weight".into();
    head.bytes.reverse();
    // BF16 numbers, last to first: bytes within each back in order.
    head.bytes.chunks_exact_mut(2).for_each(<[u8]>::reverse);
    checkpoint.tensors.push(head);
    checkpoint.config["tie_word_embeddings"] = false.into();
    check("untied", both_ways(&checkpoint, None));
}

#[test]
fn padded_rows_take_k_quants() {
    let checkpoint = narrow("gemma3");
    let (base, out) = (checkpoint.write(), checkpoint.path().join("out.gguf"));
    Job { pad: true, ..Job::new(base, FileType::Q4KM, &out) }.run().unwrap();
    let converted = Converted::read(&out);
    let metadata = &converted.header.metadata;
    assert_eq!(metadata.require_u64("gemma3.embedding_length").unwrap(), WIDE as u64);
    assert_eq!(metadata.require_u64("ko_sentiment.provenance.padded_from").unwrap(), NARROW as u64);
    for tensor in &converted.header.tensors {
        if tensor.name.contains("attn_q.") || tensor.name.contains("ffn_up") {
            assert_eq!(
                (tensor.columns(), tensor.tensor_type),
                (WIDE as u64, TensorType::Q4K),
                "{}",
                tensor.name
            );
        }
    }
}

/// Nothing to pad: the same bytes.
#[test]
fn whole_blocks_stay_as_they_are() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let [padded, plain] = [true, false].map(|pad| {
        let out = base.join(format!("pad-{pad}.gguf"));
        Job { pad, ..Job::new(base, FileType::Q4KM, &out) }.run().unwrap();
        std::fs::read(&out).unwrap()
    });
    assert!(padded == plain);
}
