//! Any bytes as a GGUF file: an error, or a header that is written as it was read, and a verdict on whether
//! llama.cpp may see it.
#![no_main]

use ko_sentiment_fuzz::gguf::{Header, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = Header::parse(bytes, bytes.len() as u64) {
        let mut again = header.encode();
        again.resize(again.len().max(header.file_size() as usize), 0);
        if let Ok(read) = Header::parse(again.as_slice(), again.len() as u64) {
            assert_eq!(read.tensors, header.tensors);
        }
        if let Err(fault) = check::header(&header) {
            let message = fault.to_string();
            assert!(!message.chars().any(char::is_control), "{message:?}");
        }
    }
});
