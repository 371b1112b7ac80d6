//! Generated from `proto/ko_sentiment/v1` by `make proto`.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

include!(concat!(env!("CARGO_MANIFEST_DIR"), "/proto/generated/ko_sentiment.v1.rs"));

/// Descriptors of the API, for reflection.
pub const DESCRIPTORS: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/proto/generated/ko_sentiment_descriptor.bin"));
