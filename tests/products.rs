//! Our products against llama.cpp's, in whole models: Gemma 2 and Gemma 3, in every type that there are products for.

use std::path::Path;
use std::sync::Arc;

use ko_sentiment::engine::backend::{Backend, Batch};
use ko_sentiment::gguf::tensor_type::FileType;
use ko_sentiment::llama::{ContextOptions, Kernels, LlamaContext, Model, product_types};

use crate::attention::{OPTIONS, add};
use crate::convert::support::{Checkpoint, Job, largest_difference};

/// Our products.
pub const OURS: ContextOptions = ContextOptions { own_products: true, ..OPTIONS };

/// A tiny checkpoint, converted.
pub fn model(folder: &str, file_type: FileType) -> Arc<Model> {
    let checkpoint = Checkpoint::of(folder);
    let out = checkpoint.write().join("out.gguf");
    Job::new(checkpoint.path(), file_type, &out).run().unwrap();
    Arc::new(Model::load_for(Path::new(&out), None, Kernels::Ours).unwrap())
}

/// The logits of a step of two prompts, and of two that add some tokens and few to each.
fn logits(model: &Arc<Model>, options: ContextOptions) -> Vec<f32> {
    let mut context = LlamaContext::new(model.clone(), options).unwrap();
    let (mut batch, mut results) = (Batch::default(), Vec::new());
    for (first, lengths) in [([0, 0], [41, 18]), ([41, 18], [13, 9]), ([54, 27], [4, 5])] {
        batch.clear();
        for (seq, (first, length)) in (0..).zip(first.into_iter().zip(lengths)) {
            add(&mut batch, &[seq], first, length);
        }
        context.decode(&batch).unwrap();
        (0..batch.len()).for_each(|row| results.extend(context.logits(row).unwrap()));
    }
    results
}

/// Both round activations alike and differ in the order of sums; where that moves a number to the other side of a
/// rounding, the next layers differ by a part in 127.
fn agree(folder: &str) {
    for file_type in [FileType::Q4KM, FileType::Q5KM, FileType::Q6K, FileType::Q8_0] {
        let model = model(folder, file_type);
        let (ours, theirs) = (logits(&model, OURS), logits(&model, OPTIONS));
        assert!(ours.iter().all(|logit| logit.is_finite()));
        let difference = largest_difference(&ours, &theirs);
        let largest = theirs.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        assert!(difference < 0.05 * largest, "{file_type:?}: {difference} of {largest}");
        if !product_types().is_empty() {
            assert!(difference > 0.0, "{file_type:?}: llama.cpp was compared with itself");
        }
    }
}

#[test]
fn gemma_2_computes_the_same() {
    agree("checkpoint");
}

#[test]
fn gemma_3_computes_the_same() {
    agree("gemma3");
}

#[test]
fn threads_change_no_bit() {
    let model = model("gemma3", FileType::Q6K);
    let expected = logits(&model, ContextOptions { threads: 1, ..OURS });
    for threads in [2, 5] {
        assert!(logits(&model, ContextOptions { threads, ..OURS }) == expected, "{threads} threads");
    }
}

#[test]
fn steps_of_fewer_rows_are_llama_cpps() {
    let [least_q6_k, least_q8_0] = if cfg!(target_arch = "aarch64") { [4, 4] } else { [1, 1] };
    for (file_type, least) in [(FileType::Q6K, least_q6_k), (FileType::Q8_0, least_q8_0)] {
        let model = model("gemma3", file_type);
        for rows in [1, 2, 3, 4, 5] {
            let mut batch = Batch::default();
            add(&mut batch, &[0], 0, rows);
            let [ours, theirs] = [OURS, OPTIONS].map(|options| {
                let mut context = LlamaContext::new(model.clone(), options).unwrap();
                context.decode(&batch).unwrap();
                (0..rows).flat_map(|row| context.logits(row).unwrap().to_vec()).collect::<Vec<_>>()
            });
            let expect_same = rows < least || product_types().is_empty();
            assert_eq!(ours == theirs, expect_same, "{file_type:?}, {rows} rows");
        }
    }
}
