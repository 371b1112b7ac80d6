//! `--smooth`: other weights that compute the same.

use ko_sentiment::convert::ConvertError;
use ko_sentiment::convert::quantise::imatrix::ImatrixError;
use ko_sentiment::gguf::Value;
use ko_sentiment::gguf::tensor_type::FileType;

use super::imatrix::{COUNT, sums_for, write_imatrix};
use super::support::{
    AdapterFolder, Checkpoint, Converted, Job, fixture_json, largest_difference, logits, narrow,
};

/// Converts with and without smoothing, and with the adapter if there is one.
fn check(what: &str, checkpoint: &Checkpoint, adapter: Option<&AdapterFolder>) {
    let prompt: Vec<i32> = serde_json::from_value(fixture_json("prompt.json")).unwrap();
    let base = checkpoint.write();
    let [full, imatrix] = ["full.gguf", "imatrix.gguf"].map(|name| base.join(name));
    Job::new(base, FileType::F32, &full).run().unwrap();
    write_imatrix(&imatrix, &sums_for(&full), COUNT);
    let [smoothed, plain] = [true, false].map(|smooth| {
        let out = base.join(format!("smooth-{smooth}.gguf"));
        // Every weight in F32: what differs is smoothing.
        let job = Job {
            smooth,
            pad: true,
            imatrix: Some(&imatrix),
            adapter: adapter.map(AdapterFolder::write),
            ..Job::new(base, FileType::Q8_0, &out).with_types(&["weight=f32"])
        };
        job.run().unwrap();
        out
    });
    let [ours, theirs] = [&smoothed, &plain].map(|path| logits(path, &prompt));
    let difference = largest_difference(&ours, &theirs);
    assert!(difference < 0.01, "{what}: logits differ by {difference}");
    let [smoothed, plain] = [&smoothed, &plain].map(|path| Converted::read(path));
    for tensor in &smoothed.header.tensors {
        let stays = ["token_embd", "output_norm", "post_", "_q_norm", "_k_norm"];
        let expect = stays.iter().any(|name| tensor.name.contains(name));
        assert_eq!(smoothed.data(&tensor.name) == plain.data(&tensor.name), expect, "{}", tensor.name);
    }
    let key = "ko_sentiment.provenance.smooth";
    assert_eq!(smoothed.header.metadata.get(key), Some(&Value::Bool(true)));
    assert_eq!(plain.header.metadata.get(key), None);
}

#[test]
fn a_smoothed_model_computes_the_same() {
    check("Gemma 2", &Checkpoint::tiny(), None);
    check("Gemma 2 with an adapter", &Checkpoint::tiny(), Some(&AdapterFolder::of("lora")));
    check("Gemma 3, padded", &narrow("gemma3"), None);
    // Two heads of values, each for two query heads.
    let mut grouped = Checkpoint::tiny();
    for (key, value) in [
        ("num_attention_heads", 4),
        ("num_key_value_heads", 2),
        ("head_dim", 32),
        ("query_pre_attn_scalar", 32),
    ] {
        grouped.config[key] = value.into();
    }
    check("grouped heads", &grouped, None);
}

#[test]
fn smoothing_without_what_it_needs_is_refused() {
    let checkpoint = Checkpoint::tiny();
    let base = checkpoint.write();
    let [full, imatrix, out] = ["full.gguf", "imatrix.gguf", "out.gguf"].map(|name| base.join(name));
    Job::new(base, FileType::F32, &full).run().unwrap();
    let mut sums = sums_for(&full);
    sums.retain(|(name, _)| name != "blk.1.attn_output.weight");
    write_imatrix(&imatrix, &sums, COUNT);
    let refused = |imatrix| {
        let job = Job { smooth: true, imatrix, ..Job::new(base, FileType::Q4KM, &out) };
        match job.run().unwrap_err() {
            ConvertError::Imatrix(error) => error,
            other => panic!("{other}"),
        }
    };
    let missing = refused(Some(imatrix.as_path()));
    assert!(missing.to_string().contains("blk.1.attn_output.weight"), "{missing}");
    assert!(matches!(refused(None), ImatrixError::Needed));
}
