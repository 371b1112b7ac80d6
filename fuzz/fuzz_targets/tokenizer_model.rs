//! Any bytes as a SentencePiece model, and any JSON as a tokenizer.json: an error or tokens.
#![no_main]

use ko_sentiment_fuzz::convert::tokenizer::vocab;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(tokens) = vocab::parse_sentencepiece(bytes) {
        assert!(!tokens.is_empty());
    }
    if let Ok(json) = serde_json::from_slice(bytes) {
        let _either = vocab::parse_tokenizer_json(&json);
    }
});
