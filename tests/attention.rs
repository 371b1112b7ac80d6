//! Our attention against llama.cpp's own, in whole models: Gemma 2 with its soft-caps and sliding window, Gemma 3.

use std::sync::Arc;

use ko_sentiment::engine::backend::{Backend, Batch, BatchToken, Output, SeqId};
use ko_sentiment::gguf::tensor_type::FileType;
use ko_sentiment::llama::kernels::available;
use ko_sentiment::llama::{ContextOptions, KvType, LlamaContext, Model};

use crate::convert::support::{Checkpoint, Entry, Job, entries, largest_difference};

/// Tokens of the prompt that all sequences share. No step has fewer than 64, for which llama.cpp's attention
/// rounds to 16 bits.
const SHARED: usize = 80;

/// llama.cpp's kernels alone.
pub const OPTIONS: ContextOptions = ContextOptions {
    cells: 2_048,
    batch: 256,
    ubatch: 256,
    sequences: 32,
    outputs: 256,
    threads: 2,
    kv_type: KvType::F16,
    own_attention: false,
    own_products: false,
};

/// Adds `count` tokens that follow `start` others in their sequences.
pub fn add(batch: &mut Batch, seqs: &[SeqId], start: usize, count: usize) {
    for pos in start..start + count {
        let token = 10 + i32::try_from(pos * 37 + batch.len() * 13).unwrap() % 700;
        batch.push(BatchToken { token, pos, seqs: seqs.to_vec(), output: Output::Row });
    }
}

/// The logits of every token of some steps such as the scheduler makes.
fn logits(model: &Arc<Model>, options: ContextOptions) -> Vec<f32> {
    let mut context = LlamaContext::new(model.clone(), options).unwrap();
    let mut results = Vec::new();
    let mut step = |context: &mut LlamaContext, batch: &Batch| {
        context.decode(batch).unwrap();
        (0..batch.len()).for_each(|row| results.extend(context.logits(row).unwrap()));
    };
    let mut batch = Batch::default();
    add(&mut batch, &[0], 0, SHARED);
    step(&mut context, &batch);
    // Two videos, longer than the sliding window.
    batch.clear();
    for video in [1, 2] {
        context.share(0, video, SHARED);
        add(&mut batch, &[video], SHARED, 70 + 20 * video as usize);
    }
    step(&mut context, &batch);
    // Comments of either video and of none, three sequences each, and a token more in each of these.
    batch.clear();
    for (i, length) in [30, 5, 61, 17].into_iter().enumerate() {
        let (video, end) = [(1, SHARED + 90), (2, SHARED + 110), (0, SHARED)][i % 3];
        let seqs = [0, 1, 2].map(|label| 3 + 3 * i32::try_from(i).unwrap() + label);
        seqs.iter().for_each(|seq| context.share(video, *seq, end));
        add(&mut batch, &seqs, end, length);
        seqs.iter().for_each(|seq| add(&mut batch, &[*seq], end + length, 1));
    }
    step(&mut context, &batch);
    results
}

/// Compares logits, with queries so many times as large; they may differ by so much of the largest.
fn agree(folder: &str, kv_type: KvType, sharpness: f32, tolerance: f32) {
    let mut checkpoint = Checkpoint::of(folder);
    let mut entries = entries(&format!("{folder}/tensors.json"));
    entries.iter_mut().filter(|e| e.name.contains("q_proj")).for_each(|e| e.scale *= sharpness);
    checkpoint.tensors = entries.iter().map(Entry::tensor).collect();
    let out = checkpoint.write().join("out.gguf");
    Job::new(checkpoint.path(), FileType::F32, &out).run().unwrap();
    let model = Arc::new(Model::load(&out, None).unwrap());
    let theirs = ContextOptions { kv_type, ..OPTIONS };
    let ours = ContextOptions { own_attention: true, ..theirs };
    let (ours, theirs) = (logits(&model, ours), logits(&model, theirs));
    assert!(ours.iter().all(|logit| logit.is_finite()));
    let difference = largest_difference(&ours, &theirs);
    let largest = theirs.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    assert!(difference < tolerance * largest, "{kv_type:?}: {difference} of {largest}");
    if available() {
        assert!(difference > 0.0, "{kv_type:?}: llama.cpp was compared with itself");
    }
}

/// Attention so sharp that without soft-caps the logits would differ by a seventh of the largest.
#[test]
fn gemma_2_computes_the_same() {
    agree("checkpoint", KvType::F16, 5.0, 5e-3);
}

#[test]
fn gemma_3_computes_the_same() {
    agree("gemma3", KvType::F16, 5.0, 5e-3);
}

/// llama.cpp rounds queries to the cache's type, too.
#[test]
fn other_caches_are_read_as_well() {
    for folder in ["checkpoint", "gemma3"] {
        agree(folder, KvType::Bf16, 1.0, 1e-2);
        agree(folder, KvType::Q8_0, 1.0, 2e-2);
    }
}
