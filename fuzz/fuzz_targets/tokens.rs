//! Any text as a tokens file, after a line with what a caller shows: an error of one line that repeats no secret, or
//! tokens by which a call is let in or refused.
#![no_main]

use std::io::Write;

use ko_sentiment_fuzz::grpc::tokens::Tokens;
use libfuzzer_sys::fuzz_target;
use tonic::codegen::http::{HeaderMap, HeaderValue};

/// What stands for a secret in the wrong place.
const SECRET: &str = "kos_5ec2e7";

fuzz_target!(|input: &str| {
    let (header, text) = input.split_once('\n').unwrap_or(("", input));
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    if file.write_all(text.as_bytes()).is_err() {
        return;
    }
    let tokens = match Tokens::load(file.path()) {
        Ok(tokens) => tokens,
        Err(error) => {
            let message = error.to_string();
            assert!(message.lines().count() == 1 && !message.chars().any(char::is_control), "{message:?}");
            assert!(!text.contains(SECRET) || !message.contains(SECRET), "{message:?}");
            return;
        }
    };
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(header) {
        headers.insert("authorization", value);
    }
    for method in ["Classify", "ServerReflectionInfo"] {
        if let Err(status) = tokens.admit(&headers, &[], method) {
            assert!(
                !status.details().is_empty() && !status.message().chars().any(char::is_control),
                "{status:?}"
            );
        }
    }
    assert!(tokens.principals().len() <= text.len());
});
