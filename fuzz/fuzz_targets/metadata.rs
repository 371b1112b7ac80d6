//! Any bytes in the headers that we read ourselves: an id that can be logged, a deadline that lies ahead, a class, and a
//! trace that is passed on as it came or not at all.
#![no_main]

use std::time::Instant;

use ko_sentiment_fuzz::engine::Class;
use ko_sentiment_fuzz::grpc::metadata::{REQUEST_ID, deadline, request_id};
use ko_sentiment_fuzz::grpc::priority::{PRIORITY, share};
use ko_sentiment_fuzz::trace::Parent;
use libfuzzer_sys::fuzz_target;
use tonic::codegen::http::{HeaderMap, HeaderValue};
use tonic::metadata::MetadataMap;

fuzz_target!(|input: &[u8]| {
    // One header per line; the trace's state may have several.
    let mut lines = input.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (id, timeout, priority, parent) = (line(), line(), line(), line());
    let mut headers = HeaderMap::new();
    for (name, value) in [(REQUEST_ID, id), ("grpc-timeout", timeout), (PRIORITY, priority)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    let id = request_id(&headers);
    assert!(
        (1..=128).contains(&id.len()) && id.as_bytes().iter().all(|b| (b' '..=b'~').contains(b)),
        "{id:?}"
    );
    let metadata = MetadataMap::from_headers(headers);
    let begun = Instant::now();
    assert!(deadline(&metadata, begun).is_none_or(|end| end >= begun));
    if let Err(status) = share(&metadata, None, Class::Interactive) {
        assert!(!status.message().chars().any(char::is_control), "{status:?}");
    }
    if let Some(parent) = Parent::read(std::iter::once(parent), lines) {
        let text = format!("00-{}-{}-0{}", parent.trace, parent.span, u8::from(parent.sampled));
        let state = parent.state.as_bytes();
        assert!(state.len() <= 512 && state.iter().all(|b| (b' '..=b'~').contains(b)), "{state:?}");
        let again = Parent::read(std::iter::once(text.as_bytes()), std::iter::once(state));
        assert_eq!(again, Some(parent), "{text}");
    }
});
