//! Any bytes as a safetensors file: an error or tensors within the file.
#![no_main]

use std::io::Write;

use ko_sentiment_fuzz::convert::input::safetensors::SafetensorsFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    if file.write_all(bytes).is_err() {
        return;
    }
    if let Ok(opened) = SafetensorsFile::open(file.path()) {
        for (name, tensor) in opened.tensors {
            let end = tensor.offset + tensor.rows() * tensor.row_bytes();
            assert!(end <= bytes.len() as u64, "{name} ends at {end} of {}", bytes.len());
        }
    }
});
