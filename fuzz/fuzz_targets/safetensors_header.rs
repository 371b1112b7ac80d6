//! Any bytes as a safetensors file: an error or tensors within the file.
#![no_main]

use std::io::Write;

use ko_sentiment::convert::safetensors::SafetensorsFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut file) = tempfile() else { return };
    if file.1.write_all(bytes).is_err() {
        return;
    }
    if let Ok(opened) = SafetensorsFile::open(&file.0) {
        for (name, tensor) in opened.tensors {
            let end = tensor.offset + tensor.rows() * tensor.row_bytes();
            assert!(end <= bytes.len() as u64, "{name} ends at {end} of {}", bytes.len());
        }
    }
});

/// One file, written over by each input.
fn tempfile() -> std::io::Result<(std::path::PathBuf, std::fs::File)> {
    let path = std::env::temp_dir().join(format!("ko-sentiment-fuzz-{}.safetensors", std::process::id()));
    let file = std::fs::File::create(&path)?;
    Ok((path, file))
}
