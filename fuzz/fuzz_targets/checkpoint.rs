//! Any bytes as a checkpoint's files: an error, or tensors that lie within their files.
#![no_main]

use std::fs;

use ko_sentiment_fuzz::convert::input::checkpoint::{Checkpoint, read_config};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|files: (&[u8], Option<&[u8]>, Option<&[u8]>, &[u8])| {
    let (config, index, shard, weights) = files;
    let Ok(folder) = tempfile::tempdir() else { return };
    let write = |name: &str, bytes: Option<&[u8]>| {
        bytes.is_none_or(|bytes| fs::write(folder.path().join(name), bytes).is_ok())
    };
    let are_written = write("config.json", Some(config))
        && write("model.safetensors.index.json", index)
        && write("model-00001-of-00002.safetensors", shard)
        && write("model.safetensors", Some(weights));
    if !are_written {
        return;
    }
    let Ok(config) = read_config(folder.path()) else { return };
    let Ok(checkpoint) = Checkpoint::open(folder.path(), config) else { return };
    for (name, tensor) in checkpoint.tensors {
        let end = tensor.offset + tensor.rows() * tensor.row_bytes();
        let bytes = fs::metadata(&tensor.path).map_or(0, |about| about.len());
        assert!(end <= bytes, "{name} ends at {end} of {bytes}");
    }
});
